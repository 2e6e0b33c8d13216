"""From numbers of single cells to rows: one per method and density, over seeds."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.estimates import estimated
from harness.analysis.frame import ROW, SPENT
from harness.analysis.grouping import mixed
from harness.analysis.scales import scale_of
from harness.analysis.statistics import Array

_AVERAGED = (
    "density_requested",
    "density_mask",
    "mask_mean",
    "density_nonzero",
    "density_total",
    "effective",
    "units",
    "n_examples",
    "parameters",
    "recovery_lr",
    *SPENT,
    "published",
)
_CONSTANT = (
    "unit",
    "direction",
    "trained_on",
    "primary",
    "program",
    "settings",
    "timed",
    "comparisons",
    "norms_estimated",
    "references",
)
_KEPT = {*ROW, *_CONSTANT, "baseline"} - {"density_asked"}


def averaged(frame: pd.DataFrame) -> list[ComparisonRow]:
    """The rows of a frame, in its order of names, with means and intervals; compared with nothing yet."""
    # Standard errors of several seeds on the same examples are averaged, not divided: they share those examples.
    left = frame["parameters"] * frame["density_total"]
    named = frame.assign(variance=frame["stderr"] ** 2, left=left)
    groups = named.groupby(list(ROW), dropna=False, sort=True)
    index = groups.ngroup().to_numpy()
    numbers = groups[list(_AVERAGED)]
    averages = numbers.mean().clip(numbers.min(), numbers.max())  # rounding must not move the mean of equal numbers
    spent = list(SPENT)  # of all seeds or of none: what some lack must not be the others' mean
    averages[spent] = averages[spent].where(numbers.count()[spent].eq(groups.size(), axis=0))
    mask = groups["density_mask"]
    noise = groups["variance"].mean() ** 0.5
    dead = groups["dead_units"]
    known = dead.count() == groups.size()  # of all seeds or of none
    spans = pd.DataFrame(
        {
            **{"density_low": mask.min(), "density_high": mask.max(), "stderr": noise},
            "mask_updates": groups["mask_updates"].max(),
            **{"dead_low": dead.min().where(known), "dead_high": dead.max().where(known)},
        }
    )
    constants = groups[[*_CONSTANT, "baseline"]].first()
    seeds, column = np.unique(frame["seed"].to_numpy(), return_inverse=True)
    values, densities, mask_means, lefts, sizes = (
        _by_seed(named[name], index, column, len(constants))
        for name in ("value", "density_mask", "mask_mean", "left", "parameters")
    )
    found = [
        ComparisonRow(
            id=i,
            values=values[i],
            densities=densities[i],
            mask_means=mask_means[i],
            lefts=lefts[i],
            seeds=seeds[np.isfinite(values[i])].tolist(),
            n=int(np.isfinite(values[i]).sum()),
            mean=math.nan,
            scale=scale_of(row["unit"], row["direction"]),
            sample=[None] * len(seeds),
            **_named(row),
        )
        for i, row in enumerate(averages.join(spans).join(constants).reset_index().to_dict("records"))
    ]
    cells = frame[["seed", "cell", "made_with", "broken", "per_example"]].itertuples(index=False, name=None)
    for at, place, (seed, cell, made_with, broken, examples) in sorted(
        zip(index.tolist(), column.tolist(), cells, strict=True), key=lambda item: item[:2]
    ):
        row = found[at]
        row.cells.append(cell)
        row.made_with.add(made_with)
        row.sample[place] = examples
        if broken:
            row.broken[seed] = broken
    for row, networks in zip(found, sizes, strict=True):
        row.mixed = mixed(row.densities) or mixed(networks)
    estimated(found)
    return found


def number(value: Any) -> float | None:
    """A float for JSON: None for nan."""
    return None if value is None or math.isnan(value) else float(value)


def _by_seed(column: pd.Series[Any], row: NDArray[Any], seed: NDArray[Any], rows: int) -> Array:
    values = np.full((rows, int(seed.max()) + 1), np.nan)
    values[row, seed] = column.to_numpy()
    return values


def _named(values: Mapping[Hashable, Any]) -> dict[str, Any]:
    """Names as they are, numbers without nan."""
    return {str(name): value if name in _KEPT else number(value) for name, value in values.items()}
