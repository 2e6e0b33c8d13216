"""Alignment with humans: reading times and language-network responses. Builds on harness_language.

Both benchmarks only evaluate: a suite lists them beside the benchmark that a network is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness import Entry, hookimpl


@hookimpl
def harness_register_benchmarks() -> Sequence[Entry]:
    """Register the alignment benchmarks."""
    return [
        Entry(
            "reading_times",
            "harness_alignment.reading_times:ReadingTimes",
            "what word surprisal adds to self-paced reading times (Natural Stories), evaluation only",
        ),
        Entry(
            "tuckute2024",
            "harness_alignment.tuckute2024:Tuckute2024",
            "sentence representations against language-network responses (fMRI), evaluation only",
        ),
    ]
