"""Networks set against each other: copies of rows from several tables, and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from harness.analysis.comparison import rows
from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.contrasts import adjust, contrast_of, meet
from harness.analysis.estimates import differences
from harness.analysis.grouping import equal_densities
from harness.suites.network_pairs import NetworkPair, NetworkRow


class NetworkContrasts(NamedTuple):
    """What is asked of the rows of one benchmark.

    Attributes:
        table: all rows of the benchmark and protocol, whatever their networks.
        rows: copies of those that are asked about, called after their networks, with the questions as ``contrasts``.
        unlike: pairs that were asked for alike and may not be compared: densities are apart, or no seed is shared.
    """

    table: Sequence[ComparisonRow]
    rows: Sequence[ComparisonRow]
    unlike: Sequence[tuple[ComparisonRow, ComparisonRow]]


def by_benchmark(frame: pd.DataFrame, asked: Sequence[NetworkPair]) -> list[NetworkContrasts]:
    """What a suite asks about networks, for each benchmark, primary metric, protocol and data of training.

    Args:
        frame: scores of this suite, as :func:`harness.analysis.frame.load` returns them.
    """
    shared: dict[tuple[object, ...], list[ComparisonRow]] = {}
    for row in rows(frame[frame["primary"].astype(bool)]):
        names = ("suite", "benchmark", "metric", "protocol", "trained_on")
        shared.setdefault(row.take(*names), []).append(row)
    return [network_contrasts(table, asked) for table in shared.values()]


def network_contrasts(table: Sequence[ComparisonRow], asked: Sequence[NetworkPair]) -> NetworkContrasts:
    """The answers of ``asked`` among the rows of one benchmark, metric and protocol, whatever their tables.

    Each row has the one of the other method that was asked for alike; whole networks have each other. Differences are
    paired by seed. Holm's correction is over all these questions.
    """
    members: dict[NetworkRow, list[ComparisonRow]] = {}
    for row in table:
        of = NetworkRow(experiment=row.experiment, architecture=row.architecture, method=row.method)
        members.setdefault(of, []).append(row)
    pairs: dict[tuple[int, int], tuple[ComparisonRow, ComparisonRow]] = {}
    unlike = []
    for pair in asked:
        for row in members.get(pair.first, ()):
            for other in members.get(pair.second, ()):
                if not _alike(row, other):
                    continue
                if meet(row, other) and (_sized(row) or _sized(other) or equal_densities(row, other)):
                    pairs[row.id, other.id] = (row, other)
                else:
                    unlike.append((row, other))
    concerned = {row.id: row for found in [*pairs.values(), *unlike] for row in found}
    names = network_names(table)
    places = {density: i for i, density in enumerate(sorted({row.density_mask for row in concerned.values()})[::-1])}
    copies = {
        row.id: replace(
            row,
            method=names[row.id],
            group=places[row.density_mask],
            contrasts=[],
            factors={},
            absent={},
            failed={},
        )
        for row in concerned.values()
    }
    told = [(copies[row.id], copies[other.id]) for row, other in pairs.values()]
    for (row, other), found in zip(told, differences(told), strict=True):
        row.contrasts.append(contrast_of(None, row, other, True, found))
    for row in copies.values():
        row.comparisons = None
    adjust(copies.values())
    return NetworkContrasts(table, list(copies.values()), [(copies[one.id], copies[two.id]) for one, two in unlike])


def _alike(row: ComparisonRow, other: ComparisonRow) -> bool:
    """Whether both were asked for the same density, or one of them for none."""
    if row.whole or other.whole:
        return True
    return (row.match, row.density_asked) == (other.match, other.density_asked)


def _sized(row: ComparisonRow) -> bool:
    """Whether its size, and no mask, says what it is."""
    return row.whole or row.small


def network_names(rows: Sequence[ComparisonRow]) -> dict[int, str]:
    """By row, as short as tells them apart: networks, where all have one method; experiments only where needed."""
    one_method = len({row.method for row in rows}) == 1
    short = {row.id: row.architecture if one_method else f"{row.architecture}.{row.method}" for row in rows}
    experiments: dict[str, set[str]] = {}
    for row in rows:
        experiments.setdefault(short[row.id], set()).add(row.experiment)
    return {
        row.id: short[row.id] if len(experiments[short[row.id]]) == 1 else f"{row.experiment}.{short[row.id]}"
        for row in rows
    }
