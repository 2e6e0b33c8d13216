"""Text that is fitted into a width."""

from __future__ import annotations

import pytest

from harness.formatting import fitted


@pytest.mark.parametrize("width", [10, 20, 40, None])
def test_lines_break_between_words_and_never_within_one(width: int | None) -> None:
    text = "  kept: /a/path/that-is-longer/than_all_of_it.json is named by its suite"
    lines = fitted(text, width).split("\n")
    assert " ".join(lines).split() == text.split()
    assert all(width is None or len(line) <= width or len(line.split()) == 1 for line in lines)
    assert len(lines) == 1 or all(line.startswith("    ") for line in lines[1:])
