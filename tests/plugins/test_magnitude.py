import re
from collections import Counter
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from harness import (
    Band,
    Connection,
    CurrentMasks,
    DataSpec,
    DensityBudget,
    Finetune,
    Masks,
    MethodContext,
    Prune,
    Train,
    TrainingBudget,
    UnitGroup,
    UnitMember,
    select,
)
from harness_architectures.mlp import Mlp, MlpOptions
from harness_biogpt.architecture import Biogpt, BiogptOptions
from harness_magnitude.dead_neurons import without_dead_rows
from harness_magnitude.method import Magnitude, MagnitudeOptions


def connection(name: str, shape: tuple[int, ...], **where: Any) -> Connection:
    bands = Band(f"{name}.in", shape[1], 0), Band(f"{name}.out", shape[0], 1)
    return Connection(name, where.pop("parameter", name), "dense", *bands, shape, **where)


def context(connections: list[Connection], raw: dict[str, Tensor]) -> MethodContext:
    return MethodContext(
        nn.Module(), tuple(connections), raw, CurrentMasks(connections), None, None, 0, torch.device("cpu")
    )


def rows(*kept: int, width: int) -> Tensor:
    """A mask whose row i keeps its first ``kept[i]`` weights."""
    return torch.arange(width)[None, :] < torch.tensor(kept)[:, None]


def test_program_of_a_pruning_curve() -> None:
    assert Magnitude(MagnitudeOptions()).program(TrainingBudget(9, 4, 0.55)) == [
        Train(9, hooks=False),
        Prune(distribution="global"),
        Finetune(500, lr=1e-4),
    ]


def test_recovery_is_a_constant_rate_without_hooks() -> None:
    options = MagnitudeOptions(distribution="erk", recovery_steps=3, recovery_lr=None, recovery_weight_decay=0.01)
    *_, prune, recovery = Magnitude(options).program(TrainingBudget(9, 4, 0.55))
    assert prune == Prune(distribution="erk")
    assert recovery == Finetune(3, hooks=False, lr=None, schedule="constant", weight_decay=0.01)


def test_recovery_can_be_left_out() -> None:
    program = Magnitude(MagnitudeOptions(recovery_steps=0)).program(TrainingBudget(9, 4, 0.5))
    assert program == [Train(9, hooks=False), Prune()]


def test_density_one_recovers_unless_asked_not_to() -> None:
    dense = TrainingBudget(9, 4, 1.0)
    assert isinstance(Magnitude(MagnitudeOptions()).program(dense)[-1], Finetune)
    published = Magnitude(MagnitudeOptions(recover_dense=False))
    assert published.program(dense) == [Train(9, hooks=False), Prune()]
    assert isinstance(published.program(TrainingBudget(9, 4, 0.75))[-1], Finetune)


def test_only_the_dead_neuron_rule_is_not_in_the_phases() -> None:
    first = Magnitude(MagnitudeOptions(recovery_steps=1)).influences(Prune())
    assert first == Magnitude(MagnitudeOptions(recovery_steps=2)).influences(Prune())
    assert first != Magnitude(MagnitudeOptions(dead_neurons=0.95)).influences(Prune())


def test_smallest_magnitudes_go() -> None:
    a, b = connection("a", (2, 2)), connection("b", (1, 2))
    raw = {"a": torch.tensor([[0.1, -0.9], [0.3, -0.2]]), "b": torch.tensor([[-0.8, 0.05]])}
    scores = Magnitude(MagnitudeOptions()).scores(context([a, b], raw))
    masks = select(scores, DensityBudget.of(0.5, [a, b]), [a, b], "global")
    assert masks["a"].tolist() == [[False, True], [True, False]]
    assert masks["b"].tolist() == [[True, False]]


def test_scores_follow_regions_of_a_shared_parameter() -> None:
    raw = {"w": -torch.arange(6.0).reshape(2, 3)}
    left = connection("left", (2, 1), parameter="w", columns=(0, 1))
    right = connection("right", (2, 2), parameter="w", columns=(1, 3))
    scores = Magnitude(MagnitudeOptions()).scores(context([left, right], raw))
    assert scores["left"].tolist() == [[0.0], [3.0]]
    assert scores["right"].tolist() == [[1.0, 2.0], [4.0, 5.0]]


def test_dead_neurons_lose_the_rest() -> None:
    """Of 20 weights each, 18, 19, 20 and 0 are lost; 19 is 0.95 exactly, which is not more than 0.95."""
    layer = connection("a", (4, 20))
    method = Magnitude(MagnitudeOptions(dead_neurons=0.95))
    masks = Masks({"a": rows(2, 1, 0, 20, width=20)})
    assert method.refine(masks, context([layer], {}))["a"].sum(1).tolist() == [2, 1, 0, 20]
    stricter = Magnitude(MagnitudeOptions(dead_neurons=0.9))
    assert stricter.refine(masks, context([layer], {}))["a"].sum(1).tolist() == [2, 0, 0, 20]


def test_no_rule_changes_nothing() -> None:
    masks = Masks({"a": rows(1, width=20)})
    assert Magnitude(MagnitudeOptions()).refine(masks, context([connection("a", (1, 20))], {})) is masks


def test_a_unit_counts_all_that_enters_it() -> None:
    """Both regions are columns of one layer: unit 0 lost 10 + 1 of 14, unit 1 lost 10 + 4 of 14."""
    wide = connection("wide", (2, 10), parameter="w", columns=(0, 10))
    narrow = connection("narrow", (2, 4), parameter="w", columns=(10, 14))
    masks = Masks({"wide": rows(0, 1, width=10), "narrow": rows(3, 0, width=4)})
    refined = without_dead_rows(masks, [wide, narrow], 0.8)
    assert refined["wide"].sum(1).tolist() == [0, 0]
    assert refined["narrow"].sum(1).tolist() == [3, 0]


def test_blocks_of_rows_are_different_units() -> None:
    """In a fused qkv, row 0 of q and row 0 of k are different neurons."""
    q = connection("q", (1, 4), parameter="qkv", rows=(0, 1))
    k = connection("k", (1, 4), parameter="qkv", rows=(1, 2))
    refined = without_dead_rows(Masks({"q": rows(1, width=4), "k": rows(4, width=4)}), [q, k], 0.5)
    assert refined.kept == {"q": 0, "k": 4}


def test_convolutions_count_their_kernels() -> None:
    mask = torch.zeros(2, 2, 3, 3, dtype=torch.bool)
    mask[0, 0, 0, 0] = True
    mask[1, :, 0] = True
    refined = without_dead_rows(Masks({"a": mask}), [connection("a", (2, 2, 3, 3))], 0.9)
    assert refined["a"].flatten(1).sum(1).tolist() == [0, 6]


def test_named_neurons_are_whole_modules() -> None:
    """Neuron 0 keeps 1 of 28 over both its connections, neuron 1 keeps 3 of 28; the head is no neuron."""
    shapes = {"neurons.0.qkv": (2, 4), "neurons.0.soma": (4, 5), "neurons.1.qkv": (2, 4), "neurons.1.soma": (4, 5)}
    layers = [connection(name, shape) for name, shape in shapes.items()] + [connection("head", (1, 30))]
    masks = Masks(
        {
            "neurons.0.qkv": rows(1, 0, width=4),
            "neurons.0.soma": rows(0, 0, 0, 0, width=5),
            "neurons.1.qkv": rows(0, 0, width=4),
            "neurons.1.soma": rows(3, 0, 0, 0, width=5),
            "head": rows(1, width=30),
        }
    )
    inside = [UnitMember(name, 0, "own", width=shape[0], only=int(name[8])) for name, shape in shapes.items()]
    out = UnitMember("head", 1, "out", width=15)
    seen = context(layers, {})
    seen.units = [UnitGroup("layer0.neurons", "neuron", 2, (*inside, out))]
    method = Magnitude(MagnitudeOptions(dead_neurons=0.95, neuron_names="neurons"))
    refined = method.refine(masks, seen)
    assert refined.kept == {
        "neurons.0.qkv": 0,
        "neurons.0.soma": 0,
        "neurons.1.qkv": 0,
        "neurons.1.soma": 3,
        "head": 1,
    }
    assert refined["neurons.1.soma"].shape == (4, 5)


def test_neurons_of_a_column_are_what_their_names_say() -> None:
    """The rule by units and the rule by what connections are called agree."""
    spec = DataSpec("language", (8,), 32, examples=8, tokens=8)
    network = Biogpt(BiogptOptions(n_layers=4, width=48), spec)
    connections = [c for c in network.connections() if c.default]
    generator = torch.Generator().manual_seed(0)
    levels = {c.name: 0.05 if re.search(r"neuron[02]\.", c.name) else 0.2 for c in connections}
    masks = Masks({c.name: torch.rand(c.shape, generator=generator) < levels[c.name] for c in connections})
    seen = context(connections, {})
    seen.units = network.units()
    refined = Magnitude(MagnitudeOptions(dead_neurons=0.9, neuron_names="neurons")).refine(masks, seen)
    named = {c.name: found.group() for c in connections if (found := re.match(r"layer\d+\.neuron\d+\.", c.name))}
    size, kept = Counter[str](), Counter[str]()
    for name, neuron in named.items():
        size[neuron] += masks.sizes[name]
        kept[neuron] += masks.kept[name]
    dead = {neuron for neuron in size if 1 - kept[neuron] / size[neuron] > 0.9}
    assert 0 < len(dead) < len(size)
    assert refined.kept == {name: 0 if named.get(name) in dead else count for name, count in masks.kept.items()}


def test_neurons_that_the_architecture_does_not_know_are_refused() -> None:
    network = Mlp(MlpOptions(hidden=[4, 3]), DataSpec("classification", (3,), 2, 10))
    connections = network.connections()
    right = MagnitudeOptions(dead_neurons=0.95, neuron_names="hidden2")
    assert Magnitude(right).unsupported(network, connections) is None
    reason = Magnitude(right.model_copy(update={"neuron_names": "cells"})).unsupported(network, connections)
    assert reason is not None and "cells" in reason and "hidden1, hidden2" in reason


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"neuron_names": "a"}, "without dead_neurons"),
        ({"dead_neurons": 95}, "less than 1"),
        ({"recovery_steps": -1}, "greater than or equal to 0"),
        ({"recover": 5}, "extra"),
    ],
)
def test_wrong_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        MagnitudeOptions.model_validate(options)
