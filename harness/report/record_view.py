"""One record, readable: what ``harness show`` prints and the HTML page opens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.tables import BETTER
from harness.results.cell_record import CellRecord
from harness.results.record_parts import MetricScore, PluginPart

_HEAD = ("cell", "suite", "experiment", "status", "seed", "trained_on", "published", "finished")
_PARTS = ("architecture", "method", "benchmark")


@dataclass(frozen=True, slots=True)
class RecordSection:
    """A heading, "" for the first one, and facts as (name, text), "" where a line has no name.

    ``columns`` and ``rows`` are a table of texts that belongs to it, or empty.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def record_view(record: CellRecord) -> Iterator[RecordSection]:
    """Everything that a record says, in order of interest; what is empty is left out."""
    head = [(name, _inline(getattr(record, name))) for name in _HEAD]
    head += [(name, _part(getattr(record, name))) for name in _PARTS]
    if record.training_data and record.training_data.label != record.benchmark.label:
        head.append(("training_data", _part(record.training_data)))
    yield RecordSection("", head)
    if failure := record.failure:
        step = f" at step {failure.step}" if failure.step is not None else ""
        lines = (failure.traceback or "").splitlines()
        yield RecordSection(f"failure{step}: {failure.type}: {failure.message}", [("", line) for line in lines])
    for split, metrics in (("test", record.metrics), ("validation", record.validation)):
        if metrics:
            yield RecordSection(split, [(name, _metric(metric)) for name, metric in metrics.items()])
    connections = [
        (name, f"{c.size:,}", f"{c.kept:,}", f"{c.kept / max(1, c.size):.4f}")
        for name, c in record.density.connections.items()
    ]
    density = _facts(record.density.model_dump(mode="json", exclude={"connections"}))
    yield RecordSection(
        "density", density, ("connection", "size", "kept", "density") if connections else (), connections
    )
    shown = {*_HEAD, *_PARTS, "training_data", "failure", "metrics", "validation", "density", "schema_version"}
    for name, value in record.model_dump(mode="json", exclude=shown).items():
        if value in (None, {}, []):
            continue
        if isinstance(value, Mapping):
            yield RecordSection(name, _facts(value))
        elif isinstance(value, list):
            text = _phase if name == "program" else _inline
            yield RecordSection(name, [(str(number), text(item)) for number, item in enumerate(value, 1)])
        else:
            yield RecordSection(name, [("", _inline(value))])


def _part(part: PluginPart) -> str:
    named = {"label", "plugin", "version", "options"}
    extra = part.model_dump(mode="json", exclude=named, exclude_none=True)
    told = {**part.options, **{name: value for name, value in extra.items() if value != {}}}
    return f"{part.label} = {part.plugin} version {part.version}  {_inline(told) if told else ''}".rstrip()


def _phase(value: Mapping[str, Any]) -> str:
    """``Train without hooks: steps 240``: what is nothing is left out, and that the method takes part."""
    kind = value["type"] + (" without hooks" if value.get("hooks") is False else "")
    told = {name: one for name, one in value.items() if name not in ("type", "hooks") and one}
    return f"{kind}: {_inline(told)}" if told else kind


def _metric(metric: MetricScore) -> str:
    error = f" ± {metric.stderr:.4g} (standard error)" if metric.stderr is not None else ""
    facts = [metric.unit, f"n {metric.n}", BETTER[metric.direction], "primary" if metric.primary else ""]
    return f"{metric.value:.6g}{error}  ({', '.join(fact for fact in facts if fact)})"


def _facts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _inline(value)) for name, value in values.items()]


def _inline(value: Any) -> str:
    if value is None or (isinstance(value, str | list | Mapping) and not value):
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_inline(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return " ".join(map(_inline, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
