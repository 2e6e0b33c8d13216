"""Losses, masks and weights of every kind of phase, as they were: a refactor must not move a bit.

Compared to the bit where torch's version and the CPU are those of the record, to 1e-4 elsewhere (other
instructions round differently). After a change that is meant to change numbers, look at the difference and
write the record anew:

    HARNESS_GOLDEN=write pytest tests/golden
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import Masks
from harness.registry.plugins import load
from harness.stages.graph import compile_graph
from harness.stages.runner import StageRunner
from harness.stages.store import StageStore
from harness.suites.suite import load_suite
from harness.training.distributed import Substrate
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
        weights = hashlib.sha256()
        for name, tensor in sorted(state["weights"].items()):
            weights.update(name.encode() + tensor.numpy().tobytes())
        found[f"{cell.cell.experiment}/{cell.cell.method}"] = {
            "losses": [loss for stage in cell.stages for loss in losses.get(stage.hash, [])],
            "kept": {name: d["kept"] for name, d in manifest["densities"].items()},
            "masks": Masks.unpacked(state["masks"], shapes).digest() if state["masks"] is not None else None,
            "weights": weights.hexdigest(),
        }
    return found


def test_every_phase_computes_what_it_did(tmp_path: Path) -> None:
    found = measured(tmp_path)
    if os.environ.get("HARNESS_GOLDEN") == "write":
        RECORD.write_text(json.dumps({"machine": machine(), "cells": found}, indent=1) + "\n")
    record = json.loads(RECORD.read_text())
    cells = record["cells"]
    assert found.keys() == cells.keys()
    if record["machine"] == machine():
        for name, expected in cells.items():
            assert found[name] == expected, name
        return
    for name, expected in cells.items():
        assert [float(x) for x in found[name]["losses"]] == pytest.approx(
            [float(x) for x in expected["losses"]], rel=1e-4
        ), name
        if name.split("/")[1] not in ("genome", "train_composed"):  # these decide how many weights they keep
            assert sum(found[name]["kept"].values()) == sum(expected["kept"].values()), name
