"""What is said below a score table."""

from __future__ import annotations

import pytest
from synthetic import over_seeds, table

from harness.report.score_notes import notes


@pytest.mark.parametrize(("method", "named"), [("full", True), ("dense", False)])
def test_without_a_baseline_the_row_that_could_be_it_is_named(method: str, named: bool) -> None:
    rows = table([*over_seeds(method, [0.9, 0.91]), *over_seeds("random", [0.8, 0.82], 0.1)])
    assert any(note.endswith("In the suite, baseline: full would name one.") for note in notes(rows)) == named
    for alone in (over_seeds("random", [0.8, 0.82], 0.1), over_seeds(method, [0.8, 0.82], baseline="other")):
        assert notes(table(alone))[2:] == ["No finished baseline of this protocol: there are no differences to one."]
