"""Whole units: what they are worth, how many stay, and that nothing depends on those that went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from harness import (
    Architecture,
    DataSpec,
    DensityBudget,
    Finetune,
    NoOptions,
    Prune,
    Train,
    TrainingBudget,
    UnitGroup,
    UnitMember,
    Unsupported,
    unit_masks,
)
from harness.stages.calibration_batches import Batches
from harness.stages.discrete_phases import prune
from harness.stages.network import Network
from harness.testing import check_method
from harness.testing.methods import TRAINING, build_network
from harness.testing.toy import ToyArchitecture, ToyData
from harness_architectures.gpt2 import Gpt2, Gpt2Options
from harness_architectures.gpt_rope import GptRope, GptRopeOptions
from harness_architectures.mlp import Mlp, MlpOptions
from harness_architectures.skip_mlp import SkipMlp, SkipMlpOptions
from harness_biogpt.architecture import Biogpt, BiogptOptions
from harness_structured.importance import importance
from harness_structured.selection import nearest, ranked
from harness_structured.units import Units, UnitsOptions
from harness_transformers.architecture import Hf, HfOptions

IMAGES = DataSpec("classification", (8,), 4, examples=32)
TEXT = DataSpec("language", (16,), 32, examples=32, tokens=16)
SMALL: dict[str, Any] = {"n_layers": 2, "width": 16, "heads": 4}
LLAMA = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
GROUPED_QUERIES = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 16}
TOY = ToyArchitecture(NoOptions(), IMAGES)
MLP = Mlp(MlpOptions(hidden=[12, 6]), IMAGES)
SKIP = SkipMlp(SkipMlpOptions(hidden=[12, 6]), IMAGES)
GPT2 = Gpt2(Gpt2Options(**SMALL), TEXT)
ARCHITECTURES: dict[str, Architecture[Any]] = {
    "mlp": MLP,
    "skip_mlp": SKIP,
    "gpt2": GPT2,
    "gpt_rope": GptRope(GptRopeOptions(**SMALL), TEXT),
    "biogpt": Biogpt(BiogptOptions(n_layers=3, width=48), TEXT),
    "llama": Hf(HfOptions(config={**LLAMA, **GROUPED_QUERIES, "vocab_size": 32}), TEXT),
}


class Unknown(ToyArchitecture):
    """Does not say what its units are."""

    def units(self) -> Sequence[UnitGroup]:
        return ()


class Tokens(ToyData):
    """What a language benchmark gives."""

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        tokens = (indices[:, None] * 7 + torch.arange(17) ** 2) % 32
        return tokens[:, :-1], tokens[:, 1:]


def network(architecture: Architecture[Any], density: float = 0.5, **options: Any) -> Network:
    """In float64, with weights and biases far from their initial ones."""
    connections = tuple(c for c in architecture.connections() if c.default)
    method = Units(UnitsOptions(**options))
    assert method.unsupported(architecture, connections) is None
    built = build_network(method, architecture, "default", DensityBudget.of(density, connections), None)
    built.module.double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in built.module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return built


def batches(built: Network) -> Batches:
    data = (Tokens if built.architecture.data.kind == "language" else Doubles)(built.architecture.data)
    return Batches(built, lambda: data, TRAINING, seed=0)


class Doubles(ToyData):
    """The toy's inputs in float64."""

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        inputs, targets = super().batch(indices)
        return inputs.double(), targets


def pruned(built: Network) -> dict[str, int]:
    """After its Prune phase: the weights that are left of each connection."""
    prune(built, Prune(), batches(built))
    assert built.current.hard is not None
    return built.current.hard.kept


# --- importance ---------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["l1", "l2"])
def test_norms_are_those_of_what_enters_and_leaves(score: str) -> None:
    built = network(TOY)
    w = [layer.weight.detach() for layer in built.module.layers]  # type: ignore[union-attr]
    found = importance(score, TOY.units(), built.context, 1)  # type: ignore[arg-type]
    for layer, values in enumerate(found):
        for unit in range(len(values)):
            own = [*w[layer][unit].tolist(), *w[layer + 1][:, unit].tolist()]
            expected = sum(abs(x) for x in own) if score == "l1" else sum(x * x for x in own) ** 0.5
            assert float(values[unit]) == pytest.approx(expected, rel=1e-12)


def test_taylor_is_the_squared_gradient_of_a_gate() -> None:
    """Molchanov et al. 2019: a gate of 1 behind each unit; its squared gradient, mean over batches."""
    built = network(TOY)
    layers = built.module.layers
    with batches(built).open():
        found = importance("taylor", TOY.units(), built.context, 3)
    with batches(built).open():
        seen = [(x.clone(), y.clone()) for x, y in built.context.batches(3)]
    expected = [torch.zeros(8, dtype=torch.float64), torch.zeros(16, dtype=torch.float64)]
    for inputs, targets in seen:
        gates = [torch.ones(n, dtype=torch.float64, requires_grad=True) for n in (8, 16)]
        x = inputs
        for layer, gate in zip(layers[:2], gates, strict=True):  # type: ignore[index, arg-type]
            x = layer(x).relu() * gate
        loss = nn.functional.cross_entropy(layers[2](x), targets)  # type: ignore[index, operator]
        for total, gradient in zip(expected, torch.autograd.grad(loss, gates), strict=True):
            total += gradient.square() / 3
    for values, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(values, wanted, rtol=1e-10, atol=0)
    assert all(parameter.grad is None for parameter in built.module.parameters())


def test_taylor_foretells_what_the_loss_of_a_language_model_changes_by() -> None:
    """A step towards the removal of one head: the change of the loss is the root of its score, to first order."""
    built, step = network(GPT2, kinds=["head"]), 1e-6
    (group, *_) = (g for g in GPT2.units() if g.kind == "head")
    with batches(built).open():
        (values,) = importance("taylor", [group], built.context, 1)
        ((inputs, targets),) = list(built.context.batches(1))
        before = built.context.loss(inputs, targets).detach()
        out = built.module.get_parameter("blocks.0.attn.out.weight").detach()
        for head in range(4):
            out[:, 4 * head : 4 * head + 4] *= 1 - step
            change = float(built.context.loss(inputs, targets).detach() - before) / step
            out[:, 4 * head : 4 * head + 4] /= 1 - step
            assert change**2 == pytest.approx(float(values[head]), rel=1e-3)


def test_random_scores_are_drawn_for_each_group() -> None:
    first, second = (importance("random", MLP.units(), network(MLP).context, 1) for _ in range(2))
    assert [len(values) for values in first] == [12, 6]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0][:6], first[1])


# --- which stay ---------------------------------------------------------------------------------


def test_the_same_fraction_of_every_group() -> None:
    """Places 0 to 3 are one group, 4 and 5 the other: thresholds 1/8, 3/8, 5/8, 7/8 and 1/4, 3/4."""
    scores = [torch.tensor([1.0, 4.0, 2.0, 4.0]), torch.tensor([0.1, 0.2])]
    assert ranked(scores, "uniform", 0).tolist() == [1, 5, 3, 2, 4, 0]
    assert ranked(scores, "global", 0).tolist() == [1, 3, 2, 0, 5, 4]
    assert ranked(scores, "global", 1).tolist() == [1, 5, 3, 2, 0, 4]
    with pytest.raises(ValueError, match="NaN"):
        ranked([torch.tensor([1.0, float("nan")])], "global", 0)


def test_global_scores_are_over_the_mean_of_their_group() -> None:
    """A layer whose weights are ten times as large keeps no more neurons for it."""
    even, larger = (network(GPT2, 0.5, distribution="global") for _ in range(2))
    with torch.no_grad():
        for name in ("up", "down"):
            larger.module.get_parameter(f"blocks.1.ffn.{name}.weight").mul_(10)
    assert pruned(larger) == pruned(even)


@pytest.mark.parametrize("distribution", ["uniform", "global"])
@pytest.mark.parametrize("name", ["mlp", "skip_mlp", "gpt2"])
def test_no_number_of_units_comes_nearer(name: str, distribution: Any) -> None:
    """Against a loop over all numbers of units, each counted from whole masks."""
    architecture = ARCHITECTURES[name]
    built = network(architecture)
    groups = Units(UnitsOptions())._chosen(architecture.units())
    order = ranked(importance("l1", groups, built.context, 1), distribution, 1)
    size = sum(c.size for c in built.connections)
    counts = []
    for units in range(len(groups), len(order) + 1):
        flat = torch.zeros(len(order), dtype=torch.bool)
        flat[order[:units]] = True
        kept = dict(zip([g.name for g in groups], flat.split([g.count for g in groups]), strict=True))
        counts.append(sum(unit_masks(built.connections, groups, kept).kept.values()))
    assert counts == sorted(counts) and counts[-1] == size
    for asked in {counts[0], size, *range(counts[0], size, max(1, size // 7))}:
        masks = unit_masks(built.connections, groups, nearest(asked, order, groups, built.connections, 1))
        best = min(abs(asked - count) for count in counts)
        assert abs(asked - sum(masks.kept.values())) == best


def test_half_of_the_neurons_is_a_quarter_of_the_weights_between_them() -> None:
    """12 and 6 neurons between 8 inputs and 4 classes: 8a + ab + 4b weights."""
    left = pruned(network(MLP, (8 * 6 + 6 * 3 + 4 * 3) / 192))
    assert list(left.values()) == [8 * 6, 6 * 3, 3 * 4]


# --- architectures ------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", ["uniform", "global"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_nothing_depends_on_what_went(name: str, distribution: Any) -> None:
    architecture = ARCHITECTURES[name]
    built = network(architecture, 0.4, distribution=distribution)
    assert abs(sum(pruned(built).values()) / sum(c.size for c in built.connections) - 0.4) < 0.05
    parameters = dict(built.module.named_parameters())
    inputs, _ = batches(built)._data().batch(torch.arange(4))
    with torch.no_grad():
        before = built.module(inputs)
    assert float(before.std()) > 1e-3
    gone: dict[str, int] = {}
    for group in Units(UnitsOptions())._chosen(architecture.units()):
        alive = torch.stack([_any(parameters, group, unit, ("in", "out")) for unit in range(group.count)])
        leaves = torch.stack([_any(parameters, group, unit, ("out",)) for unit in range(group.count)])
        assert torch.equal(alive, leaves), "a unit is whole or gone"
        gone[group.kind] = gone.get(group.kind, 0) + int((~alive).sum())
        assert bool(alive.any())
        with torch.no_grad():
            for member in (m for m in group.members if m.side != "out"):
                rows = parameters[member.parameter].movedim(member.axis, 0)
                units = member.units(len(rows), group.count)
                dead = (units >= 0) & ~alive[units]
                rows[dead] = torch.rand(rows[dead].shape, dtype=torch.float64) + 1
    with torch.no_grad():
        torch.testing.assert_close(built.module(inputs), before, rtol=0, atol=1e-12)
    assert gone and all(gone.values())


def _any(parameters: dict[str, nn.Parameter], group: UnitGroup, unit: int, sides: tuple[str, ...]) -> Tensor:
    """Whether a weight of a unit is left."""
    found = []
    for member in (m for m in group.members if m.side in sides):
        rows = parameters[member.parameter].detach().movedim(member.axis, 0)
        found.append((rows[member.units(len(rows), group.count) == unit] != 0).any())
    return torch.stack(found).any()


def test_query_heads_go_with_the_keys_and_values_that_they_share() -> None:
    names = [group.name for group in Units(UnitsOptions())._chosen(ARCHITECTURES["llama"].units())]
    assert names == ["layer0.key_value_heads", "layer0.ffn", "layer1.key_value_heads", "layer1.ffn"]


def test_only_the_kinds_that_were_asked_for() -> None:
    left = pruned(network(GPT2, 0.8, kinds=["head"]))
    sizes = {c.name: c.size for c in GPT2.connections()}
    assert {name for name, kept in left.items() if kept == sizes[name]} == {n for n in left if "ffn" in n}
    assert sum(left.values()) == 6144 - 5 * 4 * 4 * 16  # 0.8 of 6144 is 4915; each head is 4 x 4 x 16 weights


# --- refusals, program, contract ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "kinds", "text"),
    [
        (MLP, ["head", "neuron"], "no units of kind head that can be removed: of those it has neuron"),
        (GPT2, ["channel"], "of those it has head, neuron; its channels 'stream' share norms over the residual"),
        (Unknown(NoOptions(), IMAGES), None, "no units that can be removed: of those it has none"),
    ],
)
def test_units_that_there_are_not(architecture: Architecture[Any], kinds: list[str] | None, text: str) -> None:
    method = Units(UnitsOptions(kinds=kinds))  # type: ignore[arg-type]
    assert text in str(method.unsupported(architecture, list(architecture.connections())))


def test_a_scope_without_a_way_out_is_refused() -> None:
    scope = [c for c in SKIP.connections() if c.role != "classifier"]
    reason = Units(UnitsOptions()).unsupported(SKIP, scope)
    assert reason == "units of 'hidden1' are read by output.from_hidden1, out of scope: take them into the scope"
    only_ways_out = [c for c in GPT2.connections() if c.role in ("attn_out", "ffn_down")]
    assert Units(UnitsOptions()).unsupported(GPT2, only_ways_out) is None


def test_a_density_below_what_stays_in_any_case_is_refused() -> None:
    with pytest.raises(Unsupported, match=r"density 0\.05208 cannot be reached.*are 0\.06771 of all"):
        pruned(network(MLP, 10 / 192))  # a neuron a layer: 8 + 1 + 4 = 13 of 192
    assert sum(pruned(network(MLP, 10 / 192, least=0)).values()) == 8
    assert sum(pruned(network(MLP, 13 / 192)).values()) == 13


def test_counts_of_another_cell_per_connection_are_refused() -> None:
    built = network(MLP)
    counts = {c.name: c.size // 2 for c in built.connections}
    built.context.budget = DensityBudget(96, 0.5, counts)
    with pytest.raises(Unsupported, match="match by hard"):
        pruned(built)


def test_programs_and_what_their_stages_depend_on() -> None:
    budget = TrainingBudget(9, 4, 0.5)
    method = Units(UnitsOptions(recovery_steps=3, recovery_lr=None))
    assert method.program(budget) == [Train(9, hooks=False), Prune(), Finetune(3, lr=None)]
    assert Units(UnitsOptions(recovery_steps=0)).program(budget) == [Train(9, hooks=False), Prune()]
    assert Units(UnitsOptions(when="before")).program(budget) == [Prune(), Train(9, hooks=False)]
    chooses = {"kinds": None, "score": "l2", "distribution": "uniform", "least": 1}
    assert method.influences(Prune()) == chooses
    assert Units(UnitsOptions(score="taylor")).influences(Prune()) == {**chooses, "score": "taylor", "batches": 10}


@pytest.mark.parametrize("options", [{"kinds": []}, {"kinds": ["layer"]}, {"least": -1}, {"score": "l3"}])
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        UnitsOptions(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"score": "taylor", "batches": 2, "distribution": "global"},
        {"score": "random", "when": "before"},
        {"score": "l1", "distribution": "global", "least": 0},
    ],
)
def test_contract(options: dict[str, Any]) -> None:
    check_method(Units, options)


def test_a_member_of_one_unit_counts_for_that_unit() -> None:
    members = (UnitMember("w", 0, "out", 1, 2, only=1),)
    built = network(TOY)
    built.context.raw = {"w": torch.tensor([5.0, 3.0, 4.0, 7.0])}
    (values,) = importance("l2", [UnitGroup("g", "neuron", 2, members)], built.context, 1)
    assert values.tolist() == [0, 5]
