"""Scales: numbers to pixels, and round numbers to label them with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harness.report.svg import drawable

_UNITS = {0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
_LEAST = 1e-4  # shares nearer to 0 or 1 are drawn there on a logit scale


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps [low, high] onto pixels from ``start`` to ``end``; numbers outside are drawn at the nearest end.

    Evenly in the number, in its logarithm, or (shares in (0, 1)) in its logit.
    """

    low: float
    high: float
    log: bool = False
    start: float = 0.0
    end: float = 1.0
    logit: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        inside = min(max(value, self.low), self.high)
        low, high, at = map(self._bent, (self.low, self.high, inside))
        return self.start + (self.end - self.start) * ((at - low) / (high - low))

    def holds(self, value: float) -> bool:
        """Whether a number is on the scale, and not drawn at its end for being outside."""
        value = _within(value) if self.logit else value
        return self.low <= value <= self.high

    def _bent(self, value: float) -> float:
        if self.logit:
            return math.log(value / (1 - value))
        return math.log(value) if self.log else value

    def over(self, start: float, end: float) -> Scale:
        """The same numbers on other pixels."""
        return replace(self, start=start, end=end)

    def ticks(self, count: int = 5, base: int = 10) -> list[float]:
        """About ``count`` round numbers of the scale, rising: powers of ``base`` if it is logarithmic."""
        found = _log_ticks(self.low, self.high, count, base) if self.log else []
        if self.logit:
            shares = [*_SHARES, 0.5, *(1 - share for share in reversed(_SHARES))]
            found = [share for share in shares if self.low <= share <= self.high]
            found = found if len(found) > 2 else []
        return found if len(found) > 1 else _linear_ticks(self.low, self.high, count)


def fit(values: Iterable[object], log: bool = False, pad: float = 0.06) -> Scale:
    """A scale that holds every drawable value, with ``pad`` of its length free at both ends.

    A logarithmic scale leaves out what is not positive. Without values it is [0, 1], around equal values
    it is a tenth of their size wide.
    """
    shown = [float(v) for v in values if drawable(v) and (v > 0 or not log)]
    if not shown:
        return Scale(1.0, 10.0, True) if log else Scale(0.0, 1.0)
    low, high = min(shown), max(shown)
    if log:
        low, high = max(low, 1e-300), max(high, 1e-300)
        room = pad * math.log(high / low) if high / low > 1 + 1e-9 else math.log(2)
        return Scale(max(low * math.exp(-room), 1e-305), high * math.exp(room), True)
    size = max(abs(low), abs(high))
    room = pad * (high - low) if high - low > 1e-9 * size and high - low > 1e-290 else 0.05 * size
    room = room if room > 1e-290 else 1.0  # nothing but zeros
    return Scale(low - room, high + room)


def logit(share: float) -> float:
    """The logit of a share; of one nearer to 0 or 1 than is drawn, that of the nearest which is."""
    return math.log(_within(share) / (1 - _within(share)))


def _within(share: float) -> float:
    return min(max(share, _LEAST), 1 - _LEAST)


def fit_logits(values: Iterable[float], pad: float = 0.06) -> Scale:
    """A scale of shares that holds those with these logits, with ``pad`` of its length free at both ends."""
    inner = fit(values, pad=pad)
    low, high = (1 / (1 + math.exp(-end)) for end in (inner.low, inner.high))
    return Scale(low, high, logit=True)


def wide(values: Iterable[object], ratio: float = 20.0) -> bool:
    """Whether values are so far apart, and all positive, that a logarithmic scale shows them better."""
    shown = [float(v) for v in values if drawable(v)]
    return bool(shown) and min(shown) > 0 and max(shown) / min(shown) >= ratio


def labels(ticks: Sequence[float]) -> list[str]:
    """Ticks of a linear scale in words, with equal decimals and one unit: 0, 0.5k, 1k."""
    largest = max(map(abs, ticks), default=0.0)
    if largest == 0:
        return ["0"] * len(ticks)
    unit, suffix = _unit(largest)
    step = min((b - a for a, b in pairwise(ticks)), default=largest) / unit
    texts = [f"{tick / unit:.{_decimals(step)}f}" for tick in ticks]
    return ["0" if float(text) == 0 else _minus(text) + suffix for text in texts]


def short(value: float, digits: int = 3) -> str:
    """One number in few characters: 0.0312, 1.2k, 3.4M, 2e-6."""
    if value == 0:
        return "0"
    unit, suffix = _unit(float(f"{abs(value):.{digits - 1}e}"))
    text = f"{value / unit:.{digits}g}"
    return _minus(f"{float(text):.0f}" if "e" in text else text) + suffix


def alike(values: Sequence[float]) -> list[str]:
    """Densities with as many significant digits as that with most needs, three at most: 0.500 beside 0.0501."""
    texts = list(map(short, values))
    if any(0 < value < _LEAST for value in values):
        return texts
    digits = max(len(text.replace(".", "").strip("0")) for text in texts) or 1
    return [f"{value:#.{digits}g}".rstrip(".") if value else "0" for value in values]


def _unit(size: float) -> tuple[float, str]:
    """What numbers up to a size are divided by, and how that is written."""
    exponent = math.floor(math.log10(size))
    if -5 < exponent < 3:
        return 1.0, ""
    thousands = exponent // 3 * 3
    if thousands in _UNITS:
        return 10.0**thousands, _UNITS[thousands]
    return 10.0**exponent, f"e{exponent}"


def _decimals(step: float) -> int:
    """Decimals that show a step exactly: 2 for 0.25, 1 for 0.5; at most 9."""
    return next((n for n in range(9) if abs(round(step, n) - step) < 1e-6 * step), 9)


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}", 1) if text.startswith("-") else text


def _linear_ticks(low: float, high: float, count: int) -> list[float]:
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((s * power for s in _STEPS), key=lambda s: abs(math.log(s / rough)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def _log_ticks(low: float, high: float, count: int, base: int) -> list[float]:
    first = math.ceil(math.log(low, base) - 1e-9)
    last = math.floor(math.log(high, base) + 1e-9)
    stride = max(1, math.ceil((last - first + 1) / (count + 2)))
    powers = [float(base) ** i for i in range(first, last + 1) if i % stride == 0]
    if base != 10 or len(powers) > 2:
        return powers
    finer = [m * 10.0**i for i in range(first - 1, last + 1) for m in (1, 2, 5)]
    inside = [tick for tick in finer if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
    return inside if len(inside) > 2 else []
