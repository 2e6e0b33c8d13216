"""How much SLURM takes of one kind of job, learnt from what it has taken and refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

from harness.executors.refusal import Refusal

TRIES = 3
"""Times that jobs are offered which are refused for a reason that nobody knows."""
PATIENCE = 24 * 3600.0
"""Seconds that one job alone is offered to a queue that takes none, while nothing of the suite is in it."""
LONGEST_WAIT = 600.0
"""Most seconds between two offers."""


class Verdict(StrEnum):
    """What to do after a refusal: offer fewer at once, offer them again later, or give up."""

    FEWER = "fewer"
    LATER = "later"
    FAIL = "fail"


class Admission:
    """How many jobs that ask for the same to offer in one array, and when.

    A refused array is halved until it is taken or has one element; what is taken lets the next one be twice as large.
    So a queue with room for r jobs is filled with about log2 of r refusals, without knowing r. An array longer than
    the cluster allows lowers the limit for good.

    Args:
        largest: most elements of an array.
        pause: seconds between the first two offers; each further pause is twice as long, up to :data:`LONGEST_WAIT`.
        clock: seconds that never go back.

    Attributes:
        size: elements to offer in the next array.
        puzzled: whether the last refusal had another reason than that there are too many jobs.
    """

    def __init__(self, largest: int, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.size = largest
        self.puzzled = False
        self._largest = largest
        self._first_pause = self._pause = pause
        self._clock = clock
        self._not_before = -float("inf")
        self._hungry_since: float | None = None
        self._strikes = 0

    @property
    def wait(self) -> float:
        """Seconds until it is time to offer something."""
        return max(0.0, self._not_before - self._clock())

    def taken(self) -> None:
        """An array has been taken."""
        self.size = min(2 * self.size, self._largest)
        self._pause = self._first_pause
        self._hungry_since = None
        self._strikes = 0
        self.puzzled = False

    def room(self) -> None:
        """A job of the suite has ended: a queue that was full may have room again."""
        if not self.puzzled:
            self._not_before = -float("inf")
            self._pause = self._first_pause

    def refused(self, refusal: Refusal, count: int, queued: bool) -> Verdict:
        """An array of ``count`` elements has been refused; ``queued``: whether jobs of the suite wait or run."""
        if refusal is Refusal.NEVER or (refusal is Refusal.TOO_LONG and count == 1):
            return Verdict.FAIL
        if refusal is not Refusal.BUSY and count > 1:
            self.size = count // 2
            if refusal is Refusal.TOO_LONG:
                self._largest = self.size
            return Verdict.FEWER
        now = self._clock()
        if queued or self._hungry_since is None:
            self._hungry_since = now
        self._strikes += refusal is Refusal.UNKNOWN
        self.puzzled = refusal is not Refusal.FULL
        if self._strikes >= TRIES or now - self._hungry_since >= PATIENCE:
            return Verdict.FAIL
        self._not_before = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_WAIT)
        return Verdict.LATER
