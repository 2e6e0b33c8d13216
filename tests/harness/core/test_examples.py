"""What a metric's value is made of."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.core.benchmark import Measurement
from harness.core.examples import Examples


def array(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float64)


def test_a_mean_keeps_what_it_is_the_mean_of() -> None:
    measured = Measurement.mean(torch.tensor([True, False, True, True]))
    found = measured.examples
    assert found is not None and found.values.tolist() == [1, 0, 1, 1] and found.sizes is None
    assert (found.transform, found.unit, len(found)) == ("mean", "example", 4)
    assert found.value == measured.value == 0.75


def test_a_ratio_keeps_sums_and_sizes() -> None:
    measured = Measurement.ratio(torch.tensor([6.0, 2.0]), torch.tensor([2, 6]), unit=0.5, each="document")
    found = measured.examples
    assert found is not None and found.sizes is not None
    assert (found.values.tolist(), found.sizes.tolist()) == ([12, 4], [2, 6])
    assert (found.transform, found.unit) == ("ratio", "document")
    assert found.value == measured.value == 2.0


def test_measurements_are_equal_whatever_they_are_made_of() -> None:
    assert Measurement.mean(torch.tensor([0.0, 1.0])) == Measurement(0.5, 2, 0.5)


@pytest.mark.parametrize("found", [Examples(array(1, 3)), Examples(array(2, 6), array(1, 3), "ratio")])
def test_the_exponential_is_that_of_the_whole(found: Examples) -> None:
    assert found.exponential().value == pytest.approx(math.exp(2))
    assert found.exponential().transform == f"exp_{found.transform}"


def test_a_total_per_other_units() -> None:
    """8 nats over 4 tokens are 8 / 10 bytes, in halves 1.6."""
    found = Examples(array(2, 6), array(1, 3), "ratio").per(10, 0.5)
    assert found.value == pytest.approx(1.6)
    assert found.sizes is not None and found.sizes.tolist() == [2.5, 7.5]
    with pytest.raises(ValueError, match="has no sizes"):
        Examples(array(1)).per(3)


def test_groups_are_summed_and_empty_ones_left_out() -> None:
    found = Examples(array(1, 2, 3, 4), array(1, 1, 1, 5), "ratio").grouped(torch.tensor([0, 3, 0, 3]), "document")
    assert found.sizes is not None
    assert (found.values.tolist(), found.sizes.tolist(), found.unit) == ([4, 6], [2, 6], "document")
    with pytest.raises(ValueError, match="make it a ratio"):
        Examples(array(1)).grouped(torch.tensor([0]), "document")


@pytest.mark.parametrize(
    ("values", "sizes", "transform", "text"),
    [
        (array(1, 2), array(1), "ratio", r"\(2,\) and \(1,\); both must be \(n,\)"),
        (np.ones((2, 2)), None, "mean", r"\(2, 2\); both"),
        (array(1), None, "exp_ratio", "a exp_ratio needs sizes"),
        (array(1), array(1), "mean", "a mean has no sizes"),
    ],
)
def test_what_does_not_fit_is_refused(values: object, sizes: object, transform: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Examples(values, sizes, transform)  # type: ignore[arg-type]
