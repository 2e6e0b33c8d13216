"""What ``harness show A --against B`` says: in how much two cells' masks agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from harness.report.tables import Column, Table, probability

if TYPE_CHECKING:
    from harness.analysis.mask_agreement import MaskAgreement, Shared
    from harness.results.cell_record import CellRecord
    from harness.results.mask_pictures import MaskPicture
    from harness.results.store import ResultStore


def agreement_table(store: ResultStore, first: CellRecord, second: CellRecord) -> Table:
    """The connections of two cells beside each other.

    Raises:
        UserError: if one of them has no masks, or they share no connection.
    """
    from harness.analysis.mask_agreement import mask_agreement
    from harness.errors import UserError

    found = mask_agreement(*(_masks(store, record) for record in (first, second)))
    if not found.pairs.size and not found.near.size:
        raise UserError(f"{first.cell} and {second.cell} share no connection: compare runs of one architecture")
    columns = [
        Column("connection", names=True, key=True),
        Column("entries", 2, right=True),
        Column("A", right=True),
        Column("B", right=True),
        Column("both", right=True),
        Column("Jaccard", 1, right=True),
        Column("by chance", right=True),
        Column("p", right=True),
    ]
    cells = [[name, *_cells(shared)] for name, shared in found.entries.items()]
    notes = [
        f"A: {first.suite}/{first.cell}",
        f"B: {second.suite}/{second.cell}",
        "By chance: what as many entries of each connection, drawn at random, share: mean, and where 95 % of draws "
        "lie; p: probability to share as many or more. Neighbouring entries of a learnt mask are alike, so that they "
        "are fewer independent draws than they seem; connections as wholes are few, and say no more than they know.",
    ]
    if found.apart:
        notes.append(f"Not compared, in one only or of another shape: {', '.join(found.apart)}.")
    return Table("Agreement of masks", columns, cells, notes, answer=list(_answer(found)))


def _masks(store: ResultStore, record: CellRecord) -> Mapping[str, MaskPicture]:
    from harness.errors import UserError
    from harness.report.mask_agreements import masks_of

    try:
        return masks_of(store, record)
    except FileNotFoundError:
        raise UserError(f"{record.cell} has no masks: nothing is masked in it, or they were not kept") from None


def _answer(found: MaskAgreement) -> Iterator[str]:
    pairs, near, whole = found.pairs, found.near, found.whole
    if not pairs.size:
        yield "Every connection joins neighbouring bands, and a network can do without none: no structure to share."
        return
    low, high = pairs.interval
    yield (
        f"Of {pairs.size} connections that pass over a band, A has {pairs.first} open, B {pairs.second}, both "
        f"{pairs.both} (Jaccard {pairs.jaccard:.2f}); by chance {pairs.expected:.1f} (95 %: {low} to {high}), "
        f"p {_probability(pairs.p)}. Open: more than a tenth of its entries."
    )
    if whole.size:
        low, high = whole.interval
        yield (
            f"Of their {whole.size:,} entries, A has {whole.first:,} open, B {whole.second:,}, both {whole.both:,} "
            f"(Jaccard {whole.jaccard:.2f}); by chance {whole.expected:,.0f} (95 %: {low:,} to {high:,}), and "
            f"{found.by_density:,.0f} where each connection keeps its density."
        )
    yield (
        f"Left out: {near.size} connections of neighbouring bands, without which nothing passes; A has {near.first} "
        f"open, B {near.second}, both {near.both}."
    )


def _cells(shared: Shared) -> list[str]:
    from harness.report.mask_agreements import chance

    counts = (shared.size, shared.first, shared.second, shared.both)
    return [*(f"{count:,}" for count in counts), f"{shared.jaccard:.3f}", chance(shared), probability(shared.p)]


def _probability(p: float) -> str:
    text = probability(p)
    return text if text.startswith("<") else f"= {text}"
