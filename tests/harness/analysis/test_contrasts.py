"""What is asked of a table, over which family, and what could have been found; broken networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import optimize, stats
from synthetic import asks, named, over_seeds, result, table

from harness.analysis.comparison import Selection, rows, selected, tables
from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.contrast import Contrast
from harness.analysis.contrasts import adjust
from harness.analysis.ranking import rank
from harness.analysis.result_row import ResultRow, as_frame
from harness.report.boards import boards
from harness.report.score_table import score_table

POINTS = {"unit": "points", "direction": "max"}
"""Of no scale: what is computed is what is seen."""
A = [1.0, 2.0, 4.0, 3.0]
B = [0.5, 1.75, 2.0, 3.125]
C = [0.0, 2.5, 1.0, 2.0]
D = [9.0, 8.0, 9.5, 8.5]


def results() -> list[ResultRow]:
    found = over_seeds("dense", D, **POINTS)
    for name, values in (("a", A), ("b", B), ("c", C)):
        for density, better in ((0.1, 0.0), (0.2, 1.0)):
            found += over_seeds(name, [value * (1 + better / 10) + better for value in values], density, **POINTS)
    return found


def contrasts(found: list[ComparisonRow]) -> list[Contrast]:
    return [contrast for row in found for contrast in row.contrasts]


def p_of(one: list[float], other: list[float]) -> float:
    return float(stats.ttest_rel(one, other).pvalue)


# --- families -----------------------------------------------------------------------------------


def test_the_family_is_the_suites_questions() -> None:
    found = named(table(results(), ["a against b at 0.1", "b against c at 0.1", "a against dense at 0.1"]))
    raw = [p_of(A, B), p_of(B, C), p_of(A, D)]
    asked = [found["a 0.1"].contrasts[0], found["b 0.1"].contrasts[0], found["a 0.1"].contrasts[1]]
    assert [contrast.control for contrast in asked] == ["b", "c", "dense"]
    assert [contrast.p for contrast in asked] == pytest.approx(raw)
    assert [contrast.difference for contrast in asked] == pytest.approx([0.65625, 0.46875, -6.25])
    ordered = sorted(raw)
    for contrast in asked:
        steps = [(3 - i) * p for i, p in enumerate(ordered) if p <= (contrast.p or 0) + 1e-12]
        assert contrast.p_adjusted == pytest.approx(min(1, max(steps)))
        assert contrast.family == 3 and contrast.asked
    assert not found["a 0.2"].contrasts and not found["c 0.1"].contrasts


def test_without_questions_every_row_is_asked_about_the_baseline() -> None:
    found = contrasts(table(results()))
    assert {(contrast.control, contrast.family, contrast.asked) for contrast in found} == {("dense", 6, False)}
    assert len(found) == 6
    default = contrasts(table(results(), ["a against b"], chosen=Selection(baseline="dense")))
    assert [(c.method, c.control) for c in default] == [(c.method, c.control) for c in found]


def test_a_question_without_density_is_asked_wherever_the_two_meet() -> None:
    found = table(results(), ["a against b"])
    assert [(contrast.row, contrast.family) for contrast in contrasts(found)] == [
        (row.id, 2) for row in found if row.method == "a"
    ]
    assert len(contrasts(table(results(), ["a against b at 0.2"]))) == 1


def test_a_question_about_a_whole_network_is_asked_at_every_density() -> None:
    found = table(results(), ["dense against a"])
    (dense,) = (row for row in found if row.method == "dense")
    by_id = {row.id: row for row in found}
    assert [by_id[contrast.other].asked for contrast in dense.contrasts] == [0.2, 0.1]
    assert all(contrast.difference > 0 for contrast in dense.contrasts)
    (one,) = contrasts(table(results(), ["dense against a at 0.1"]))
    assert one.difference == pytest.approx(8.75 - 2.5)


def test_two_rows_are_asked_about_once() -> None:
    found = contrasts(table(results(), ["a against b", "a against b at 0.1", "b against a at 0.2"]))
    assert [(contrast.method, contrast.control) for contrast in found] == [("a", "b")] * 2


def test_questions_without_an_answer_are_in_no_family() -> None:
    """Of another density, without a seed in common, about who is not there, and with one seed."""
    some = [*results(), *over_seeds("off", A, 0.15, **POINTS), result("late", 9, 1.0, 0.1, **POINTS)]
    some += [result("once", 0, 1.0, 0.1, **POINTS)]
    questions = ["a against off", "a against late", "a against nobody", "a against once at 0.1", "a against b at 0.1"]
    found = contrasts(table(some, questions))
    assert [(contrast.control, contrast.n) for contrast in found] == [("once", 1), ("b", 4)]
    assert [contrast.p is None for contrast in found] == [True, False]
    assert {contrast.family for contrast in found} == {1}
    assert found[1].p_adjusted == found[1].p


def test_a_selection_keeps_the_questions_whose_rows_it_keeps() -> None:
    questions = ["a against b", "b against c", "a against dense"]
    everything = contrasts(table(results(), questions))
    assert {contrast.family for contrast in everything} == {6}
    kept = contrasts(table(results(), questions, chosen=Selection(methods=["b", "c"])))
    assert [(c.method, c.control, c.family) for c in kept] == [("b", "c", 2)] * 2
    near = contrasts(table(results(), questions, chosen=Selection(at_density=0.1)))
    assert [(c.method, c.control, c.family) for c in near] == [("a", "b", 3), ("a", "dense", 3), ("b", "c", 3)]


def test_methods_that_no_question_sets_against_each_other_are_asked_about_when_they_are_named() -> None:
    def asked(*methods: str, questions: Sequence[str] = ("a against c", "b against c")) -> list[tuple[object, ...]]:
        found = table(results(), questions, chosen=Selection(methods=methods))
        assert {row.baseline for row in found} == {"dense"}
        return [(c.method, c.control, c.family, c.asked) for c in contrasts(found)]

    assert asked("a", "b") == [("b", "a", 2, False)] * 2  # at both densities
    assert asked("b", "a") == [("a", "b", 2, False)] * 2
    assert {one[:2] for one in asked("a", "dense")} == {one[:2] for one in asked("dense", "a")} == {("a", "dense")}
    assert asked("a") == [] and asked() == asked("a", "b", "c")
    assert {one[:2] for one in asked("c", "a", "b", questions=[])} == {("a", "c"), ("b", "c"), ("b", "a")}
    by_hand = table(results(), chosen=Selection(methods=["b"], baseline="a"))
    pair = table(results(), ["a against c"], chosen=Selection(methods=["a", "b"]))
    assert {row.all_tests for row in pair} == {0}, "no leaderboard asks that"
    assert [c.p_adjusted for c in contrasts(pair)] == pytest.approx([c.p_adjusted for c in contrasts(by_hand)])


def test_rows_of_one_sweep_are_not_set_against_each_other_by_its_name() -> None:
    found = [*over_seeds("a-lr-1", [0.8, 0.81], 0.1), *over_seeds("a-lr-2", [0.7, 0.72], 0.1)]
    found += over_seeds("b", [0.5, 0.52], 0.1)
    assert contrasts(table(found, ["b against none"], chosen=Selection(methods=["a"]))) == []
    pairs = contrasts(table(found, ["b against none"], chosen=Selection(methods=["a", "b"])))
    assert [(c.method, c.control) for c in pairs] == [("b", "a-lr-1"), ("b", "a-lr-2")]


def test_adjusting_twice_changes_nothing() -> None:
    found = table(results(), ["a against b", "b against c"], smallest_difference={"any": 0.5})
    before = [(c.p, c.p_adjusted, c.family, c.detectable, str(c.needed)) for c in contrasts(found)]
    adjust(found)
    assert [(c.p, c.p_adjusted, c.family, c.detectable, str(c.needed)) for c in contrasts(found)] == before


def test_a_plan_of_before_has_no_questions() -> None:
    frame = as_frame(results())
    frame["comparisons"] = None
    assert len(contrasts(selected(frame)[0])) == 6
    frame["comparisons"] = [asks() for _ in range(len(frame))]  # of an experiment that compares nothing
    assert len(contrasts(selected(frame)[0])) == 6


def test_a_baseline_may_be_what_is_asked_about() -> None:
    found = table(results(), ["a against dense", "a against b"])
    shown = score_table(found)
    headings = [column.name for column in shown.columns]
    assert "minus control" not in headings
    assert any("first question about a row" in note for note in shown.notes)
    assert "minus dense" in headings and headings.count("minus dense") == 1


def test_a_metric_that_does_not_judge_has_no_tests() -> None:
    some = [result(row.method, row.seed, row.value, None if row.method == "dense" else row.density_requested,
                   unit="points", direction="none") for row in results()]  # fmt: skip
    found = contrasts(table(some, ["a against b"]))
    assert found and {(c.p, c.p_adjusted, c.family, c.detectable) for c in found} == {(None, None, 0, None)}


# --- power --------------------------------------------------------------------------------------


def power(effect: float, seeds: int, level: float) -> float:
    """Of the two-sided paired t test, by scipy's noncentral t."""
    critical = stats.t.isf(level / 2, seeds - 1)
    return float(stats.nct.sf(critical, seeds - 1, effect * math.sqrt(seeds)))


@pytest.mark.parametrize(
    "questions", [["a against b at 0.1"], ["a against b at 0.1", "a against c at 0.1", "b against c at 0.2"]]
)
def test_what_is_detectable_is_so_at_the_level_of_the_family(questions: list[str]) -> None:
    first = named(table(results(), questions))["a 0.1"].contrasts[0]
    deviation = np.std(np.array(A) - B, ddof=1)
    level = 0.05 / len(questions)
    effect = optimize.brentq(lambda x: power(x, 4, level) - 0.8, 0.1, 100)
    assert first.detectable == pytest.approx(deviation * effect, rel=1e-4)


@pytest.mark.parametrize("smallest", [0.4, 1.0])
def test_seeds_for_the_smallest_difference_that_matters(smallest: float) -> None:
    """And what the 95 % chi-square interval of the deviation of four seeds makes of them."""
    (contrast,) = contrasts(table(results(), ["a against b at 0.1"], smallest_difference={"any": smallest}))
    deviation = float(np.std(np.array(A) - B, ddof=1))
    ends = [deviation * math.sqrt(3 / stats.chi2.isf(tail, 3)) for tail in (0.025, 0.975)]

    def fewest(std: float) -> int:
        return next(n for n in range(2, 10_000) if power(smallest / std, n, 0.05) >= 0.8)

    assert contrast.needed is not None
    assert [float(found) for found in contrast.needed] == [fewest(std) for std in (deviation, *ends)]
    frame = as_frame(results())
    frame["comparisons"] = [asks("a against b at 0.1", smallest_difference={"any": smallest})] * len(frame)
    questions = next(boards(frame)).questions
    assert questions is not None
    middle, low, high = (f"{fewest(std):,}" for std in (deviation, *ends))
    assert questions.rows[0][-1] == f"{middle} ({low} to {high})"


def test_with_five_seeds_the_number_stands_alone() -> None:
    some = over_seeds("a", [*A, 2.5], 0.1, **POINTS) + over_seeds("b", [*B, 1.0], 0.1, **POINTS)
    frame = as_frame(some)
    frame["comparisons"] = [asks("a against b", smallest_difference={"any": 1.0})] * len(frame)
    questions = next(boards(frame)).questions
    assert questions is not None and questions.rows[0][-1].isdigit()


def test_nothing_is_needed_where_nothing_is_named_or_nothing_varies() -> None:
    (without,) = contrasts(table(results(), ["a against b at 0.1"]))
    assert without.needed is None
    same = over_seeds("a", A, 0.1, **POINTS) + over_seeds("b", A, 0.1, **POINTS)
    (equal,) = contrasts(table(same, ["a against b"], smallest_difference={"any": 0.1}))
    assert (equal.p, equal.detectable, equal.needed) == (1.0, None, None)
    (other,) = contrasts(table(results(), ["a against b at 0.1"], smallest_difference={"elsewhere": 0.1}))
    assert other.needed is None


# --- broken networks ----------------------------------------------------------------------------


def broken_results(*, twice: bool = True) -> list[ResultRow]:
    found = over_seeds("dense", [0.9, 0.91, 0.92, 0.93, 0.9])
    found += over_seeds("whole", [0.8, 0.81, 0.83, 0.82, 0.8], 0.1)
    found += over_seeds("some", [0.9, 0.98, 0.97, 0.1135, 0.1135], 0.1, broken=["", "", "", "cut", "cut"])
    found += over_seeds("cut", [0.09, 0.10, 0.11, 0.1, 0.1], 0.1, broken="cut")
    if twice:
        found += over_seeds("constant", [0.95, 0.951, 0.952, 0.95, 0.952], 0.1, broken="constant")
    return found


def test_broken_rows_stand_last_and_have_no_order() -> None:
    found = table(broken_results())
    assert [row.method for row in found] == ["dense", "whole", "some", "constant", "cut"]
    ranks = {row.method: (row.rank, row.rank_worst) for row in found}
    assert ranks == {"dense": (None, None), "whole": (1, 2), "some": (1, 2), "constant": (3, 4), "cut": (3, 4)}


def test_broken_seeds_are_never_dropped_and_counted_in_the_row() -> None:
    found = named(table(broken_results()))
    shares = (np.array([90, 98, 97, 11.35, 11.35]) + 0.5) / 101
    centre = np.log(shares / (1 - shares)).mean()
    assert found["some"].n == 5 and found["some"].broken == {3: "cut", 4: "cut"}
    assert found["some"].mean == pytest.approx((101 / (1 + math.exp(-centre)) - 0.5) / 100)
    shown = score_table(list(found.values()))
    cells = {line[1]: line for line in shown.rows}
    assert any(cell.endswith(" cut 2/5") for cell in cells["some"])
    assert any(cell.endswith(" constant 5/5") for cell in cells["constant"])
    assert not any("cut" in cell for cell in cells["whole"])


def test_broken_rows_lose_without_a_test_and_are_in_no_family() -> None:
    questions = ["whole against cut", "constant against cut", "whole against some", "whole against constant"]
    found = contrasts(table(broken_results(), questions))
    assert {(c.method, c.control): (c.broken, c.p is None, c.low is None) for c in found} == {
        ("whole", "cut"): (True, True, True),
        ("whole", "constant"): (True, True, True),
        ("constant", "cut"): (True, True, True),
        ("whole", "some"): (False, False, False),
    }
    assert {contrast.family for contrast in found} == {1}


def test_broken_seeds_of_mixed_densities_are_counted_too() -> None:
    found = table(over_seeds("genome", [0.5, 0.1, 0.6], mask=[0.1, 0.2, 0.3], broken=["", "cut", ""]))
    assert any(cell.endswith(" to 0.6000 cut 1/3") for cell in score_table(found).rows[0])


# --- unequal seeds ------------------------------------------------------------------------------


def test_ranks_and_questions_take_the_seeds_that_both_have() -> None:
    some = [result("a", seed, value, 0.1, **POINTS) for seed, value in enumerate([5.0, 5.1, 5.2, 5.4])]
    some += [result("b", seed, value, 0.1, **POINTS) for seed, value in ((1, 1.1), (2, 1.0), (3, 1.3), (7, 99.0))]
    found = named(table(some, ["a against b"]))
    contrast = found["a"].contrasts[0]
    assert contrast.n == 3
    assert contrast.p == pytest.approx(p_of([5.1, 5.2, 5.4], [1.1, 1.0, 1.3]))
    assert (found["a"].rank, found["b"].rank) == (1, 2)


def test_rows_without_a_seed_in_common_are_not_told_apart() -> None:
    some = [result("a", seed, 5.0 + seed / 10, 0.1, **POINTS) for seed in (0, 1)]
    some += [result("b", seed, 1.0 + seed / 9, 0.1, **POINTS) for seed in (2, 3)]
    (_, found) = next(iter(tables(rows(as_frame(some)))))
    rank(found)
    assert {row.method: (row.rank, row.rank_worst) for row in found} == {"a": (1, 2), "b": (1, 2)}
