"""A faulty architecture is told apart before its first step: what is wrong, and what it should be."""

import re
from pathlib import Path
from typing import Any

import pytest
from stage_runs import assert_same, runner_of

from harness.errors import PluginError
from harness.registry.plugins import load
from harness.stages.graph import compile_graph
from harness.suites.suite import load_suite

TOY = Path(__file__).parents[1] / "toy_plugin.py"
SUITE = (
    "architectures: {mine: {}}\nbenchmarks: blobs\nmethods: {programmed: {program: finetune, density: 0.5}}\n"
    "training: {steps: 20, batch_size: 16}\n"
)
PLUGIN = """
from torch import nn
from torch.nn import functional

from harness import Architecture, Band, Connection, Entry, hookimpl


class Mine(Architecture):
    kinds = ("classification",)

    def build(self):
        return Network()

    def connections(self):
        return [Connection("up", "up.weight", "dense", Band("in", 6, 0), Band("mid", 8, 1), (8, 6))]


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.drop, self.head = nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3)

    def forward(self, x, targets=None):
        logits = self.head(self.drop(self.up(x)))
        return logits if targets is None else functional.cross_entropy(logits, targets)


@hookimpl
def harness_register_architectures():
    return [Entry("mine", Mine, "made by a test")]
"""
LOGITS = "return logits if targets is None else"
FAULTS = {
    "transposed": (LOGITS, "return logits.T if targets is None else", "(3, 1) for one example of shape (6,)"),
    "without the batch": (LOGITS, "return logits[0] if targets is None else", "gives (3,) for one example"),
    "several things": (LOGITS, "return {'logits': 0} if targets is None else", "gives {'logits': 0} for one example"),
    "too many classes": ("nn.Linear(8, 3)", "nn.Linear(8, 4)", "must give logits, (1, 3)"),
    "in for out": ("(8, 6))]", "(6, 8))]", "'up' says shape (6, 8); its part of 'up.weight', (8, 6), is (8, 6)"),
    "no such weight": ('"up.weight"', '"lift.weight"', "'lift.weight', which the module has not; it has up.weight"),
    "rows beyond": ("(8, 6))]", "(9, 6), rows=(0, 9))]", "rows (0, 9) and columns None of (8, 6): "),
    "rows short of it": ("(8, 6))]", "(8, 6), rows=(0, 4))]", "its part of 'up.weight', (8, 6), is (4, 6)"),
}


def run(folder: Path, text: str) -> list[Any]:
    """The weights at the end of every stage."""
    (folder / "mine.py").write_text(text)
    (folder / "suite.yaml").write_text(SUITE)
    registry = load([TOY, folder / "mine.py"])
    graph = compile_graph(load_suite(folder / "suite.yaml", registry).cells, registry)
    runner = runner_of(folder / "stages", registry)
    for stage in graph.stages.values():
        runner.run(stage, lambda seen: pytest.fail("it was trained") if text != PLUGIN else None)
    return [runner.store.state(name)["weights"] for name in graph.stages]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_network_gets_wrong_is_said_before_it_is_trained(tmp_path: Path, fault: str) -> None:
    right, wrong, message = FAULTS[fault]
    assert PLUGIN.count(right) == 1
    with pytest.raises(PluginError, match=re.escape(message)) as error:
        run(tmp_path, PLUGIN.replace(right, wrong))
    assert str(error.value).startswith("architecture 'mine': ")


def test_a_rehearsal_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither dropout's random numbers nor the mode in which the network is trained."""
    states = []
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
        states.append(run(tmp_path / name, PLUGIN))
        monkeypatch.setattr("harness.stages.training_run.rehearse", lambda *_: None)
    assert_same(states[0], states[1])
