"""When a method changes its masks, and by how much."""

from __future__ import annotations

from math import cos, pi
from typing import Literal, get_args

Decay = Literal["cosine", "cubic", "constant"]


class UpdateSchedule:
    """Updates every ``interval`` steps from ``start`` to ``end``, with a fraction that decays on the way.

    Steps are optimizer steps of the phase, counted from 0 as ``context.step`` is in the hooks of a step.
    :meth:`over` takes fractions of the phase instead, which is what options in a suite should be: a profile with
    fewer steps then needs no others.

    With t the step, t0 ``start`` and T ``end``, ``fraction`` is multiplied by

    - ``cosine``: 1/2 (1 + cos(pi t / T)) (Evci et al. 2020, "Rigging the Lottery", section 3, where fraction is alpha),
    - ``cubic``: (1 - (t - t0) / (n dt))^3, with n dt from the first update to the last (Zhu and Gupta 2017,
      "To prune, or not to prune", equation 1),
    - ``constant``: 1 (SET, Mocanu et al. 2018).

    A weight that opens in the last step is zero when the network is evaluated: end before that.

    Args:
        start, end: first and last step at which an update may be, 0 <= start <= end.
        interval: steps from one update to the next, at least 1.
        fraction: of a connection's kept weights that an update drops, before decay, in [0, 1].
        decay: how it becomes less.

    Raises:
        ValueError: for values out of range.
    """

    def __init__(self, start: int, end: int, interval: int, fraction: float, decay: Decay = "cosine") -> None:
        if not 0 <= start <= end:
            raise ValueError(f"updates from step {start} to {end}: must be 0 <= start <= end")
        if interval < 1:
            raise ValueError(f"an update every {interval} steps: interval must be at least 1")
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction {fraction} is outside [0, 1]; it is a fraction, not percent")
        if decay not in get_args(Decay):
            raise ValueError(f"decay '{decay}' is none of {', '.join(get_args(Decay))}")
        self.start, self.end, self.interval, self.decay = start, end, interval, decay
        self._fraction = fraction
        self._last = start + (end - start) // interval * interval

    @classmethod
    def over(
        cls, steps: int, start: float, end: float, interval: int, fraction: float, decay: Decay = "cosine"
    ) -> UpdateSchedule:
        """The schedule of a phase of ``steps`` steps, ``start`` and ``end`` being fractions of it in [0, 1].

        They are rounded to whole steps; 1 is the last step, ``steps - 1``. ``interval`` stays in steps.
        """
        if not 0 <= start <= end <= 1:
            raise ValueError(f"updates from {start} to {end} of the training: must be 0 <= start <= end <= 1")
        first, last = (min(round(part * steps), max(0, steps - 1)) for part in (start, end))
        return cls(first, last, interval, fraction, decay)

    def due(self, step: int) -> bool:
        """Whether masks change in this step: at ``start``, then every ``interval`` steps, until ``end``."""
        return self.start <= step <= self.end and (step - self.start) % self.interval == 0

    def fraction(self, step: int) -> float:
        """Fraction of the kept weights that an update in this step drops, in [0, ``fraction``]."""
        return self._fraction * self._remaining(step)

    def density(self, step: int, final: float, initial: float = 1.0) -> float:
        """Density after an update in this step of gradual pruning: ``initial`` at first, exactly ``final`` at the last.

        In sparsities s = 1 - density, s_t = s_f + (s_i - s_f) (1 - (t - t0) / (n dt))^3, whatever ``fraction`` is.

        Raises:
            ValueError: for a schedule that is not cubic, the only one that reaches ``final`` at every interval.
        """
        if self.decay != "cubic":
            raise ValueError(f"decay '{self.decay}' has no density to reach: give decay 'cubic'")
        return final + (initial - final) * self._remaining(step)

    def _remaining(self, step: int) -> float:
        """What decay has left, from 1 to 0."""
        if self.decay == "constant":
            return 1.0
        if self.decay == "cosine":
            return 0.5 * (1 + cos(pi * min(1.0, step / self.end))) if self.end else 0.0
        span = self._last - self.start
        return (1 - min(1.0, max(0, step - self.start) / span)) ** 3 if span else float(step < self.start)
