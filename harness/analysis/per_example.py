"""What one cell found on each test example, read when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from harness.analysis.crossed import influence
from harness.analysis.statistics import Array
from harness.results.record_parts import ExampleFile
from harness.results.store import LeftOut, ResultStore


@dataclass(frozen=True, slots=True)
class PerExample:
    """Where one metric's results of one cell are."""

    store: ResultStore
    suite: str
    cell: str
    metric: str
    file: ExampleFile

    def influences(self) -> Array | None:
        """(units,): what each adds to the score, see :func:`~harness.analysis.crossed.influence`.

        None where the file is damaged or lost, or the metric is not made of units: intervals are then over seeds.
        """
        return _influences(self)


@lru_cache(maxsize=2048)
def _influences(place: PerExample) -> Array | None:
    found = place.store.examples(place.suite, place.cell, place.file)
    if isinstance(found, LeftOut) or place.metric not in found:
        return None
    examples = found[place.metric]
    each: Array = influence(examples.values[None], 1.0 if examples.sizes is None else examples.sizes[None])[0]
    return each * examples.value if examples.transform.startswith("exp_") else each
