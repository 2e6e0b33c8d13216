"""Losses, masks and weights of every kind of phase, as they were: a refactor must not move a bit.

One file, ``phases.json``, holds two kinds of values. ``cells`` are compared to the bit where torch's version and the
CPU are those of ``machine``, to 1e-4 elsewhere (other instructions round differently). ``everywhere`` is what integers
and uniform draws alone decide, and is compared to the bit on every machine; normal draws and the ends of most ranges
are rounded as the CPU's instructions do. After a change that is meant to change numbers, look at the difference and
write the record anew:

    HARNESS_GOLDEN=write pytest tests/golden
    git diff tests/golden/phases.json
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import Architecture, DataSpec, Masks
from harness.core.densities import allocate
from harness.registry.plugins import Registry, load
from harness.seeds import derived_seed
from harness.stages.graph import compile_graph
from harness.stages.network import initial_module
from harness.stages.runner import StageRunner
from harness.stages.store import StageStore
from harness.suites.suite import load_suite
from harness.training.distributed import Substrate
from harness.training.sampler import Sampler
from harness.training.trainer import StepReport

HERE = Path(__file__).parent
RECORD = HERE / "phases.json"
PLUGIN = HERE.parent / "harness" / "toy_plugin.py"
SUITE = """
benchmarks: digits
training: {steps: 45, batch_size: 32, lr: 0.005, weight_decay: 0.05, clip_norm: 1.0, warmup_steps: 5}
evaluation: {checks: 1}
experiments:
  mlp:
    architectures: {mlp: {hidden: [12]}}
    methods:
      train: {use: programmed, program: train_held, density: 0.3}
      prune: {use: programmed, program: prune, density: 0.3}
      finetune_erk: {use: programmed, program: finetune, density: 0.3}
      rewind_initial: {use: programmed, program: rewind_initial, density: 0.3}
      rewind_earlier: {use: programmed, program: rewind_earlier, density: 0.3}
      reinitialize_sign: {use: programmed, program: sign, density: 0.3}
      reinitialize_random_sign: {use: programmed, program: random_sign, density: 0.3}
      reinitialize_fresh: {use: programmed, program: fresh, density: 0.3}
      train_dynamic: {use: programmed, program: dynamic, density: 0.3}
      train_composed: {use: soft, program: soft_then_hard}
  sgd_in_micro_batches:
    architectures: {mlp: {hidden: [12]}}
    training: {optimizer: sgd, micro_batches: 4, schedule: linear, lr: 0.05}
    methods:
      random: {density: 0.3}
  skip_mlp:
    architectures: {skip_mlp: {hidden: [8, 8]}}
    methods:
      genome: {cost_weight: 0.1}
"""

DRAWN = """
benchmarks: digits
training: {steps: 1, batch_size: 32, lr: 0.005}
evaluation: {checks: 1}
seeds: [0, 1]
architectures: {mlp: {hidden: [12, 7]}}
methods:
  random: {density: 0.3}
  random_erk: {use: random, density: 0.3, distribution: erk}
  sparser: {use: random, density: 0.05, distribution: erk}
  shuffle: {source: random_erk}
  counts_of_another: {use: random, density: {match: random_erk, by: per_layer}}
"""
NO_WEIGHT_DECIDES = {
    "mlp/finetune_erk": ("kept",),
    "sgd_in_micro_batches/random": ("kept", "masks"),
}
"""Of the cells, what does not depend on how weights are rounded: compared to the bit on every machine."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    yield


def machine() -> dict[str, str]:
    """What decides how numbers are rounded."""
    vendor = ""
    if (info := Path("/proc/cpuinfo")).is_file():
        vendor = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if "vendor_id" in line), "")
    return {
        "torch": torch.__version__.split("+")[0],
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_vendor": vendor,
    }


def recorded(**found: Any) -> dict[str, Any]:
    """The record, with what was ``found`` in place of its own if it is to be written anew."""
    record: dict[str, Any] = json.loads(RECORD.read_text())
    if os.environ.get("HARNESS_GOLDEN") == "write":
        record |= found
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
    return record


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and bytes."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(name.encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def measured(work: Path) -> dict[str, Any]:
    """Every cell of the suite: loss at every look, and digests of what its last stage left."""
    path = work / "golden.yaml"
    path.write_text(SUITE)
    registry = load([PLUGIN])
    store = StageStore(work)
    runner = StageRunner(registry, store, Substrate(0, 1, torch.device("cpu")))
    losses: dict[str, list[str]] = {}
    found = {}
    for cell in compile_graph(load_suite(path, registry).cells, registry).cells:
        for stage in cell.stages:

            def report(seen: StepReport, name: str = stage.hash) -> None:
                losses.setdefault(name, []).append(repr(seen.loss))

            runner.run(stage, report)
        state, manifest = store.state(stage.hash), store.manifest(stage.hash)
        assert manifest is not None
        shapes = {name: tuple(d["shape"]) for name, d in manifest["densities"].items()}
        found[f"{cell.cell.experiment}/{cell.cell.method}"] = {
            "losses": [loss for stage in cell.stages for loss in losses.get(stage.hash, [])],
            "kept": {name: d["kept"] for name, d in manifest["densities"].items()},
            "masks": Masks.unpacked(state["masks"], shapes).digest() if state["masks"] is not None else None,
            "weights": digest(state["weights"]),
        }
    return found


def drawn(work: Path) -> dict[str, Any]:
    """Seeds, order of data, initial weights, counts per connection and masks that integers and uniform draws decide."""
    path = work / "drawn.yaml"
    path.write_text(DRAWN)
    registry = load([])
    store = StageStore(work)
    runner = StageRunner(registry, store, Substrate(0, 1, torch.device("cpu")))
    found: dict[str, Any] = {
        "derived_seeds": [derived_seed(0, "weights", 0), derived_seed(1, "data", 2), derived_seed(2, "mask")],
        "data_order": {
            f"{examples} examples, seed {seed}": digest({"": Sampler(examples, seed).indices(examples - 5, 2000)})
            for examples, seed in ((7, 0), (1000, 0), (1000, 1), (50_000, 0))
        },
        "first_indices": Sampler(1000, 0).indices(0, 5).tolist(),
        "initial_weights": initial_weights(registry),
        "erk_counts": erk_counts(registry),
        "kept": {},
        "masks": {},
    }
    for cell in compile_graph(load_suite(path, registry).cells, registry).cells:
        for stage in cell.stages:
            runner.run(stage)
        state, manifest = store.state(cell.stages[-1].hash), store.manifest(cell.stages[-1].hash)
        assert manifest is not None
        name = f"{cell.cell.method}, seed {cell.cell.seed}"
        shapes = {name: tuple(d["shape"]) for name, d in manifest["densities"].items()}
        found["kept"][name] = {name: d["kept"] for name, d in manifest["densities"].items()}
        found["masks"][name] = Masks.unpacked(state["masks"], shapes).digest()
    return found


def mlp(registry: Registry, **options: Any) -> Architecture[Any]:
    """For images of 64 pixels and 32 classes."""
    architecture = registry.get("architecture", "mlp")
    built: Architecture[Any] = architecture(
        architecture.Options(**options), DataSpec("classification", (64,), 32, 1000)
    )
    return built


def initial_weights(registry: Registry) -> dict[str, str]:
    """Of networks whose weights are drawn uniformly, per way of drawing, seed and draw.

    With the widths here every bound is a power of two. Others are rounded as the CPU's instructions do: once where it
    multiplies and adds in one, else twice.
    """
    widths = {"kaiming": [16, 256], "xavier": [32, 64]}  # 1 / sqrt(64, 16, 256); sqrt(6 / 96) three times
    return {
        f"{way}, seed {seed}, draw {draw}": digest(
            initial_module(mlp(registry, hidden=hidden, initialisation=way), seed, draw).state_dict()
        )
        for way, hidden in widths.items()
        for seed, draw in ((0, 0), (1, 0), (0, 1))
    }


def erk_counts(registry: Registry) -> dict[str, dict[str, int]]:
    """Counts per connection: at 0.5 some connections would exceed density 1."""
    connections = mlp(registry, hidden=[300, 100, 12]).connections()
    size = sum(c.size for c in connections)
    return {f"{density}": allocate(round(density * size), connections, "erk") for density in (0.01, 0.1, 0.5)}


def test_every_phase_computes_what_it_did(tmp_path: Path) -> None:
    found = measured(tmp_path)
    record = recorded(machine=machine(), cells=found)
    cells = record["cells"]
    assert found.keys() == cells.keys()
    if record["machine"] == machine():
        for name, expected in cells.items():
            assert found[name] == expected, name
        return
    for name, parts in NO_WEIGHT_DECIDES.items():
        for part in parts:
            assert found[name][part] == cells[name][part], (name, part)
    for name, expected in cells.items():
        assert [float(x) for x in found[name]["losses"]] == pytest.approx(
            [float(x) for x in expected["losses"]], rel=1e-4
        ), name
        if name.split("/")[1] not in ("genome", "train_composed"):  # these decide how many weights they keep
            assert sum(found[name]["kept"].values()) == sum(expected["kept"].values()), name


def test_what_no_rounding_decides_is_the_same_on_every_machine(tmp_path: Path) -> None:
    found = drawn(tmp_path)
    expected = recorded(everywhere=found)["everywhere"]
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == value, name
