"""The answer in words: each rule by hand, and that it never says more than the statistics of the table."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import over_seeds, table

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.result_row import ResultRow
from harness.report.answers import answers, broken, winner
from harness.report.score_table import score_table
from harness.report.seed_table import seed_table

GOOD = [0.90, 0.91, 0.92, 0.93, 0.905]
FAIR = [0.80, 0.81, 0.83, 0.82, 0.80]
ALIKE = [0.81, 0.80, 0.82, 0.835, 0.79]
CUT = [0.1] * 5


def said(results: list[ResultRow], *questions: str) -> list[str]:
    return answers(table(results, questions))


def test_what_beats_what_and_what_is_not_told_apart() -> None:
    results = [*over_seeds("a", GOOD, 0.1), *over_seeds("b", FAIR, 0.1), *over_seeds("c", ALIKE, 0.1)]
    first, second = said(results, "a against b", "a against c", "b against c")
    assert first == "At 0.1000, a (0.914) beats b (0.812) and c (0.811)."
    assert re.fullmatch(r"At 0\.1000, not told apart: b from c; 5 seeds could have shown 0\.\d+\.", second)


def test_less_is_better_where_the_metric_says_so() -> None:
    losses = {"unit": "nats", "direction": "min"}
    results = [*over_seeds("a", [1.0, 1.1, 1.2], 0.1, **losses), *over_seeds("b", [2.0, 2.11, 2.2], 0.1, **losses)]
    assert said(results, "b against a") == ["At 0.1000, a (1.097) beats b (2.102)."]


def test_densities_come_from_the_highest_down_each_with_its_own() -> None:
    results = [*over_seeds("dense", [0.97, 0.98, 0.975, 0.97, 0.98])]
    for density in (0.02, 0.5):
        results += [*over_seeds("a", GOOD, density), *over_seeds("b", FAIR, density)]
    found = said(results, "a against b", "a against dense")
    assert [sentence.split(",")[0] for sentence in found] == [
        place for place in ("At 0.5000", "At 0.0200") for _ in range(2)
    ]


def test_densities_that_are_compared_with_each_other_are_one_place() -> None:
    """Whole kernels of a mask make 0.2001 of 0.2: a second sentence would read as a second question."""
    results = [*over_seeds("a", GOOD, 0.2), *over_seeds("b", FAIR, 0.2001), *over_seeds("c", CUT, 0.2002)]
    assert {sentence.partition(",")[0] for sentence in said(results, "a against b", "b against c")} == {"At 0.2000"}
    assert said(results, "b against c")[0].startswith("At 0.2001, b (0.812)"), "no lower than what is asked about"


def test_pairs_at_several_densities_are_told_as_a_whole_where_that_is_shorter() -> None:
    results: list[ResultRow] = []
    for density, scores in ((0.5, ALIKE), (0.2, GOOD), (0.1, GOOD), (0.05, [1 - x for x in GOOD])):
        results += [*over_seeds("a", scores, density), *over_seeds("b", FAIR, density)]
    (found,) = said(results, "a against b")
    told, power = found.split("; 5 seeds could have shown ")
    assert told == (
        "a beats b at 0.2000 (0.914 against 0.812) and 0.1000 (0.914 against 0.812); "
        "b beats a at 0.0500 (0.812 against 0.086); not told apart at 0.5000"
    )
    assert re.fullmatch(r"0\.\d+\.", power)


def test_pairs_that_have_more_to_say_are_not_told_as_a_whole() -> None:
    """A broken seed in one of the densities: the sentences by density say so."""
    results: list[ResultRow] = []
    for density in (0.5, 0.2, 0.1, 0.05):
        dead = ["cut", "", "", "", ""] if density == 0.05 else [""] * 5
        results += [*over_seeds("a", GOOD, density), *over_seeds("b", FAIR, density, broken=dead)]
    found = said(results, "a against b")
    assert [sentence.split(",")[0] for sentence in found[:4]] == [
        f"At {x}" for x in ("0.5000", "0.2000", "0.1000", "0.0500")
    ]


def test_whole_networks_are_unmasked() -> None:
    results = [*over_seeds("dense", GOOD), *over_seeds("longer", FAIR)]
    assert said(results, "dense against longer") == ["Unmasked, dense (0.914) beats longer (0.812)."]


def test_a_soft_pair_names_whose_mean_mask_it_has() -> None:
    results: list[ResultRow] = []
    for name, mean in (("genome", 0.3), ("annealed", 0.6)):
        results += over_seeds(name, GOOD, mask=1.0, mask_mean=mean)
        results += over_seeds(f"random_{name}", FAIR, match=f"{name}, soft", mask=mean)
    found = said(results, "genome against random_genome", "annealed against random_annealed")
    assert found == [
        "With the mean mask of annealed (0.600), annealed (0.914) beats random_annealed (0.812).",
        "With the mean mask of genome (0.300), genome (0.914) beats random_genome (0.812).",
    ]


def test_a_smaller_network_stands_at_the_density_it_is_as_small_as() -> None:
    large: dict[str, Any] = {"parameters": 1000.0, "density_total": 0.1}
    results = over_seeds("random", GOOD, 0.1, **large)
    results += over_seeds("small", FAIR, 0.1, mask=1.0, parameters=100.0, density_total=1.0)
    results += over_seeds("dense", [0.97, 0.98, 0.975, 0.97, 0.98], parameters=1000.0, density_total=1.0)
    assert said(results, "small against random") == ["At 0.1000, random (0.914) beats small (0.812)."]
    assert said(results, "small against dense") == ["At 0.1000, dense (0.975) beats small (0.812)."]
    results += over_seeds("match", FAIR, 0.3, mask=1.0, match="random 0.1, hard", parameters=100.0, density_total=1.0)
    assert said(results, "match against dense") == ["At 0.1000, dense (0.975) beats match (0.812)."]


def test_mixed_densities_name_whose_they_are_and_no_mean() -> None:
    masks = [0.01, 0.05, 0.02, 0.03, 0.04]
    results = over_seeds("genome", GOOD, mask=masks) + over_seeds("random", FAIR, match="genome, hard", mask=masks)
    results += over_seeds("magnitude", ALIKE, match="genome, hard", mask=masks)
    found = said(results, "genome against random", "random against magnitude")
    assert found[0] == "At the densities of genome (0.0100\N{EN DASH}0.0500), genome beats random."
    assert found[1].startswith("At the densities of genome (0.0100\N{EN DASH}0.0500), not told apart: random from magn")


def test_fixed_and_mixed_rows_of_one_group_are_told_apart() -> None:
    masks = [0.1, 0.0965, 0.104, 0.1, 0.1]  # each within 5 % of 0.1, the two ends not of each other
    results = over_seeds("own", GOOD, mask=masks) + over_seeds("fixed", FAIR, 0.1) + over_seeds("twin", GOOD, 0.1)
    rows = table(results, ["own against fixed", "twin against fixed"])
    assert len({row.group for row in rows}) == 1
    assert sorted(answers(rows)) == [
        "At 0.1000, twin (0.914) beats fixed (0.812).",
        "At the densities of own (0.0965\N{EN DASH}0.1040), own beats fixed (0.812).",
    ]


def test_broken_networks_lose_and_are_named() -> None:
    results = over_seeds("a", FAIR, 0.1) + over_seeds("b", CUT, 0.1, broken="cut")
    results += over_seeds("c", GOOD, 0.1, broken="constant")
    found = said(results, "a against b", "c against a", "b against c")
    assert found == [
        "At 0.1000, a (0.812) beats b (0.100, cut 5/5) and c (0.914, constant 5/5).",
        "Seeds with the same output for every input: c at 0.1000 (constant 5/5) and b at 0.1000 (cut 5/5). A row of "
        "such seeds alone loses to all others, and has no order among its like.",
    ]


@pytest.mark.parametrize(("working", "beats"), [(5, True), (3, True), (2, False)])
def test_what_fails_in_half_of_its_seeds_too_beats_nothing(working: int, beats: bool) -> None:
    fates = [""] * working + ["constant"] * (5 - working)
    results = over_seeds("a", FAIR, 0.1, broken=fates) + over_seeds("b", CUT, 0.1, broken="cut")
    assert any("beats" in sentence for sentence in said(results, "a against b")) == beats


def test_a_row_ahead_with_more_broken_seeds_does_not_beat() -> None:
    results = over_seeds("a", GOOD, 0.1, broken=["", "", "", "", "cut"]) + over_seeds("b", FAIR, 0.1)
    rows = table(results, ["a against b"])
    assert (rows[0].contrasts or rows[1].contrasts)[0].p_adjusted < 0.05  # type: ignore[operator]
    assert answers(rows)[0] == (
        "At 0.1000, nothing is claimed where the row ahead has more networks that do not work: a from b."
    )


def test_dead_hidden_units_are_said_where_no_seed_has_another() -> None:
    units = {"units": 192.0}
    results = over_seeds("a", FAIR, 0.1, dead_units=192.0, **units) + over_seeds(
        "b", FAIR, 0.1, dead_units=192.0, **units
    )
    results += over_seeds("most", ALIKE, 0.1, dead_units=[192.0, 192.0, 191.0, 192.0, 192.0], **units)
    results += over_seeds("unknown", ALIKE, 0.1, dead_units=[192.0] * 4 + [np.nan], **units)
    results += over_seeds("cut", CUT, 0.1, dead_units=192.0, broken="cut", **units)
    results += over_seeds("narrow", GOOD, 0.1, dead_units=8.0, units=8.0)
    rows = table(results, ["a against b"])
    assert [sentence for sentence in answers(rows) if "hidden" in sentence] == [
        f"All {units} hidden units are dead in every seed of {names}: only direct connections, past these units, carry "
        "anything."
        for units, names in ((8, "narrow at 0.1000"), (192, "a at 0.1000 and b at 0.1000"))
    ]
    shown = score_table(rows)
    at = [column.name for column in shown.columns].index("dead units")
    cells = {line[1]: line[at] for line in shown.rows}
    assert cells["a"] == "192 of 192" and cells["most"] == "191\N{EN DASH}192 of 192"
    assert cells["unknown"] == "\N{EN DASH}" and shown.columns[at].folded


def test_without_dead_units_there_is_no_column() -> None:
    shown = score_table(table(over_seeds("a", GOOD, 0.1, dead_units=0.0, units=192.0)))
    assert "dead units" not in [column.name for column in shown.columns]


def test_why_something_is_not_tested_is_said_of_each() -> None:
    points = {"unit": "points", "direction": "max"}
    results = over_seeds("a", [1.0, 2.0, 3.0], 0.1, **points) + over_seeds("b", [2.0, 3.0, 4.0], 0.1, **points)
    results += over_seeds("once", [7.0], 0.1, **points)
    assert said(results, "a against b", "a against once") == [
        "At 0.1000, not tested, because the difference is the same in every seed: a from b.",
        "At 0.1000, not tested, because one seed tells nothing of others: a from once.",
    ]
    judged = [*over_seeds("a", GOOD, 0.1, direction="none"), *over_seeds("b", FAIR, 0.1, direction="none")]
    assert said(judged, "a against b") == [
        "At 0.1000, not tested, because neither higher nor lower is better: a from b."
    ]


def test_one_seed_each_is_said_once_and_broken_networks_still_are() -> None:
    results = over_seeds("a", [0.9], 0.1) + over_seeds("b", [0.1], 0.1, broken="cut") + over_seeds("c", [0.7], 0.1)
    first, second = said(results, "a against b", "a against c")
    assert first.startswith("Nothing is tested: one seed tells nothing of others.")
    assert "cut 1/1" in second


@pytest.mark.parametrize(
    ("mine", "others", "told"),
    [
        ({"examples": 100.0}, {"examples": 100.9}, ""),
        ({"examples": 100.0}, {"examples": 75.0}, "trained on 0.75 times as many examples"),
        ({"examples": 100.0}, {}, "trained on other numbers of examples"),
        ({"tokens": 100.0}, {"tokens": 150.0}, "trained on 1.5 times as many tokens"),
        ({"flops": 2e9}, {"flops": 5e9}, "trained with 2.5 times the FLOPs"),
        ({"flops": 2e9}, {}, "trained with other FLOPs"),
    ],
)
def test_a_claim_across_budgets_says_so(mine: dict[str, Any], others: dict[str, Any], told: str) -> None:
    results = over_seeds("a", GOOD, 0.1, **mine) + over_seeds("c", FAIR, 0.1, **others)
    results += over_seeds("b", ALIKE, 0.1, **mine)
    found = " ".join(said(results, "a against b", "a against c", "b against c"))
    more = f", {told}" if told else ""
    assert "At 0.1000, a (0.914) beats b (0.811) and c (0.812" + more + ")." in found
    assert (f"b from c ({told});" if told else "b from c;") in found


def test_the_largest_of_single_seeds_says_its_budget_too() -> None:
    results = over_seeds("a", [0.9], 0.1, examples=100.0) + over_seeds("b", [0.1], 0.1, examples=50.0)
    (found,) = said(results, "a against b")
    assert found.endswith("a at 0.1000 minus b (trained on 0.5 times as many examples): +0.8000.")


def test_the_operations_of_a_smaller_network_are_its_own() -> None:
    large: dict[str, Any] = {"parameters": 1000.0, "density_total": 0.1, "flops": 9e9, "examples": 10.0}
    small: dict[str, Any] = {"mask": 1.0, "parameters": 100.0, "density_total": 1.0, "flops": 1e9, "examples": 10.0}
    results = over_seeds("random", GOOD, 0.1, **large) + over_seeds("small", FAIR, 0.1, **small)
    assert said(results, "small against random") == ["At 0.1000, random (0.914) beats small (0.812)."]


def test_nothing_in_common_is_said() -> None:
    assert said(over_seeds("a", GOOD, 0.1) + over_seeds("b", FAIR, 0.2), "a against b") == [
        "Nothing is compared here: no row has a control of the same density and seeds."
    ]


def test_nothing_in_common_is_said_beside_networks_that_do_not_work() -> None:
    first, second = said(over_seeds("a", GOOD, 0.1) + over_seeds("b", CUT, 0.2, broken="cut"), "a against b")
    assert first.startswith("Nothing is compared here") and second.startswith("Seeds with the same output")


def test_a_density_at_which_a_question_has_no_answer_is_said_beside_those_at_which_it_has() -> None:
    results = over_seeds("a", GOOD, 0.1) + over_seeds("b", FAIR, 0.1) + over_seeds("b", FAIR, 0.5)
    results += over_seeds("a", GOOD, 0.5, mask=0.57) + over_seeds("a", GOOD, 0.3)
    told = "At 0.5, not comparable: a against b (densities 0.5700 and 0.5000)."
    assert said(results, "a against b")[1:] == [told]
    assert told not in said(results, "a against b at 0.1")


def test_a_matched_network_of_another_size_is_not_left_out_without_a_word() -> None:
    results = over_seeds("dense", GOOD, parameters=1000.0, density_total=1.0)
    for density, size in ((0.2, 200.0), (0.05, 30.0)):
        results += over_seeds("a", GOOD, density, parameters=1000.0, density_total=density)
        own = {"match": f"a {density:g}, hard", "mask": 1.0, "parameters": size, "density_total": 1.0}
        results += over_seeds("small", FAIR, density, **own)
    first, second = said(results, "a against small")
    assert first.startswith("At 0.2000, a (0.914) beats small")
    assert second == "At 0.05, not comparable: a against small (50 and 30 parameters)."


def test_questions_without_an_answer_are_said() -> None:
    results = over_seeds("a", GOOD, 0.1) + over_seeds("b", FAIR, 0.1)
    results += over_seeds("genome", GOOD, mask=[0.01, 0.05, 0.02, 0.03, 0.04])
    first, second = said(results, "a against b", "genome against a", "b against genome")
    assert first.startswith("At 0.1000, a (0.914) beats b")
    assert second == (
        "Not comparable, because densities, sizes or seeds differ: genome against a and b against genome."
    )


def curve(score: float) -> list[str]:
    points = {"unit": "points", "direction": "max"}
    results = over_seeds("own", [score, score], mask=1 / 64, **points)
    for k in range(2, 8):
        results += over_seeds("random", [-float(k)] * 2, 2.0**-k, **points)
    return said(results)


def test_how_many_weights_a_control_needs() -> None:
    start = "Weights that others need for the score of own, as multiples of its own: random"
    assert f"{start} 2 (2 to 2)." in curve(-5.0)
    assert f"{start} > 16 to > 16, by seed." in curve(-1.0)


# --- never more than the statistics -------------------------------------------------------------

BEATS = re.compile(r"^(?:At|With|Unmasked).*?, (.*) beats? (.*)\.$")


@st.composite
def tables(draw: st.DrawFn) -> list[ComparisonRow]:
    """Random rows: densities, matched and mixed ones, broken seeds, missing seeds, ties, directions and questions."""
    direction = draw(st.sampled_from(["max", "min", "none"]))
    how: dict[str, Any] = {"unit": draw(st.sampled_from(["fraction", "points"])), "direction": direction}
    names = ["dense", *"abcdef"[: draw(st.integers(1, 5))]]
    seeds = draw(st.integers(1, 5))
    results: list[ResultRow] = []
    for name in names:
        level = draw(st.sampled_from([0.1, 0.5, 0.7, 0.9]))
        noise = draw(st.lists(st.integers(-20, 20), min_size=seeds, max_size=seeds))
        values = [level + step / 400 for step in noise]
        reasons = draw(st.lists(st.sampled_from(["", "", "cut", "constant"]), min_size=seeds, max_size=seeds))
        reasons = ["cut"] * seeds if draw(st.booleans()) and draw(st.booleans()) else reasons
        kind = draw(st.sampled_from(["fixed", "mixed", "soft"]))
        how["examples"] = draw(st.sampled_from([100.0, 200.0]))
        if name == "dense":
            results += over_seeds(name, values, **how)
        elif kind == "fixed":
            results += over_seeds(name, values, 0.1, broken=reasons, **how)
        elif kind == "mixed":
            masks = [0.1 + 0.05 * i for i in range(seeds)]
            results += over_seeds(name, values, match="x, hard", mask=masks, broken=reasons, **how)
        else:
            results += over_seeds(name, values, mask=1.0, mask_mean=0.1, broken=reasons, **how)
    missing = draw(st.sets(st.integers(0, len(results) - 1), max_size=2))
    kept = [row for i, row in enumerate(results) if i not in missing] or results
    pairs = st.tuples(st.sampled_from(names), st.sampled_from(names)).filter(lambda pair: pair[0] != pair[1])
    asked = draw(st.lists(pairs, max_size=6, unique_by=frozenset))
    return table(kept, [f"{one} against {other}" for one, other in asked])


def methods(text: str) -> list[str]:
    """Of ``a (0.914, cut 1/5), b and c (0.1)``."""
    return re.split(r", | and ", re.sub(r" \([^()]*\)", "", text))


def lost(row: ComparisonRow) -> bool:
    return len(row.broken) == row.n


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
def test_the_answer_never_says_more_than_the_statistics(rows: list[ComparisonRow]) -> None:
    by_name = {row.method: row for row in rows}
    by_id = {row.id: row for row in rows}
    asked = {frozenset((c.row, c.other)): c for row in rows for c in row.contrasts}
    sentences = answers(rows)
    assert sentences
    for found in filter(None, map(BEATS.match, sentences)):
        for first in methods(found[1]):
            for second in methods(found[2]):
                better, worse = by_name[first], by_name[second]
                contrast = asked[frozenset((better.id, worse.id))]
                assert better.direction in ("max", "min")
                assert better.examples == worse.examples or "times as many examples" in found[2]
                if lost(worse):
                    assert not lost(better)
                    continue
                assert not lost(better) and not contrast.disputed
                assert contrast.p_adjusted is not None and contrast.p_adjusted < 0.05
                ahead = contrast.difference if contrast.row == better.id else -contrast.difference
                assert ahead > 0 if better.direction == "max" else ahead < 0
                assert len(better.broken) / better.n <= len(worse.broken) / worse.n
    for contrast in asked.values():  # and what is decided is said
        row, other = by_id[contrast.row], by_id[contrast.other]
        if (found_row := winner(contrast, by_id)) is not None and any(c.n > 1 for c in asked.values()):
            loser = other if found_row is row else row
            assert any(
                found_row.method in methods(found[1]) and loser.method in methods(found[2])
                for found in filter(None, map(BEATS.match, sentences))
            )
    for row in rows:
        if row.broken:
            assert any(f"({broken(row)})" in sentence for sentence in sentences)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
def test_ranks_say_no_more_either(rows: list[ComparisonRow]) -> None:
    for group in {row.group for row in rows}:
        ranked = [row for row in rows if row.group == group and row.rank is not None]
        for row in ranked:
            assert not row.mixed and row.mask_mean is None and row.n > 1 and row.density_mask < 1
        dead, alive = [row for row in ranked if lost(row)], [row for row in ranked if not lost(row)]
        assert len({(row.rank, row.rank_worst) for row in dead}) <= 1
        assert all((row.rank or 0) > len(alive) for row in dead)
        assert all((row.rank_worst or 0) <= len(alive) for row in alive)


@pytest.mark.parametrize("count", [1, 2])
def test_the_count_of_broken_seeds(count: int) -> None:
    reasons = ["cut", "constant"][:count] + [""] * (5 - count)
    (row,) = table(over_seeds("a", GOOD, 0.1, broken=reasons))
    assert broken(row) == ("cut 1/5" if count == 1 else "constant or cut 2/5")


def test_each_seeds_densities_stand_right_above_their_row() -> None:
    """Rows of one group may differ in the last digits, and alternate in the order of their scores."""
    kept = {"a": (0.1, 0.2), "b": (0.101, 0.2), "c": (0.1, 0.2)}
    rows = [
        ComparisonRow(
            **dict.fromkeys(("suite", "experiment", "architecture", "benchmark", "trained_on", "protocol"), "any"),
            metric="score",
            unit="",
            direction="max",
            method=name,
            density_mask=0.15,
            density_low=0.1,
            density_high=0.2,
            mixed=True,
            mean=0.5,
            n=2,
            seeds=[0, 1],
            values=np.array([0.5, 0.6]),
            densities=np.array(densities),
        )
        for name, densities in kept.items()
    ]
    table = seed_table(rows)
    assert table is not None
    assert [line[0] for line in table.rows] == ["density", "a", "density", "b", "density", "c"]
    assert [line[1] for line in table.rows if line[0] == "density"] == ["0.1000", "0.1010", "0.1000"]
