"""New weights beside masks, and nothing written behind the harness's back."""

from __future__ import annotations

import pytest
import torch

from harness import NoOptions, Prune, SparsityMethod, Train
from harness.seeds import derived_seed
from harness.testing import check_method

SURGEON = '''
import torch
from torch import Tensor
from harness import Entry, Masks, NoOptions, Prune, SparsityMethod, Train, hookimpl

class Surgeon(SparsityMethod[NoOptions]):
    """One input of each neuron of the second connection goes; the others make up for it (OBS, H = X^T X)."""
    def program(self, budget):
        return [Train(0, hooks=False), Prune(density=1.0)]
    takes_density = "never"
    def scores(self, context):
        return {c.name: context.weight(c).abs() for c in context.connections}
    @torch.no_grad()
    def refine(self, masks, context):
        c = context.connections[1]
        inverse = torch.linalg.inv(hessian(c.shape[1], context))
        weights, mask = context.weight(c).clone(), masks[c.name].clone()
        for row in range(len(weights)):
            q = int((weights[row] ** 2 / inverse.diagonal()).argmin())
            weights[row] -= weights[row, q] / inverse[q, q] * inverse[:, q]
            mask[row, q] = False
        return Masks({**masks, c.name: mask}), {c.name: weights + 7 * ~mask, "norm.bias": torch.full((10,), 0.25)}

def hessian(size, context):
    root = torch.eye(size) + 0.1 * torch.arange(size * size).reshape(size, size).sin()
    return root @ root.T

@hookimpl
def harness_register_methods():
    return [Entry("surgeon", Surgeon)]
'''


def test_the_surgeon_solves_the_least_squares_problem(lab) -> None:
    """Weights of each row, without the one that went, minimise (w - w0) H (w - w0): solved here by elimination."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        lab_ = lab(SURGEON)
        (planned,) = lab_.cells("{surgeon: {}}").values()
        net = lab_.network(planned)
        initial = net.initial()
        root = torch.eye(10) + 0.1 * torch.arange(100).reshape(10, 10).sin()
        h = root @ root.T
        found, mask = net.module.second.weight.detach(), net.current.hard["second"]
        for row, original in enumerate(initial.second.weight.detach()):
            losses, candidates = [], []
            for q in range(10):
                others = [i for i in range(10) if i != q]
                # H_oo (w_o - w0_o) = H_oq w0_q
                change = torch.linalg.solve(h[others][:, others], h[others, q] * original[q])
                w = torch.zeros(10)
                w[others] = original[others] + change
                losses.append(float((w - original) @ h @ (w - original)))
                candidates.append(w)
            best = min(range(10), key=losses.__getitem__)
            assert (~mask[row]).nonzero().tolist() == [[best]]
            torch.testing.assert_close(found[row], candidates[best], rtol=1e-9, atol=1e-12)
            assert found[row, best] == 0, "what the mask closes is zero, whatever was given there"
        assert sum(net.current.hard.kept.values()) == 194 - 8
        assert torch.equal(net.module.first.weight, initial.first.weight)
        assert net.module.norm.bias.tolist() == [0.25] * 10
    finally:
        torch.set_default_dtype(before)


def test_the_example_keeps_the_mean_output(lab, example) -> None:
    lab_ = lab(example("KeptOutput", "kept_output"))
    (planned,) = lab_.cells("{kept_output: {density: 0.3}}").values()
    net = lab_.network(planned)
    (dense,) = lab_.cells("{dense: {}}").values()
    trained = lab_.network(dense)
    data = lab_.runner.training_data(planned.cell.training_part)
    assert net.spent.calibration_batches == 4
    seed = derived_seed(derived_seed(3, "calibration"), "data", 0)
    order = torch.randperm(96, generator=torch.Generator().manual_seed(seed))
    inputs = data.batch(order[:64])[0]
    torch.testing.assert_close(net.module.first(inputs).mean(0), trained.module.first(inputs).mean(0))
    assert int((net.module.first.weight == 0).sum()) == 60 - net.current.hard.kept["first"] > 0


def test_the_example_keeps_its_contract_where_there_is_a_bias(example) -> None:
    found: dict = {}
    exec(example("KeptOutput", "kept_output"), found)
    check_method(found["KeptOutput"])


class Gives(SparsityMethod[NoOptions]):
    values: dict = {}

    def program(self, budget):
        return [Prune(), Train(budget.steps, hooks=False)]

    def scores(self, context):
        return {c.name: context.weight(c).abs() for c in context.connections}

    def refine(self, masks, context):
        return masks, self.values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layer9": torch.zeros(8, 8)}, "unknown connection or parameter 'layer9'. Did you mean 'layer"),
        ({"layers.0.weight": torch.zeros(8, 8)}, "unknown connection or parameter 'layers.0.weight'"),
        ({"layer0": torch.zeros(8, 9)}, r"new weights for 'layer0': \(8, 9\), must be finite and \(8, 8\)"),
        ({"layer0": torch.full((8, 8), torch.nan)}, "new weights for 'layer0': NaN or infinite"),
    ],
)
def test_new_weights_that_do_not_fit_are_refused(values, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_method(type("Wrong", (Gives,), {"values": values}))
    check_method(type("Right", (Gives,), {"values": {"layer0": torch.ones(8, 8), "layers.0.bias": torch.ones(8)}}))


@torch.no_grad()
def write(context) -> None:
    context.model.layers[0].weight.mul_(0.5)


class Writes(Gives):
    def refine(self, masks, context):
        write(context)
        return masks


class WritesScores(Gives):
    def scores(self, context):
        write(context)
        return super().scores(context)

    def refine(self, masks, context):
        return masks


class WritesSteps(SparsityMethod[NoOptions]):
    takes_density = "never"

    def after_step(self, context):
        next(iter(context.raw.values())).data.add_(1)


class WritesRaw(SparsityMethod[NoOptions]):
    mode = "composed"
    takes_density = "never"

    def compose(self, connection, raw):
        raw.data.clamp_(-0.1, 0.1)
        return raw * 1


@pytest.mark.parametrize(
    ("cls", "hook"),
    [(Writes, "refine"), (WritesScores, "scores"), (WritesSteps, "after_step"), (WritesRaw, "effective")],
)
def test_a_method_that_writes_is_named(cls, hook: str) -> None:
    with pytest.raises(AssertionError, match=rf"{cls.__name__}.{hook}\(\) writes to the network's weights"):
        check_method(cls)
