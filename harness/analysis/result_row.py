"""One metric of one finished cell, as statistics and reports see it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from math import isnan, nan

import pandas as pd

from harness.analysis.per_example import PerExample
from harness.analysis.scales import unit_of
from harness.results.cell_record import CellRecord
from harness.results.record_parts import Environment, MetricScore, OperationCounts, ProgramPhase, TrainingCost
from harness.results.store import ResultStore
from harness.suites.comparisons import Comparisons

DISTRIBUTION = "sparsity-harness"
BEFORE = " before + "
"""In ``program`` between the steps of what a run goes on from and its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """A number and all that says what it may be compared with; densities are fractions in [0, 1], nan is unknown.

    Attributes:
        trained_on: label of the benchmark whose training data was used.
        match: the row whose density this cell takes, "" if none.
        density_requested: what the suite asks for; of a cell that takes its density from another the number of that
            one, which may differ between seeds; nan where nothing is asked for, as of a dense network.
        density_asked: the same, but of a matched cell what is asked for of the other: equal in all seeds.
        density_mask: weights that the tested network's mask keeps, of those in scope: 1 where it was tested with soft
            masks, whose mean value is ``mask_mean`` then.
        density_nonzero: weights that are not zero in the network that was scored, of those in scope.
        density_total: the same of all parameters of the network.
        n_examples: that ``value`` is the mean of; ``stderr`` is its standard error over them.
        validation: the same metric of the same network on validation data, nan where it was not scored there.
        steps, examples, tokens, seconds: of training. ``flops`` and ``flops_sparse`` are those of training,
            ``inference_flops`` and ``inference_flops_sparse`` of one example. ``peak_memory`` is in bytes.
        program: how the optimizer steps are spread over trainings: ``5,372 + 5,371``, ``250 before + 100`` where it
            goes on from those of another; "" if unknown.
        recovery_lr: the constant learning rate of the last recovery after a pruning; nan without one.
        broken: why the output tells nothing of the input, "" if it does or is not known; ``effective`` are the weights
            that can change the output, of those in scope. ``dead_units`` of ``units``, neurons and the like, carry
            nothing.
        mask_updates: how often masks changed while it trained; nan for a method that does not, or if it is not known.
        norms_estimated: training batches over which batch norms were estimated anew for scoring, 0 if they were not.
        published: number that a paper reports for the primary metric.
        made_with: versions and devices of training and, where it was elsewhere, of the test.
        settings: those that tuning has chosen, in words; "" where nothing is tuned.
        timed: whether a clock was read for the value.
        references: what can be had without a network, by the primary metric, in words.
        baseline: the method that the suite's plan compares with; ``comparisons`` is what else it compares.
        per_example: where the results of single test examples are, if they were kept.
    """

    suite: str
    experiment: str
    architecture: str
    benchmark: str
    trained_on: str
    method: str
    match: str
    density_requested: float
    density_asked: float = nan
    density_mask: float
    mask_mean: float
    density_nonzero: float
    density_total: float
    density_scope: str
    metric: str
    unit: str
    direction: str
    protocol: str
    primary: bool
    seed: int
    value: float
    n_examples: float
    stderr: float
    validation: float = nan
    parameters: float
    steps: float
    examples: float
    tokens: float
    flops: float
    flops_sparse: float
    inference_flops: float
    inference_flops_sparse: float
    seconds: float
    peak_memory: float
    program: str
    recovery_lr: float = nan
    broken: str
    effective: float
    dead_units: float
    units: float
    mask_updates: float = nan
    norms_estimated: float
    published: float
    cell: str
    versions: str
    revision: str
    device: str
    made_with: str
    baseline: str
    settings: str = ""
    timed: bool = False
    references: str = ""
    comparisons: Comparisons | None = None
    per_example: PerExample | None = None


COLUMNS = tuple(field.name for field in fields(ResultRow))
"""Columns of a frame of rows."""


def as_frame(rows: Iterable[ResultRow]) -> pd.DataFrame:
    """Rows as a table with ``COLUMNS``."""
    listed = list(rows)
    return pd.DataFrame({name: [getattr(row, name) for row in listed] for name in COLUMNS})


def from_frame(frame: pd.DataFrame) -> Iterator[ResultRow]:
    """The rows of such a table, in its order."""
    for values in frame[list(COLUMNS)].itertuples(index=False, name=None):
        yield ResultRow(**dict(zip(COLUMNS, values, strict=True)))


def rows_of(
    record: CellRecord,
    suite: str,
    baseline: str,
    comparisons: Comparisons | None = None,
    store: ResultStore | None = None,
    settings: str = "",
) -> Iterator[ResultRow]:
    """A row for each metric of a finished cell, without what is known of the cell that it is matched to.

    ``store`` is where the results of single test examples are read from; without it they are not known.
    ``settings`` are those that tuning has chosen.
    """
    density, benchmark = record.density, record.benchmark
    spent = record.spent or TrainingCost()
    flops = spent.flops or OperationCounts()
    environment = record.environment or Environment()
    versions, revision, device = _versions(environment), environment.git or "", environment.device or ""
    made_with, program = _made_with(record), _steps(record)
    soft = density.soft is not None and (record.evaluation or {}).get("masks") == "soft"
    units = record.connectivity.dead_units if record.connectivity else None
    for name, metric in record.metrics.items():
        yield ResultRow(
            suite=suite,
            experiment=record.experiment,
            architecture=record.architecture.label,
            benchmark=benchmark.label,
            trained_on=record.trained_on or benchmark.label,
            method=record.method.label,
            match="",
            density_requested=_number(density.requested),
            density_mask=1.0 if soft else _number(density.mask),
            mask_mean=_number(density.soft) if soft else nan,
            density_nonzero=_number(density.nonzero),
            density_total=_number(density.total),
            density_scope=density.scope,
            metric=name,
            unit=unit_of(name, metric.unit),
            direction=metric.direction,
            protocol=benchmark.protocol,
            primary=metric.primary,
            seed=record.seed,
            value=metric.value,
            n_examples=_number(metric.n),
            stderr=_number(metric.stderr),
            validation=record.validation[name].value if name in record.validation else nan,
            parameters=_number(record.architecture.parameters),
            steps=_number(spent.steps),
            examples=_number(spent.examples),
            tokens=_number(spent.tokens),
            flops=_number(flops.training),
            flops_sparse=_number(flops.training_sparse),
            inference_flops=_number(flops.inference),
            inference_flops_sparse=_number(flops.inference_sparse),
            seconds=_number(spent.seconds),
            peak_memory=_number(spent.peak_memory_bytes),
            program=program,
            recovery_lr=_recovery_lr(record),
            broken=(record.connectivity and record.connectivity.broken) or "",
            effective=_number(record.connectivity.density if record.connectivity else None),
            dead_units=_number(units.dead if units else None),
            units=_number(units.of if units else None),
            mask_updates=_number(spent.mask_updates),
            norms_estimated=float(record.method.norms_estimated),
            published=_published(record, metric),
            cell=record.cell,
            versions=versions,
            revision=revision,
            device=device,
            made_with=made_with,
            baseline=baseline,
            settings=settings,
            timed=metric.timed,
            references=", ".join(f"{name} {value:.6g}" for name, value in benchmark.references.items())
            if metric.primary
            else "",
            comparisons=comparisons,
            per_example=PerExample(store, suite, record.cell, name, record.examples)
            if store is not None and record.examples is not None
            else None,
        )


def program_text(program: Sequence[ProgramPhase]) -> str:
    """Steps of every training of a program, in order: ``5,372 + 5,371``, equal ones as ``5 x 100``."""
    steps = [found for phase in program if isinstance(found := getattr(phase, "steps", None), int) and found]
    runs = [(value, len(list(same))) for value, same in groupby(steps)]
    return " + ".join(f"{value:,}" if times == 1 else f"{times} x {value:,}" for value, times in runs)


def _steps(record: CellRecord) -> str:
    """Steps of the program, and before them those of the trainings that it goes on from: ``250 before + 100``."""
    program = program_text(record.program)
    own = sum(getattr(phase, "steps", None) or 0 for phase in record.program)
    before = (record.spent.steps or 0) - own if record.spent is not None else 0
    return f"{before:,}{BEFORE}{program}" if before > 0 and program else program


def _recovery_lr(record: CellRecord) -> float:
    recoveries = [phase for phase in record.program if phase.type == "Finetune" and program_text([phase])]
    if not recoveries:
        return nan
    own, suites = getattr(recoveries[-1], "lr", None), (record.training or {}).get("lr")
    rate = suites if own is None else own
    return float(rate) if isinstance(rate, int | float) else nan


def asked(density: float | None) -> str:
    """A density that a suite asks for, as a name; "" for none."""
    return "" if density is None or isnan(density) else f"{density:g}"


def _number(value: float | None) -> float:
    return nan if value is None else float(value)


def _published(record: CellRecord, metric: MetricScore) -> float:
    return _number(record.published) if metric.primary else nan


def _made_with(record: CellRecord) -> str:
    """What trained a network and, if that is another, what tested it; records of before only know the latter."""
    trained = [_made(environment) for environment in record.trained_by or ()]
    tested = _made(record.environment or Environment())
    text = ", then ".join(dict.fromkeys(trained)) or tested
    return text if text == tested or not tested else f"{text}, tested with {tested}"


def alike(one: str, other: str) -> bool:
    """Whether two ``made_with`` name the same versions and device of what took part in both; "" is like none."""
    first, second = _parts(one), _parts(other)
    return bool(one and other) and all(first[name] == second[name] for name in first.keys() & second.keys())


def _parts(made_with: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for part in re.split(r", (?:then |tested with )?", made_with):
        name, _, version = part.partition(" ")
        found.setdefault(name, set()).add(version)
    return found


def _made(environment: Environment) -> str:
    others = sorted((name, version) for name, version in (environment.plugins or {}).items() if name != DISTRIBUTION)
    plugins = (f"{name} {str(version)[:12]}" for name, version in others)
    device = environment.device_name if environment.device == "cuda" else environment.device
    return ", ".join(filter(None, [_versions(environment), *plugins, device and f"on {device}"]))


def _versions(environment: Environment) -> str:
    named = ((name, getattr(environment, name)) for name in ("harness", "torch", "python"))
    return ", ".join(f"{name} {version}" for name, version in named if version)
