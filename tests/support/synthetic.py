"""Results as a frame of rows, made up by tests; and the tables that come of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import nan
from typing import Any

from harness.analysis.comparison import Selection, selected
from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.result_row import ResultRow, as_frame
from harness.suites.comparisons import Comparisons
from harness.suites.question import Question

_TEXTS = ("suite", "experiment", "architecture", "benchmark", "trained_on", "protocol", "versions", "revision")
_NUMBERS = ("density_total", "stderr", "steps", "examples", "tokens", "flops", "flops_sparse", "inference_flops")
_MORE = (
    "inference_flops_sparse",
    "seconds",
    "peak_memory",
    "published",
    "effective",
    "mask_mean",
    "parameters",
    "dead_units",
    "units",
)


def result(method: str, seed: int, value: float, density: float | None = None, **changes: Any) -> ResultRow:
    """One cell's score: an accuracy of 100 examples, of a network with the density asked for; None is dense."""
    mask = changes.pop("mask", 1.0 if density is None else density)
    other = re.search(r" ([\d.]+), ", changes.get("match", ""))  # "magnitude 0.1, hard"
    asked = nan if density is None else density
    found = {
        **dict.fromkeys(_TEXTS, "any"),
        **dict.fromkeys((*_NUMBERS, *_MORE), nan),
        **{"density_requested": nan if density is None else density, "density_mask": mask, "density_nonzero": mask},
        **{"density_scope": "maskable", "match": "", "metric": "score", "unit": "fraction", "direction": "max"},
        **{"primary": True, "n_examples": 100.0, "program": "", "broken": "", "device": "cpu", "made_with": "torch"},
        "cell": f"{method}-{density}-{changes.get('match', '')}-s{seed}",
        "density_asked": (float(other[1]) if other else nan) if changes.get("match") else asked,
        "baseline": "dense",
        "norms_estimated": 0.0,
        **changes,
    }
    return ResultRow(method=method, seed=seed, value=value, **found)


def over_seeds(method: str, values: Iterable[float], density: float | None = None, **changes: Any) -> list[ResultRow]:
    """Cells of seeds 0, 1, ...; a change that is a list has an entry for each."""
    return [
        result(method, seed, value, density, **{k: v[seed] if isinstance(v, list) else v for k, v in changes.items()})
        for seed, value in enumerate(values)
    ]


def asks(*questions: str, **changes: Any) -> Comparisons:
    """What a suite with these questions compares."""
    return Comparisons(questions=[Question.asked(text) for text in questions], asked=True, **changes)


def table(
    results: Sequence[ResultRow], questions: Sequence[str] = (), *, chosen: Selection | None = None, **changes: Any
) -> list[ComparisonRow]:
    """The rows of the one table that results of one experiment make, compared and ranked."""
    frame = as_frame(results)
    frame["comparisons"] = [asks(*questions, **changes) if questions else None] * len(frame)
    (found,) = selected(frame, chosen or Selection())
    return found


def named(rows: Iterable[ComparisonRow]) -> dict[str, ComparisonRow]:
    """Rows by method, those of which there are several with the density that is asked for."""
    listed = list(rows)
    methods = [row.method for row in listed]
    return {row.method if methods.count(row.method) == 1 else f"{row.method} {row.asked:g}": row for row in listed}
