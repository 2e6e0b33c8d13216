"""Mean densities, against a loop over the steps."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Band, Connection, Masks
from harness.training.density_meter import DensityMeter

CPU = torch.device("cpu")
BANDS = Band("in", 4, 0), Band("out", 5, 1)
CONNECTIONS = (
    Connection("left", "w", "dense", *BANDS, (5, 2), columns=(0, 2)),
    Connection("right", "w", "dense", *BANDS, (5, 2), columns=(2, 4)),
    Connection("other", "v", "dense", *BANDS, (5, 4)),
)
CHANGE = st.tuples(st.integers(1, 9), st.lists(st.integers(0, 10), min_size=3, max_size=3))


def masks(kept: list[int]) -> Masks:
    return Masks({c.name: (torch.arange(c.size) < k).reshape(c.shape) for c, k in zip(CONNECTIONS, kept, strict=True)})


@settings(deadline=None, max_examples=60)
@given(st.lists(CHANGE, max_size=6), st.integers(0, 9), st.booleans())
def test_every_step_counts_as_it_ran(changes: list[tuple[int, list[int]]], rest: int, resumed: bool) -> None:
    meter = DensityMeter(CONNECTIONS, CPU)
    meter.change(None, 0)
    held, expected, step = [10, 10, 20], [0, 0, 0], 0
    for steps, kept in changes:
        expected = [total + steps * k for total, k in zip(expected, held, strict=True)]
        step, held = step + steps, kept
        meter.change(masks(kept), step)
        if resumed:
            state, meter = meter.state_dict(), DensityMeter(CONNECTIONS, CPU)
            meter.load_state_dict(state)
            meter.change(masks(kept), step)
    expected = [total + rest * k for total, k in zip(expected, held, strict=True)]
    meter.advance(step + rest)
    meter.advance(step + rest)  # again is nothing
    steps = max(1, step + rest)
    assert meter.means() == {c.name: total / steps / c.size for c, total in zip(CONNECTIONS, expected, strict=True)}


def test_effective_weights_are_counted_in_their_regions() -> None:
    meter = DensityMeter(CONNECTIONS, CPU)
    w, v = torch.ones(5, 4), torch.zeros(5, 4)
    w[:, 3] = 0
    meter.composed({"w": w, "v": v}, 0)
    meter.composed({"w": torch.ones(5, 4), "v": torch.ones(5, 4)}, 1)
    assert meter.means() == {"left": 1.0, "right": 0.75, "other": 0.5}


def test_a_network_without_connections_has_none() -> None:
    meter = DensityMeter((), CPU)
    meter.change(Masks({}), 0)
    meter.advance(3)
    assert meter.means() == {}
