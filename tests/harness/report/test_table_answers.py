"""What other tables than the score table begin with: each rule by hand."""

from __future__ import annotations

from typing import Any

import pytest
from synthetic import over_seeds, table

from harness.analysis.problems import Tally, performance_profile, tallies
from harness.analysis.result_row import ResultRow
from harness.report.boards import Board, boards
from harness.report.comparisons import pareto, wins
from harness.report.comparisons import performance_profile as profile
from harness.report.table_answers import cost_answer, networks_answer, noise_answer, wins_answer

GOOD = [0.90, 0.91, 0.92, 0.93, 0.905]
FAIR = [0.80, 0.81, 0.83, 0.82, 0.80]
POOR = [0.60, 0.61, 0.62, 0.63, 0.61]


def front(results: list[ResultRow], cost: str = "density") -> list[str]:
    (shown,) = pareto([table(results)], cost)
    return shown.answer


def test_the_front_is_named_from_the_cheapest_and_what_is_behind_counted() -> None:
    results = over_seeds("dense", GOOD) + over_seeds("a", FAIR, 0.1) + over_seeds("b", POOR, 0.1)
    assert front(results) == [
        "The front, by their means alone, which are not tested, is a at 0.1000 and dense; 1 of 3 rows are behind it."
    ]
    assert front(results[:10]) == [
        "Nothing is dominated, by their means alone, which are not tested: each of the 2 rows is better than all that "
        "cost less."
    ]


def test_a_front_of_one_or_none() -> None:
    results = over_seeds("dense", FAIR) + over_seeds("a", GOOD, 0.1) + over_seeds("b", POOR, 0.1)
    assert front(results) == [
        "a at 0.1000 dominates, by their means alone, which are not tested: no row has a lower mask density or a mean "
        "that is better."
    ]
    assert front(over_seeds("a", GOOD, 0.1, broken="cut")) == ["Nothing is efficient: no network works."]
    assert front(over_seeds("a", GOOD, 0.1, direction="none")) == [
        "Nothing is efficient: neither higher nor lower is better."
    ]


def test_soft_masks_save_no_operations_on_a_front_either() -> None:
    """A record says that they cost all that a dense network does; see test_training_flops."""
    cost: dict[str, Any] = {"inference_flops": 100.0}
    results = over_seeds("soft", FAIR, mask=1.0, mask_mean=0.1, inference_flops_sparse=100.0, **cost)
    results += over_seeds("a", GOOD, 0.1, inference_flops_sparse=10.0, **cost)
    rows = {row.method: row for row in table(results)}
    assert (rows["soft"].density_mask, rows["soft"].speedup_theoretical, rows["a"].speedup_theoretical) == (1, 1, 10)
    (shown,) = pareto([list(rows.values())], "flops")
    assert [(line[1], line[3]) for line in shown.rows] == [("a", "10"), ("soft (soft masks, mean 0.10)", "100")]
    assert shown.answer[0].startswith("a at 0.1000 dominates")


def test_who_is_furthest_ahead() -> None:
    results = over_seeds("a", GOOD, 0.1) + over_seeds("b", FAIR, 0.1) + over_seeds("c", FAIR, 0.1)
    assert wins(tallies([table(results)])).answer == [
        "a is furthest ahead: it wins more than it loses against 2 of its 2 rivals, behind none; 2 of 3 comparisons "
        "tell two methods apart."
    ]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({}, "Nothing is counted: one seed tells nothing of others."),
        (
            {("a", "b"): Tally(0, 3, 0), ("b", "a"): Tally(0, 3, 0)},
            "No method wins: none of 3 comparisons tells two apart.",
        ),
        (
            {("a", "b"): Tally(2, 0, 1), ("b", "a"): Tally(1, 0, 2)},
            "a is furthest ahead: it wins more than it loses against its one rival, behind none; 3 of 3 comparisons "
            "tell two methods apart.",
        ),
        (
            {
                **{("a", "c"): Tally(1, 0, 0), ("c", "a"): Tally(0, 0, 1)},
                **{("b", "c"): Tally(1, 1, 0), ("c", "b"): Tally(0, 1, 1)},
            },
            "a and b are furthest ahead, with +1 each; 2 of 3 comparisons tell two methods apart.",
        ),
    ],
)
def test_tallies_in_words(found: dict[tuple[str, str], Tally], told: str) -> None:
    assert wins_answer(found) == told


def test_who_has_the_best_mean_most_often() -> None:
    tables = [table(over_seeds("a", GOOD, 0.1) + over_seeds("b", FAIR, 0.1) + over_seeds("c", POOR, 0.1))]
    tables += [table(over_seeds("a", FAIR, 0.1) + over_seeds("b", GOOD, 0.1))]
    tables += [table(over_seeds("a", POOR, 0.1) + over_seeds("b", GOOD, 0.1))]
    (found,) = profile(*performance_profile(tables)).answer
    assert found == (
        "b has the best mean most often, on 2 of 3 problems; no test is made. b is never further from the best than "
        "by a factor of 1.12."
    )
    assert profile(*performance_profile(tables)).notes[-1] == (
        "A missing result, or one with failed seeds, counts as far from the best: of 3 problems c has 1 (at most 0.33)."
    )
    assert len(profile(*performance_profile(tables[1:])).notes) == 1
    (tied,) = profile(*performance_profile(tables[:2])).answer
    assert tied.startswith("a and b each have the best mean most often, on 1 of 2 problems; no test is made.")
    losses = {"unit": "points", "direction": "max"}
    negative = [table(over_seeds("a", [-1.0, -2.0], 0.1, **losses) + over_seeds("b", [-1.0, -3.0], 0.1, **losses))]
    assert profile(*performance_profile(negative)).answer == [
        "Nothing is compared: no problem has means that are all positive."
    ]


def test_what_costs_most_and_least() -> None:
    results = over_seeds("dense", GOOD, flops=3e9, inference_flops=100.0, inference_flops_sparse=100.0)
    results += over_seeds("a", FAIR, 0.1, flops=6e9, inference_flops=100.0, inference_flops_sparse=20.0)
    rows = table(results)
    assert cost_answer(rows) == [
        "In theory inference costs least in a at 0.1000, a factor of 5 below dense; dense kernels save no time.",
        "Training took from 3.00e+09 FLOPs, dense-equivalent in dense to 6.00e+09 in a at 0.1000.",
    ]
    assert cost_answer(rows[:1]) == [
        "Not even in theory does inference cost less than dense.",
        "Training took equally many FLOPs, dense-equivalent in every row.",
    ]
    assert cost_answer(table(over_seeds("a", FAIR, 0.1))) == ["What it took is not recorded."]


def test_which_noise_is_larger() -> None:
    results = over_seeds("a", [0.1, 0.5, 0.9], 0.1, stderr=0.05) + over_seeds("b", [0.5, 0.5, 0.51], 0.1, stderr=0.05)
    assert noise_answer(table(results)) == (
        "Seeds scatter most in a at 0.1000: 0.4. Evaluation noise is larger than seed noise in 1 of 2 rows."
    )
    assert noise_answer(table(over_seeds("a", [0.1], 0.1, stderr=0.05))).startswith("One seed each")
    mixed = table(over_seeds("a", [0.1, 0.5], 0.1))
    for row in mixed:
        row.std = None  # as where the seeds' densities differ
    assert noise_answer(mixed) == "No row has seeds of one density: how seeds scatter is not known."


def test_best_means_of_networks_say_nothing_of_two() -> None:
    rows = table(over_seeds("a", FAIR, 0.1) + over_seeds("b", GOOD, 0.1, broken="cut"))
    assert networks_answer(rows, tested=False) == (
        "Best means, not tested against each other, for the suite asks nothing about them: "
        "any: any 0.8123 (a at 0.1000)."
    )
    assert networks_answer(rows, tested=True) == "Best means: any: any 0.8123 (a at 0.1000)."
    assert networks_answer(rows[-1:], tested=False).startswith("Nothing is compared")


def test_every_table_of_a_leaderboard_begins_with_its_answer() -> None:
    from harness.analysis.result_row import as_frame

    results = over_seeds("dense", GOOD, stderr=0.01) + over_seeds("a", FAIR, 0.1, stderr=0.01)
    results += over_seeds("a", FAIR, 0.1, metric="loss", unit="nats", direction="min", primary=False)
    (board,) = boards(as_frame(results))
    assert isinstance(board, Board)
    shown = [board.primary, board.questions, board.others, board.noise, board.cost]
    assert all(one is not None and one.answer for one in shown)
    assert board.questions is not None and board.questions.answer == ["1 of 1 question is decided; 1 has a test."]
