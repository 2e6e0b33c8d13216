"""AC/DC: its parts, against a naive loop, and its operations."""

from __future__ import annotations

from typing import Any

import pytest
from double_training import DoubleTraining, Sgd, follow, only, ranked
from pydantic import ValidationError
from torch import Tensor

from harness.results.flops import Flops, Trained, sparse_training_flops
from harness.testing import check_method
from harness_dynamic.ac_dc import AcDc, AcDcOptions


def sparse_at(steps: int, **options: Any) -> list[int]:
    """The steps, counted from 0, that run with masks; ``steps`` itself is the network at the end."""
    method = AcDc(AcDcOptions(**options))
    return [step for step in range(steps + 1) if method._compressed(step, steps)]


def test_the_parts_are_the_papers_epochs() -> None:
    """Of 100: dense to 10, then 5 and 5 by turns to 75, dense to 85, sparse to the end."""
    parts = [(10, 15), (20, 25), (30, 35), (40, 45), (50, 55), (60, 65), (70, 75), (85, 101)]
    assert sparse_at(100) == [step for first, last in parts for step in range(first, last)]
    assert sparse_at(20, period=0.1) == [2, 3, 6, 7, 10, 11, 14, 17, 18, 19, 20]  # the last turn is cut short


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_short_trainings_begin_dense_and_end_sparse(steps: int) -> None:
    for options in ({}, {"warmup": 0.0}, {"last_sparse": 0.0}, {"warmup": 0.0, "last_sparse": 1.0, "last_dense": 0.0}):
        assert 0 not in sparse_at(steps, **options)
        assert steps in sparse_at(steps, **options)


def test_it_computes_what_a_naive_loop_does() -> None:
    """Compressed in steps 3, 4, 7, 8, 11, 12, 15, 16, dense until 20; momentum of what opens or closes begins anew."""
    options = {"warmup": 0.1, "period": 1 / 15, "last_dense": 0.1, "last_sparse": 1 / 3}
    run = DoubleTraining(AcDc(AcDcOptions(**options)), 0.2, 30, optimizer="sgd", lr=0.1, weight_decay=0.01)
    compressed = {3, 4, 7, 8, 11, 12, 15, 16, *range(20, 31)}

    def choose(t: int, _: Any, weights: list[Tensor], __: Any, ___: Any) -> list[Tensor] | None:
        if (t + 1 in compressed) == (t in compressed):
            return None
        if t + 1 not in compressed:
            return [only(ranked(w, w == w, largest=True), w.shape) for w in weights[:3]]
        largest = sorted(
            (-abs(float(w[i])), layer, i)
            for layer, w in enumerate(weights[:3])
            for i in ranked(w, w == w, largest=True)
        )
        kept = largest[: run.budget.keep]
        return [only([i for _, own, i in kept if own == layer], weights[layer].shape) for layer in range(3)]

    assert follow(run, 30, Sgd(run.raw, 0.1, 0.9, 0.01), choose) > 4 * 150
    assert sum(int(mask.sum()) for mask in run.masks) == run.budget.keep
    run.trainer.density.advance(30)
    means = run.trainer.density.means()
    kept = sum(means[c.name] * c.size for c in run.connections)
    assert kept * 30 == pytest.approx(12 * 256 + 18 * run.budget.keep, rel=1e-12)


def test_operations_are_those_of_dense_and_sparse_parts() -> None:
    """Of 40 steps 20 are dense: 4, then 2 and 2 by turns to 30, dense to 34, sparse to the end."""
    run = DoubleTraining(AcDc(AcDcOptions(distribution="uniform")), 0.25, 40, optimizer="sgd", lr=0.1)
    for _ in range(40):
        run.step()
    run.trainer.density.advance(40)
    flops = Flops(512, {c.name: 2.0 for c in run.connections}, [])
    trained = Trained(320, run.trainer.density.means(), False, AcDc(AcDcOptions()).dense_gradient_share)
    found = sparse_training_flops(flops, run.connections, [trained])
    assert found == pytest.approx(3 * 8 * 2 * (20 * 256 + 20 * 64), rel=1e-12)


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"together 1.1 of the training"):
        AcDcOptions(warmup=0.8, last_dense=0.1, last_sparse=0.2)


def test_conformance() -> None:
    for distribution in ("global", "uniform", "erk"):
        check_method(AcDc, {"distribution": distribution})
