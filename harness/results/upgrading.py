"""Records of earlier schemas as the present one has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.results.cell_record import SCHEMA


def upgrade(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The content of a record as schema 2 has it; of schema 2 it is itself.

    Schema 1 counted zeros: ``density.true_zeros`` (zeros / size) becomes ``density.nonzero`` = 1 - true_zeros, and
    ``zeros`` of each connection becomes ``nonzero`` = size - zeros. It left out what a cell did not have and what was
    not recorded yet: an empty ``spent`` or ``environment`` becomes None, as everything that is absent is None in
    :class:`~harness.results.cell_record.CellRecord`. What is malformed stays as it is, for the model to name.
    """
    if content["schema"] == SCHEMA:
        return content
    upgraded = {**content, "schema": SCHEMA}
    for name in ("spent", "environment"):
        upgraded[name] = content.get(name) or None
    for name in ("not_finite", "validation"):
        upgraded[name] = content.get(name) or {}
    if isinstance(density := content.get("density"), Mapping):
        upgraded["density"] = _density(density)
    return upgraded


def _density(density: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in density.items() if name != "true_zeros"}
    if density.get("true_zeros") is not None:
        found["nonzero"] = _without(1, density["true_zeros"])
    if isinstance(connections := density.get("connections"), Mapping):
        found["connections"] = {name: _connection(counts) for name, counts in connections.items()}
    return found


def _connection(counts: Any) -> Any:
    if not isinstance(counts, Mapping) or "zeros" not in counts:
        return counts
    found = {name: value for name, value in counts.items() if name != "zeros"}
    return {**found, "nonzero": _without(counts.get("size"), counts["zeros"])}


def _without(whole: Any, zeros: Any) -> Any:
    """What is left of the whole; ``zeros`` itself, which is no such number then, where that cannot be said."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (whole, zeros))
    return whole - zeros if numbers else zeros
