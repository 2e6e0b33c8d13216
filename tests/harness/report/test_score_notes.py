"""What is said below a score table."""

from __future__ import annotations

import pytest
from scipy import stats
from synthetic import over_seeds, table

from harness.analysis.comparison_row import ComparisonRow
from harness.report.captions import below
from harness.report.score_notes import notes

POINTS = {"unit": "points", "direction": "max"}
ZERO = [0.0] * 5
APART = [1.0, 1.2, 0.2, 0.9, 0.4]  # p = 0.017


def asked_at(densities: list[float]) -> list[ComparisonRow]:
    """Two methods: apart at the first density, at the others nothing is there to find."""
    results = []
    for density in densities:
        found = APART if density == densities[0] else [1.0, -1.1, 0.1, -0.9, 1.0]
        results += over_seeds("a", found, density, **POINTS) + over_seeds("b", ZERO, density, **POINTS)
    return table(results, ["a against b"])


@pytest.mark.parametrize(("densities", "said"), [([0.5], False), ([0.5, 0.2], False), ([0.5, 0.2, 0.1, 0.05], True)])
def test_ranks_that_tell_apart_what_the_answer_does_not_are_explained(densities: list[float], said: bool) -> None:
    rows = asked_at(densities)
    first = next(row for row in rows if row.method == "a" and row.density_mask == 0.5)
    assert first.contrast is not None and first.contrast.p == pytest.approx(stats.ttest_1samp(APART, 0).pvalue)
    assert first.contrast.p_adjusted == pytest.approx(len(densities) * first.contrast.p)
    assert (first.rank, first.rank_worst) == (1, 1), "its group is one pair"
    found = [note for note in notes(rows) if note.startswith("Ranks tell apart what the answer does not")]
    assert [note.partition("group: ")[2] for note in found] == ["a from b at 0.5000."] * said
    printed = "Bold tells apart what the questions, a family of tests of their own, do not: a from b at 0.5000."
    assert below(rows) == printed * said


@pytest.mark.parametrize(("method", "named"), [("full", True), ("dense", False)])
def test_without_a_baseline_the_row_that_could_be_it_is_named(method: str, named: bool) -> None:
    rows = table([*over_seeds(method, [0.9, 0.91]), *over_seeds("random", [0.8, 0.82], 0.1)])
    assert any(note.endswith("In the suite, baseline: full would name one.") for note in notes(rows)) == named
    for alone in (over_seeds("random", [0.8, 0.82], 0.1), over_seeds(method, [0.8, 0.82], baseline="other")):
        assert notes(table(alone))[2:] == ["No finished baseline of this protocol: there are no differences to one."]


def test_what_was_trained_longer_or_goes_on_from_another_run_is_no_baseline() -> None:
    """First by name and by score comes the one with more steps; steps that were taken before count as well."""
    results = over_seeds("a_more", [0.95, 0.96], steps=200) + over_seeds("random", [0.8, 0.82], 0.1, steps=100)
    results += over_seeds("b_on", [0.94, 0.93], steps=100, program="60 before + 40")
    no_hint = "No finished baseline of this protocol: there are no differences to one."
    assert notes(table(results))[-1] == no_hint
    results += over_seeds("plain", [0.9, 0.91], steps=100, program="100")
    assert notes(table(results))[-1] == f"{no_hint} In the suite, baseline: plain would name one."


def test_methods_whose_masks_hardly_changed_are_named() -> None:
    """As RigL's whose interval is longer than the training; None: it has none, or nobody counted."""
    results = over_seeds("random", [0.8, 0.81], 0.1) + over_seeds("rigl", [0.82, 0.83], 0.1, mask_updates=1.0, steps=90)
    results += over_seeds("set", [0.8, 0.82], 0.1, mask_updates=[0.0, 2.0])
    (found,) = [note for note in notes(table(results)) if "once at most" in note]
    assert ": rigl at 0.1000 (90 steps). " in found and "set" not in found and "random" not in found
