"""What a cell was planned with is what it runs with: code, options' files and data, looked at again by the worker.

Minutes or days lie between planning and running; results are filed under the hashes of the plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.interchange import bundle

if TYPE_CHECKING:
    from harness.registry.plugins import Kind, Registry
    from harness.suites.cell import Cell, Part


def require_as_planned(cell: Cell, registry: Registry, scored: bool) -> None:
    """Do nothing if everything that a cell's hashes cover is as it was planned.

    Args:
        scored: whether the cell is to be evaluated; else only trained.

    Raises:
        UserError: naming what has changed.
    """
    parts: list[tuple[Kind, Part]] = [("architecture", cell.architecture_part), ("method", cell.method_part)]
    data = [(cell.training_part, cell.fingerprint)]
    if scored:
        data.append((cell.benchmark_part, cell.benchmark_fingerprint))
    changed = [text for kind, part in parts for text in _changed(kind, part, registry)]
    for part, fingerprint in data:
        changed += _changed("benchmark", part, registry)
        # A new instance: one that a worker has kept may know only what it has read.
        if registry.get("benchmark", part.plugin)(part.options).fingerprint() != fingerprint:
            changed.append(f"the data of benchmark '{part.label}'")
    if changed:
        raise UserError(
            f"{', '.join(dict.fromkeys(changed))} changed after this run was planned, so its results would stand "
            "under the wrong name: run the same command again, which plans with what is there now"
        )


def _changed(kind: Kind, part: Part, registry: Registry) -> Iterator[str]:
    now = registry.identity(kind, part.plugin)
    if any(part.identity.get(key) != now.get(key) for key in ("version", "code")):
        yield f"the plugin of {kind} '{part.label}'"
    if "content" in part.identity and registry.get(kind, part.plugin).content(part.options) != part.identity["content"]:
        yield f"the files of {kind} '{part.label}'"
    if part.weights is not None and bundle.read(part.weights).digest != part.identity["weights"]:
        yield f"the weights of '{part.label}'"
