"""Networks that a suite sets against each other: rows of different tables of one benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from harness.errors import unknown_name
from harness.formatting import listed
from harness.suites.schema import NETWORKS

if TYPE_CHECKING:
    from harness.suites.cell import Cell


class NetworkRow(BaseModel):
    """Every density of one method in one architecture."""

    model_config = ConfigDict(frozen=True)

    experiment: str
    architecture: str
    method: str

    @property
    def names(self) -> tuple[str, ...]:
        """What a suite may call it."""
        return (
            self.architecture,
            f"{self.experiment}.{self.architecture}",
            f"{self.architecture}.{self.method}",
            f"{self.experiment}.{self.architecture}.{self.method}",
        )


class NetworkPair(BaseModel):
    """Two rows that are tested against each other, by seed."""

    model_config = ConfigDict(frozen=True)

    first: NetworkRow = Field(description="the row that is asked about")
    second: NetworkRow = Field(description="the row that it is compared with")


def network_pairs(text: str, cells: Sequence[Cell]) -> list[NetworkPair]:
    """The rows that a question is about.

    ``A against B``: those of each method that both have; ``A.m against B.n``: these.
    A and B are labels of architectures, after that of the experiment where one alone would not tell which is meant;
    of rows in several experiments those of one are paired.

    Raises:
        ValueError: if nothing has such a name, if it fits several experiments, or the two never meet.
    """
    places: dict[NetworkRow, set[tuple[str, int]]] = {}
    densities: dict[NetworkRow, set[float | None]] = {}
    for cell in cells:
        if cell.trial is None:
            row = NetworkRow(experiment=cell.experiment, architecture=cell.architecture, method=cell.method)
            places.setdefault(row, set()).add((cell.benchmark, cell.seed))
            densities.setdefault(row, set()).add(cell.density)
    found = NETWORKS.fullmatch(text)
    assert found, "checked when the suite was read"
    first, second = found.groups()
    mine, others = (list(_named(side, places)) for side in (first, second))
    both_named = all(any(side in row.names[2:] for row in rows) for side, rows in ((first, mine), (second, others)))
    pairs = [(a, b) for a in mine for b in others if a != b and (both_named or a.method == b.method)]
    if not pairs:
        why = "a network with itself" if mine == others else "networks that have no method in common: name one of each"
        raise ValueError(f"'{text}' compares {why}")
    together = [(a, b) for a, b in pairs if a.experiment == b.experiment]
    for side, at in ((first, 0), (second, 1)):
        experiments = sorted({pair[at].experiment for pair in pairs})
        if not together and len(experiments) > 1:
            raise ValueError(f"'{side}' is in the experiments {listed(experiments)}: write {experiments[0]}.{side}")
    pairs = together or pairs
    met = [pair for pair in pairs if places[pair[0]] & places[pair[1]]]
    if not met:
        raise ValueError(f"'{text}' has no answer: the two have no benchmark and seed in common")
    alike = [(a, b) for a, b in met if None in densities[a] | densities[b] or densities[a] & densities[b]]
    if not alike:
        each = (f"{a.names[2]} at {listed([f'{d:g}' for d in sorted(filter(None, densities[a]))])}" for a in met[0])
        raise ValueError(f"'{text}' has no answer: no density is in both; {', '.join(each)}")
    return [NetworkPair(first=a, second=b) for a, b in alike]


def _named(side: str, rows: Sequence[NetworkRow] | dict[NetworkRow, set[tuple[str, int]]]) -> Iterator[NetworkRow]:
    found = [row for row in rows if side in row.names]
    if not found:
        architectures = {row.architecture for row in rows}
        whole = {name for row in rows for name in row.names}
        known = architectures if side.partition(".")[0] not in {name.partition(".")[0] for name in whole} else whole
        raise ValueError(unknown_name("network", side, known))
    yield from found
