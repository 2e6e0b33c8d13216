from itertools import pairwise, product
from typing import Any

import pytest
import torch
from pruning import Bench
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness import Architecture, Band, Connection, DataSpec, NoOptions, Prune, Train, TrainingBudget, Unsupported
from harness.testing.toy import ToyArchitecture, ToyData
from harness_architectures.gpt2 import Gpt2, Gpt2Options
from harness_architectures.mlp import Mlp, MlpOptions
from harness_architectures.skip_mlp import SkipMlp, SkipMlpOptions
from harness_initialisation.synflow import Synflow, SynflowOptions

SPEC = DataSpec("classification", (8,), 4, examples=32)
TOY = ToyArchitecture(NoOptions(), SPEC)


def bench(architecture: Architecture[Any] = TOY, density: float = 0.1, **options: Any) -> Bench:
    return Bench(Synflow(SynflowOptions(**options)), architecture, None, density)


def mlp(*hidden: int, inputs: int = 64) -> Mlp:
    return Mlp(MlpOptions(hidden=list(hidden)), DataSpec("classification", (inputs,), 10, examples=32))


def path_products(weights: list[list[list[float]]]) -> list[list[list[float]]]:
    """Of each weight the sum over paths through it of the product of their |w|, one path after the other."""
    widths = [len(weights[0][0]), *(len(layer) for layer in weights)]
    flow = [[[0.0] * len(row) for row in layer] for layer in weights]
    for path in product(*map(range, widths)):
        steps = list(pairwise(path))
        through = 1.0
        for layer, (source, target) in zip(weights, steps, strict=True):
            through *= abs(layer[target][source])
        for layer, (source, target) in zip(flow, steps, strict=True):
            layer[target][source] += through
    return flow


def test_scores_are_the_flow_of_all_paths_through_a_weight() -> None:
    found = bench(ToyArchitecture(NoOptions(), SPEC))
    weights = [found.context.weight(c).double().tolist() for c in found.connections]
    for score, expected in zip(found.scores().values(), path_products(weights), strict=True):
        assert score.dtype == torch.float64
        torch.testing.assert_close(score, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


def test_flow_is_conserved_and_biases_have_none() -> None:
    found = bench()
    before = found.scores()
    sums = [score.sum().item() for score in before.values()]
    assert sums == pytest.approx([sums[0]] * 3, rel=1e-12)
    with torch.no_grad():
        for name, parameter in found.context.model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=3)
    for name, score in found.scores().items():
        torch.testing.assert_close(score, before[name], rtol=1e-10, atol=0)
    assert found.network.spent.calibration_batches == 0


def test_rounds_leave_the_same_fraction_each() -> None:
    found = bench(density=0.05, rounds=4)
    assert found.method.program(TrainingBudget(9, 4, 0.05)) == [
        *(Prune(exponent=k / 4) for k in (1, 2, 3, 4)),
        Train(9, hooks=False),
    ]
    counts = [sum(masks.kept.values()) for masks in found.prune()]
    assert counts == [round(0.05**e * 256) for e in (0.25, 0.5, 0.75, 1)] == [121, 57, 27, 13]
    assert found.method.influences(Prune()) == {}
    uniform = Synflow(SynflowOptions(rounds=2, distribution="uniform")).program(TrainingBudget(9, 4, 0.05))
    assert uniform[0] == Prune(exponent=0.5, distribution="uniform")


def naive(weights: list[list[list[float]]], density: float, rounds: int, lowest: bool) -> list[tuple[int, int, int]]:
    """(layer, row, column) of what is left, by lists and sorting."""
    weights = [[list(row) for row in layer] for layer in weights]
    places = [(n, i, j) for n, layer in enumerate(weights) for i, row in enumerate(layer) for j in range(len(row))]
    left = set(places)
    for k in range(rounds):
        flow = path_products(weights)
        order = sorted(left, key=lambda p: (flow[p[0]][p[1]][p[2]] * (1 if lowest else -1), p))
        left = set(order[: round(density ** ((k + 1) / rounds) * len(places))])
        for n, i, j in places:
            if (n, i, j) not in left:
                weights[n][i][j] = 0.0
    return sorted(left)


@pytest.mark.parametrize("lowest", [False, True])
def test_all_rounds_against_lists_and_sorting(lowest: bool) -> None:
    """The inverted one turns every round around, as the papers' code does, and what has no flow comes first then."""
    found = bench(density=0.3, rounds=3)
    weights = [found.context.weight(c).double().tolist() for c in found.connections]
    masks = found.prune(invert=lowest)[-1]
    kept = [(n, i, j) for n, mask in enumerate(masks.values()) for i, j in mask.nonzero().tolist()]
    assert kept == naive(weights, 0.3, 3, lowest)


def test_no_layer_is_cut_where_one_round_cuts_them() -> None:
    """LeNet-300-100's shape in small, 45 weights of 11,200 left: a path needs three."""
    network, density = mlp(80, 40, inputs=64), 0.0050
    once = bench(network, density, rounds=1).prune()[-1]
    many = bench(network, density, rounds=100).prune()[-1]
    assert sum(once.kept.values()) == sum(many.kept.values()) == round(density * network_size(network))
    assert 0 in once.kept.values()
    assert min(many.kept.values()) > 0
    model = bench(network, density, rounds=100)
    model.prune()
    assert min(score.max().item() for score in model.scores().values()) > 0, "and some path is left"


def network_size(network: Architecture[Any]) -> int:
    return sum(c.size for c in network.connections())


def test_deep_networks_of_small_weights_neither_underflow_nor_change() -> None:
    """In float32 the flow of 30 layers of weights of 1e-5 is 0, and all weights would be equal."""
    network = mlp(*[6] * 29, inputs=6)
    plain, small = bench(network, 0.3, rounds=5), bench(network, 0.3, rounds=5)
    with torch.no_grad():
        for parameter in small.context.model.parameters():
            parameter.mul_(2.0**-17)
    total = next(iter(small.scores().values())).sum().item()
    assert 0 < total < 1e-100
    masks, expected = small.prune()[-1], plain.prune()[-1]
    assert masks.digest() == expected.digest() and min(masks.kept.values()) > 0


class Normed(Architecture[NoOptions]):
    """A convolution, batch norm and a classifier on images of 3 x 3."""

    kinds = ("classification",)

    def build(self) -> nn.Module:
        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.norm, self.out = nn.Conv2d(1, 2, 2, bias=False), nn.BatchNorm2d(2), nn.Linear(8, 3)

            def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
                logits: Tensor = self.out(self.norm(self.conv(inputs)).relu().flatten(1))
                return logits if targets is None else cross_entropy(logits, targets)

        return Network()

    def connections(self) -> list[Connection]:
        image, channels, flat, classes = Band("image", 1, 0), Band("c", 2, 1), Band("flat", 8, 1), Band("y", 3, 2)
        conv = Connection("conv", "conv.weight", "conv", image, channels, (2, 1, 2, 2))
        return [conv, Connection("out", "out.weight", "classifier", flat, classes, (3, 8))]


def test_batch_norms_are_scales() -> None:
    """|gamma| / sqrt(variance + eps) a channel, whatever the means and shifts; scores by loops over places."""
    found = bench(Normed(NoOptions(), DataSpec("classification", (1, 3, 3), 3, examples=32)))
    norm: Any = found.context.model.norm
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([-0.5, 2.0]))
        norm.bias.copy_(torch.tensor([3.0, -4.0]))
        norm.running_mean.copy_(torch.tensor([5.0, -6.0]))
        norm.running_var.copy_(torch.tensor([0.25, 4.0]))
    conv, out = (found.context.weight(c).double().abs() for c in found.connections)
    scale = [0.5 / (0.25 + norm.eps) ** 0.5, 2.0 / (4.0 + norm.eps) ** 0.5]
    expected_conv, expected_out = torch.zeros_like(conv), torch.zeros_like(out)
    for channel in range(2):
        for place in range(4):  # of the 2 x 2 places of the kernel, each sees four ones
            entering = scale[channel] * conv[channel].sum()
            unit = 4 * channel + place
            expected_out[:, unit] = out[:, unit] * entering
            expected_conv[channel, 0] += conv[channel, 0] * scale[channel] * out[:, unit].sum()
    scores = found.scores()
    torch.testing.assert_close(scores["conv"], expected_conv, rtol=1e-6, atol=0)
    torch.testing.assert_close(scores["out"], expected_out, rtol=1e-6, atol=0)
    assert norm.running_mean.tolist() == [5, -6] and not norm.weight.grad


def test_skip_connections_add_flow() -> None:
    """Paths that skip a layer count as others do: the output's scores sum to all flow, its inputs' to their share."""
    found = bench(SkipMlp(SkipMlpOptions(hidden=[5, 4]), DataSpec("classification", (6,), 3, examples=32)))
    into: dict[str, float] = {}
    for c, score in zip(found.connections, found.scores().values(), strict=True):
        into[c.target.name] = into.get(c.target.name, 0.0) + score.sum().item()
    out_of = {c.source.name: 0.0 for c in found.connections}
    for c, score in zip(found.connections, found.scores().values(), strict=True):
        out_of[c.source.name] += score.sum().item()
    hidden = into.keys() & out_of.keys()
    assert len(hidden) == 2 and all(into[band] == pytest.approx(out_of[band], rel=1e-12) for band in hidden)
    (output,) = into.keys() - out_of.keys()
    (inputs,) = out_of.keys() - into.keys()
    assert into[output] == pytest.approx(out_of[inputs], rel=1e-12)


def test_tokens_are_refused() -> None:
    network = Gpt2(Gpt2Options(n_layers=1, width=8, heads=2), DataSpec("language", (6,), 11, examples=20, tokens=6))
    method = Synflow(SynflowOptions())
    assert method.unsupported(TOY, TOY.connections()) is None
    reason = method.unsupported(network, network.connections())
    assert reason is not None and reason.startswith("the flow of an input of ones is not defined for tokens")


class Saturating(ToyArchitecture):
    """The toy network with a tanh at its end."""

    def build(self) -> nn.Module:
        return nn.Sequential(super().build(), nn.Tanh())

    def connections(self) -> list[Connection]:
        from dataclasses import replace

        return [replace(c, parameter=f"0.{c.parameter}") for c in super().connections()]


def test_networks_that_conserve_no_flow_are_refused() -> None:
    with pytest.raises(Unsupported, match="synflow needs a network that is linear in its inputs"):
        bench(Saturating(NoOptions(), SPEC)).scores()


def test_data_is_never_asked_for() -> None:
    found = Bench(Synflow(SynflowOptions(rounds=2)), TOY, ToyData(SPEC), 0.2)
    assert found.prune()[-1].digest() == bench(density=0.2, rounds=2).prune()[-1].digest()
    assert found.network.spent.calibration_examples == 0
