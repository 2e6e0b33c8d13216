"""The record of a finished cell: evaluated, recounted, with all that it took."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.core.benchmark import Benchmark, Measurement
from harness.core.connections import weights_among
from harness.core.data import Split
from harness.errors import BadScore, Diverged, HarnessError, WrongCount
from harness.formatting import not_finite
from harness.results.flops import forward_flops
from harness.results.store import SCHEMA, Record
from harness.results.training_flops import program_flops
from harness.stages.scoring import Checked

if TYPE_CHECKING:
    import torch

    from harness.core.connection_density import ConnectionDensity
    from harness.core.connections import Connection
    from harness.core.masks import Masks
    from harness.registry.plugins import Registry
    from harness.stages.graph import PlannedCell
    from harness.stages.network import Network
    from harness.stages.runner import StageRunner
    from harness.suites.cell import Part


class Evaluated(NamedTuple):
    """What an evaluation gives: the record, what was found on each test example where the benchmark tells, and masks.

    ``masks`` are the final hard ones; None where nothing is masked.
    """

    record: Record
    samples: Sequence[Mapping[str, Any]]
    masks: Masks | None
    connections: tuple[Connection, ...]


def evaluated(planned: PlannedCell, runner: StageRunner, registry: Registry, device: torch.device) -> Evaluated:
    """Evaluate a cell whose stages are finished; everything is read back from the saved state.

    Raises:
        WrongCount: if the final masks keep another number of weights than was asked for.
        BadScore: if the benchmark gives nothing that could be a score.
    """
    cell = planned.cell
    network = runner.restored(planned.stages[-1], cell)
    weights = network.begin_phase(hooks=network.soft)
    benchmark = runner.benchmark(cell.benchmark_part)
    masks = cell.evaluation.masks
    hard = network.hard_masks()
    densities = _densities(planned, network, hard)
    found: dict[Split, Checked] = {}
    splits: tuple[Split, ...] = ("test", "validation")
    with runner.evaluating(network, weights, masks) as model:
        for split in splits:
            found[split] = runner.score(model, cell, benchmark, split)
        zeros = weights.zeros()  # of exactly the weights that were scored
        nonzero = weights.nonzero_total()
    total = sum(p.numel() for p in network.module.parameters())
    added, trained_only = network.own_parameters(in_network=True), network.own_parameters(in_network=False)
    left = (nonzero + sum(added.values())) / total
    densities |= {"true_zeros": sum(zeros.values()) / max(1, densities["size"]), "total": left}
    densities |= {"added": added} if added else {}
    for name, count in zeros.items():
        densities["connections"][name]["zeros"] = count
    test, validation = found["test"], found["validation"]
    if not test.scores:
        raise BadScore(f"{not_finite(test.not_finite)}: no score of the test split is a finite number")
    spec = runner.benchmark(cell.training_part).spec()
    spent = network.spent
    record = _head(planned, registry)
    record["architecture"]["parameters"] = total
    if trained_only:
        record["method"]["trained_only"] = trained_only
    if masks == "hard" and network.soft:
        record["method"]["final_differs"] = network.method.final_differs()
    soft = masks == "soft" and network.soft
    density = {name: 1.0 if soft else d["kept"] / d["size"] for name, d in densities["connections"].items()}
    record = {
        **record,
        "status": "done",
        "density": densities,
        "metrics": _measured(benchmark, test.scores, "test"),
        "validation": _measured(benchmark, validation.scores, "validation"),
        "not_finite": dict(test.not_finite),
        "spent": {
            "steps": spent.steps,
            "examples": spent.examples,
            "tokens": spent.examples * spec.tokens,
            "seconds": round(spent.seconds, 3),
            "peak_memory_bytes": spent.peak_memory_bytes,
            "flops": program_flops(planned, runner.store, network, forward_flops(network.architecture, spec), density),
        },
        "trained_by": network.trained_by,
        "environment": runner.environment(cell, cell.benchmark_part),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "failure": None,
    }
    return Evaluated(record, test.samples, hard, network.connections)


def failed(planned: PlannedCell, registry: Registry, error: BaseException | Mapping[str, Any]) -> Record:
    """The record of a cell that has no result, with the reason."""
    failure = dict(error) if isinstance(error, Mapping) else describe_failure(error)
    return {
        **_head(planned, registry),
        "status": "diverged" if failure["type"] == "Diverged" else "failed",
        "density": {"requested": planned.cell.density, "scope": planned.cell.scope_name},
        "metrics": {},
        "validation": {},
        "spent": {},
        "environment": {},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "failure": failure,
    }


def describe_failure(error: BaseException) -> dict[str, Any]:
    """Type, message, traceback and, for divergence, the step."""
    return {
        "type": type(error).__name__,
        "message": str(error) or type(error).__name__,
        "traceback": "".join(traceback.format_exception(error)),
        "step": error.step if isinstance(error, Diverged) else None,
    }


def _head(planned: PlannedCell, registry: Registry) -> Record:
    cell = planned.cell
    benchmark = registry.get("benchmark", cell.benchmark_part.plugin)(cell.benchmark_part.options)
    program = []
    for stage in planned.stages:
        program += [{"type": type(phase).__name__, **asdict(phase)} for phase in stage.phases]
    return {
        "schema": SCHEMA,
        "status": "failed",
        "cell": planned.id,
        "suite": cell.suite,
        "experiment": cell.experiment,
        "architecture": cell.architecture_part.record(),
        "method": {**cell.method_part.record(), "note": cell.note},
        "benchmark": {
            **cell.benchmark_part.record(),
            "protocol": f"{benchmark.protocol}; {cell.evaluation.protocol}",
            "fingerprint": cell.benchmark_fingerprint,
            **_source(registry, cell.benchmark_part),
        },
        "trained_on": cell.training_part.label,
        "training_data": {
            **cell.training_part.record(),
            "fingerprint": cell.fingerprint,
            **_source(registry, cell.training_part),
        },
        "seed": cell.seed,
        "training": cell.training.model_dump(mode="json"),
        "evaluation": cell.evaluation.model_dump(mode="json"),
        "program": program,
        "stages": [stage.hash for stage in planned.stages],
        "published": cell.published,
    }


def _source(registry: Registry, part: Part) -> dict[str, Any]:
    """Where a benchmark's data came from, if it can say so."""
    benchmark = registry.get("benchmark", part.plugin)(part.options)
    try:
        source = benchmark.data_source()
    except (HarnessError, OSError):  # a record of a failure, whose reason may be just this
        source = None
    return {} if source is None else {"source": dict(source)}


def _densities(planned: PlannedCell, network: Network, hard: Masks | None) -> dict[str, Any]:
    """Requested, and what the final masks keep: checked against each other."""
    cell = planned.cell
    everything = network.densities(hard)
    table = {name: row for name, row in everything.items() if row.kind == "weight"}
    size, kept = sum(row.size for row in table.values()), sum(row.kept for row in table.values())
    soft = any(row.soft is not None for row in table.values())
    apart = {name: row for name, row in everything.items() if name not in table}
    found = {"attention": _attention(apart)} if apart else {}
    if any(row.pairs is not None for row in table.values()):
        found["pairs"] = _pairs(table)
    return {
        "requested": network.context.budget.requested if network.context.budget else cell.density,
        "match": {"cell": planned.match_id, "by": cell.match_by} if planned.match_id else None,
        "source": planned.source_id,
        "scope": cell.scope_name,
        "mask": kept / size if size else 1.0,
        "soft": sum(row.mean * row.size for row in table.values()) / size if soft else None,
        "kept": kept,
        "size": size,
        "other_count": _other_count(network, {name: row.kept for name, row in table.items()}),
        "connections": {name: {"size": row.size, "kept": row.kept, "soft": row.soft} for name, row in table.items()},
        **found,
    }


def _pairs(table: Mapping[str, ConnectionDensity]) -> dict[str, int]:
    """Kept and size where connections count in units of their own: pairs (out, in), or weights."""
    kept = sum(row.kept if row.pairs is None else row.pairs for row in table.values())
    return {"kept": kept, "size": sum(row.size if row.pairs is None else prod(row.shape[:2]) for row in table.values())}


def _attention(table: Mapping[str, ConnectionDensity]) -> dict[str, Any]:
    """Attention masks, which are no weights: entries (query, key) that are open."""
    kept, size = sum(row.kept for row in table.values()), sum(row.size for row in table.values())
    rows = {name: {"size": row.size, "kept": row.kept, "soft": row.soft} for name, row in table.items()}
    return {"mask": kept / size, "kept": kept, "size": size, "connections": rows}


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


def _measured(benchmark: Benchmark[Any], found: Mapping[str, Measurement], split: str) -> dict[str, Any]:
    return {
        metric.name: {
            "value": found[metric.name].value,
            "n": found[metric.name].n,
            "stderr": found[metric.name].stderr,
            "unit": metric.unit,
            "direction": metric.direction,
            "split": split,
            "primary": index == 0,
        }
        for index, metric in enumerate(benchmark.metrics)
        if metric.name in found
    }
