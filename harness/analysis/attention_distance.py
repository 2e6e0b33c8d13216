"""How attention falls with distance under a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def by_distance(attention: NDArray[np.float32], grid: tuple[int, ...]) -> list[tuple[int, float]]:
    """Mean attention of all pairs at each distance, in steps along the grid's axes (Manhattan), rising.

    Args:
        attention: (queries, keys), of equally many.
        grid: how both lie, row by row: (8, 8) patches, (10,) frames.
    """
    places = np.stack(np.unravel_index(np.arange(len(attention)), grid), axis=1)
    apart = np.abs(places[:, None] - places[None]).sum(axis=2)
    count, total = np.bincount(apart.ravel()), np.bincount(apart.ravel(), weights=attention.ravel().astype(np.float64))
    return [(int(at), float(total[at] / count[at])) for at in np.flatnonzero(count)]
