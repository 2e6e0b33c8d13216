"""In how much masks agree that a suite wants to see beside each other, beside what chance gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.analysis.mask_agreement import MaskAgreement, Shared, mask_agreement
from harness.errors import CorruptFile
from harness.formatting import count
from harness.report.tables import Column, Table, probability
from harness.results import mask_pictures
from harness.results.cell_record import CellRecord
from harness.results.mask_pictures import MaskPicture
from harness.results.store import ResultStore

if TYPE_CHECKING:
    from harness.results.suite_plan import MaskPairs

LEVEL = 0.05
"""Of the p-values that are counted."""


def agreement_tables(store: ResultStore, suite: str) -> Iterator[Table]:
    """One for each two selections of cells that the suite names, a row a seed; cells without masks are left out."""
    plan = store.plan(suite)
    for pairs in plan.agreements if plan else ():
        found = {names: one for names in pairs.cells if (one := _compared(store, suite, names)) is not None}
        if found:
            yield _table(pairs, found)


def masks_of(store: ResultStore, record: CellRecord) -> Mapping[str, MaskPicture]:
    """The masks of a cell.

    Raises:
        FileNotFoundError: if it has none.
        CorruptFile: if they cannot be read.
    """
    file = store.file(record.suite, "masks", record.network or "")
    try:
        return mask_pictures.read(file.read())
    except CorruptFile as error:
        raise CorruptFile(f"{file.where}: {error}") from None


def chance(shared: Shared) -> str:
    """What independent draws share: the mean, and where 95 % of draws lie."""
    low, high = shared.interval
    mean = f"{shared.expected:,.0f}" if shared.size > 100 else f"{shared.expected:.1f}"
    return f"{mean} ({low:,} to {high:,})"


def _compared(store: ResultStore, suite: str, names: tuple[str, str]) -> MaskAgreement | None:
    records = [store.read(suite, name) for name in names]
    try:
        first, second = (masks_of(store, record) for record in records if record is not None)
    except (OSError, CorruptFile, ValueError):  # not there, damaged, or not finished
        return None
    found = mask_agreement(first, second)
    return found if found.pairs.size else None


def _table(pairs: MaskPairs, found: Mapping[tuple[str, str], MaskAgreement]) -> Table:
    columns = [
        Column("seeds", key=True),
        Column("open A", right=True),
        Column("open B", right=True),
        Column("both", right=True),
        Column("by chance"),
        Column("p", right=True),
        Column("Jaccard", 1, right=True),
        Column("entries A", 3, right=True),
        Column("entries B", 3, right=True),
        Column("both", 2, right=True),
        Column("by chance", 2),
        Column("by density", 2, right=True),
    ]
    cells = [
        [
            _seeds(names),
            *_counts(one.pairs),
            probability(one.pairs.p),
            f"{one.pairs.jaccard:.2f}",
            *_counts(one.whole),
            f"{one.by_density:,.0f}",
        ]
        for names, one in found.items()
    ]
    sizes = " or ".join(map(str, sorted({one.pairs.size for one in found.values()})))
    notes = [
        f"A: {pairs.first}. B: {pairs.second}. Open, both: of {sizes} connections that pass over a band, "
        " those of which more than a tenth is kept. By chance: what two independent draws of as many share, and "
        "where 95 % of draws lie; p: probability to share as many or more.",
        "Entries: all weights of those connections; by density: what is expected if each connection keeps its "
        "density. Entries of a learnt mask are alike, so that they are fewer independent draws than they seem. "
        "Connections of neighbouring bands are left out: every network that works has them.",
    ]
    title = f"Agreement of masks: {pairs.first} and {pairs.second}"
    return Table(title, columns, cells, notes, answer=[_answer(list(found.values()))])


def _answer(found: Sequence[MaskAgreement]) -> str:
    seeds = [one.pairs for one in found]
    more = sum(shared.p < LEVEL for shared in seeds)
    means = [sum(getattr(one, what) for one in seeds) / len(seeds) for what in ("first", "second", "both", "expected")]
    first, second, both, expected = (f"{mean:.1f}" for mean in means)
    told = f"{more} of {count(len(seeds), 'pair')}"
    return (
        f"Of the connections that pass over a band A has {first} open, B {second}, and both {both} in the mean; by "
        f"chance they share {expected}. More than chance gives (p < {LEVEL:g}) in {told}."
    )


def _counts(shared: Shared) -> list[str]:
    return [f"{shared.first:,}", f"{shared.second:,}", f"{shared.both:,}", chance(shared)]


def _seeds(names: tuple[str, str]) -> str:
    seeds = [name.rsplit(".", 2)[-2].removeprefix("s") for name in names]
    return seeds[0] if seeds[0] == seeds[1] else f"{seeds[0]}, {seeds[1]}"
