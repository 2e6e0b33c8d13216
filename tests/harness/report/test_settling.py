"""When masks and weights settle, in words, in a table and as a figure."""

from __future__ import annotations

import math

import pytest

from harness.analysis.settling import MASK, CellSettling, MaskCurve
from harness.report.figures import settling_curves
from harness.report.figures.settling_series import RowSettling, TrainingClock
from harness.report.palette import palette
from harness.report.settling import _answer, _notes, _time

DONE = [0.0, 0.25, 0.5, 0.75, 1.0]


def cell(distance: list[float | None], mask: list[float] | None, epochs: float = 8.0) -> CellSettling:
    """A mask of which a fifth is open at the end and always, with so many entries as at the end."""
    masks = {} if mask is None else {MASK: MaskCurve(mask, [0.68] * 5, 0.2)}
    return CellSettling(DONE, masks, distance, [None, 0.5, 0.9, 0.96, 1.0], epochs)


def grown() -> RowSettling:
    return RowSettling(
        "grown",
        [
            cell([1.0, 0.5, 0.04, 0.005, 0.0], [0.5, 0.9999, 0.9999, 1.0, 1.0]),
            cell([1.0, 0.5, 0.2, 0.04, 0.0], [0.5, 0.9, 0.99, 0.9996, 1.0]),
        ],
    )


NOTED = {
    "dense": RowSettling("dense", [cell([0.5, 0.1, 0.04, 0.005, 0.0], None)]),
    "grown": grown(),
    "random": RowSettling("random", [cell([0.5, 0.1, 0.04, 0.005, 0.0], [1.0] * 5)]),
}


def test_the_answer_tells_each_mask_that_changes_and_what_the_schedule_does() -> None:
    grows, imposed = _answer(NOTED)
    # Entries: 0.0001 / 0.32 and 0.1 / 0.32, 0.01 / 0.32. Norms: sqrt(0.0001 / 0.2) = 0.02, sqrt(0.01 / 0.2) = 0.22.
    assert grows == (
        "grown's mask settles within 5 % at epoch 3 of 8, its weights at epoch 5, its score at epoch 6. Measured as "
        "weights are, by norms, its mask settles before its weights in 1 of 2 seeds."
    )
    assert imposed == (
        "Where no mask changes, weights settle within 5 % all the same, which is the schedule: dense's at epoch 4 of 8 "
        "and random's at epoch 4 of 8."
    )


def test_times_are_means_with_the_first_and_the_last_seed() -> None:
    clock = TrainingClock.of(NOTED)
    assert _time(NOTED["grown"], MASK, 0, clock) == "3 (2 to 4)"
    assert _time(NOTED["grown"], MASK, 1, clock) == "4 (2 to 6)"
    assert _time(NOTED["random"], MASK, 0, clock) == "fixed"
    assert _time(NOTED["dense"], MASK, 0, clock) == "\N{EN DASH}"
    unlike = TrainingClock.of({**NOTED, "short": RowSettling("short", [cell([0.0] * 5, None, 2.0)])})
    assert unlike.unit == "share of the training" and _time(NOTED["dense"], "weights", 0, unlike) == "0.50"


def test_the_notes_have_chance_beside_likeness() -> None:
    rows = _notes(NOTED, [MASK, "weights", "score"], TrainingClock.of(NOTED)).rows
    assert [row[1] for row in rows[:5]] == ["0", "2", "4", "6", "8"]
    assert rows[6] == ["grown", "2", "0.950", "0.680", "0.500", "0.500"]
    assert rows[1][2:4] == ["\N{EN DASH}"] * 2


def test_the_figure_has_a_panel_for_what_there_is() -> None:
    styles = palette(["dense", "grown", "random"], "dense")
    drawn = settling_curves(NOTED, styles)
    assert drawn is not None and drawn.count("distance of effective weights") == 1
    assert "share of the mask" in drawn and "epoch of 8" in drawn
    alone = settling_curves({"dense": NOTED["dense"]}, styles)
    assert alone is not None and "share of the mask" not in alone
    assert settling_curves({}, styles) is None


@pytest.mark.parametrize("far", [math.inf, 1e30])
def test_weights_that_end_near_zero_do_not_flatten_the_others(far: float) -> None:
    styles = palette(["dense"], "dense")
    drawn = settling_curves({"dense": RowSettling("dense", [cell([far, 0.1, 0.1, 0.1, 0.0], None)])}, styles)
    assert drawn is not None and "1e" not in drawn


def test_what_is_drawn_at_the_edge_is_said_and_a_seed_with_a_lost_note_is_in_no_mean() -> None:
    far = {"far": RowSettling("far", [cell([50.0, 9.0, 1.0, 0.1, 0.0], None)])}
    said = "What is further away than 2 is drawn at the edge."
    assert said in (settling_curves(far, palette(far)) or "")
    assert said not in (settling_curves(NOTED, palette(NOTED)) or "")
    short = CellSettling([0.0, 0.5, 0.75, 1.0], {}, [9.0, 9.0, 9.0, 0.0], [None] * 4, 8.0)
    whole = cell([0.5, 0.1, 0.04, 0.005, 0.0], None)
    table = _notes({"m": RowSettling("m", [short, whole])}, ["weights", "score"], TrainingClock(8.0))
    assert [row[2] for row in table.rows] == ["0.500", "0.100", "0.040", "0.005", "0.000"]
