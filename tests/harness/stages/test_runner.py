"""Stages: reproducible to the bit, interrupted or not, and honest about what went wrong."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from stage_runs import CPU, after, assert_same, finish, outcome, runner_of, stopped_and_resumed

from harness.errors import CorruptFile, Diverged, HarnessError
from harness.registry.plugins import Registry, load
from harness.results.factors import Unknown
from harness.results.flops import Flops
from harness.results.record import evaluated
from harness.stages.graph import Graph, PlannedCell, compile_graph
from harness.stages.network import initial_module
from harness.stages.store import StageStore
from harness.stages.training_run import Interrupted
from harness.storage import checkpoint
from harness.suites.suite import load_suite
from harness.training.sampler import Sampler
from harness.training.trainer import StepReport

PLUGIN = Path(__file__).parents[1] / "toy_plugin.py"
TRAINING = "steps: 45, batch_size: 16, micro_batches: 2, lr: 0.01, weight_decay: 0.1, clip_norm: 1.0, warmup_steps: 3"
PROJECTED = [
    "train_held",
    "prune",
    "finetune",
    "rewind_initial",
    "rewind_earlier",
    "sign",
    "random_sign",
    "fresh",
    "restart_data",
    "dynamic",
    "calibrated",
    "averaged",
]
UNASKED = {"nothing", "train", "train_held", "short", "one_step", "rewind_earlier", "restart_data", "averaged"}
"""Programs that do not prune to the cell's density."""
COMPOSED = ["train", "soft_then_hard", "hard_then_soft", "soft_rewound", "baked"]
ALL = [*(("programmed", name) for name in PROJECTED), *(("soft", name) for name in COMPOSED)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load([PLUGIN])


def suite_of(folder: Path, registry: Registry, methods: str, training: str = TRAINING, rest: str = "") -> Graph:
    path = folder / "suite.yaml"
    path.write_text(
        "architectures: {net: {}}\nbenchmarks: blobs\nseeds: [3]\n"
        f"training: {{{training}}}\nmethods: {{{methods}}}\n{rest or 'evaluation: {checks: 3}'}\n"
    )
    return compile_graph(load_suite(path, registry).cells, registry)


def cell_of(folder: Path, registry: Registry, use: str, program: str, **how: str) -> PlannedCell:
    density = ", density: 0.4" if use == "programmed" and program not in UNASKED else ""
    (cell,) = suite_of(folder, registry, f"m: {{use: {use}, program: {program}{density}}}", **how).cells
    return cell


# --- reproducible -----------------------------------------------------------------------------


@pytest.mark.parametrize(("use", "program"), ALL)
def test_interrupted_and_resumed_is_bit_identical(
    tmp_path: Path, registry: Registry, use: str, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = "evaluation: {checks: 3, select: validation}" if program in ("dynamic", "train", "finetune") else ""
    cell = cell_of(tmp_path, registry, use, program, rest=rest)
    torch.manual_seed(1)
    finish(tmp_path / "whole", registry, cell)
    whole = outcome(tmp_path / "whole", cell)
    # Stopped at every look, some of which fall on a check, or at a few of them; or where steps are so slow
    # that each of them is looked at, in the middle of a window.
    for name, windows, patience in (("often", 1, 1e9), ("seldom", 2, 1e9), ("slow", 13, -1.0)):
        monkeypatch.setattr("harness.training.trainer.PATIENCE", patience)
        torch.manual_seed(2)
        torch.rand(7)
        stops = stopped_and_resumed(tmp_path / name, registry, cell, windows)
        assert stops >= (5 if windows == 1 else 2)
        assert_same(whole, outcome(tmp_path / name, cell))
        assert not list((tmp_path / name).rglob("checkpoint-*"))


def test_seeds_differ_and_global_random_state_does_not_matter(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(
        f"architectures: {{net: {{}}}}\nbenchmarks: blobs\nseeds: 2\ntraining: {{{TRAINING}}}\n"
        "methods: {m: {use: soft, program: train}}\n"
    )
    first, second = compile_graph(load_suite(path, registry).cells, registry).cells
    states = []
    for folder, cell, noise in (("a", first, 5), ("b", first, 9), ("c", second, 5)):
        torch.manual_seed(noise)
        finish(tmp_path / folder, registry, cell)
        states.append(outcome(tmp_path / folder, cell)[-1][0])
    assert_same(states[0], states[1])
    assert not torch.equal(states[0]["weights"]["first.weight"], states[2]["weights"]["first.weight"])
    assert not torch.equal(states[0]["method"]["drawn"], states[2]["method"]["drawn"])


def test_a_checkpoint_at_every_window_changes_nothing(tmp_path: Path, registry: Registry) -> None:
    cell = cell_of(tmp_path, registry, "programmed", "dynamic")
    finish(tmp_path / "a", registry, cell)
    runner = runner_of(tmp_path / "b", registry, checkpoint_seconds=0.0)
    seen: list[int] = []

    def report(step: StepReport) -> None:
        files = sorted(p.name for p in (tmp_path / "b").rglob("checkpoint-*"))
        assert len(files) <= 2
        seen.append(step.step)

    runner.run(cell.stages[0], report)
    assert seen == [15, 20, 30, 40, 45]
    assert_same(outcome(tmp_path / "a", cell), outcome(tmp_path / "b", cell))


def test_a_finished_stage_is_not_run_again(tmp_path: Path, registry: Registry) -> None:
    cell = cell_of(tmp_path, registry, "programmed", "train_held")
    finish(tmp_path, registry, cell)
    runner_of(tmp_path, registry).run(cell.stages[0], report=lambda _: pytest.fail("trained again"))


def test_cells_that_share_a_stage_are_recorded_with_their_own_scope(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(
        "architectures: {mlp: {hidden: [8]}}\nbenchmarks: digits\ntraining: {steps: 2}\n"
        "methods: {all: {use: dense}, head: {use: dense, scope: classifier}}\n"
    )
    plugins = load()
    whole, head = compile_graph(load_suite(path, plugins).cells, plugins).cells
    assert whole.stages == head.stages
    finish(tmp_path, plugins, whole)
    runner = runner_of(tmp_path, plugins)
    sizes = [evaluated(c, runner, plugins, CPU).record.density.size for c in (whole, head)]
    assert sizes == [64 * 8 + 8 * 10, 8 * 10]


# --- damage and divergence --------------------------------------------------------------------


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path: Path, registry: Registry) -> None:
    cell = cell_of(tmp_path, registry, "programmed", "train_held")
    (stage,) = cell.stages
    finish(tmp_path / "whole", registry, cell)
    with pytest.raises(Interrupted):
        runner_of(tmp_path / "hurt", registry, checkpoint_seconds=0.0, stopping=after(4)).run(stage)
    older, newest = sorted((tmp_path / "hurt").rglob("checkpoint-*"))
    assert newest.name.endswith("000000000040.safetensors") and older.name.endswith("000000000030.safetensors")
    newest.write_bytes(newest.read_bytes()[:-3])
    warnings: list[str] = []
    steps: list[int] = []
    runner_of(tmp_path / "hurt", registry, warn=warnings.append).run(stage, lambda seen: steps.append(seen.step))
    assert len(warnings) == 1 and str(newest) in warnings[0]
    assert steps == [40, 45]
    assert_same(outcome(tmp_path / "whole", cell), outcome(tmp_path / "hurt", cell))


def test_a_checkpoint_of_another_version_is_named_and_the_stage_begins_anew(tmp_path: Path, registry: Registry) -> None:
    cell = cell_of(tmp_path, registry, "programmed", "train_held")
    (stage,) = cell.stages
    finish(tmp_path / "whole", registry, cell)
    with pytest.raises(Interrupted):
        runner_of(tmp_path / "old", registry, stopping=after(4)).run(stage)
    (path,) = (tmp_path / "old").rglob("checkpoint-*")
    state = checkpoint.load(path)
    del state["format"], state["training"]["losses"]
    checkpoint.save(path, state)
    warnings: list[str] = []
    steps: list[int] = []
    runner_of(tmp_path / "old", registry, warn=warnings.append).run(stage, lambda seen: steps.append(seen.step))
    assert len(warnings) == 1 and "another version" in warnings[0]
    assert steps[0] < 30
    assert_same(outcome(tmp_path / "whole", cell), outcome(tmp_path / "old", cell))


def put(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a tree with something else at a place."""
    if not path:
        return value
    changed = list(tree) if isinstance(tree, list | tuple) else dict(tree)
    changed[path[0]] = put(tree[path[0]], path[1:], value)
    return changed


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All places of a tree, but only the first two of each list."""
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree[:2]) if isinstance(tree, list | tuple) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def test_a_checkpoint_with_alien_content_is_named_and_the_stage_begins_anew(tmp_path: Path, registry: Registry) -> None:
    """At every place what cannot be there: nothing else is raised, and no kernel reads memory that is not its own."""
    cell = cell_of(tmp_path, registry, "programmed", "one_step")
    (stage,) = cell.stages
    finish(tmp_path / "whole", registry, cell)
    with pytest.raises(Interrupted):
        runner_of(tmp_path / "old", registry, stopping=after(1)).run(stage)
    whole = outcome(tmp_path / "whole", cell)
    (path,) = (tmp_path / "old").rglob("checkpoint-*")
    good = checkpoint.load(path)
    named = 0
    for place in places(good):
        alien = torch.ones(3, 5) if place[-1:] != ("cpu",) else torch.ones(7, dtype=torch.uint8)
        checkpoint.save(path, put(good, place, alien))
        warnings: list[str] = []
        runner_of(tmp_path / "old", registry, warn=warnings.append).run(stage)
        assert_same(whole, outcome(tmp_path / "old", cell))
        assert len(warnings) <= 1
        named += sum("begins anew" in text for text in warnings)
        StageStore(tmp_path / "old").discard(stage.hash)
    assert named > 50


def test_a_damaged_state_is_trained_anew_on_the_next_run(tmp_path: Path, registry: Registry) -> None:
    cell = cell_of(tmp_path, registry, "programmed", "prune")
    first, second = cell.stages
    runner = runner_of(tmp_path, registry)
    runner.run(first)
    good = outcome(tmp_path, PlannedCell("", cell.cell, (first,), None, None))
    state = StageStore(tmp_path).folder(first.hash) / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.raises(CorruptFile, match="trained anew"):
        runner.run(second)
    finish(tmp_path, registry, cell)
    assert_same(good, outcome(tmp_path, PlannedCell("", cell.cell, (first,), None, None)))


def test_divergence_names_the_first_step_whose_loss_is_not_finite(tmp_path: Path, registry: Registry) -> None:
    training = "steps: 30, batch_size: 16, optimizer: sgd, momentum: 0, lr: 1.0e+9, schedule: constant"
    path = tmp_path / "suite.yaml"
    path.write_text(
        "architectures: {net: {dropout: 0, norm: false}}\nbenchmarks: blobs\nseeds: [3]\n"
        f"training: {{{training}}}\nmethods: {{m: {{use: programmed, program: short}}}}\nevaluation: {{checks: 1}}\n"
    )
    suite = load_suite(path, registry)
    ((stage,),) = (cell.stages for cell in compile_graph(suite.cells, registry).cells)
    runner = runner_of(tmp_path, registry)
    with pytest.raises(Diverged) as caught:
        runner.run(stage)

    data = runner.training_data(stage.cell.training_part)
    spec = runner.benchmark(stage.cell.training_part).spec()
    module = initial_module(registry.get("architecture", "net")(stage.cell.architecture_part.options, spec), 3)
    sampler = Sampler(len(data), 3)
    for step in range(1, 31):
        loss = module(*data.batch(sampler.indices((step - 1) * 16, 16)))
        if not torch.isfinite(loss):
            break
        module.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter -= 1e9 * parameter.grad
    assert 1 < step < 20
    assert caught.value.step == step
    assert StageStore(tmp_path).manifest(stage.hash) is None


def test_weights_that_blow_up_in_the_last_step_have_diverged(tmp_path: Path, registry: Registry) -> None:
    training = "steps: 1, batch_size: 16, optimizer: sgd, lr: 3.0e+38, weight_decay: 1.0e+3, schedule: constant"
    cell = cell_of(tmp_path, registry, "programmed", "one_step", training=training)
    with pytest.raises(Diverged, match=r"weights of \S+ became -?(inf|nan) at step 1$") as caught:
        finish(tmp_path, registry, cell)
    assert caught.value.step == 1


def test_a_score_that_is_no_number_is_no_loss_and_takes_no_other_with_it(tmp_path: Path, registry: Registry) -> None:
    """Weights of 1e38 are finite; so is the accuracy, and the loss is not."""
    training = "steps: 1, batch_size: 16, optimizer: sgd, lr: 1.0e+38, schedule: constant"
    cell = cell_of(tmp_path, registry, "programmed", "one_step", training=training)
    runner = finish(tmp_path, registry, cell)
    record = evaluated(cell, runner, registry, torch.device("cpu")).record.content()
    assert record["status"] == "done" and list(record["metrics"]) == ["accuracy"]
    assert record["not_finite"].keys() == {"loss"} and record["not_finite"]["loss"] in ("inf", "nan")
    rows = StageStore(tmp_path).series(cell.stages[-1].hash)["evaluations"]
    assert rows and all(row[3].keys() == {"accuracy"} for row in rows)


# --- what a stage leaves ----------------------------------------------------------------------


def test_exact_density_in_weights_masks_and_manifest(tmp_path: Path, registry: Registry) -> None:
    cell = cell_of(tmp_path, registry, "programmed", "prune")
    finish(tmp_path, registry, cell)
    state, _, manifest = outcome(tmp_path, cell)[-1]
    size = 60 + 80 + 30 + 24
    kept = sum(d["kept"] for d in manifest["densities"].values())
    assert kept == round(0.4 * size)
    names = ("first.weight", "second.weight", "out.weight")
    assert sum(int(torch.count_nonzero(state["weights"][name])) for name in names) == kept


def test_operations_that_masks_save_count_from_when_they_are_there(tmp_path: Path, registry: Registry) -> None:
    cell = cell_of(tmp_path, registry, "programmed", "prune")
    runner = finish(tmp_path, registry, cell)
    flops = evaluated(cell, runner, registry, CPU).record.content()["spent"]["flops"]
    kept = sum(d["kept"] for d in outcome(tmp_path, cell)[-1][2]["densities"].values())
    assert flops["inference"] == 2 * 194
    assert flops["inference_sparse"] == pytest.approx(2 * kept)
    assert flops["training"] == 3 * 2 * 194 * 70 * 16
    assert flops["training_sparse"] == pytest.approx(3 * 2 * (194 * 25 + kept * 45) * 16)


def test_operations_of_masks_that_change_are_averaged_and_soft_ones_save_nothing(
    tmp_path: Path, registry: Registry
) -> None:
    cell = cell_of(tmp_path, registry, "programmed", "dynamic")
    runner = finish(tmp_path, registry, cell)
    spent = evaluated(cell, runner, registry, CPU).record.content()["spent"]
    assert spent["mask_updates"] == 4  # after steps 9, 19, 29 and 39
    flops = spent["flops"]
    rows = outcome(tmp_path, cell)[-1][1]["densities"]
    sizes = {name: d["size"] for name, d in outcome(tmp_path, cell)[-1][2]["densities"].items()}
    area = 0.0
    for (_, start, before), (_, end, later) in itertools.pairwise(rows):
        area += (end - start) * sum(size * (before[name][0] + later[name][0]) / 2 for name, size in sizes.items())
    assert flops["training_sparse"] == pytest.approx(3 * 2 * area * 16)
    assert flops["training_sparse"] < flops["training"]

    cell = cell_of(tmp_path, registry, "soft", "train")
    runner = finish(tmp_path, registry, cell)
    spent = evaluated(cell, runner, registry, CPU).record.content()["spent"]
    assert spent["mask_updates"] is None
    flops = spent["flops"]
    assert flops["training_sparse"] == flops["training"]
    assert flops["inference_sparse"] < flops["inference"]


@pytest.mark.parametrize("first", ["few", "most"])
def test_operations_of_a_stage_that_a_cell_of_another_scope_trained(
    tmp_path: Path, registry: Registry, first: str
) -> None:
    methods = ", ".join(
        f"{name}: {{use: programmed, program: prune, density: 0.4, scope: {scope}}}"
        for name, scope in (("few", "[skip]"), ("most", "[dense, skip]"))
    )
    cells = {cell.cell.method: cell for cell in suite_of(tmp_path, registry, methods).cells}
    assert cells["few"].stages[0].hash == cells["most"].stages[0].hash
    for name in sorted(cells, key=lambda name: name != first):
        runner = finish(tmp_path, registry, cells[name])
        flops = evaluated(cells[name], runner, registry, CPU).record.content()["spent"]["flops"]
        maskable = {"few": 30, "most": 60 + 80 + 30}[name]
        assert flops["inference_sparse"] == pytest.approx(2 * (194 - 0.6 * maskable))
        assert flops["training_sparse"] == pytest.approx(3 * 2 * (194 * 70 - 0.6 * maskable * 45) * 16)


def test_operations_that_are_not_known_are_null(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = Flops(388, {}, [[Unknown((frozenset({"first"}),))]])
    monkeypatch.setattr("harness.results.record.forward_flops", lambda *_: unknown)
    cell = cell_of(tmp_path, registry, "programmed", "prune")
    record = evaluated(cell, finish(tmp_path, registry, cell), registry, CPU).record.content()
    flops = json.loads(json.dumps(record))["spent"]["flops"]
    assert (flops["inference"], flops["inference_sparse"], flops["training_sparse"]) == (388, None, None)
    assert flops["training"] == 3 * 388 * 70 * 16


def test_selection_restores_weights_and_masks_of_the_chosen_step(tmp_path: Path, registry: Registry) -> None:
    """The masks change between the checks: weights that closed later must come back."""
    rest = "evaluation: {checks: 9, select: validation}"
    for rate in (0.1, 0.3, 1.0):  # another version of torch has other last bits, and with one rate its best step last
        training = f"steps: 45, batch_size: 16, lr: {rate}, schedule: constant"
        cell = cell_of(tmp_path, registry, "programmed", "dynamic", training=training, rest=rest)
        runner = finish(tmp_path, registry, cell)
        rows = StageStore(tmp_path).series(cell.stages[-1].hash)["evaluations"]
        chosen, checks = rows[-1], [row for row in rows if row[2] == "validation"]
        best = max(checks, key=lambda row: row[3]["accuracy"])
        if best[1] < 40:
            break
    assert chosen[:3] == [best[0], best[1], "chosen"] and best[1] < 40
    network = runner.restored(cell.stages[-1], cell.cell)
    weights = network.begin_phase(hooks=False)
    found = runner.evaluate(network, weights, runner.benchmark(cell.cell.benchmark_part), "validation", "hard")
    assert found.values == best[3]
    assert network.current.hard is not None
    closed = sum(
        mask.numel() - kept
        for mask, kept in zip(network.current.hard.values(), network.current.hard.kept.values(), strict=True)
    )
    assert sum(weights.zeros().values()) == closed


def test_a_composed_method_leaves_raw_weights_and_is_evaluated_hard(tmp_path: Path, registry: Registry) -> None:
    cell = cell_of(tmp_path, registry, "soft", "train")
    runner = finish(tmp_path, registry, cell)
    state, series, manifest = outcome(tmp_path, cell)[-1]
    assert state["soft"] and state["method"]["count"] == 45
    assert [row[1] for row in series["densities"]] == [0, 15, 30, 45]
    record = evaluated(cell, runner, registry, CPU).record.content()
    density = record["density"]
    hard = sum(int((logits > 0).sum()) for logits in state["method"]["logits"].values())
    assert density["kept"] == hard == sum(d["kept"] for d in manifest["densities"].values())
    assert density["nonzero"] == pytest.approx(hard / 194)
    # Validation in the record is the check at the last step: same weights, same masks, other process.
    assert record["validation"]["loss"]["value"] == series["evaluations"][-1][3]["loss"]


def test_method_state_passes_through_a_stage_without_hooks(tmp_path: Path, registry: Registry) -> None:
    cell = cell_of(tmp_path, registry, "soft", "soft_then_hard")
    finish(tmp_path, registry, cell)
    (soft, _, _), (hard, _, manifest) = outcome(tmp_path, cell)
    assert_same(soft["method"], hard["method"])
    assert soft["soft"] and not hard["soft"]
    assert_same(soft["masks"], hard["masks"])
    zeros = sum(int((hard["weights"][f"{name}.weight"] == 0).sum()) for name in ("first", "second", "out"))
    assert zeros == 194 - sum(d["kept"] for d in manifest["densities"].values()) > 0


def test_a_rewind_after_a_composed_training_holds_its_hard_masks(tmp_path: Path, registry: Registry) -> None:
    cell = cell_of(tmp_path, registry, "soft", "soft_ends_rewound")
    runner = finish(tmp_path, registry, cell)
    state = outcome(tmp_path, cell)[-1][0]
    network = runner.restored(cell.stages[-1], cell.cell)
    initial = initial_module(network.architecture, 3).state_dict()
    assert not state["soft"] and network.current.hard is not None
    for c in network.connections:
        kept = c.region(initial[c.parameter]) * network.current.hard[c.name]
        assert torch.equal(c.region(state["weights"][c.parameter]), kept)
    assert torch.equal(state["weights"]["norm.weight"], initial["norm.weight"])


def test_data_goes_on_over_phases_unless_restarted(tmp_path: Path, registry: Registry) -> None:
    on = cell_of(tmp_path, registry, "programmed", "prune")
    again = cell_of(tmp_path, registry, "programmed", "restart_data")
    finish(tmp_path, registry, on)
    finish(tmp_path, registry, again)
    assert [state["position"] for state, _, _ in outcome(tmp_path, on)] == [25 * 16, 70 * 16]
    assert [state["position"] for state, _, _ in outcome(tmp_path, again)] == [25 * 16, 45 * 16]
    assert [state["spent"]["examples"] for state, _, _ in outcome(tmp_path, again)] == [25 * 16, 70 * 16]


def test_training_on_data_that_has_no_evaluation(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "suite.yaml"
    text = (
        "architectures: {net: {}}\nbenchmarks: {blobs: {}, unscored: {}}\ntrain_on: unscored\n"
        "include: [{benchmark: blobs}]\n"
        f"training: {{{TRAINING}}}\nmethods: {{m: {{use: programmed, program: train_held}}}}\n"
    )
    path.write_text(text)
    (cell,) = compile_graph(load_suite(path, registry).cells, registry).cells
    runner = finish(tmp_path, registry, cell)
    assert all(row[3] == {} for row in outcome(tmp_path, cell)[-1][1]["evaluations"])
    assert evaluated(cell, runner, registry, CPU).record.content()["metrics"]["accuracy"]["n"] == 60


def test_selecting_without_validation_data_is_refused(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(
        "architectures: {net: {}}\nbenchmarks: unvalidated\nevaluation: {select: validation}\n"
        f"training: {{{TRAINING}}}\nmethods: {{m: {{use: programmed, program: train_held}}}}\n"
    )
    (cell,) = compile_graph(load_suite(path, registry).cells, registry).cells
    with pytest.raises(HarnessError, match="no validation score"):
        finish(tmp_path, registry, cell)


def test_leftovers_of_a_killed_writer_are_removed(tmp_path: Path, registry: Registry) -> None:
    cell = cell_of(tmp_path, registry, "programmed", "train_held")
    folder = StageStore(tmp_path).folder(cell.stages[0].hash)
    folder.mkdir(parents=True)
    (folder / ".checkpoint-000000000020.safetensors.abc.tmp").write_bytes(b"half")
    finish(tmp_path, registry, cell)
    assert sorted(p.name for p in folder.iterdir()) == ["series.json", "stage.json", "state.safetensors"]
    assert json.loads((folder / "stage.json").read_text())["stage"] == cell.stages[0].hash
    assert checkpoint.load(folder / "state.safetensors")["position"] == 45 * 16
