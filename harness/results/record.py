"""The record of a finished cell: evaluated, recounted, with all that it took."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic_core import to_jsonable_python

from harness.core.benchmark import Benchmark, Measurement
from harness.core.connections import weights_among
from harness.core.data import Split
from harness.errors import BadScore, Diverged, HarnessError, WrongCount
from harness.formatting import not_finite, printable
from harness.registry.blame import blamed, explained
from harness.results.cell_record import CellRecord
from harness.results.connectivity import connectivity
from harness.results.flops import forward_flops
from harness.results.record_parts import (
    AttentionDensity,
    CalibrationCost,
    ConnectionCounts,
    Density,
    DensityMatch,
    MetricScore,
    PairCounts,
    TrainingCost,
)
from harness.results.training_flops import program_flops
from harness.stages.running_statistics import BATCHES, needed
from harness.stages.scoring import Checked

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from harness.core.connection_density import ConnectionDensity
    from harness.core.connections import Connection
    from harness.core.examples import Examples
    from harness.core.mask_history import MaskHistory
    from harness.core.masks import Masks
    from harness.registry.plugins import Registry
    from harness.stages.graph import PlannedCell
    from harness.stages.network import Network
    from harness.stages.runner import StageRunner
    from harness.stages.scored import Scored
    from harness.suites.cell import Part


class Evaluated(NamedTuple):
    """What an evaluation gives: the record, what was found on each test example where the benchmark tells, and masks.

    ``masks`` are the final hard ones; None where nothing is masked. ``examples`` are what the test metrics are made of,
    ``history`` are the masks of the last training, where a suite wants them, ``attention`` how much soft masks let each
    query attend to each key.
    """

    record: CellRecord
    samples: Sequence[Mapping[str, Any]]
    masks: Masks | None
    connections: tuple[Connection, ...]
    examples: Mapping[str, Examples]
    history: MaskHistory | None
    attention: Mapping[str, Tensor]


def evaluated(planned: PlannedCell, runner: StageRunner, registry: Registry, device: torch.device) -> Evaluated:
    """Evaluate a cell whose stages are finished; everything is read back from the saved state.

    Raises:
        WrongCount: if the final masks keep another number of weights than was asked for.
        BadScore: if the benchmark gives nothing that could be a score.
    """
    cell = planned.cell
    scored = runner.scored(planned)
    network = scored.networks[-1]
    benchmark = runner.benchmark(cell.benchmark_part)
    masks = cell.evaluation.masks
    table = scored.densities()
    _require_no_more_than_one_network(scored, table, masks)
    members = scored.by_member(table)
    other = _other_count(
        network, {c.name: sum(rows[c.name].kept for rows in members) for c in weights_among(network.connections)}
    )
    found: dict[Split, Checked] = {}
    splits: tuple[Split, ...] = ("test", "validation")
    with runner.predicting(scored, masks) as model:
        for split in splits:
            found[split] = runner.score(model, network if len(members) == 1 else None, cell, benchmark, split)
        zeros = scored.zeros()  # of exactly the weights that were scored
        nonzero = scored.nonzero_total()
        soft = masks == "soft" and network.soft
        connected = connectivity(scored, model, soft, runner)
    total = sum(p.numel() for p in network.module.parameters())
    added = scored.own_parameters(in_network=True)
    test, validation = found["test"], found["validation"]
    if not test.scores:
        raise BadScore(f"{not_finite(test.not_finite)}: no score of the test split is a finite number")
    spec = runner.benchmark(cell.training_part).spec()
    spent = network.spent
    differs = network.method.final_differs() if masks == "hard" and network.soft else None
    inference = [{name: 1.0 if soft else row.hard for name, row in rows.items()} for rows in members]
    record = _record(
        planned,
        registry,
        parameters=total,
        final_differs=differs,
        references=benchmark.references(device),
        norms_estimated=BATCHES if any(needed(member, masks) for member in scored.networks) else 0,
        trained_only=scored.own_parameters(in_network=False),
        members=len(members),
        status="done",
        density=_densities(planned, scored, table, other, zeros).model_copy(
            update={"total": (nonzero + sum(added.values())) / total, "added": added}
        ),
        connectivity=connected,
        metrics=_measured(benchmark, test.scores, "test"),
        validation=_measured(benchmark, validation.scores, "validation"),
        not_finite=dict(test.not_finite),
        spent=TrainingCost(
            steps=spent.steps,
            examples=spent.examples,
            tokens=spent.examples * spec.tokens,
            seconds=round(spent.seconds, 3),
            peak_memory_bytes=spent.peak_memory_bytes,
            mask_updates=spent.mask_updates,
            calibration=CalibrationCost(batches=spent.calibration_batches, examples=spent.calibration_examples),
            flops=program_flops(planned, runner.store, network, forward_flops(network.architecture, spec), inference),
        ),
        trained_by=network.trained_by,
        environment=runner.environment(cell, cell.benchmark_part),
    )
    examples = {name: score.examples for name, score in test.scores.items() if score.examples is not None}
    kept = scored.masks, scored.connections, examples, network.history, scored.attention()
    return Evaluated(record, test.samples, *kept)


def failed(planned: PlannedCell, registry: Registry, error: BaseException | Mapping[str, Any]) -> CellRecord:
    """The record of a cell that has no result, with the reason."""
    failure = dict(error) if isinstance(error, Mapping) else describe_failure(error)
    return _record(
        planned,
        registry,
        status="diverged" if failure["type"] == "Diverged" else "failed",
        density=Density(requested=planned.cell.density, scope=planned.cell.scope_name),
        metrics={},
        failure=failure,
    )


MESSAGE, TRACEBACK = 4_000, 50_000
"""Characters of a failure's texts that are kept."""


def describe_failure(error: BaseException) -> dict[str, Any]:
    """Type, message, traceback and, for divergence, the step; texts that any file and any terminal can hold."""
    kind = printable(type(error).__name__, 200)
    try:
        message = _told(error) or kind
    except Exception as another:
        message = f"its text cannot be had: {type(another).__name__}"
    return {
        "type": kind,
        "message": printable(message, MESSAGE) or kind,
        "traceback": printable("".join(traceback.format_exception(error)), TRACEBACK),
        "step": error.step if isinstance(error, Diverged) else None,
    }


def _told(error: BaseException) -> str:
    """Its text, with the place in a plugin where it began."""
    whose = None if isinstance(error, HarnessError) else blamed(error)
    if whose is None:
        return str(error)
    if isinstance(error, FileNotFoundError):
        return explained(whose, error)
    text = str(error)
    if not text or isinstance(error, KeyError):  # says nothing without its type
        text = ": ".join(filter(None, (type(error).__name__, text)))
    return f"{text} ({whose.text})"


def _record(
    planned: PlannedCell,
    registry: Registry,
    parameters: int | None = None,
    final_differs: str | None = None,
    norms_estimated: int = 0,
    references: Mapping[str, float] = MappingProxyType({}),
    trained_only: Mapping[str, int] | None = None,
    members: int = 1,
    **found: Any,
) -> CellRecord:
    """What is known of a cell beforehand, with what was found; checked as whoever reads it will."""
    cell = planned.cell
    benchmark = registry.get("benchmark", cell.benchmark_part.plugin)(cell.benchmark_part.options)
    head = {
        "cell": planned.id,
        "suite": cell.suite,
        "experiment": cell.experiment,
        "architecture": {**cell.architecture_part.record(), "parameters": parameters},
        "method": {
            **cell.method_part.record(),
            "note": cell.note,
            "final_differs": final_differs,
            "norms_estimated": norms_estimated,
            "trained_only": trained_only or {},
            "members": members,
        },
        "benchmark": {
            **cell.benchmark_part.record(),
            "protocol": f"{cell.benchmark_part.files.as_written(benchmark.protocol)}; {cell.evaluation.protocol}",
            "references": dict(references),
            "fingerprint": cell.benchmark_fingerprint,
            "source": _source(registry, cell.benchmark_part),
        },
        "trained_on": cell.training_part.label,
        "training_data": {
            **cell.training_part.record(),
            "fingerprint": cell.fingerprint,
            "source": _source(registry, cell.training_part),
        },
        "seed": cell.seed,
        "training": cell.training.model_dump(mode="json"),
        "evaluation": cell.evaluation.model_dump(mode="json"),
        "program": [
            {"type": type(phase).__name__, **asdict(phase)} for stage in planned.stages for phase in stage.phases
        ],
        "stages": [stage.hash for stage in planned.stages],
        "published": cell.published,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return CellRecord.model_validate({**head, **found}, strict=False)


def _source(registry: Registry, part: Part) -> Any:
    """Where a benchmark's data came from, if it can say so."""
    benchmark = registry.get("benchmark", part.plugin)(part.options)
    try:
        return to_jsonable_python(benchmark.data_source())
    except (HarnessError, OSError):  # a record of a failure, whose reason may be just this
        return None


def _densities(
    planned: PlannedCell,
    scored: Scored,
    everything: Mapping[str, ConnectionDensity],
    other: str | None,
    zeros: Mapping[str, int],
) -> Density:
    """Requested, what the final masks keep, the reason for an ``other`` count, and what is left without ``zeros``."""
    cell, budget, members = planned.cell, scored.networks[-1].context.budget, len(scored.networks)
    apart = {c.name: everything[c.name] for c in scored.connections if c.kind != "weight"}
    table = {name: row for name, row in everything.items() if name not in apart}
    whole, kept = sum(row.size for row in table.values()), sum(row.kept for row in table.values())
    size = whole // members  # of one network: that is what a density is a fraction of
    soft = any(row.soft is not None for row in table.values())
    return Density(
        requested=budget.requested if budget else cell.density,
        match=DensityMatch(cell=planned.match_id, by=cell.match_by) if planned.match_id else None,
        source=planned.source_id,
        scope=cell.scope_name,
        mask=kept / size if size else 1.0,
        nonzero=(whole - sum(zeros[name] for name in table)) / size if size else 1.0,
        soft=_fraction(sum(row.mean * row.size for row in table.values()) / whole) if soft else None,
        kept=kept,
        size=size,
        other_count=other,
        pairs=_pairs(table, members) if any(row.pairs is not None for row in table.values()) else None,
        attention=_attention(apart) if apart else None,
        connections={
            c.name: ConnectionCounts(
                size=c.size,
                kept=table[c.name].kept,
                nonzero=c.size - zeros[c.name],
                soft=_fraction(table[c.name].soft),
                role=c.role,
            )
            for c in scored.connections
            if c.name in table
        },
    )


def _fraction(mean: float | None) -> float | None:
    """A mean of numbers in [0, 1], which may round beyond 1."""
    return None if mean is None else min(1.0, mean)


def _pairs(table: Mapping[str, ConnectionDensity], members: int) -> PairCounts:
    """Kept, and the size of one member, where connections count in units of their own: pairs (out, in), or weights."""
    kept = sum(row.kept if row.pairs is None else row.pairs for row in table.values())
    sizes = [row.size if row.pairs is None else prod(row.shape[:2]) for row in table.values()]
    soft = sum(row.mean * size for row, size in zip(table.values(), sizes, strict=True)) / sum(sizes)
    known = any(row.soft is not None for row in table.values())
    return PairCounts(kept=kept, size=sum(sizes) // members, soft=_fraction(soft) if known else None)


def _attention(table: Mapping[str, ConnectionDensity]) -> AttentionDensity:
    """Attention masks, which are no weights: entries (query, key) that are open."""
    kept, size = sum(row.kept for row in table.values()), sum(row.size for row in table.values())
    rows = {
        name: ConnectionCounts(size=row.size, kept=row.kept, soft=_fraction(row.soft)) for name, row in table.items()
    }
    return AttentionDensity(mask=kept / size, kept=kept, size=size, connections=rows)


def _require_no_more_than_one_network(
    scored: Scored, table: Mapping[str, ConnectionDensity], masks: Literal["hard", "soft"]
) -> None:
    """Several networks are comparable with one if they keep no more weights than it has.

    Raises:
        WrongCount: if they keep more.
    """
    rows = [row for row in table.values() if row.kind == "weight"]
    count = len(scored.networks)
    kept, size = sum(row.kept for row in rows), sum(row.size for row in rows) // count
    if count > 1 and masks == "soft" and any(network.soft for network in scored.networks):
        raise WrongCount(f"an ensemble of {count} networks is tested with soft masks, which keep all weights")
    if count > 1 and kept > size:
        raise WrongCount(
            f"the {count} networks of the ensemble keep {kept:,} weights, one network has {size:,}: take fewer, or "
            "prune each to its share, Prune(member=i, members=n)"
        )


def _other_count(network: Network, kept: Mapping[str, int]) -> str | None:
    """The method's reason for keeping another number of weights than was asked for; None if it keeps just that.

    Raises:
        WrongCount: if it has no reason.
    """
    budget, method = network.context.budget, network.method
    if budget is None:
        return None
    own = weights_among(network.connections)
    pairs = [("", budget.keep, sum(kept.values()), own)]
    for c in own if budget.per_connection is not None else ():
        assert budget.per_connection is not None
        pairs.append((f" in {c.name}", budget.per_connection[c.name], kept[c.name], (c,)))
    reasons = []
    for where, asked, has, connections in pairs:
        if asked != has:
            reason = method.other_count(asked, has, connections)
            if reason is None:
                size = max(1, sum(c.size for c in connections))
                raise WrongCount(
                    f"asked to keep {asked:,} of {size:,} weights{where} (density {asked / size:.6g}), the final masks "
                    f"keep {has:,} (density {has / size:.6g}); method '{network.cell.method}' gives no reason for it: "
                    "it is at fault, or lacks other_count()"
                )
            reasons.append(reason)
    return reasons[0] if reasons else None


def _measured(benchmark: Benchmark[Any], found: Mapping[str, Measurement], split: str) -> dict[str, MetricScore]:
    return {
        metric.name: MetricScore(
            value=found[metric.name].value,
            n=found[metric.name].n,
            stderr=found[metric.name].stderr,
            unit=metric.unit,
            direction=metric.direction,
            split=split,
            primary=index == 0,
            timed=metric.timed,
        )
        for index, metric in enumerate(benchmark.metrics)
        if metric.name in found
    }
