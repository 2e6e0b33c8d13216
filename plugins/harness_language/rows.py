"""Texts to be scored, arranged in rows and batches so that what begins alike is read once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LONGEST = 2048
"""Texts are put side by side in rows of at most so many tokens, as attention grows with the square of it."""


@dataclass(slots=True)
class SharedText:
    """One text that is read, and the numbers of the requests that it answers."""

    ids: tuple[int, ...]
    requests: list[int]


@dataclass(slots=True)
class Row:
    """Texts in one row of a batch: the ``trunk`` ids with which all begin, once; then what each goes on with."""

    trunk: int
    texts: list[SharedText]

    def __len__(self) -> int:
        return sum(len(text.ids) for text in self.texts) - self.trunk * (len(self.texts) - 1)

    def layout(self) -> Iterator[tuple[int, SharedText]]:
        """Each text with the place in the row where what it does not share with the first one begins."""
        place = self.trunk
        for text in self.texts:
            yield place, text
            place += len(text.ids) - self.trunk


def texts_of(inputs: Sequence[tuple[int, ...]]) -> list[SharedText]:
    """The distinct inputs that are no beginning of another one, in reverse lexicographic order.

    A causal model's answers about the beginning of a text are among those about the text.
    """
    texts: list[SharedText] = []
    for number in sorted(range(len(inputs)), key=inputs.__getitem__, reverse=True):
        # In this order whatever continues an input comes right before it.
        if texts and texts[-1].ids[: len(inputs[number])] == inputs[number]:
            texts[-1].requests.append(number)
        else:
            texts.append(SharedText(inputs[number], [number]))
    return texts


def rows_of(texts: Sequence[SharedText], branching: bool) -> list[Row]:
    """One row for each text; or, where rows may branch, one for neighbours that begin alike.

    A text joins the row before it where that spares at least a quarter of its reading.
    """
    rows: list[Row] = []
    for text in texts:
        if branching and rows:
            row = rows[-1]
            trunk = min(row.trunk, _common(row.texts[0].ids, text.ids))
            spared = trunk * len(row.texts) - row.trunk * (len(row.texts) - 1)
            joined = Row(trunk, [*row.texts, text])
            if 4 * spared >= len(text.ids) and len(joined) <= _LONGEST:
                rows[-1] = joined
                continue
        rows.append(Row(len(text.ids), [text]))
    return rows


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Number of ids with which both begin."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def batches_of(rows: Sequence[Row], tokens: int) -> Iterator[list[Row]]:
    """Rows of similar lengths, longest first, at most ``tokens`` in a batch when padded (a longer row is alone)."""
    rows = sorted(rows, key=len, reverse=True)
    start = 0
    while start < len(rows):
        count = max(1, tokens // len(rows[start]))
        yield rows[start : start + count]
        start += count
