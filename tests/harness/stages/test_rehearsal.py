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
    "architectures: {net: {}}\nbenchmarks: blobs\nmethods: {programmed: {program: finetune, density: 0.5}}\n"
    "training: {steps: 20, batch_size: 16}\n"
)
PLUGIN = TOY.read_text()
LOGITS, FIRST = "return logits if targets is None else", '"first.weight", "dense", data, first, (10, INPUTS))'
FAULTS = {
    "transposed": (LOGITS, LOGITS.replace("logits", "logits.T"), "(3, 1) for one example of shape (6,)"),
    "without the batch": (LOGITS, LOGITS.replace("logits", "logits[0]"), "gives (3,) for one example"),
    "several things": (LOGITS, LOGITS.replace("logits", "{'logits': 0}"), "gives {'logits': 0} for one example"),
    "too many classes": (LOGITS, LOGITS.replace("logits", "logits.repeat(1, 2)"), "(1, 6) for one example"),
    "no loss": (LOGITS, f"{LOGITS} [1] or", "module(inputs, targets) gives a list; it must give the mean loss"),
    "a loss each": (LOGITS, f"{LOGITS} logits[:, 0] if 1 else", "(inputs, targets) gives a tensor of shape (1,)"),
    "in for out": (FIRST, FIRST.replace("10, INPUTS", "INPUTS, 10"), "says shape (6, 10); its part of 'first.weight'"),
    "no such weight": (
        FIRST,
        FIRST.replace("first.w", "lift.w"),
        "'lift.weight', which the module has not; it has first",
    ),
    "rows beyond": (FIRST, FIRST.replace("S))", "S), rows=(1, 11))"), "rows (1, 11) and columns None of (10, 6): "),
    "rows short of it": (FIRST, FIRST.replace("S))", "S), rows=(0, 4))"), "part of 'first.weight', (10, 6), is (4, 6)"),
}


TARGETS = "self.inputs[indices], self.targets[indices]"
DATA = {
    "int32": (f"{TARGETS}.int()", "targets are torch.int32, must be torch.int64 (classes)"),
    "one more class": (f"{TARGETS} + (indices > 40)", "a target is 3, and its spec says outputs=3: targets are 0 to 2"),
    "from -1": (f"{TARGETS} - 1", "a target is -1, and its spec says outputs=3: targets are 0 to 2"),
}


def run(folder: Path, text: str) -> list[Any]:
    """The weights at the end of every stage, of the toy plugin with this text."""
    (folder / "mine.py").write_text(text)
    (folder / "suite.yaml").write_text(SUITE)
    registry = load([folder / "mine.py"])
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
    assert str(error.value).startswith("architecture 'net': ")


@pytest.mark.parametrize("fault", DATA)
def test_targets_that_are_no_classes_are_the_benchmarks(tmp_path: Path, fault: str) -> None:
    """Not the loss's, which would say it in torch's words; also where the first example is one."""
    wrong, message = DATA[fault]
    assert PLUGIN.count(TARGETS) == 1
    with pytest.raises(PluginError, match=re.escape(f"Blobs.training_data(): {message}")):
        run(tmp_path, PLUGIN.replace(TARGETS, wrong))


def test_a_rehearsal_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither dropout's random numbers nor the mode in which the network is trained."""
    states = []
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
        states.append(run(tmp_path / name, PLUGIN))
        monkeypatch.setattr("harness.stages.training_run.rehearse", lambda *_: None)
    assert_same(states[0], states[1])
