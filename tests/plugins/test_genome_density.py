"""A genome's wiring at a given density: exact counts, gradients at the cut, and cuts of trained genomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from stage_runs import after, assert_same, finish, outcome, runner_of
from torch import Tensor, nn
from two_processes import two_and_one

from harness import (
    Band,
    Connection,
    CurrentMasks,
    DensityBudget,
    Finetune,
    Inherit,
    Masks,
    MethodContext,
    NoOptions,
    Prune,
    Source,
    Train,
    TrainingBudget,
    Unsupported,
    UserError,
    allocate,
    select,
)
from harness.core.connection_density import connection_densities
from harness.core.data import DataSpec
from harness.registry.plugins import load
from harness.stages.graph import compile_graph
from harness.stages.network import initial_module
from harness.stages.training_run import Interrupted
from harness.storage import checkpoint
from harness.suites.suite import load_suite
from harness.testing import check_method
from harness.testing.toy import ToyArchitecture
from harness_genome import Genome
from harness_genome.cut import GenomeCut, GenomeCutOptions
from harness_genome.method import GenomeMethod, GenomeOptions

CPU = torch.device("cpu")
IN, A, B, OUT = Band("in", 5, 0), Band("a", 4, 1), Band("b", 3, 2), Band("out", 2, 3)
# Side-by-side columns (one block), columns out of band order, a part of a parameter, and a transposed layout.
FLAT = (
    Connection("fused.in", "fused", "skip", IN, B, (3, 5), columns=(0, 5)),
    Connection("fused.a", "fused", "dense", A, B, (3, 4), columns=(5, 9)),
    Connection("swapped.a", "swapped", "dense", A, OUT, (2, 4), columns=(0, 4)),
    Connection("swapped.in", "swapped", "skip", IN, OUT, (2, 5), columns=(4, 9)),
    Connection("part", "part", "dense", B, OUT, (2, 3), rows=(1, 3), columns=(1, 4)),
    Connection("turned", "turned", "dense", A, B, (3, 4), out_axis=1, in_axis=0),
)
KERNEL = Connection("kernel", "kernel", "conv", IN, A, (4, 5, 3, 2))
SHAPES = {"fused": (3, 9), "swapped": (2, 9), "part": (4, 5), "kernel": (4, 5, 3, 2), "turned": (4, 3)}
SIZE = sum(c.size for c in FLAT)
TOY = ToyArchitecture(NoOptions(), DataSpec("classification", (8,), 4, examples=32))


def context(
    density: float | None, connections: Sequence[Connection] = FLAT, counts: dict[str, int] | None = None
) -> MethodContext:
    generator = torch.Generator().manual_seed(5)
    names = dict.fromkeys(c.parameter for c in connections)
    raw = {n: torch.randn(SHAPES[n], dtype=torch.float64, generator=generator).requires_grad_() for n in names}
    budget = None if density is None else DensityBudget.of(density, connections)
    if budget is not None and counts is not None:
        budget = replace(budget, keep=sum(counts.values()), per_connection=counts)
    return MethodContext(
        nn.Module(), tuple(connections), raw, CurrentMasks(connections), budget, None, 0, CPU, steps=20
    )


def attached(now: MethodContext, **options: Any) -> GenomeMethod:
    method = GenomeMethod(GenomeOptions(n_types=3, type_dim=2, **options))
    method.attach(now)
    return method


def logits_of(genome: Genome, c: Connection) -> Tensor:
    """(out, in), from this connection's bands alone."""
    coordinates = genome.coordinates([(c.target.depth, c.target.size), (c.source.depth, c.source.size)])
    as_target, as_source = genome.factors(coordinates)
    return as_target[:, : c.target.size].T @ as_source[:, c.target.size :]


def ranked(genome: Genome, connections: Sequence[Connection], counts: dict[str, int] | int) -> Masks:
    """The largest logits by sorting: of all connections, or a count of each; of equal ones the first."""
    masks = {c.name: torch.zeros(c.shape[0] * c.shape[1], dtype=torch.bool) for c in connections}
    every = [
        (-float(x), n, i, c.name)
        for n, c in enumerate(connections)
        for i, x in enumerate(logits_of(genome, c).detach().flatten())
    ]
    for name, count in counts.items() if isinstance(counts, dict) else [(None, counts)]:
        for _, _, index, own in sorted(entry for entry in every if name in (None, entry[3]))[:count]:
            masks[own][index] = True
    return Masks({c.name: masks[c.name].reshape(c.shape[:2]) for c in connections})


@pytest.mark.parametrize("distribution", [None, "global", "uniform", "erk"])
def test_every_step_keeps_exactly_the_largest_logits(distribution: Any) -> None:
    now = context(0.3)
    assert now.budget is not None
    method = attached(now, distribution=distribution)
    counts: Any = now.budget.keep
    if distribution in ("uniform", "erk"):
        counts = allocate(now.budget.keep, FLAT, distribution)
    optimizer = torch.optim.Adam(method.genome.parameters(), lr=0.1)
    seen = set()
    for step in range(6):
        now.step = step
        effective = method.effective(now.raw, now.connections)
        expected = ranked(method.genome, FLAT, counts)
        assert sum(expected.kept.values()) == now.budget.keep == round(0.3 * SIZE)
        for c in FLAT:
            wanted = c.region(now.raw[c.parameter]) * expected[c.name]
            assert torch.equal(c.region(effective[c.parameter]), wanted), (step, c.name)
        assert method.final_masks(now).digest() == expected.digest()
        assert method.regularizers(now) == {}
        seen.add(expected.digest())
        optimizer.zero_grad()
        torch.stack([(w - 0.3).square().sum() for w in effective.values()]).sum().backward()
        optimizer.step()
    assert len(seen) > 1, "the wiring is learnt"
    assert method.soft_densities() is None and method.final_differs() is None


@pytest.mark.parametrize("distribution", ["global", "uniform"])
def test_gradients_go_straight_through_at_the_cut(distribution: Any) -> None:
    """dL/dlogit = sum over the kernel of dL/dW w, times s (1 - s), s = sigmoid(logit - smallest kept logit)."""
    connections = (*FLAT, KERNEL)
    now = context(0.4, connections)
    method = attached(now, distribution=distribution)
    masks = method.final_masks(now)
    effective = method.effective(now.raw, connections)
    loss = torch.stack([(w - 0.3).square().sum() for w in effective.values()]).sum()
    loss.backward()
    own = {c.name: logits_of(method.genome, c) for c in connections}
    kept = {c.name: masks[c.name].flatten(2)[..., 0] if c is KERNEL else masks[c.name] for c in connections}
    lowest = {name: min(own[name][kept[name]].tolist(), default=inf) for name in own}
    terms = []
    for c in connections:
        cut = min(lowest.values()) if distribution == "global" else lowest[c.name]
        weight = c.region(now.raw[c.parameter].detach())
        for i in range(c.shape[0]):
            for j in range(c.shape[1]):
                w = weight[i, j] * kept[c.name][i, j]
                through = float((2 * (w - 0.3) * weight[i, j]).sum())
                s = 1 / (1 + torch.exp(torch.tensor(cut - float(own[c.name][i, j].detach()), dtype=torch.float64)))
                terms.append(own[c.name][i, j] * through * float(s * (1 - s)))
        raw = c.region(now.raw[c.parameter].grad)  # type: ignore[arg-type]
        open_ = kept[c.name].reshape(*c.shape[:2], *(1,) * (len(c.shape) - 2))
        torch.testing.assert_close(raw, 2 * (weight * open_ - 0.3) * open_, rtol=1e-12, atol=0)
    expected = torch.autograd.grad(torch.stack(terms).sum(), list(method.genome.parameters()))
    for parameter, wanted in zip(method.genome.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-9, atol=1e-12)


def test_another_cells_counts_per_connection() -> None:
    counts = {c.name: n for c, n in zip(FLAT, (0, 12, 3, 1, 2, 5), strict=True)}
    now = context(0.5, counts=counts)
    method = attached(now)
    assert method.final_masks(now).kept == counts
    assert method.final_masks(now).digest() == ranked(method.genome, FLAT, counts).digest()
    method.effective(now.raw, now.connections)["fused"].sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in method.genome.parameters() if p.grad is not None)


@pytest.mark.parametrize("density", [0.0, 1.0])
def test_none_and_all(density: float) -> None:
    now = context(density)
    method = attached(now)
    effective = method.effective(now.raw, now.connections)
    assert method.final_masks(now).density == density
    torch.stack([w.sum() for w in effective.values()]).sum().backward()
    for parameter in method.genome.parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all())


def test_of_equal_logits_the_first_are_kept() -> None:
    now = context(0.4)
    method = attached(now)
    with torch.no_grad():
        for parameter in method.genome.parameters():
            parameter.zero_()
        method.genome.depth_penalty.fill_(-1e9)  # distance costs nothing: every logit is 0
    masks = method.final_masks(now)
    flat = torch.cat([masks[c.name].flatten() for c in FLAT])
    keep = round(0.4 * SIZE)
    assert bool(flat[:keep].all()) and not bool(flat[keep:].any())
    effective = method.effective(now.raw, now.connections)
    assert all(torch.equal(c.region(effective[c.parameter]) != 0, masks[c.name]) for c in FLAT)


def test_kernels_are_whole_and_exact_to_one() -> None:
    connections = (*FLAT, KERNEL)
    now = context(0.37, connections)
    method = attached(now)
    masks = method.final_masks(now)
    assert now.budget is not None
    kept, kernel = sum(masks.kept.values()), masks["kernel"].flatten(2)
    assert torch.equal(kernel.all(2), kernel.any(2)) and abs(kept - now.budget.keep) < 6
    assert "whole kernels" in str(method.other_count(now.budget.keep, now.budget.keep + 5, connections))
    assert method.other_count(now.budget.keep, now.budget.keep + 6, connections) is None
    assert method.other_count(now.budget.keep, now.budget.keep + 1, FLAT) is None


def test_masks_are_the_same_after_a_restart() -> None:
    now = context(0.3)
    method, other = attached(now), attached(context(0.3))
    with torch.no_grad():
        for parameter in method.genome.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    assert method.final_masks(now).digest() != other.final_masks(now).digest()
    other.load_state_dict(method.state_dict())
    assert method.final_masks(now).digest() == other.final_masks(now).digest()


def test_without_a_density_nothing_is_hashed_otherwise_than_before() -> None:
    before = {
        "n_types": 8,
        "type_dim": 8,
        "n_bands": None,
        "lr": 1e-3,
        "schedule": "same",
        "cost_weight": 0.1,
        "temperature_start": 1.0,
        "temperature_end": 1.0,
        "temperature_steps": None,
        "hard": False,
        "frozen": False,
        "initial": None,
    }
    assert GenomeMethod(GenomeOptions()).influences(Train(3)) == before
    assert GenomeMethod(GenomeOptions(distribution="erk")).influences(Train(3)) == before | {"distribution": "erk"}
    assert GenomeMethod(GenomeOptions(cost_pairs="published")).influences(Train(3)) == before | {
        "cost_pairs": "published"
    }
    for late in ("distribution", "cost_pairs"):
        assert GenomeOptions.model_fields[late].json_schema_extra == {"hashed": "unless_none"}


def test_a_distribution_needs_a_density() -> None:
    method = GenomeMethod(GenomeOptions(distribution="uniform"))
    with pytest.raises(UserError, match="give the method a density too"):
        method.program(TrainingBudget(9, 4))
    assert method.program(TrainingBudget(9, 4, 0.1)) == method.program(TrainingBudget(9, 4, None, True)) == [Train(9)]


@pytest.mark.parametrize("options", [{}, {"distribution": "uniform"}, {"distribution": "erk"}])
def test_contract_with_a_density(options: dict[str, Any]) -> None:
    check_method(GenomeMethod, options, source=Source("other", Masks({}), {"genome": donor().state_dict()}, {}))


# --- cuts of a trained genome -------------------------------------------------------------------


def donor() -> Genome:
    return Genome(8, 8, 4, torch.Generator().manual_seed(3))


def toy_source(density: float) -> Source:
    """A cell that ended with the donor's wiring at a density."""
    scope = tuple(TOY.connections())
    masks = ranked(donor(), scope, round(density * 256))
    weights = initial_module(TOY, seed=1).state_dict()
    return Source("toy", masks, {"genome": donor().state_dict()}, connection_densities(scope, masks, None), weights)


@pytest.mark.parametrize("distribution", ["global", "uniform", "erk"])
@pytest.mark.parametrize("density", [0.05, 0.6])
def test_a_cut_is_what_a_frozen_genome_trains_with(distribution: Any, density: float) -> None:
    source = Source("donor", Masks({}), {"genome": donor().double().state_dict()}, {})
    now = replace(context(density), source=source)
    assert now.budget is not None
    scores = GenomeCut(GenomeCutOptions(distribution=distribution)).scores(now)
    frozen = GenomeMethod(GenomeOptions(frozen=True, distribution=distribution))
    frozen.attach(now)
    counts: Any = now.budget.keep if distribution == "global" else allocate(now.budget.keep, FLAT, distribution)
    for c in FLAT:
        torch.testing.assert_close(scores[c.name], logits_of(donor().double(), c))
    expected = ranked(donor().double(), FLAT, counts).digest()
    assert frozen.final_masks(now).digest() == expected
    assert select(scores, now.budget, FLAT, distribution, "kernel").digest() == expected


def test_the_programs_of_a_cut() -> None:
    budget, cut = TrainingBudget(9, 4, 0.1), Prune(distribution="erk", granularity="kernel")
    assert GenomeCut(GenomeCutOptions(distribution="erk")).program(budget) == [cut, Train(9, hooks=False)]
    trained = GenomeCutOptions(distribution="erk", start="trained", recovery_steps=3)
    assert GenomeCut(trained).program(budget) == [Inherit(), cut, Finetune(3, lr=1e-4)]
    none = trained.model_copy(update={"recovery_steps": 0})
    assert GenomeCut(none).program(budget) == [Inherit(), cut]


@pytest.mark.parametrize("options", [{}, {"distribution": "uniform"}, {"start": "trained", "recovery_steps": 5}])
def test_contract_of_a_cut(options: dict[str, Any]) -> None:
    check_method(GenomeCut, options, source=toy_source(0.4))


def test_a_cut_with_trained_weights_opens_nothing() -> None:
    with pytest.raises(Unsupported, match=r"keeps 39 weights that the source's hard masks have closed"):
        check_method(GenomeCut, {"start": "trained"}, source=toy_source(0.4), density=141 / 256)  # 102 + 39
    check_method(GenomeCut, {}, source=toy_source(0.4), density=141 / 256)


def test_cuts_of_what_has_no_genome_or_too_few_bands() -> None:
    now = replace(context(0.1), source=Source("other", Masks({}), {}, {}))
    with pytest.raises(UserError, match="source cell 'other' has no genome"):
        GenomeCut(GenomeCutOptions()).scores(now)
    now.source = Source("small", Masks({}), {"genome": Genome(2, 2, 3).state_dict()}, {})
    with pytest.raises(Unsupported, match="genome of cell small does not fit this cell: the connections span 4 bands"):
        GenomeCut(GenomeCutOptions()).scores(now)


# --- as a run -----------------------------------------------------------------------------------

SUITE = {
    "architectures": {"skip_mlp": {"hidden": [8, 6]}},
    "benchmarks": {"blobs": {}},
    "seeds": [3],
    "training": {"steps": 20, "batch_size": 16, "micro_batches": 2, "lr": 0.01, "weight_decay": 0.1},
    "evaluation": {"checks": 2, "select": "final"},
    "methods": {
        "genome": {"lr": 0.05, "density": 0.3},
        "per_layer": {"use": "genome", "lr": 0.05, "density": 0.2, "distribution": "uniform"},
        "cut": {"use": "genome_cut", "source": "genome", "start": "trained", "density": 0.2, "recovery_steps": 9},
        "units": {"score": "taylor", "batches": 2, "density": 0.5, "recovery_steps": 9},
    },
}
PLUGIN = Path(__file__).parents[1] / "harness" / "toy_plugin.py"


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Path]:
    path, threads = tmp_path / "suite.yaml", torch.get_num_threads()
    path.write_text(yaml.safe_dump(SUITE, sort_keys=False))
    torch.set_num_threads(1)
    yield path
    torch.set_num_threads(threads)


def test_a_stopped_run_goes_on_to_the_bit(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = load([PLUGIN])
    cells = compile_graph(load_suite(suite, registry).cells, registry).cells
    for cell in cells:
        finish(tmp_path / "whole", registry, cell)
    monkeypatch.setattr("harness.training.trainer.PATIENCE", -1.0)  # each step is looked at
    for cell in cells:
        for stage in cell.stages:
            while True:
                try:
                    runner_of(tmp_path / "stopped", registry, stopping=after(7)).run(stage)
                    break
                except Interrupted:
                    pass
        assert_same(outcome(tmp_path / "whole", cell), outcome(tmp_path / "stopped", cell))


def test_two_processes_choose_as_one(suite: Path, tmp_path: Path) -> None:
    two_and_one(tmp_path, suite, [PLUGIN])
    registry = load([PLUGIN])
    for cell in compile_graph(load_suite(suite, registry).cells, registry).cells:
        stage = cell.stages[-1].hash
        one, two = (checkpoint.load(tmp_path / f"of{n}" / "stages" / stage / "state.safetensors") for n in (1, 2))
        for connection, bits in one["masks"].items():
            assert torch.equal(two["masks"][connection], bits), (cell.cell.method, connection)
        for name, expected in one["weights"].items():
            assert torch.allclose(two["weights"][name], expected, rtol=1e-8, atol=1e-11), (cell.cell.method, name)
