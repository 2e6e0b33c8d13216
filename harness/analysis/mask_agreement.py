"""In how much two networks' masks agree, beside what chance gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.results.mask_pictures import MaskPicture

OPEN = 0.1
"""A connection is open where its mask keeps more than this share of its entries (Sudarshan 2026)."""
TAIL = 0.025
"""Probability that is left on each side of an interval."""


@dataclass(frozen=True)
class Shared:
    """Of so many things two networks have some, and some of those in common.

    Attributes:
        size: how many there are.
        first, second: how many each has.
        both: how many both have.
    """

    size: int
    first: int
    second: int
    both: int

    @property
    def jaccard(self) -> float:
        """Shared by both over had by either; 1 where neither has any."""
        either = self.first + self.second - self.both
        return self.both / either if either else 1.0

    @property
    def expected(self) -> float:
        """What two independent draws of as many share on average: the mean of a hypergeometric distribution."""
        return self.first * self.second / self.size if self.size else 0.0

    @property
    def interval(self) -> tuple[int, int]:
        """Where 95 % of such draws lie: at most :data:`TAIL` are below, and at most as many above."""
        below = np.cumsum(self._chances)
        low, high = (int(np.searchsorted(below, share, side="right")) for share in (TAIL - 1e-12, 1 - TAIL - 1e-12))
        return self._least + low, self._least + min(high, len(below) - 1)

    @property
    def p(self) -> float:
        """Probability that such draws share at least as many."""
        return min(1.0, float(self._chances[self.both - self._least :].sum()))

    @property
    def _least(self) -> int:
        return max(0, self.first + self.second - self.size)

    @cached_property
    def _chances(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Of sharing ``_least``, one more, ... up to the smaller of both."""
        from scipy.special import gammaln  # late: it takes longer than all that most commands need

        k = np.arange(self._least, min(self.first, self.second) + 1, dtype=np.float64)
        rest = self.size - self.first
        ways = [(self.first, k), (rest, self.second - k)]
        logs = sum(gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1) for n, m in ways)
        shares = np.exp(logs - np.max(logs))
        found: np.ndarray[tuple[int], np.dtype[np.float64]] = shares / shares.sum()
        return found


@dataclass(frozen=True, slots=True)
class MaskAgreement:
    """Two networks beside each other.

    Attributes:
        pairs: the connections that need not exist, as wholes: those that pass over a band. How many each network has
            open, :data:`OPEN`.
        near: the same of those between neighbouring bands, which every network has.
        entries: of each connection of equal shape its entries, or the sample that is kept of them.
        passing: names of those that need not exist.
        apart: names of connections that only one has, or that differ in shape.
    """

    pairs: Shared
    near: Shared
    entries: Mapping[str, Shared]
    passing: frozenset[str]
    apart: tuple[str, ...]

    @property
    def whole(self) -> Shared:
        """All entries of connections that need not exist, as if any of them could be open in either."""
        found = [shared for name, shared in self.entries.items() if name in self.passing]
        return Shared(*(sum(getattr(one, what) for one in found) for what in ("size", "first", "second", "both")))

    @property
    def by_density(self) -> float:
        """How many of these both are expected to have if each connection has as many as it has."""
        return sum(shared.expected for name, shared in self.entries.items() if name in self.passing)


def mask_agreement(a: Mapping[str, MaskPicture], b: Mapping[str, MaskPicture]) -> MaskAgreement:
    """Of two networks' masks on weights, from files of masks.

    Adjacent bands are connected in any network that works, so that two networks agree on them whatever was learnt:
    they are counted apart.
    """
    weights = [name for name in a if name in b and a[name].kind == b[name].kind == "weight"]
    passing = frozenset(name for name in weights if a[name].passes)
    entries = {name: _entries(a[name], b[name]) for name in weights if a[name].shape == b[name].shape}
    apart = tuple(name for name in (*a, *(name for name in b if name not in a)) if name not in entries)
    attention = {name for name, one in (*a.items(), *b.items()) if one.kind == "attention"}
    return MaskAgreement(
        _opened(a, b, [name for name in weights if name in passing]),
        _opened(a, b, [name for name in weights if name not in passing]),
        entries,
        passing,
        tuple(name for name in apart if name not in attention),
    )


def _entries(a: MaskPicture, b: MaskPicture) -> Shared:
    return Shared(a.bits.size, int(a.bits.sum()), int(b.bits.sum()), int((a.bits & b.bits).sum()))


def _opened(a: Mapping[str, MaskPicture], b: Mapping[str, MaskPicture], names: list[str]) -> Shared:
    has = [(a[name].kept > OPEN * a[name].size, b[name].kept > OPEN * b[name].size) for name in names]
    return Shared(len(names), sum(one for one, _ in has), sum(two for _, two in has), sum(map(all, has)))
