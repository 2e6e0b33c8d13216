"""Running statistics of batch norms where a network is scored with other weights than it was last trained with."""

import pytest
import torch

from harness.core.phases import Average, Bake, Calibrate, Prune, Reinitialize, Rewind, Train
from harness.seeds import derived_seed
from harness.stages.running_statistics import BATCHES, changed_since_training
from harness.suites.schema import Evaluation
from harness.training.sampler import Sampler

NORMED = '''
import torch
import torch.nn.functional as F
from torch import nn
from harness import (Architecture, Band, Connection, Entry, Masks, NoOptions, ParameterGroup, Prune, SparsityMethod,
    Train, hookimpl)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.out = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
    def forward(self, inputs, targets=None):
        logits = self.out(self.norm(self.first(inputs)).relu())
        return logits if targets is None else F.cross_entropy(logits, targets)

class Normed(Architecture[NoOptions]):
    kinds = ("classification",)
    def build(self):
        return Net()
    def connections(self):
        return [Connection("first", "first.weight", "dense", Band("data", 6, 0), Band("hidden", 8, 1), (8, 6))]

class Late(SparsityMethod[NoOptions]):
    """Pruned after training, without recovery."""
    def program(self, budget):
        return [Train(budget.steps, hooks=False), Prune()]
    def scores(self, context):
        return {c.name: context.weight(c).abs() for c in context.connections}

class Early(Late):
    """Pruned before training."""
    def program(self, budget):
        return [Prune(), Train(budget.steps, hooks=False)]

class Halves(SparsityMethod[NoOptions]):
    """Trains with half of each weight, and is tested with the first three columns whole."""
    mode = "composed"
    takes_density = "never"
    def attach(self, context):
        self.context = context
    def effective(self, raw, connections):
        return {c.parameter: raw[c.parameter] * 0.5 for c in connections}
    def final_masks(self, context):
        return Masks({c.name: torch.arange(c.shape[1]).expand(c.shape) < 3 for c in context.connections})
    def final_differs(self):
        return "trained with halves"

@hookimpl
def harness_register_methods():
    return [Entry("late", Late), Entry("early", Early), Entry("halves", Halves)]

@hookimpl
def harness_register_architectures():
    return [Entry("normed", Normed)]
'''
METHODS = "{late: {density: 0.5}, early: {density: 0.5}, halves: {}, dense: {}}"


@pytest.fixture
def cells(lab):
    lab_ = lab(NORMED)
    return lab_, lab_.cells(METHODS, architectures="{normed: {}}")


def scored_norms(lab_, planned, masks="hard"):
    """Statistics of the network as it is scored, what they should be over the batches, and those before and after."""
    scored = lab_.runner.scored(planned)
    (network,) = scored.networks
    norm = network.module.norm
    before = norm.running_mean.clone(), norm.running_var.clone()
    with lab_.runner.predicting(scored, masks) as model:
        assert not model.training and not norm.training
        found = norm.running_mean.clone(), norm.running_var.clone()
        weight, bias = model.first.weight.detach().double(), model.first.bias.detach().double()
    assert (norm.momentum, network.spent.calibration_batches) == (0.1, 0)
    after = norm.running_mean.clone(), norm.running_var.clone()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), "as they were"
    assert network.module.training
    data = lab_.runner.training_data(planned.cell.training_part)
    sampler, size = Sampler(len(data), derived_seed(planned.cell.seed, "calibration")), 16
    outs = [sampler.batch(data, i * size, size)[0].double() @ weight.T + bias for i in range(BATCHES)]
    means = torch.stack([out.mean(0) for out in outs]).mean(0)
    variances = torch.stack([out.var(0, unbiased=True) for out in outs]).mean(0)
    return before, found, (means.float(), variances.float())


@pytest.mark.parametrize("name", ["late", "halves"])
def test_estimated_where_no_training_followed(cells, name: str) -> None:
    lab_, planned = cells
    record = lab_.record(planned[name])
    assert record["method"]["norms_estimated"] == BATCHES
    before, found, wanted = scored_norms(lab_, planned[name])
    for old, new, right in zip(before, found, wanted, strict=True):
        torch.testing.assert_close(new, right)
        assert not torch.allclose(old, right, rtol=1e-3), "the test could not fail"


@pytest.mark.parametrize("name", ["early", "dense"])
def test_left_alone_where_training_came_last(cells, name: str) -> None:
    lab_, planned = cells
    assert lab_.record(planned[name])["method"]["norms_estimated"] == 0
    before, found, _ = scored_norms(lab_, planned[name])
    assert all(torch.equal(old, new) for old, new in zip(before, found, strict=True))


def test_soft_masks_are_tested_as_they_were_trained(cells) -> None:
    lab_, planned = cells
    lab_.record(planned["halves"])
    before, found, _ = scored_norms(lab_, planned["halves"], "soft")
    assert all(torch.equal(old, new) for old, new in zip(before, found, strict=True))


def test_they_can_be_left_as_training_left_them(lab) -> None:
    lab_ = lab(NORMED)
    evaluation = "{evaluation: {batch_norms: trained}, density: 0.5}"
    (planned,) = lab_.cells(f"{{late: {evaluation}}}", architectures="{normed: {}}").values()
    record = lab_.record(planned)
    assert record["method"]["norms_estimated"] == 0
    assert record["benchmark"]["protocol"].endswith("batch norms as training left them")
    before, found, _ = scored_norms(lab_, planned)
    assert all(torch.equal(old, new) for old, new in zip(before, found, strict=True))


def test_the_default_is_in_no_hash() -> None:
    assert "batch_norms" not in Evaluation().model_dump(mode="json")
    assert Evaluation(batch_norms="trained").model_dump(mode="json")["batch_norms"] == "trained"
    assert Evaluation().model_dump(include={"masks", "batch_norms"}) == {"masks": "hard"}


TRAIN = Train(5, hooks=False)


@pytest.mark.parametrize(
    ("program", "differs", "changed"),
    [
        ([TRAIN], False, False),
        ([TRAIN, Prune()], False, True),
        ([Prune(), TRAIN], False, False),
        ([TRAIN, Prune(), Train(0, hooks=False)], False, True),
        ([TRAIN, Prune(), Calibrate(3)], False, False),
        ([TRAIN, Prune(), Calibrate(3, hooks=True)], False, True),
        ([TRAIN, TRAIN, Average((0, 1))], False, True),
        ([TRAIN, Bake()], True, True),
        ([TRAIN, Bake()], False, False),
        ([TRAIN, Reinitialize("random_sign")], False, True),
        ([TRAIN, TRAIN, Rewind(0)], False, False),
        ([Prune()], False, True),
    ],
)
def test_what_counts_as_a_change(program: list[object], differs: bool, changed: bool) -> None:
    assert changed_since_training(program, differs) is changed
