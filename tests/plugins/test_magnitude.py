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
    select,
)
from harness.core.architecture import Architecture, NoOptions
from harness_magnitude.dead_neurons import without_dead_neurons
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


class Net(Architecture[NoOptions]):
    kinds = ("classification",)

    def build(self) -> nn.Module:
        return nn.Linear(3, 2)

    def connections(self) -> list[Connection]:
        return [connection("layers.0.neurons.1.soma", (2, 3))]


NET = Net(NoOptions(), DataSpec("classification", (3,), 2, 10))


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
    refined = without_dead_neurons(masks, [wide, narrow], 0.8)
    assert refined["wide"].sum(1).tolist() == [0, 0]
    assert refined["narrow"].sum(1).tolist() == [3, 0]


def test_blocks_of_rows_are_different_units() -> None:
    """In a fused qkv, row 0 of q and row 0 of k are different neurons."""
    q = connection("q", (1, 4), parameter="qkv", rows=(0, 1))
    k = connection("k", (1, 4), parameter="qkv", rows=(1, 2))
    refined = without_dead_neurons(Masks({"q": rows(1, width=4), "k": rows(4, width=4)}), [q, k], 0.5)
    assert refined.kept == {"q": 0, "k": 4}


def test_convolutions_count_their_kernels() -> None:
    mask = torch.zeros(2, 2, 3, 3, dtype=torch.bool)
    mask[0, 0, 0, 0] = True
    mask[1, :, 0] = True
    refined = without_dead_neurons(Masks({"a": mask}), [connection("a", (2, 2, 3, 3))], 0.9)
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
    method = Magnitude(MagnitudeOptions(dead_neurons=0.95, neuron_names=r"neurons\.\d+\."))
    refined = method.refine(masks, context(layers, {}))
    assert refined.kept == {
        "neurons.0.qkv": 0,
        "neurons.0.soma": 0,
        "neurons.1.qkv": 0,
        "neurons.1.soma": 3,
        "head": 1,
    }
    assert refined["neurons.1.soma"].shape == (4, 5)


def test_a_pattern_that_finds_no_neuron_is_refused() -> None:
    connections = NET.connections()
    right = MagnitudeOptions(dead_neurons=0.95, neuron_names=r"neurons\.\d+\.")
    assert Magnitude(right).unsupported(NET, connections) is None
    reason = Magnitude(right.model_copy(update={"neuron_names": "cells"})).unsupported(NET, connections)
    assert reason is not None and "cells" in reason and "layers.0.neurons.1.soma" in reason


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"neuron_names": "a"}, "without dead_neurons"),
        ({"neuron_names": "(", "dead_neurons": 0.9}, "no regular expression"),
        ({"dead_neurons": 95}, "less than 1"),
        ({"recovery_steps": -1}, "greater than or equal to 0"),
        ({"recover": 5}, "extra"),
    ],
)
def test_wrong_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        MagnitudeOptions.model_validate(options)
