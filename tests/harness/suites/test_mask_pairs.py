"""Which cells' masks a suite sets beside each other, and what it says of wrong ones."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from harness.suites.mask_pairs import mask_pairs, told
from harness.suites.schema import Selector


@dataclass
class Cell:
    experiment: str
    method: str
    seed: int
    architecture: str = "net"
    benchmark: str = "data"
    density: float | None = None
    trial: None = None


CELLS = [Cell(experiment, method, seed) for experiment in ("a", "b") for method in ("m", "n") for seed in (0, 1, 2)]


def pairs(first: dict, second: dict) -> list[tuple[str, int, str, int]]:
    found = mask_pairs(Selector(**first), Selector(**second), CELLS)  # type: ignore[arg-type]
    return [(x.experiment, x.seed, y.experiment, y.seed) for x, y in found]


def test_cells_are_paired_by_seed() -> None:
    found = pairs({"experiment": "a", "method": "m"}, {"experiment": "b", "method": "m"})
    assert found == [("a", seed, "b", seed) for seed in (0, 1, 2)]
    some = pairs({"experiment": "a", "method": "m", "seed": [1, 2]}, {"experiment": "b", "method": "m"})
    assert some == [("a", seed, "b", seed) for seed in (1, 2)]


def test_two_cells_are_a_pair_whatever_their_seeds() -> None:
    one, two = ({"experiment": "a", "method": "m", "seed": seed} for seed in (0, 2))
    assert pairs(one, two) == [("a", 0, "a", 2)]
    assert told(Selector(**one)) == "a, m, seed 0"


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"method": "m"}, {"experiment": "b", "method": "m"}, "'m' fits several runs of seed 0"),
        ({"experiment": "a", "method": "nn"}, {"method": "m"}, "Did you mean 'n'"),
        ({"experiment": "a", "method": "m", "seed": 7}, {"method": "m"}, "unknown seed '7'"),
        (
            {"experiment": "a", "method": "m", "seed": [0, 1]},
            {"experiment": "b", "method": "m", "seed": 2},
            "no seed in common",
        ),
    ],
)
def test_what_cannot_be_paired_is_refused(first: dict, second: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        pairs(first, second)
