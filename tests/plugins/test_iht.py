"""Iterative hard thresholding: against a naive loop of AdamW, counts, and weights that come back."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
import torch
from double_training import AdamW, DoubleTraining, Sgd, follow, only, ranked
from pydantic import ValidationError
from torch import Tensor

from harness.testing import check_method
from harness_dynamic.iht import Iht, IhtOptions

FINAL = {"layer0": 13, "layer1": 25, "layer2": 13}
"""A fifth of 64, 128 and 64 weights, 51 of 256; the middle one has the smallest remainder."""


def largest(weight: Tensor, keep: int, minimum: int) -> Tensor:
    """By rows first, as the paper says it: no row loses a weight that would leave it with less than the minimum."""
    least = min(minimum, keep // len(weight), weight.shape[1])
    order, kept, left = ranked(weight.abs(), weight == weight, largest=False), weight == weight, weight.numel()
    for index in order:
        if left > keep and int(kept[index[0]].sum()) > least:
            kept[index] = False
            left -= 1
    return only(ranked(weight, kept, largest=True), weight.shape)


def kept_at(t: int, end: int, size: int, final: int) -> int:
    return round(final + (1 - min(1.0, (t + 1) / end)) * (size - final))


@pytest.mark.parametrize(("interval", "minimum"), [(1, 0), (1, 2), (3, 1)])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_it_computes_what_a_naive_loop_does(interval: int, minimum: int, optimizer: str) -> None:
    method = Iht(IhtOptions(interval=interval, minimum=minimum))
    run = DoubleTraining(method, 0.2, 30, optimizer=optimizer, lr=0.1, weight_decay=0.1, betas=(0.9, 0.95))
    seen = [torch.zeros(c.shape, dtype=torch.bool) for c in run.connections]
    back = 0

    def choose(t: int, _: Any, weights: list[Tensor], __: Any, masks: list[Tensor]) -> list[Tensor] | None:
        nonlocal back
        if t % interval and t + 1 != 15:
            return None
        found = [
            largest(weight, kept_at(t, 15, c.size, FINAL[c.name]), minimum)
            for c, weight in zip(run.connections, weights, strict=False)
        ]
        for closed, old, new in zip(seen, masks, found, strict=True):
            back += int((closed & new & ~old).sum())
            closed |= ~new
        return found

    naive = AdamW(run.raw, 0.1, (0.9, 0.95), 1e-8, 0.1) if optimizer == "adamw" else Sgd(run.raw, 0.1, 0.9, 0.1)
    follow(run, 30, naive, choose, dense=True)
    assert back > 0
    for name, at in (("exp_avg", 0), ("exp_avg_sq", 1)) if optimizer == "adamw" else (("momentum_buffer", 0),):
        for moment, states, mask in zip(run.moments(name), naive.states, run.masks, strict=False):
            assert torch.allclose(moment, states[at], rtol=0, atol=1e-11)
            assert bool(moment[~mask].any())  # those of masked weights as well
    assert {c.name: int(mask.sum()) for c, mask in zip(run.connections, run.masks, strict=True)} == FINAL
    assert sum(run.weights.zeros().values()) == 256 - 51
    if minimum:
        assert [
            int(mask.sum(1).min()) >= min(minimum, n // len(mask))
            for n, mask in zip((13, 25, 13), run.masks, strict=True)
        ] == [True] * 3


def test_counts_fall_linearly_and_are_exact_whatever_the_interval() -> None:
    def counts(steps: int, **options: Any) -> list[int]:
        run, found = DoubleTraining(Iht(IhtOptions(**options)), 0.5, steps, optimizer="sgd", lr=0.01), []
        for _ in range(steps):
            run.step()
            found.append(sum(int(mask.sum()) for mask in run.masks))
        return found

    assert counts(10, anneal=0.4) == [224, 192, 160, 128, 128, 128, 128, 128, 128, 128]
    assert counts(4, anneal=0.0) == [128] * 4
    assert counts(6, interval=5, anneal=1 / 3) == [192, 128, 128, 128, 128, 128]
    assert counts(1) == [128]


def test_the_mean_density_is_that_of_every_step() -> None:
    """The first step is dense; 224, 192 and 160 of 256 in the next three, then 128."""
    run = DoubleTraining(Iht(IhtOptions(anneal=0.4)), 0.5, 10, optimizer="sgd", lr=0.01)
    for _ in range(10):
        run.step()
    run.trainer.density.advance(10)
    kept = sum(run.trainer.density.means()[c.name] * c.size for c in run.connections)
    assert kept == pytest.approx((256 + 224 + 192 + 160 + 6 * 128) / 10, rel=1e-12)
    assert Iht(IhtOptions()).dense_gradient_share == 1.0


def test_rows_of_small_weights_keep_some_and_kernels_are_rows() -> None:
    weight = torch.tensor([[9.0, 8.0, 7.0, 6.0], [0.1, 0.2, 0.3, 0.4]])
    two = Iht(IhtOptions(minimum=2))
    assert two._largest(weight, 5).tolist() == [[True, True, True, False], [False, False, True, True]]
    assert two._largest(weight, 3).tolist() == [[True, True, False, False], [False, False, False, True]]
    assert two._largest(weight, 1).tolist() == [[True, False, False, False], [False] * 4]
    assert Iht(IhtOptions(minimum=0))._largest(weight, 4)[0].all()
    kernels = weight.reshape(2, 1, 2, 2)
    assert torch.equal(two._largest(kernels, 5), two._largest(weight, 5).reshape(2, 1, 2, 2))
    assert weight.max() < inf  # a look, and no more


def test_options_are_checked() -> None:
    for wrong in ({"anneal": 1.5}, {"minimum": -1}, {"interval": 0}, {"distribution": "global"}):
        with pytest.raises(ValidationError):
            IhtOptions.model_validate(wrong)


def test_conformance() -> None:
    for options in ({"minimum": 0}, {"interval": 3, "distribution": "erk"}):
        check_method(Iht, options)
