"""Batches to look at: which ones, what they leave behind, and what they are counted as."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.data import DataSpec
from harness.core.densities import top_k
from harness.core.phases import Calibrate
from harness.seeds import derived_seed
from harness.stages.calibration import calibrate
from harness.stages.calibration_batches import Batches
from harness.stages.graph import PlannedCell
from harness.stages.network import Network, initial_module
from harness.testing import check_method

BATCH = 16
COMMON = """
from typing import Any
import torch
from torch import nn
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from harness import (Architecture, Band, Calibrate, Connection, Entry, Masks, NoOptions, Prune, SparsityMethod, Train,
    hookimpl)
"""
SEEN = (
    COMMON
    + '''
class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    batches: int = 3
    recover: int = 40
    estimate: bool = False

class Seen(SparsityMethod[Options]):
    """Ranks weights by the mean size of their inputs, which it has looked at before; first connection only."""
    Options = Options
    def program(self, budget):
        last = [Calibrate(6)] if self.options.estimate else []
        return [Calibrate(self.options.batches, hooks=True), Prune(), Train(self.options.recover, hooks=False), *last]
    def attach(self, context):
        self.sizes, self.count = torch.zeros(6), 0
    def calibrate(self, phase, context):
        for inputs, _ in context.batches(phase.batches):
            self.sizes = self.sizes + inputs.abs().sum(0).float()
            self.count += len(inputs)
    def scores(self, context):
        return {c.name: context.weight(c).abs() * (self.sizes if c.name == "first" else 1) for c in context.connections}
    def state_dict(self):
        return {"sizes": self.sizes, "count": self.count}
    def load_state_dict(self, state):
        self.sizes, self.count = state["sizes"], state["count"]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4, momentum=0.05)
        self.out = nn.Linear(24, 3)
    def forward(self, inputs, targets=None):
        logits = self.out(self.norm(self.conv(inputs.view(-1, 1, 2, 3))).relu().flatten(1))
        return logits if targets is None else F.cross_entropy(logits, targets)

class Small(Architecture[NoOptions]):
    kinds = ("classification",)
    def build(self):
        return Net()
    def connections(self):
        bands = [Band("data", 1, 0), Band("channels", 4, 1)]
        return [Connection("conv", "conv.weight", "conv", *bands, (4, 1, 3, 3))]

class Fair(SparsityMethod[NoOptions]):
    """Pruned after training, without recovery."""
    def program(self, budget):
        return [Train(budget.steps, hooks=False), Prune(), Calibrate(6)]
    def scores(self, context):
        return {c.name: context.weight(c).abs() for c in context.connections}

@hookimpl
def harness_register_methods():
    return [Entry("seen", Seen), Entry("fair", Fair)]

@hookimpl
def harness_register_architectures():
    return [Entry("small", Small)]
'''
)


def expected(batches: int, seed: int = 3, size: int = BATCH) -> Tensor:
    """Indices of the batches: the first pass over 96 examples, in an order of their own."""
    generator = torch.Generator().manual_seed(derived_seed(derived_seed(seed, "calibration"), "data", 0))
    return torch.randperm(96, generator=generator)[: batches * size].view(batches, size)


def network(lab, planned: PlannedCell) -> Network:
    """As the cell begins."""
    spec = lab.runner.benchmark(planned.cell.training_part).spec()
    return lab.runner._builder.build(planned.stages[0], spec)


def batches_of(lab, net: Network, planned: PlannedCell) -> Batches:
    part = planned.cell.training_part
    return Batches(net, lambda: lab.runner.training_data(part), planned.cell.training, planned.cell.seed)


def test_the_example_keeps_what_a_computation_by_hand_keeps(lab, float64: None, example) -> None:
    lab_ = lab(example("Snip", "sensitivity"))
    cells = lab_.cells("{sensitivity: {density: 0.3}}")
    net = lab_.network(cells["sensitivity"])
    data = lab_.runner.training_data(cells["sensitivity"].cell.training_part)
    module = initial_module(net.architecture, 3).eval()
    gradients: dict[str, Tensor] = {}
    for index in expected(2):
        inputs, targets = data.batch(index)
        x = inputs.clone()
        norm = module.norm
        first = x @ module.first.weight.T + module.first.bias
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        normed = (first - norm.running_mean) * scale + norm.bias
        a = normed.clamp_min(0)
        b_raw = a @ module.second.weight.T + module.second.bias
        b = b_raw.clamp_min(0)
        logits = torch.cat([a, b], 1) @ module.out.weight.T + module.out.bias
        d_logits = (logits.softmax(1) - F.one_hot(targets, 3)) / BATCH
        d_hidden = d_logits @ module.out.weight
        d_b = d_hidden[:, 10:] * (b_raw > 0)
        d_a = (d_hidden[:, :10] + d_b @ module.second.weight) * (normed > 0) * scale
        found = {"out": d_logits.T @ torch.cat([a, b], 1), "second": d_b.T @ a, "first": d_a.T @ x}
        gradients = {name: gradients.get(name, 0) + g for name, g in found.items()}
    scores = [module.get_parameter(f"{name}.weight") * gradients[name] for name in ("first", "second", "out")]
    flat = torch.cat([score.detach().abs().reshape(-1) for score in scores])
    kept = torch.split(top_k(flat.float(), round(0.3 * 194)), [60, 80, 54])
    assert net.current.hard is not None
    hard = net.current.hard
    assert torch.equal(hard["first"].reshape(-1), kept[0])
    assert torch.equal(hard["second"].reshape(-1), kept[1])
    assert torch.equal(torch.cat([hard["out.first"], hard["out.second"]], 1).reshape(-1), kept[2])


def test_the_example_keeps_its_contract(example) -> None:
    found: dict[str, Any] = {}
    exec(example("Snip", "sensitivity"), found)
    check_method(found["Snip"])


def test_what_is_looked_at_is_counted_apart(lab, example) -> None:
    lab_ = lab(example("Snip", "sensitivity"))
    records = lab_.records("{sensitivity: {density: 0.3}, random: {density: 0.3}}")
    snip, control = records["sensitivity"]["spent"], records["random"]["spent"]
    assert snip["calibration"] == {"batches": 2, "examples": 32}
    assert control["calibration"] == {"batches": 0, "examples": 0}
    for name in ("steps", "examples", "tokens"):
        assert snip[name] == control[name]
    assert snip["flops"]["training"] == control["flops"]["training"]
    assert records["sensitivity"]["density"]["kept"] == round(0.3 * 194)


def test_which_batches(lab) -> None:
    lab_ = lab()
    (planned,) = lab_.cells("{random: {density: 0.3}}").values()
    net = network(lab_, planned)
    data = lab_.runner.training_data(planned.cell.training_part)
    batches = batches_of(lab_, net, planned)
    net.position = 1000
    with batches.open():
        found = [inputs for inputs, _ in net.context.batches(3)]
        again = [inputs for inputs, _ in net.context.batches(3)]
        longer = [inputs for inputs, _ in net.context.batches(4, 30)]
    for index, inputs, same in zip(expected(3), found, again, strict=True):
        assert torch.equal(inputs, data.batch(index)[0]) and torch.equal(inputs, same)
    whole = torch.cat(longer)
    assert len(whole) == 120 and len(whole[:96].unique(dim=0)) == 96, "each once, then again in another order"
    assert torch.equal(whole[:48], torch.cat(found))
    assert not torch.equal(whole[96:], whole[:24])
    assert (net.spent.calibration_batches, net.spent.calibration_examples) == (10, 216)
    with batches.open(), pytest.raises(ValueError, match="0 batches of 16 examples"):
        list(net.context.batches(0))


@pytest.mark.parametrize("training", [False, True])
def test_everything_is_as_before(lab, training: bool) -> None:
    lab_ = lab()
    (planned,) = lab_.cells("{random: {density: 0.3}}").values()
    net = network(lab_, planned)
    before = {name: tensor.clone() for name, tensor in net.module.state_dict().items()}
    torch.manual_seed(1)
    random = torch.get_rng_state()
    with batches_of(lab_, net, planned).open():
        for inputs, targets in net.context.batches(2, training=training):
            assert net.module.training is training
            net.context.loss(inputs, targets).backward()
            net.module(inputs)
        first = net.connections[0]
        assert net.context.gradient(first).abs().sum() > 0
        assert torch.equal(net.module.norm.running_mean, before["norm.running_mean"]) is not training
        assert torch.equal(random, torch.get_rng_state()) is False
    assert net.module.training
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.module.state_dict().items())
    assert all(parameter.grad is None for parameter in net.module.parameters())


def test_a_phase_that_looks_at_nothing_keeps_its_random_numbers(lab) -> None:
    lab_ = lab()
    (planned,) = lab_.cells("{random: {density: 0.3}}").values()
    net = network(lab_, planned)
    torch.manual_seed(1)
    drawn = torch.rand(2)
    torch.manual_seed(1)
    with batches_of(lab_, net, planned).open():
        assert torch.equal(torch.rand(1), drawn[:1])
    assert torch.equal(torch.rand(1), drawn[1:])


def test_no_other_hook_has_batches(lab) -> None:
    lab_ = lab()
    (planned,) = lab_.cells("{random: {density: 0.3}}").values()
    net = network(lab_, planned)
    with pytest.raises(RuntimeError, match=r"context.batches\(\) is for scores"):
        net.context.batches(1)
    with pytest.raises(RuntimeError, match=r"context.loss\(\)"):
        net.context.loss(torch.zeros(1), torch.zeros(1))
    assert net.context.data == DataSpec("classification", (6,), 3, 96)


def test_what_a_method_has_seen_is_part_of_its_state(lab) -> None:
    lab_ = lab(SEEN)
    (planned,) = lab_.cells("{seen: {density: 0.3}}").values()
    net = lab_.network(planned)
    data = lab_.runner.training_data(planned.cell.training_part)
    inputs = data.batch(expected(3).reshape(-1))[0]
    state = net.method_state()
    assert state["count"] == 48
    torch.testing.assert_close(state["sizes"], inputs.abs().sum(0))
    (score, *_), module = net.connections, initial_module(net.architecture, 3)
    weights = module.get_parameter(score.parameter).abs() * inputs.abs().sum(0)
    assert net.current.hard is not None
    kept = net.current.hard["first"]
    assert weights[kept].min() >= weights[~kept].max()


def test_running_statistics_are_those_of_the_pruned_network(lab, float64: None) -> None:
    lab_ = lab(SEEN)
    (planned,) = lab_.cells("{fair: {density: 0.5}}", architectures="{small: {}}").values()
    net = lab_.network(planned)
    weight, bias = net.module.conv.weight, net.module.conv.bias
    assert int((weight == 0).sum()) == 18
    data = lab_.runner.training_data(planned.cell.training_part)
    means, variances = torch.zeros(4), torch.zeros(4)
    for index in expected(6):
        padded = F.pad(data.batch(index)[0].view(-1, 1, 2, 3), (1, 1, 1, 1))
        out = torch.zeros(BATCH, 4, 2, 3)
        for row in range(2):
            for column in range(3):
                window = padded[:, 0, row : row + 3, column : column + 3]
                out[:, :, row, column] = (window.unsqueeze(1) * weight[:, 0]).sum((2, 3)).detach() + bias.detach()
        channels = out.transpose(0, 1).reshape(4, -1)
        means += channels.mean(1) / 6
        variances += channels.var(1, unbiased=True) / 6
    torch.testing.assert_close(net.module.norm.running_mean, means)
    torch.testing.assert_close(net.module.norm.running_var, variances)
    assert (net.spent.calibration_batches, net.spent.calibration_examples) == (6, 96)
    assert (net.spent.examples, net.position) == (40 * BATCH, 40 * BATCH)


def test_estimation_leaves_everything_else(lab) -> None:
    lab_ = lab(SEEN)
    (planned,) = lab_.cells("{fair: {density: 0.5}}", architectures="{small: {}}").values()
    net = network(lab_, planned)
    module = net.module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    random = torch.get_rng_state()
    calibrate(net, Calibrate(2), batches_of(lab_, net, planned))
    changed = {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert module.norm.momentum == 0.05 and module.norm.num_batches_tracked == 2
    assert module.training and torch.equal(random, torch.get_rng_state())


def test_without_running_statistics_there_is_nothing_to_do(lab) -> None:
    lab_ = lab(SEEN)
    cells = lab_.cells("{seen: {density: 0.3, estimate: true}}", architectures="{net: {norm: false}}")
    (planned,) = cells.values()
    record = lab_.record(planned)
    assert record["spent"]["calibration"] == {"batches": 3, "examples": 48}, "only what the method looked at"


def test_only_what_is_estimated_differs_from_the_stage_before(lab) -> None:
    lab_ = lab(SEEN)
    cells = lab_.cells("{with: {use: seen, density: 0.3, estimate: true}, without: {use: seen, density: 0.3}}")
    estimated, trained = (lab_.network(planned).module.state_dict() for planned in cells.values())
    different = {name for name, tensor in trained.items() if not torch.equal(tensor, estimated[name])}
    assert different == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}


def test_a_composed_method_sees_its_effective_weights(lab) -> None:
    lab_ = lab()
    (planned,) = lab_.cells("{soft_threshold: {}}").values()
    net = network(lab_, planned)
    seen: list[Tensor] = []

    def look(phase: Calibrate, context: Any) -> None:
        for inputs, targets in context.batches(phase.batches):
            context.loss(inputs, targets).backward()
        seen.extend([context.model.first.weight.detach().clone(), context.gradient(context.connections[0]).clone()])

    net.method.calibrate = look
    raw = net.module.get_parameter("first.weight").detach().clone()
    calibrate(net, Calibrate(1, hooks=True), batches_of(lab_, net, planned))
    effective = raw.sign() * (raw.abs() - 0.1).relu()
    assert torch.equal(seen[0], effective) and seen[1][effective == 0].abs().sum() > 0
    assert torch.equal(net.module.get_parameter("first.weight"), raw)
    assert isinstance(net.module, nn.Module) and net.module.get_parameter("first.weight").grad is None


SYNFLOW = """
import torch
from harness import Entry, NoOptions, Prune, SparsityMethod, Train, hookimpl

class SynFlow(SparsityMethod[NoOptions]):
    def program(self, budget):
        return [Prune(), Train(0, hooks=False)]
    def scores(self, context):
        weights = {name: p.detach().abs() * (p.ndim > 1) for name, p in context.model.named_parameters()}
        weights = {name: weight.requires_grad_() for name, weight in weights.items()}
        ones = torch.ones(1, *context.data.inputs)
        torch.func.functional_call(context.model, weights, (ones,)).sum().backward()
        return {c.name: c.region(weights[c.parameter] * weights[c.parameter].grad) for c in context.connections}

@hookimpl
def harness_register_methods():
    return [Entry("flow", SynFlow)]
"""


def test_the_shape_of_the_inputs_is_enough_for_some(lab) -> None:
    """Flow through each weight (Tanaka et al. 2020), by products of matrices; dropout is off while pruning."""
    lab_ = lab(SYNFLOW)
    net = "{net: {norm: false, dropout: 0.5}}"
    (planned,) = lab_.cells("{flow: {density: 0.3}}", architectures=net).values()
    network = lab_.network(planned)
    module = network.initial()
    first, second, out = (module.get_parameter(f"{n}.weight").detach().abs() for n in ("first", "second", "out"))
    a = first @ torch.ones(6)
    b = second @ a
    to_b, to_a = out[:, 10:].sum(0), out[:, :10].sum(0) + second.T @ out[:, 10:].sum(0)
    expected = [first * to_a[:, None], second * to_b[:, None] * a, out * torch.cat([a, b])]
    order = torch.cat([score.reshape(-1) for score in expected]).argsort(descending=True)[: round(0.3 * 194)]
    hard = network.current.hard
    found = [hard["first"], hard["second"], torch.cat([hard["out.first"], hard["out.second"]], 1)]
    kept = torch.cat([mask.reshape(-1) for mask in found]).nonzero().squeeze(1)
    assert kept.tolist() == order.sort().values.tolist()
    assert network.spent.calibration_batches == 0
