"""How frequent words are, from the texts themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def log_frequencies(stories: Sequence[Sequence[str]]) -> list[Floats]:
    """log(1 + how often each word stands in the other stories), one (words,) for each story.

    Words are counted in lower case and without what is neither letter nor digit at either end. A word's own story
    is left out: one that it repeats is expected there without being frequent, and that a network may find out.
    """
    plain = [[_plain(word) for word in words] for words in stories]
    counts = [Counter(words) for words in plain]
    every: Counter[str] = sum(counts, Counter())
    return [
        np.log1p(np.array([every[word] - own[word] for word in words], dtype=np.float64))
        for words, own in zip(plain, counts, strict=True)
    ]


def _plain(word: str) -> str:
    places = [place for place, letter in enumerate(word) if letter.isalnum()]
    return word[places[0] : places[-1] + 1].lower() if places else word
