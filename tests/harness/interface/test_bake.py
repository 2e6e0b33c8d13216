"""What composed training has found, as ordinary weights under ordinary masks."""

from typing import Any

import pytest
import torch

from harness import Bake, Finetune, Prune, Train
from harness.errors import HarnessError
from harness.stages.discrete_phases import bake
from harness.testing import check_method

THRESHOLD = '''
import torch
from pydantic import BaseModel, ConfigDict
from harness import Bake, Calibrate, Entry, Finetune, Masks, Prune, SparsityMethod, Train, hookimpl

PROGRAMS = {
    "trained": [Train(40)],
    "baked": [Train(40), Bake()],
    "tuned": [Train(40), Bake(), Finetune(20)],
    "twice": [Train(40), Bake(), Bake(), Finetune(20)],
    "unbaked_finetune": [Train(40), Finetune(20)],
    "unbaked_prune": [Train(40), Prune(density=0.1), Finetune(20)],
    "unbaked_calibrate": [Train(40), Calibrate(2)],
}

class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    program: str = "trained"

class Threshold(SparsityMethod[Options]):
    """sign(w) relu(|w| - 0.1)."""
    Options = Options
    mode = "composed"
    takes_density = "never"
    def program(self, budget):
        return PROGRAMS[self.options.program]
    def influences(self, phase):
        return {}
    def compose(self, connection, raw):
        return raw.sign() * (raw.abs() - 0.1).relu()
    def final(self, connection, raw):
        return self.compose(connection, raw)
    def final_masks(self, context):
        return Masks({c.name: context.weight(c).abs() > 0.1 for c in context.connections})

class Plain(Threshold):
    """Its final weights are the raw ones."""
    final = SparsityMethod.final
    def final_differs(self):
        return "they are not shrunk"
    def scores(self, context):
        return {c.name: context.weight(c).abs() for c in context.connections}

@hookimpl
def harness_register_methods():
    return [Entry("threshold", Threshold), Entry("plain", Plain)]
'''


def cells(lab, *programs: str, use: str = "threshold", net: str = "{}") -> Any:
    methods = ", ".join(f"{name}: {{use: {use}, program: {name}}}" for name in programs)
    return lab.cells(f"{{{methods}}}", architectures=f"{{net: {net}}}")


def test_hard_evaluation_is_the_same_to_the_bit(lab) -> None:
    lab_ = lab(THRESHOLD)
    planned = cells(lab_, "trained", "baked")
    trained, baked = (lab_.record(planned[name]) for name in ("trained", "baked"))
    assert trained["metrics"] == baked["metrics"] and trained["validation"] == baked["validation"]
    kept = {name: c["kept"] for name, c in trained["density"]["connections"].items()}
    assert {name: c["kept"] for name, c in baked["density"]["connections"].items()} == kept
    assert 0 < sum(kept.values()) < 194 and trained["density"]["total"] == baked["density"]["total"]
    assert trained["stages"][0] == baked["stages"][0]
    inputs = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    outputs = []
    for one in planned.values():
        net = lab_.network(one)
        with lab_.runner.evaluating(net, net.begin_phase(hooks=net.soft), "hard") as model:
            outputs.append(model(inputs))
    assert torch.equal(*outputs)


def test_raw_weights_become_the_final_ones(lab) -> None:
    lab_ = lab(THRESHOLD)
    planned = cells(lab_, "trained", "baked")
    trained, baked = (lab_.network(one) for one in planned.values())
    assert trained.soft and not baked.soft
    for connection in trained.connections:
        raw = connection.region(trained.module.get_parameter(connection.parameter).detach())
        found = connection.region(baked.module.get_parameter(connection.parameter).detach())
        assert torch.equal(found, torch.where(raw.abs() > 0.1, raw - 0.1 * raw.sign(), 0.0))
        assert baked.current.hard is not None
        assert torch.equal(baked.current.hard[connection.name], raw.abs() > 0.1)
    assert torch.equal(trained.module.get_parameter("out.bias"), baked.module.get_parameter("out.bias"))


def test_masks_are_those_of_the_method_wherever_it_stands(lab) -> None:
    """Within a stage too, where nobody has asked for them yet."""
    lab_ = lab(THRESHOLD)
    (planned,) = cells(lab_, "trained").values()
    network = lab_.network(planned)
    expected = network.method.final_masks(network.context)
    network.current.hard = None
    bake(network)
    assert network.current.hard is not None and network.current.hard.digest() == expected.digest()


def test_what_is_baked_is_tuned_under_its_masks(lab) -> None:
    lab_ = lab(THRESHOLD)
    planned = cells(lab_, "baked", "tuned", "twice", net="{dropout: 0}")
    baked, tuned, twice = (lab_.network(planned[name]) for name in ("baked", "tuned", "twice"))
    assert baked.current.hard is not None and tuned.current.hard is not None
    assert tuned.current.hard.digest() == baked.current.hard.digest()
    for c in baked.connections:
        before, after, again = (c.region(n.module.get_parameter(c.parameter)) for n in (baked, tuned, twice))
        assert torch.equal(after == 0, ~baked.current.hard[c.name]) and not torch.equal(before, after)
        assert torch.equal(after, again), "a second Bake has nothing to do"


@pytest.mark.parametrize("program", ["finetune", "prune", "calibrate"])
def test_going_on_from_raw_weights_is_refused(lab, program: str) -> None:
    lab_ = lab(THRESHOLD)
    (planned,) = cells(lab_, f"unbaked_{program}").values()
    with pytest.raises(HarnessError, match=rf"{program.capitalize()} would go on .* put Bake\(\) between"):
        lab_.run(planned)


@pytest.mark.parametrize("program", ["finetune", "prune", "calibrate"])
def test_but_not_where_they_are_the_final_ones(lab, program: str) -> None:
    lab_ = lab(THRESHOLD)
    (planned,) = cells(lab_, f"unbaked_{program}", use="plain").values()
    net = lab_.network(planned)
    hard = net.current.hard
    assert not net.soft and hard is not None
    for c in net.connections:
        assert not c.region(net.module.get_parameter(c.parameter))[~hard[c.name]].any()


def test_the_example_ends_at_the_density_asked_for(lab, example) -> None:
    lab_ = lab(example("LearntThresholds", "thresholds"))
    (record,) = lab_.records("{thresholds: {density: 0.3}}").values()
    assert record["density"]["kept"] == round(0.3 * 194) and record["spent"]["steps"] == 50
    assert [phase["type"] for phase in record["program"]] == ["Train", "Bake", "Prune", "Finetune"]


def test_the_example_keeps_its_contract(example) -> None:
    found: dict[str, Any] = {}
    exec(example("LearntThresholds", "thresholds"), found)
    cls = found["LearntThresholds"]
    check_method(cls)

    class Unbaked(cls):
        def program(self, budget: Any) -> Any:
            return [Train(budget.steps), Prune(), Finetune(5)]

    with pytest.raises(AssertionError, match=r"Prune.* would go on from raw weights.*Bake\(\)"):
        check_method(Unbaked)
    assert Bake() == Bake(hooks=True)
