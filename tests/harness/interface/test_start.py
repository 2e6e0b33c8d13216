"""Raw weights made of those that the network has, wherever composed training starts."""

from typing import Any

import pytest
import torch
from stage_runs import after, assert_same, finish, outcome, runner_of

from harness import Bake, Finetune, NoOptions, SparsityMethod, Train
from harness.stages.training_run import Interrupted
from harness.testing import check_method
from harness.training.sampler import Sampler
from harness.training.weights import Weights

CUBES = '''
from pydantic import BaseModel, ConfigDict
from harness import Bake, Entry, Masks, SparsityMethod, Train, hookimpl

class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    program: str = "[Train(40)]"

class Cubes(SparsityMethod[Options]):
    """The effective weight is the raw one cubed."""
    Options = Options
    mode = "composed"
    takes_density = "never"
    def program(self, budget):
        return eval(self.options.program)
    def start(self, connection, weight):
        return weight.sign() * weight.abs() ** (1 / 3)
    def compose(self, connection, raw):
        return raw ** 3
    final = compose
    def final_masks(self, context):
        return Masks.full(context.connections)

@hookimpl
def harness_register_methods():
    return [Entry("cubes", Cubes)]
'''


def cell(lab_: Any, program: str, steps: int = 40) -> Any:
    cells = lab_.cells(
        f"{{cubes: {{program: '{program}'}}}}",
        architectures="{net: {dropout: 0}}",
        training=f"{{steps: {steps}, batch_size: 16, lr: 0.02, optimizer: sgd, momentum: 0.0, schedule: constant}}",
    )
    return cells["cubes"]


def test_training_starts_from_the_initial_weights(lab) -> None:
    """A step of no length leaves the initial network, up to the roots' rounding."""
    lab_ = lab(CUBES)
    network = lab_.network(cell(lab_, "[Train(1, lr=0.0)]"))
    first = network.initial()
    for c in network.connections:
        initial = c.region(first.get_parameter(c.parameter).detach())
        raw = c.region(network.module.get_parameter(c.parameter).detach())
        assert torch.equal(raw, initial.sign() * initial.abs() ** (1 / 3))
    weights = network.begin_phase(hooks=True)
    with weights.evaluating("hard", network.final_masks()) as model:
        for c in network.connections:
            initial = c.region(first.get_parameter(c.parameter).detach())
            assert torch.allclose(c.region(model.get_parameter(c.parameter)), initial, rtol=1e-5, atol=0)


def test_one_step_is_the_chain_rule_on_the_roots(lab) -> None:
    """Of SGD at rate r: t - r dL/dw 3 t^2, with dL/dw of the initial network on the first batch."""
    lab_ = lab(CUBES)
    zero = lab_.network(cell(lab_, "[Train(1, lr=0.0)]"))
    one = lab_.network(cell(lab_, "[Train(1, lr=0.02)]"))
    data = lab_.runner.training_data(one.cell.training_part)
    first = one.initial()
    inputs, targets = data.batch(Sampler(len(data), one.cell.seed).indices(0, 16))
    first(inputs, targets).backward()
    for c in one.connections:
        root = c.region(zero.module.get_parameter(c.parameter).detach())
        gradient = c.region(first.get_parameter(c.parameter).grad)
        found = c.region(one.module.get_parameter(c.parameter).detach())
        assert torch.allclose(found, root - 0.02 * gradient * 3 * root**2, rtol=1e-4, atol=1e-7)
        assert not torch.equal(found, root)


def test_raw_weights_of_an_earlier_phase_are_taken_as_they_are(lab) -> None:
    """Two parts are one training, for SGD without momentum to the bit; over a Bake, up to the roots' rounding."""
    lab_ = lab(CUBES)
    programs = ("[Train(20)]", "[Train(10, of=20), Train(10, begin=10, of=20)]")
    whole, parts = (lab_.network(cell(lab_, program)) for program in programs)
    baked = lab_.network(cell(lab_, "[Train(10, of=20), Bake(), Train(10, begin=10, of=20)]"))
    for c in whole.connections:
        expected, found, over = (c.region(n.module.get_parameter(c.parameter)) for n in (whole, parts, baked))
        assert torch.equal(found, expected)
        assert torch.allclose(over, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("program", ["[Train(40)]", "[Train(20), Bake(), Train(20)]"])
def test_a_resumed_training_does_not_start_again(lab, program: str, tmp_path, monkeypatch) -> None:
    lab_ = lab(CUBES)
    planned = cell(lab_, program)
    torch.manual_seed(1)
    finish(tmp_path / "whole", lab_.registry, planned)
    monkeypatch.setattr("harness.training.trainer.PATIENCE", -1.0)
    torch.manual_seed(2)
    stops = 0
    for stage in planned.stages:
        while True:
            try:
                runner_of(tmp_path / "stopped", lab_.registry, stopping=after(7)).run(stage)
                break
            except Interrupted:
                stops += 1
    assert stops >= 4
    assert_same(outcome(tmp_path / "whole", planned), outcome(tmp_path / "stopped", planned))


def test_the_documents_example_is_exact_and_keeps_zeros_without_a_mask(lab, example) -> None:
    lab_ = lab(example("Powers", "powers"))
    planned = lab_.cells("{powers: {density: 0.2}}")["powers"]
    record = lab_.record(planned)
    assert record["density"]["kept"] == round(0.2 * 194) and record["spent"]["steps"] == 40
    assert all(c["kept"] == c["nonzero"] for c in record["density"]["connections"].values())


def test_default_changes_nothing() -> None:
    module = torch.nn.Linear(3, 2)

    class Plain(SparsityMethod[NoOptions]):
        mode = "composed"

    weights = Weights(module, (), None, Plain(NoOptions()))
    weights.start()
    assert Plain(NoOptions()).start(None, module.weight) is module.weight  # type: ignore[arg-type]


def test_conformance_finds_a_start_that_is_none() -> None:
    class Wrong(SparsityMethod[NoOptions]):
        mode, takes_density = "composed", "never"

        def program(self, budget):
            return [Train(budget.steps), Bake(), Finetune(5)]

        def start(self, connection, weight):
            return weight.sign() * weight.abs() ** 0.4

        def compose(self, connection, raw):
            return raw * raw.abs()

        final = compose

        def final_masks(self, context):
            return context.masks

    with pytest.raises(AssertionError, match=r"starts from other weights than 'layer0' has: compose\(\) of what start"):
        check_method(Wrong)
    Wrong.start = lambda self, connection, weight: weight.sign() * weight.abs() ** 0.5  # type: ignore[method-assign]
    check_method(Wrong)
