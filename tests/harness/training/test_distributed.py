"""Processes: who they think they are, and that two of them train as one."""

import json
from pathlib import Path

import pytest
import torch
from two_processes import two_and_one

from harness.errors import UserError
from harness.storage import checkpoint
from harness.training.distributed import Substrate, random_state, set_random_state

PLUGIN = Path(__file__).parents[1] / "toy_plugin.py"
CPU = {"HARNESS_DEVICE": "cpu"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, (3, 8)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1)),
        ({"RANK": "3"}, (0, 1)),
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "0"}, (2, 4)),
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, (0, 1)),
        ({"SLURM_STEP_ID": "0"}, (0, 1)),
        # A batch script, and a shell of salloc: the job has four tasks, this process is none of them.
        ({"SLURM_JOB_ID": "9", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, (0, 1)),
        # torchrun within a SLURM step: its variables are the ones meant.
        ({"RANK": "1", "WORLD_SIZE": "2", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "4", "SLURM_PROCID": "3"}, (1, 2)),
    ],
)
def test_detection(environment: dict[str, str], expected: tuple[int, int]) -> None:
    found = Substrate.detect({**environment, **CPU})
    assert (found.rank, found.world) == expected
    assert found.device == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    assert Substrate.detect({}).device.type == "cpu"
    with pytest.raises(UserError, match="HARNESS_DEVICE is 'cuda'"):
        Substrate.detect({"HARNESS_DEVICE": "cuda"})


def test_shares_make_up_the_batch() -> None:
    indices = torch.arange(12)
    parts = [Substrate(rank, 3, torch.device("cpu")).share(indices) for rank in range(3)]
    assert torch.cat(parts).tolist() == list(range(12)) and [len(p) for p in parts] == [4, 4, 4]
    with pytest.raises(ValueError, match="of 12 examples does not divide by 5"):
        Substrate(0, 5, torch.device("cpu")).share(indices)


def test_a_single_process_needs_nobody() -> None:
    alone = Substrate(0, 1, torch.device("cpu"))
    alone.start()
    module = torch.nn.Linear(2, 2)
    assert alone.wrap(module) is module
    assert alone.mean(torch.tensor([1.0, 3.0])).tolist() == [1, 3]
    assert alone.any(True) is True and alone.any(False) is False
    assert not torch.distributed.is_initialized()


def test_random_state_comes_back() -> None:
    before = random_state()
    first = torch.rand(3)
    set_random_state(before)
    assert torch.equal(torch.rand(3), first)


SEEN = ("examples", "calibration_batches", "calibration_examples")
SUITE = """
architectures: {skip_mlp: {hidden: [5, 4]}}
benchmarks: blobs
training: {steps: 20, batch_size: 16, micro_batches: 2, lr: 0.01, weight_decay: 0.1, clip_norm: 0.5}
evaluation: {checks: 2, select: validation}
methods:
  genome: {n_types: 3, type_dim: 2, cost_weight: 0.1, lr: 0.05}
  random: {density: {match: genome}}
  sensitive: {density: 0.4}
"""
SENSITIVE = """
from harness import Calibrate, Entry, NoOptions, Prune, SparsityMethod, Train, hookimpl

class Sensitive(SparsityMethod[NoOptions]):
    def program(self, budget):
        return [Prune(), Calibrate(2), Train(budget.steps, hooks=False)]
    def scores(self, context):
        for inputs, targets in context.batches(2):
            context.loss(inputs, targets).backward()
        return {c.name: context.gradient(c).abs() for c in context.connections}

@hookimpl
def harness_register_methods():
    return [Entry("sensitive", Sensitive)]
"""


ATTENTION = """
architectures: attending
benchmarks: digits
training: {steps: 20, batch_size: 16, micro_batches: 2, lr: 0.01, weight_decay: 0.1, clip_norm: 0.5}
evaluation: {checks: 2, select: validation}
methods:
  gates: {}
  windowed: {density: 0.5}
"""


@pytest.mark.parametrize("attention", [False, True], ids=["weights", "attention"])
def test_two_processes_train_as_one(tmp_path: Path, attention: bool, attention_plugin: str) -> None:
    """A composed method, a static mask matched to it, one that looks at data, and masks on attention; in float64."""
    suite, method, plugin = tmp_path / "suite.yaml", tmp_path / "sensitive.py", tmp_path / "plugin.py"
    method.write_text(SENSITIVE)
    suite.write_text(ATTENTION if attention else SUITE)
    double = attention_plugin.replace("inputs.reshape", "inputs.double().reshape")  # images are float32 always
    plugin.write_text(double if attention else PLUGIN.read_text())
    stages = two_and_one(tmp_path, suite, [plugin, method])
    assert len(stages) == (2 if attention else 3)
    for stage in stages:
        two, one = (checkpoint.load(tmp_path / f"of{n}" / "stages" / stage / "state.safetensors") for n in (2, 1))
        assert two["weights"].keys() == one["weights"].keys()
        for name, expected in one["weights"].items():
            assert expected.dtype == torch.float64
            assert torch.allclose(two["weights"][name], expected, rtol=1e-9, atol=1e-12), name
        series = [json.loads((tmp_path / f"of{n}" / "stages" / stage / "series.json").read_text()) for n in (2, 1)]
        losses = [[number for row in one["loss"] for number in row] for one in series]
        assert len(losses[1]) == 2 * 4 and losses[0] == pytest.approx(losses[1], abs=2e-6)
        assert [one["spent"][name] for name in SEEN] == [two["spent"][name] for name in SEEN]
        assert two["masks"].keys() == one["masks"].keys()
        assert all(torch.equal(two["masks"][name], bits) for name, bits in one["masks"].items())
        assert two["method"].keys() == one["method"].keys()
        own = [state["method"].get("genome", state["method"]) for state in (two, one)]
        for name, expected in own[1].items():
            assert torch.allclose(own[0][name], expected, rtol=1e-9, atol=1e-12), name
    first = checkpoint.load(tmp_path / "of1" / "stages" / stages[0] / "state.safetensors")["method"]
    assert ("seen" if attention else "genome") in first


def test_a_single_process_keeps_its_tensors() -> None:
    tensors = [torch.tensor([1.0, 2.0]), torch.tensor([True, False])]
    Substrate(0, 1, torch.device("cpu")).same(tensors)
    assert tensors[0].tolist() == [1, 2] and tensors[1].tolist() == [True, False]
