"""Phases that cannot be are refused where a method writes them, and not read as something else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.core.phases import Finetune, Phase, Prune, Reinitialize, Train
from harness.errors import UserError


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Prune(granularity="kernels"), "Prune: unknown granularity 'kernels'. Did you mean 'kernel'\\?"),
        (lambda: Prune(distribution="ekr"), "Prune: unknown distribution 'ekr'. Did you mean 'erk'\\?"),
        (lambda: Prune(distribution=None), "unknown distribution 'None'"),
        (lambda: Prune(density=10), r"density is 10; the fraction that is kept lies in \[0, 1\]"),
        (lambda: Prune(fraction=20), "fraction is 20; what is removed of the rest lies between 0 and 1"),
        (lambda: Prune(fraction=1.0), "fraction is 1.0"),
        (lambda: Prune(exponent=0), "exponent is 0"),
        (lambda: Train(5, schedule="cosin"), "Train: unknown schedule 'cosin'. Did you mean 'cosine'\\?"),
        (lambda: Finetune(5, schedule="step"), "Finetune: unknown schedule 'step'"),
        (lambda: Reinitialize("signs"), "Reinitialize: unknown weights 'signs'. Did you mean 'sign'\\?"),
    ],
)
def test_what_no_phase_can_be_is_refused(wrong: Callable[[], Phase], message: str) -> None:
    with pytest.raises(UserError, match=message):
        wrong()


def test_what_a_phase_can_be_is_taken() -> None:
    assert Train(5, schedule=None).schedule is None
    assert Finetune(0).schedule == "constant"
    assert [Prune(density=density).density for density in (None, 0, 1)] == [None, 0, 1]
    assert Prune(fraction=0.5, granularity="kernel").granularity == "kernel"
