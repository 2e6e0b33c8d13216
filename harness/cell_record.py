"""The record of a finished cell: evaluated, recounted, with all that it took."""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.benchmark import Benchmark, Measurement, Scores, Split
from harness.environment import describe
from harness.errors import Diverged
from harness.flops import forward_flops
from harness.program_flops import program_flops
from harness.results import SCHEMA, Record

if TYPE_CHECKING:
    import torch

    from harness.connections import Connection
    from harness.masks import Masks
    from harness.network import Network
    from harness.plugins import Registry
    from harness.stage_runner import StageRunner
    from harness.stages import PlannedCell
    from harness.weights import Weights


class Evaluated(NamedTuple):
    """What an evaluation gives: the record, what was found on each test example where the benchmark tells, and masks.

    ``masks`` are the final hard ones; None where nothing is masked.
    """

    record: Record
    samples: Sequence[Mapping[str, Any]]
    masks: Masks | None
    connections: tuple[Connection, ...]


def evaluated(planned: PlannedCell, runner: StageRunner, registry: Registry, device: torch.device) -> Evaluated:
    """Evaluate a cell whose stages are finished; everything is read back from the saved state."""
    cell = planned.cell
    network = runner.restored(planned.stages[-1], cell)
    weights = network.weights(hooks=network.soft)
    benchmark = runner.benchmark(cell.benchmark_part)
    masks = cell.evaluation.masks
    found: dict[str, Scores] = {}
    splits: tuple[Split, Split] = ("test", "validation")
    for split in splits:
        found[split] = runner.evaluate(network, weights, benchmark, split, masks)
        for measurement in found[split].values():
            if not math.isfinite(measurement.value):
                raise Diverged(network.spent.steps, measurement.value)
    spec = runner.benchmark(cell.training_part).spec()
    spent = network.spent
    total = sum(p.numel() for p in network.module.parameters())
    record = _head(planned, registry)
    record["architecture"]["parameters"] = total
    densities = _densities(planned, network, weights, total)
    soft = masks == "soft" and network.soft
    density = {name: 1.0 if soft else d["kept"] / d["size"] for name, d in densities["connections"].items()}
    record = {
        **record,
        "status": "done",
        "density": densities,
        "metrics": _measured(benchmark, found["test"], "test"),
        "validation": _measured(benchmark, found["validation"], "validation"),
        "spent": {
            "steps": spent.steps,
            "examples": spent.examples,
            "tokens": spent.examples * spec.tokens,
            "seconds": round(spent.seconds, 3),
            "peak_memory_bytes": spent.peak_memory_bytes,
            "flops": program_flops(planned, runner.store, network, forward_flops(network.architecture, spec), density),
        },
        "environment": describe(device),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "failure": None,
    }
    return Evaluated(record, found["test"].samples, network.hard_masks(), network.connections)


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
        },
        "trained_on": cell.training_part.label,
        "seed": cell.seed,
        "training": cell.training.model_dump(mode="json"),
        "evaluation": cell.evaluation.model_dump(mode="json"),
        "program": program,
        "stages": [stage.hash for stage in planned.stages],
        "published": cell.published,
    }


def _densities(planned: PlannedCell, network: Network, weights: Weights, total: int) -> dict[str, Any]:
    """Requested, mask, and zeros recounted from the weights that are evaluated."""
    cell = planned.cell
    hard = network.hard_masks()
    with weights.evaluating(cell.evaluation.masks, hard if cell.evaluation.masks == "hard" else None):
        zeros = weights.zeros()
        nonzero = weights.nonzero_total()
    soft = network.method.soft_densities() if network.soft else None
    connections: dict[str, dict[str, Any]] = {}
    for c in network.connections:
        kept = int(hard[c.name].sum()) if hard is not None else c.size
        connections[c.name] = {
            "size": c.size,
            "kept": kept,
            "zeros": zeros[c.name],
            "soft": soft[c.name] if soft else None,
        }
    size = sum(c["size"] for c in connections.values())
    kept = sum(c["kept"] for c in connections.values())
    mean_soft = sum(c["soft"] * c["size"] for c in connections.values()) / size if soft else None
    return {
        "requested": network.context.budget.requested if network.context.budget else cell.density,
        "match": {"cell": planned.match_id, "by": cell.match_by} if planned.match_id else None,
        "source": planned.source_id,
        "scope": cell.scope_name,
        "mask": kept / size if size else 1.0,
        "true_zeros": sum(zeros.values()) / size if size else 0.0,
        "total": nonzero / total,
        "soft": mean_soft,
        "kept": kept,
        "size": size,
        "connections": connections,
    }


def _measured(benchmark: Benchmark[Any], found: Mapping[str, Measurement], split: str) -> dict[str, Any]:
    return {
        metric.name: {
            "value": found[metric.name].value,
            "n": found[metric.name].n,
            "stderr": _finite(found[metric.name].stderr),
            "unit": metric.unit,
            "direction": metric.direction,
            "split": split,
            "primary": index == 0,
        }
        for index, metric in enumerate(benchmark.metrics)
        if metric.name in found
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
