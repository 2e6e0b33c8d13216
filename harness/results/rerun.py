"""A suite of one cell, made from its record and from the records of the cells that it builds on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import HarnessError, UserError
from harness.interchange import bundle
from harness.results.cell_record import CellRecord
from harness.results.record_parts import DataPart, PluginPart
from harness.results.store import LeftOut, ResultStore

if TYPE_CHECKING:
    from harness.registry.plugins import Kind, Registry
    from harness.stages.graph import PlannedCell
    from harness.suites.cell import Part

_KINDS: tuple[Literal["architecture", "method", "benchmark"], ...] = ("architecture", "method", "benchmark")


def chain(store: ResultStore, suite: str, cell: str) -> list[CellRecord]:
    """The record of a cell, then those of the cells whose density it takes or whose network it starts from.

    Raises:
        UserError: if one of them has no result, or lacks what it takes to run it again.
    """
    record = store.record(suite, cell)
    if isinstance(record, LeftOut):
        raise HarnessError(f"{record.path} {record.reason}")
    if record.status != "done":
        raise UserError(f"{cell} has no result that could be reproduced: it is recorded as {record.status}")
    lacks = [name for name in ("training", "evaluation") if getattr(record, name) is None]
    lacks += [f"{kind}.plugin" for kind in _KINDS if getattr(record, kind).plugin is None]
    if lacks:
        raise UserError(f"the record of {cell} lacks {', '.join(lacks)}: it is of a version that did not keep them")
    match, source = record.density.match, record.density.source
    named = record.density.model_copy(
        update={
            "match": match and match.model_copy(update={"cell": store.renamed(suite, match.cell)}),
            "source": source and store.renamed(suite, source),
        }
    )
    found = [record.model_copy(update={"training_data": _training_data(store, record), "density": named})]
    for other in (named.match.cell if named.match else None, named.source):
        if other is None or other in {one.cell for one in found}:
            continue
        if not store.file(suite, "cells", other).exists:
            raise UserError(f"{cell} builds on {other}, which has no record in {store.root / suite}")
        found += [one for one in chain(store, suite, other) if one.cell not in {known.cell for known in found}]
    return found


def suite_of(records: Sequence[CellRecord], registry: Registry) -> dict[str, Any]:
    """What a suite file with exactly these cells says.

    Args:
        records: as :func:`chain` gives them.

    Raises:
        UserError: if a plugin or imported weights are not here, or records do not say enough.
    """
    by_name = {record.cell: record for record in records}
    experiments: dict[str, dict[str, Any]] = {}
    for record in records:
        one = experiments.setdefault(
            record.experiment,
            {key: {} for key in ("architectures", "benchmarks", "methods", "training")}
            | {"seeds": [record.seed], "include": []},
        )
        architecture, method, benchmark = record.architecture, record.method, record.benchmark
        assert record.training_data is not None
        entry = _entry(registry, "architecture", architecture)
        if architecture.weights is not None:
            entry["weights"] = architecture.weights_from or _imported(architecture.weights, record.cell)
        _put(one["architectures"], architecture.label, entry, record)
        for data in (benchmark, record.training_data):
            _put(one["benchmarks"], data.label, _entry(registry, "benchmark", data), record)
        _put(one["methods"], method.label, _method(record, by_name, registry), record)
        if record.training_data.label != benchmark.label:
            _put(one, "train_on", record.training_data.label, record)
        one["include"].append(labels(record))
    return {"name": records[0].suite, "experiments": experiments}


def labels(record: CellRecord) -> dict[str, str]:
    """What tells the cells of a chain apart."""
    return {"experiment": record.experiment, **{kind: getattr(record, kind).label for kind in _KINDS}}


def changed(record: CellRecord, planned: PlannedCell, registry: Registry) -> list[str]:
    """What differs from the record of all that determines a cell, as far as the record knows it."""
    return list(_changed(record, planned, registry)) if planned.id != record.cell else []


def _changed(record: CellRecord, planned: PlannedCell, registry: Registry) -> Iterator[str]:
    cell = planned.cell
    parts: list[tuple[Kind, PluginPart | None, Part]] = [
        ("architecture", record.architecture, cell.architecture_part),
        ("method", record.method, cell.method_part),
        ("benchmark", record.benchmark, cell.benchmark_part),
        ("benchmark", record.training_data, cell.training_part),
    ]
    brought = (record.environment.plugins if record.environment else None) or {}
    for kind, was, part in parts:
        if was is None:
            continue
        name, now = f"{kind} '{was.label}'", part.identity
        origin = registry.find(kind, part.plugin).origin
        if was.version not in (None, now["version"]):
            yield f"the plugin of {name} had version {was.version} and has {now['version']}"
        if origin.code is not None and brought.get(origin.plugin) not in (None, origin.code):
            yield f"the code of {name} ({origin.file}) is another"
        if was.content not in (None, now.get("content")):
            yield f"the files of {name} are others"
    if record.architecture.weights not in (None, cell.architecture_part.identity.get("weights")):
        yield f"the weights of architecture '{record.architecture.label}' are others"
    data: list[tuple[DataPart | None, str]] = [
        (record.benchmark, cell.benchmark_fingerprint),
        (record.training_data, cell.fingerprint),
    ]
    for was_data, now_print in data:
        if was_data is not None and was_data.fingerprint not in (None, now_print):
            yield f"the data of benchmark '{was_data.label}' had fingerprint {was_data.fingerprint}, now {now_print}"


def _entry(registry: Registry, kind: Kind, part: PluginPart) -> dict[str, Any]:
    assert part.plugin is not None
    try:
        registry.get(kind, part.plugin)
    except UserError as error:
        raise UserError(f"{error}\nA plugin that is a single file is loaded with --plugin FILE.") from error
    return {"use": part.plugin, **part.options}


def _method(record: CellRecord, records: Mapping[str, CellRecord], registry: Registry) -> dict[str, Any]:
    """The method under its label, with everything that is the cell's own."""
    method, density = record.method, record.density
    entry = _entry(registry, "method", method)
    entry |= {"training": record.training, "evaluation": record.evaluation, "scope": _scope(density.scope)}
    if density.match is not None:
        entry["density"] = {"match": labels(records[density.match.cell]), "by": density.match.by or "hard"}
    elif density.requested is not None and registry.get("method", str(method.plugin)).takes_density != "never":
        entry["density"] = density.requested
    if method.inverted:
        entry["inverted"] = True
    if density.source is not None:
        entry["source"] = labels(records[density.source])
    return entry


def _scope(name: str) -> str | list[str]:
    """What a suite says for the scope that a record names: ``maskable``, ``maskable[role,...]``."""
    inner = name.removeprefix("maskable").strip("[]")
    return inner.split(",") if inner not in ("", "all") else inner or "default"


def _training_data(store: ResultStore, record: CellRecord) -> DataPart:
    """The benchmark that a cell was trained on; older records only name it, and their neighbours know it."""
    if record.training_data is not None:
        return record.training_data
    if record.trained_on in (None, record.benchmark.label):
        return record.benchmark
    wanted = (record.experiment, record.trained_on)
    for other in store.records(record.suite):
        if isinstance(other, CellRecord) and (other.experiment, other.benchmark.label) == wanted:
            return other.benchmark
    raise UserError(
        f"the record of {record.cell} lacks training_data: it names '{record.trained_on}' without its options, as "
        "those of earlier versions did"
    )


def _imported(digest: str, cell: str) -> str:
    """The imported weights of a digest, where a record does not name them."""
    for manifest in sorted(bundle.models_directory().glob(f"*/{bundle.MANIFEST}")):
        try:
            if bundle.read(manifest.parent).digest == digest:
                return manifest.parent.name
        except HarnessError:
            continue
    raise UserError(
        f"{cell} starts from imported weights of SHA-256 {digest[:16]}..., and none in {bundle.models_directory()} are "
        "these: bring them in with 'harness import'"
    )


def _put(into: dict[str, Any], label: str, value: Any, record: CellRecord) -> None:
    if into.setdefault(label, value) != value:
        raise UserError(
            f"{record.cell} and a run that it builds on have different things under the label '{label}', which no "
            "single experiment can say: run their suite instead"
        )
