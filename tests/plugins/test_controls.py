from typing import Any

import pytest
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from harness import (
    Band,
    Connection,
    CurrentMasks,
    DataSpec,
    DensityBudget,
    Inherit,
    Masks,
    MethodContext,
    Prune,
    Reinitialize,
    Source,
    Train,
    TrainingBudget,
    Unsupported,
    UserError,
)
from harness.core.architecture import Architecture, NoOptions
from harness_controls import harness_register_methods
from harness_controls.continued import Continued
from harness_controls.reinit import Reinit
from harness_controls.shuffle import Shuffle, ShuffleOptions
from harness_controls.small_dense import SmallDense, parameter_count

BUDGET = TrainingBudget(steps=7, batch_size=2)


def connection(name: str, shape: tuple[int, ...]) -> Connection:
    return Connection(name, name, "dense", Band(f"{name}.in", shape[1], 0), Band(f"{name}.out", shape[0], 1), shape)


def context(
    source: dict[str, Tensor], shapes: dict[str, tuple[int, ...]] | None = None, seed: int = 0
) -> MethodContext:
    shapes = shapes or {name: tuple(mask.shape) for name, mask in source.items()}
    connections = tuple(connection(name, shape) for name, shape in shapes.items())
    left = Source("genome-1234", Masks(source), {}, {})
    return MethodContext(nn.Module(), connections, {}, CurrentMasks(connections), None, left, seed, torch.device("cpu"))


def bernoulli(*shape: int, p: float = 0.4, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < p


def shuffled(source: dict[str, Tensor], granularity: str = "weight", seed: int = 0) -> Masks:
    now = context(source, seed=seed)
    return Shuffle(ShuffleOptions.model_validate({"granularity": granularity})).refine(now.masks, now)


def test_programs() -> None:
    take = Prune(density=1.0)
    assert Shuffle(ShuffleOptions()).program(BUDGET) == [take, Train(7, hooks=False)]
    assert Reinit(NoOptions()).program(BUDGET) == [take, Reinitialize("fresh"), Train(7, hooks=False)]
    assert Continued(NoOptions()).program(BUDGET) == [Inherit(), Train(7, hooks=False)]
    assert SmallDense(NoOptions()).program(BUDGET) == [Train(7, hooks=True)]


def test_what_a_suite_must_give() -> None:
    needs = {cls: (cls.takes_density, cls.takes_source) for cls in (Shuffle, Reinit, Continued, SmallDense)}
    assert needs == {
        Shuffle: ("never", "required"),
        Reinit: ("never", "required"),
        Continued: ("never", "required"),
        SmallDense: ("required", "never"),
    }
    assert [cls.control for cls in needs] == [True, True, False, True]
    assert [entry.name for entry in harness_register_methods()] == [
        "shuffle",
        "reinit",
        "continued",
        "stored_mask",
        "small_dense",
    ]


def test_granularity_decides_the_masks_of_a_shuffle() -> None:
    weight, kernel = (Shuffle(ShuffleOptions.model_validate({"granularity": g})) for g in ("weight", "kernel"))
    assert weight.influences(Prune(density=1.0)) != kernel.influences(Prune(density=1.0))


def test_shuffle_keeps_counts_and_moves_weights() -> None:
    source = {"a": bernoulli(9, 11), "b": bernoulli(4, 9, p=0.1)}
    masks = shuffled(source)
    assert masks.kept == Masks(source).kept
    assert all(not torch.equal(masks[name], source[name]) for name in source)
    assert masks.digest() == shuffled(source).digest() != shuffled(source, seed=1).digest()


def test_a_shuffle_never_equals_the_original() -> None:
    """Two weights, one kept: half of all permutations would change nothing."""
    for seed in range(40):
        assert shuffled({"a": torch.tensor([[True, False]])}, seed=seed)["a"].tolist() == [[False, True]]


def test_full_and_empty_masks_stay() -> None:
    masks = shuffled({"full": torch.ones(3, 4, dtype=torch.bool), "empty": torch.zeros(3, 4, dtype=torch.bool)})
    assert masks.kept == {"full": 12, "empty": 0}


def test_every_position_is_equally_likely() -> None:
    """One of ten kept at place 0: each other place gets 1/9 of 1800; 99.99 % point at 8 df is 31.8."""
    one = torch.arange(10)[None] == 0
    seen = sum(shuffled({"a": one}, seed=seed)["a"].long() for seed in range(1800))
    assert isinstance(seen, Tensor) and seen[0, 0] == 0
    assert float(((seen[0, 1:] - 200.0) ** 2 / 200).sum()) < 31.8


def test_kernels_move_as_one() -> None:
    pairs = bernoulli(5, 6)
    source = pairs[..., None, None].expand(5, 6, 3, 3).contiguous()
    mask = shuffled({"a": source}, "kernel")["a"]
    kernels = mask.flatten(2)
    assert mask.shape == source.shape
    assert torch.equal(kernels.all(2), kernels.any(2))
    assert int(kernels.all(2).sum()) == int(pairs.sum())
    assert not torch.equal(kernels.all(2), pairs)


def test_kernel_granularity_on_plain_matrices_is_by_weight() -> None:
    source = {"a": bernoulli(9, 11)}
    assert shuffled(source, "kernel").digest() == shuffled(source).digest()


def test_split_kernels_cannot_be_permuted() -> None:
    with pytest.raises(UserError, match="granularity: weight"):
        shuffled({"a": bernoulli(3, 4, 3, 3)}, "kernel")


def test_reinit_takes_the_masks_as_they_are() -> None:
    source = {"a": bernoulli(9, 11), "b": bernoulli(4, 9)}
    now = context(source)
    method = Reinit(NoOptions())
    assert method.refine(now.masks, now).digest() == Masks(source).digest()
    assert {name: score.bool().tolist() for name, score in method.scores(now).items()} == {
        name: mask.tolist() for name, mask in source.items()
    }


@pytest.mark.parametrize("shapes", [{"a": (2, 3)}, {"a": (3, 2), "b": (1, 2)}, {"a": (2, 3), "b": (1, 2), "c": (1, 1)}])
def test_another_scope_is_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    now = context({"a": bernoulli(2, 3), "b": bernoulli(1, 2)}, shapes)
    with pytest.raises(Unsupported, match=r"genome-1234 .* same architecture and scope"):
        Reinit(NoOptions()).refine(now.masks, now)


class Width(BaseModel):
    hidden: int = 100


class TwoLayers(Architecture[Width]):
    """10 - hidden - 5, first weight maskable: 16 hidden + 5 parameters, 10 hidden of them in scope."""

    Options = Width
    kinds = ("classification",)
    built_on: list[str] = []

    def build(self) -> nn.Module:
        first = nn.Linear(10, self.options.hidden)
        self.built_on.append(first.weight.device.type)
        return nn.Sequential(first, nn.Linear(self.options.hidden, 5))

    def connections(self) -> list[Connection]:
        return [connection("0.weight", (self.options.hidden, 10))]

    def scaled(self, parameters: int) -> Architecture[Width]:
        return type(self)(Width(hidden=(parameters - 5) // 16), self.data)


class Tied(TwoLayers):
    def build(self) -> nn.Module:
        net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
        net[1].weight = net[0].weight
        return net


class Fixed(Architecture[NoOptions]):
    kinds = ("classification",)

    def build(self) -> nn.Module:
        return nn.Linear(10, 5)

    def connections(self) -> list[Connection]:
        return [connection("weight", (5, 10))]


DATA = DataSpec("classification", (10,), 5, 100)


def test_small_dense_has_the_parameters_that_the_density_leaves() -> None:
    """1605 parameters, 1000 in scope: density 0.3 leaves 905, and width 56 has 901."""
    full = TwoLayers(Width(), DATA)
    small = SmallDense(NoOptions()).adapt(full, full.connections(), DensityBudget.of(0.3, full.connections()))
    assert sum(p.numel() for p in small.build().parameters()) == 901
    assert small.options.hidden == 56


@pytest.mark.parametrize("density", [0.013, 0.26, 0.5, 0.9])
def test_small_dense_is_within_one_unit(density: float) -> None:
    full = TwoLayers(Width(hidden=997), DATA)
    budget = DensityBudget.of(density, full.connections())
    small = parameter_count(SmallDense(NoOptions()).adapt(full, full.connections(), budget))
    left = parameter_count(full) - 9970 + budget.keep
    assert abs(left - small) <= 16 + 0.5 / density


def test_density_one_is_the_whole_network() -> None:
    full = TwoLayers(Width(), DATA)
    assert (
        SmallDense(NoOptions()).adapt(full, full.connections(), DensityBudget.of(1.0, full.connections())).options
        == Width()
    )


def test_counting_allocates_nothing_and_counts_ties_once() -> None:
    full = TwoLayers(Width(), DATA)
    full.built_on.clear()
    assert parameter_count(full) == 1605
    assert full.built_on == ["meta"]
    assert parameter_count(Tied(Width(), DATA)) == 16


def test_small_dense_refuses_what_it_cannot_do() -> None:
    method: Any = SmallDense(NoOptions())
    full = TwoLayers(Width(), DATA)
    fixed = Fixed(NoOptions(), DATA)
    assert method.unsupported(full, full.connections()) is None
    assert "no width" in method.unsupported(fixed, fixed.connections())
    with pytest.raises(Unsupported, match="keeps no weight"):
        method.adapt(full, full.connections(), DensityBudget.of(0.0, full.connections()))
