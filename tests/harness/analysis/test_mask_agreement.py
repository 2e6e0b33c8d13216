"""In how much two masks agree: against counting every draw, and over connections that need not exist."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from harness.analysis.mask_agreement import Shared, mask_agreement
from harness.results.mask_pictures import MaskPicture


@pytest.mark.parametrize(
    ("size", "first", "second"), [(6, 3, 2), (9, 4, 6), (7, 7, 3), (5, 0, 4), (10, 5, 5), (1, 1, 1)]
)
def test_chance_is_what_all_draws_give(size: int, first: int, second: int) -> None:
    own = set(range(first))
    draws = sorted(len(own & set(other)) for other in combinations(range(size), second))
    for both in {*draws}:
        shared = Shared(size, first, second, both)
        assert shared.expected == pytest.approx(np.mean(draws))
        assert shared.p == pytest.approx(np.mean([draw >= both for draw in draws]))
        low, high = shared.interval
        assert np.mean([draw < low for draw in draws]) <= 0.025 < np.mean([draw <= low for draw in draws])
        assert np.mean([draw > high for draw in draws]) <= 0.025 < np.mean([draw >= high for draw in draws])


def test_the_published_agreement_of_two_genomes_is_what_chance_gives() -> None:
    # Neural DNA's figure 4: of 21 skips each genome has 3, and they share one; 24 of 28 pairs "agree".
    shared = Shared(21, 3, 3, 1)
    assert shared.jaccard == pytest.approx(1 / 5)
    assert shared.p == pytest.approx(1 - (18 * 17 * 16) / (21 * 20 * 19))
    assert shared.p > 0.3


def test_large_counts_have_a_normal_interval() -> None:
    shared = Shared(65_536, 20_000, 30_000, 9_500)
    deviation = (20_000 * 30_000 / 65_536 * (45_536 / 65_536) * (35_536 / 65_535)) ** 0.5
    low, high = shared.interval
    assert low == pytest.approx(shared.expected - 1.96 * deviation, abs=2)
    assert high == pytest.approx(shared.expected + 1.96 * deviation, abs=2)
    assert shared.p == pytest.approx(2.2e-9, rel=0.1)  # 5.87 deviations above


def picture(bits: list[int], depths: tuple[int, int] | None, kind: str = "weight", role: str = "dense") -> MaskPicture:
    mask = np.array(bits, dtype=bool)
    return MaskPicture((1, mask.size), int(mask.sum()), kind, role, mask, np.zeros((1, 1), np.uint8), depths)  # type: ignore[arg-type]


def test_only_connections_that_pass_over_a_band_are_asked_about() -> None:
    a = {
        "near": picture([1, 1, 1, 1], (0, 1)),
        "skip": picture([1, 1, 0, 0], (0, 2)),
        "far": picture([1, 0, 0, 0], (0, 3)),
        "closed": picture([0, 0, 0, 0], (1, 3)),
        "resized": picture([1, 1], (0, 4)),
        "seen": picture([1, 1], (0, 1), kind="attention"),
    }
    b = {
        **a,
        "skip": picture([0, 1, 1, 0], (0, 2)),
        "far": picture([0, 0, 0, 0], (0, 3)),
        "resized": picture([1, 1, 1], (0, 4)),
        "added": picture([1], (1, 4)),
    }
    found = mask_agreement(a, b)
    assert found.pairs == Shared(4, 3, 2, 2)  # skip and resized in both, far only in a, closed in neither
    assert found.near == Shared(1, 1, 1, 1)
    assert found.entries["skip"] == Shared(4, 2, 2, 1)
    assert found.whole == Shared(12, 3, 2, 1)
    assert found.by_density == pytest.approx(1.0)
    assert found.apart == ("resized", "added")


def test_files_that_do_not_say_how_deep_a_connection_lies_go_by_its_role() -> None:
    found = mask_agreement(*2 * [{"a": picture([1], None), "b": picture([1], None, role="skip")}])
    assert found.passing == {"b"} and found.near.size == 1
