from collections.abc import Sequence
from itertools import combinations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from harness import (
    Band,
    Connection,
    CurrentMasks,
    DensityBudget,
    Masks,
    MethodContext,
    Prune,
    Train,
    TrainingBudget,
    select,
)
from harness_random.method import Random, RandomOptions


def connection(name: str, *shape: int) -> Connection:
    bands = Band(f"{name}.in", shape[1], 0), Band(f"{name}.out", shape[0], 1)
    return Connection(name, name, "dense", *bands, shape)


def context(connections: Sequence[Connection], seed: int = 0) -> MethodContext:
    raw = {c.parameter: torch.zeros(c.shape) for c in connections}
    return MethodContext(
        nn.Module(), tuple(connections), raw, CurrentMasks(connections), None, None, seed, torch.device("cpu")
    )


def masks(connections: Sequence[Connection], density: float, seed: int = 0, **options: str) -> Masks:
    method = Random(RandomOptions.model_validate(options))
    prune = method.program(TrainingBudget(1, 1, density))[0]
    assert isinstance(prune, Prune)
    budget = DensityBudget.of(density, connections)
    scores = method.scores(context(connections, seed))
    return select(scores, budget, connections, prune.distribution, prune.granularity)


LAYERS = [connection("a", 7, 11), connection("b", 5, 7), connection("c", 3, 5, 3, 3)]


def test_program() -> None:
    method = Random(RandomOptions(distribution="erk", granularity="kernel"))
    assert method.program(TrainingBudget(9, 4, 0.1)) == [
        Prune(distribution="erk", granularity="kernel"),
        Train(9, hooks=False),
    ]
    assert Random(RandomOptions()).program(TrainingBudget(9, 4))[0] == Prune(distribution="uniform")


def test_phases_carry_every_option() -> None:
    assert Random(RandomOptions(distribution="erk")).influences(Prune(distribution="erk")) == {}


@pytest.mark.parametrize("density", [0.0, 0.013, 0.5, 1.0])
@pytest.mark.parametrize("distribution", ["uniform", "erk"])
def test_total_is_exact(density: float, distribution: str) -> None:
    total = 7 * 11 + 5 * 7 + 3 * 5 * 9
    assert sum(masks(LAYERS, density, distribution=distribution).kept.values()) == round(density * total)


def test_another_cells_counts_win_over_the_distribution() -> None:
    counts = {"a": 3, "b": 35, "c": 0}
    budget = DensityBudget(keep=38, requested=0.1, per_connection=counts)
    scores = Random(RandomOptions(distribution="erk")).scores(context(LAYERS))
    assert select(scores, budget, LAYERS, "erk").kept == counts


def test_weights_can_be_scaled() -> None:
    here = context(LAYERS)
    for c in LAYERS:
        here.raw[c.parameter].normal_(generator=torch.Generator().manual_seed(3))
    whole, (prune, train) = Masks.full(LAYERS), Random(RandomOptions()).program(TrainingBudget(9, 4, 0.1))
    assert Random(RandomOptions()).refine(whole, here) is whole
    scaled = Random(RandomOptions(weight_scale=0.5))
    kept, weights = scaled.refine(whole, here)
    assert kept is whole
    assert all(torch.equal(weights[c.name], here.raw[c.parameter] / 2) for c in LAYERS)
    assert scaled.influences(prune) == {"weight_scale": 0.5} and scaled.influences(train) == {}
    with pytest.raises(ValidationError, match="greater than 0"):
        RandomOptions(weight_scale=0.0)


def test_kernels_are_whole_and_exact_to_one() -> None:
    mask = masks(LAYERS, 0.4, granularity="kernel")["c"].flatten(2)
    assert torch.equal(mask.all(2), mask.any(2))
    assert abs(int(mask.sum()) - 0.4 * mask.numel()) <= 9


def test_seeds_decide_and_smaller_masks_are_nested() -> None:
    large, small = masks(LAYERS, 0.6, seed=1), masks(LAYERS, 0.2, seed=1)
    assert large.digest() == masks(LAYERS, 0.6, seed=1).digest() != masks(LAYERS, 0.6, seed=2).digest()
    assert all(bool((small[name] <= large[name]).all()) for name in large)


def test_every_subset_is_equally_likely() -> None:
    """Chi-square over the 10 ways to keep 2 of 5; the 99.99 % point at 9 degrees of freedom is 33.7."""
    layer = [connection("a", 1, 5)]
    draws = 4000
    seen = dict.fromkeys(combinations(range(5), 2), 0)
    for seed in range(draws):
        seen[tuple(masks(layer, 0.4, seed)["a"][0].nonzero().flatten().tolist())] += 1
    expected = draws / len(seen)
    assert sum((count - expected) ** 2 / expected for count in seen.values()) < 33.7


def test_unknown_options_are_errors() -> None:
    with pytest.raises(ValidationError, match="extra"):
        RandomOptions.model_validate({"distibution": "erk"})
    with pytest.raises(ValidationError, match="uniform"):
        RandomOptions.model_validate({"distribution": "global"})
