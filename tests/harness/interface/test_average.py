"""The mean of networks that were trained apart."""

from __future__ import annotations

import pytest
import torch

from harness import Average, NoOptions, Prune, SparsityMethod, Train
from harness.errors import HarnessError, UserError
from harness.testing import check_method

PROGRAMS = '''
from pydantic import BaseModel, ConfigDict
from harness import Average, Bake, Entry, Masks, Prune, Rewind, SparsityMethod, Train, hookimpl

HELD = {"hooks": False}
BEGIN = [Train(20, **HELD), Prune(density=0.6), Train(10, **HELD)]
PROGRAMS = {
    "one": [*BEGIN, Rewind(0), Train(10, **HELD)],
    "first": [*BEGIN],
    "mean": [*BEGIN, Rewind(0), Train(10, **HELD), Average((2, 4))],
    "nested": [*BEGIN, Prune(density=0.2), Train(10, **HELD), Average((0, 2, 4))],
    "second": [*BEGIN, Prune(density=0.2), Train(10, **HELD)],
    "no_end": [*BEGIN, Average((1, 2))],
}

class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    program: str

class Programs(SparsityMethod[Options]):
    Options = Options
    takes_density = "never"
    def program(self, budget):
        return PROGRAMS[self.options.program]
    def influences(self, phase):
        return {}
    def scores(self, context):
        return {c.name: context.weight(c).abs() for c in context.connections}

class Growing(SparsityMethod[Options]):
    """Opens everything at the first step of its last training."""
    Options = Options
    takes_density = "never"
    def program(self, budget):
        return [Train(20, **HELD), Prune(density=0.2), Train(10, **HELD), Train(10), Average((0, 2))]
    def scores(self, context):
        return {c.name: context.weight(c).abs() for c in context.connections}
    def after_step(self, context):
        return Masks.full(context.connections) if context.step == 0 else None

class Composed(SparsityMethod[Options]):
    Options = Options
    mode = "composed"
    takes_density = "never"
    def program(self, budget):
        baked = [Bake(), Train(0, **HELD)] if self.options.program == "baked" else []
        return [Train(20), *baked, Average((len(baked),))]
    def compose(self, connection, raw):
        return raw * 0.5
    def final(self, connection, raw):
        return raw * 0.5

@hookimpl
def harness_register_methods():
    return [Entry("programs", Programs), Entry("growing", Growing), Entry("composed", Composed)]
'''


def networks(lab, *programs: str, use: str = "programs"):
    methods = ", ".join(f"{name}: {{use: {use}, program: {name}}}" for name in programs)
    return [lab.network(planned) for planned in lab.cells(f"{{{methods}}}").values()]


def test_weights_and_statistics_are_means_under_the_same_masks(lab) -> None:
    first, one, mean = networks(lab(PROGRAMS), "first", "one", "mean")
    a, b, found = (network.module.state_dict() for network in (first, one, mean))
    for name, tensor in found.items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, ((a[name].double() + b[name].double()) / 2).float()), name
            assert not torch.equal(a[name], b[name]), name
        else:
            assert torch.equal(tensor, b[name]), "a count stays as it is"
    assert mean.current.hard.digest() == first.current.hard.digest()
    assert sum(mean.current.hard.kept.values()) == round(0.6 * 194)
    assert mean.spent.steps == 40


def test_denser_networks_take_part_with_what_is_kept_now(lab) -> None:
    lab_ = lab(PROGRAMS)
    first, second, nested = networks(lab_, "first", "second", "nested")
    (dense,) = lab_.cells("{dense: {}}", training="{steps: 20, batch_size: 16, lr: 0.02}").values()
    members = [lab_.network(dense), first, second]
    hard = nested.current.hard
    assert hard.digest() == second.current.hard.digest() and sum(hard.kept.values()) == round(0.2 * 194)
    for c in nested.connections:
        whole = torch.stack([c.region(m.module.get_parameter(c.parameter).detach()).double() for m in members]).mean(0)
        found = c.region(nested.module.get_parameter(c.parameter).detach())
        torch.testing.assert_close(found, torch.where(hard[c.name], whole, 0.0).float())
    bias = torch.stack([m.module.out.bias.detach() for m in members]).mean(0)
    torch.testing.assert_close(nested.module.out.bias.detach(), bias)


def test_a_weight_that_one_of_them_had_pruned_is_refused(lab) -> None:
    lacking = 194 - round(0.2 * 194)
    with pytest.raises(HarnessError, match=f"average phase 2: it had pruned {lacking} weights that are kept"):
        networks(lab(PROGRAMS), "growing", use="growing")


def test_composed_weights_are_baked_first(lab) -> None:
    lab_ = lab(PROGRAMS)
    with pytest.raises(HarnessError, match=r"Average would go on from its raw ones: put Bake\(\) between"):
        networks(lab_, "raw", use="composed")
    (baked,) = networks(lab_, "baked", use="composed")
    assert not baked.soft


def test_only_ends_of_training_phases_can_be_averaged(lab) -> None:
    with pytest.raises(UserError, match="phase 1 is no earlier training phase: its end is not kept"):
        networks(lab(PROGRAMS), "no_end")
    for wrong in ((), (1, 1)):
        with pytest.raises(UserError, match="at least one training phase, and none twice"):
            Average(wrong)

    class Wrong(SparsityMethod[NoOptions]):
        def program(self, budget):
            return [Train(5, hooks=False), Prune(), Average((0, 1))]

        def scores(self, context):
            return {c.name: context.weight(c).abs() for c in context.connections}

    with pytest.raises(AssertionError, match="phase 1 is no earlier training phase: its end is not kept"):
        check_method(Wrong)


def test_the_example(lab, example) -> None:
    source = example("SparseSoup", "soup")
    lab_ = lab(source)
    (record,) = lab_.records("{soup: {density: 0.3}}").values()
    assert record["density"]["kept"] == round(0.3 * 194) and record["spent"]["steps"] == 40 + 3 * 10
    assert record["spent"]["calibration"]["batches"] == 6
    found: dict = {}
    exec(source, found)
    check_method(found["SparseSoup"])
