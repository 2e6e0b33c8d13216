"""Independent random streams from one seed."""

from __future__ import annotations

import hashlib


def derived_seed(seed: int, *words: str | int) -> int:
    """A 63-bit seed for one purpose: equal arguments give equal seeds, on every machine and version.

    Purposes are independent, so that a method that draws more numbers does not shift another's data.
    """
    text = "/".join(str(part) for part in (seed, *words))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
