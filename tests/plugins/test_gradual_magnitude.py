from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from harness import Band, Connection, CurrentMasks, DensityBudget, Masks, MethodContext
from harness.testing import check_method
from harness_magnitude.gradual_magnitude import GradualMagnitude, GradualMagnitudeOptions


def connection(name: str, shape: tuple[int, int]) -> Connection:
    return Connection(name, name, "dense", Band(f"{name}.in", shape[1], 0), Band(f"{name}.out", shape[0], 1), shape)


CONNECTIONS = [connection("a", (10, 20)), connection("b", (10, 10))]


def pruned(budget: DensityBudget, steps: int, **options: Any) -> tuple[dict[int, Masks], dict[str, Tensor]]:
    """The masks after every update of a training in which weights do not move."""
    generator = torch.Generator().manual_seed(0)
    raw = {c.parameter: torch.randn(c.shape, generator=generator) for c in CONNECTIONS}
    current = CurrentMasks(CONNECTIONS)
    context = MethodContext(nn.Module(), tuple(CONNECTIONS), raw, current, budget, None, 0, torch.device("cpu"))
    method, found = GradualMagnitude(GradualMagnitudeOptions(**options)), {}
    for context.step in range(steps):
        context.steps = steps
        masks = method.after_step(context)
        if masks is not None:
            found[context.step], current.hard = masks, masks
            for name, mask in masks.items():
                raw[name].masked_fill_(~mask, 0)
    return found, raw


def test_counts_follow_the_cubic_of_the_paper() -> None:
    budget = DensityBudget.of(0.1, CONNECTIONS)
    found, _ = pruned(budget, 100, start=0.2, end=0.6, interval=10, distribution="global")
    kept = {step: sum(int(mask.sum()) for mask in masks.values()) for step, masks in found.items()}
    # Sparsity 0.9 (1 - (1 - t/4)^3): 0, 0.5203, 0.7875, 0.8859, 0.9 of 300 weights.
    assert kept == {20: 300, 30: 144, 40: 64, 50: 34, 60: 30}


def test_pruned_weights_never_come_back_and_the_largest_stay() -> None:
    found, raw = pruned(DensityBudget.of(0.1, CONNECTIONS), 100, start=0, end=0.5, interval=10, distribution="global")
    masks = list(found.values())
    for before, after in pairwise(masks):
        assert all(bool((after[name] <= before[name]).all()) for name in after)
    generator = torch.Generator().manual_seed(0)
    weights = torch.cat([torch.randn(c.shape, generator=generator).abs().flatten() for c in CONNECTIONS])
    kept = torch.cat([mask.flatten() for mask in masks[-1].values()])
    assert weights[kept].min() > weights[~kept].max()
    assert sum(int((raw[name] != 0).sum()) for name in raw) == 30


def test_uniform_brings_every_connection_to_the_density() -> None:
    found, _ = pruned(DensityBudget.of(0.25, CONNECTIONS), 40, interval=3)
    last = list(found.values())[-1]
    assert {name: int(mask.sum()) for name, mask in last.items()} == {"a": 50, "b": 25}


def test_counts_of_a_matched_cell_are_met_in_every_connection() -> None:
    found, _ = pruned(DensityBudget(31, 31 / 300, {"a": 30, "b": 1}), 40, interval=7)
    last = list(found.values())[-1]
    assert {name: int(mask.sum()) for name, mask in last.items()} == {"a": 30, "b": 1}


@pytest.mark.parametrize("steps", [1, 2, 5, 99])
def test_the_count_is_exact_however_short_the_training(steps: int) -> None:
    found, _ = pruned(DensityBudget.of(0.1, CONNECTIONS), steps)
    assert sum(int(mask.sum()) for mask in list(found.values())[-1].values()) == 30


def test_a_start_after_the_end_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"start 0\.8 lies after end 0.2"):
        GradualMagnitudeOptions(start=0.8, end=0.2)


def test_conformance() -> None:
    for distribution in ("global", "uniform", "erk"):
        check_method(GradualMagnitude, {"interval": 2, "distribution": distribution})
