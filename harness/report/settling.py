"""When masks settle, and when weights and scores do: what a table's rows have noted, as sentences and a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.settling import MASK, TOLERANCES
from harness.formatting import count, listed
from harness.report.cell_texts import titled
from harness.report.figures.settling_series import RowSettling, TrainingClock, row_settling
from harness.report.tables import NONE, Column, Table, fraction
from harness.results.store import ResultStore

TOLD = 4
"""Methods that are told in words, at most."""
SHOWN = 6
"""Notes of a training in the table of all of them, at most."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a board's rows have noted, by name, and the table of when each has settled."""

    rows: Sequence[ComparisonRow]
    noted: Mapping[str, RowSettling]
    table: Table


def settled(store: ResultStore, tables: Iterable[Sequence[ComparisonRow]]) -> Iterator[Settled]:
    """Of each training that was noted, once: boards of one training on several benchmarks share it."""
    seen = set()
    for rows in tables:
        training = rows[0].take("suite", "experiment", "architecture", "trained_on")
        if training not in seen and (noted := row_settling(store, rows)):
            seen.add(training)
            yield Settled(rows, noted, _table(rows, noted))


def _table(rows: Sequence[ComparisonRow], noted: Mapping[str, RowSettling]) -> Table:
    clock = TrainingClock.of(noted)
    things = list(dict.fromkeys(thing for one in noted.values() for cell in one.cells for thing in cell.settled()))
    things.sort(key=lambda thing: (thing in ("weights", "score"), thing == "score"))
    columns = [Column("method", names=True, key=True)]
    columns += [
        Column(f"{thing} {100 * tolerance:g} %", at and 2, right=True)
        for thing in things
        for at, tolerance in enumerate(TOLERANCES)
    ]
    cells = [
        [name, *(_time(one, thing, at, clock) for thing in things for at in range(len(TOLERANCES)))]
        for name, one in noted.items()
    ]
    notes = [
        f"{clock.unit.capitalize()} from which on it stays within 5 % and 1 % of what it is at the end of the last "
        "training in which a mask changes, or of the last one; mean over seeds, with the first and the last. Of masks: "
        "5 % of what two masks of their densities would differ in by chance. Of weights: norm of the difference over "
        "the norm at the end, of effective ones, so that a mask's change counts there too.",
        "A schedule that ends at small rates, or masks that sharpen, settle everything in the end: what a row with a "
        "fixed mask shows for weights and score is the schedule's part.",
    ]
    return Table(
        f"When masks and weights settle: {titled(rows)}",
        columns,
        cells,
        notes,
        answer=_answer(noted),
        detail=_notes(noted, things, clock),
    )


def _times(one: RowSettling, thing: str, at: int) -> list[float]:
    found = [cell.settled().get(thing) for cell in one.cells]
    return [time for times in found if times is not None and (time := times[at]) is not None]


def _time(one: RowSettling, thing: str, at: int, clock: TrainingClock) -> str:
    times = _times(one, thing, at)
    curves = [cell.masks[thing] for cell in one.cells if thing in cell.masks]
    if not times:
        return NONE
    if curves and all(curve.fixed for curve in curves):
        return "fixed"
    first, last = (clock.number(time) for time in (min(times), max(times)))
    mean = clock.number(sum(times) / len(times))
    return mean if first == last else f"{mean} ({first} to {last})"


def _answer(noted: Mapping[str, RowSettling]) -> list[str]:
    """For each row whose mask changes when it settles; what the schedule imposes, from those whose mask does not."""
    found, imposed = [], []
    for name, one in noted.items():
        clock = TrainingClock.of({name: one})  # its own: programs whose trainings differ in length stand in one table
        masks, weights, scores = (_times(one, thing, 0) for thing in (MASK, "weights", "score"))
        if one.fixed and weights:
            imposed.append(f"{name}'s {clock.at(weights, whole=True)}")
        if one.fixed or not masks or not weights:
            continue
        score = f", its score {clock.at(scores)}" if scores else ""
        text = (
            f"{name}'s mask settles within 5 % {clock.at(masks, whole=True)}, its weights {clock.at(weights)}{score}."
        )
        ahead = [early for cell in one.cells if (early := cell.mask_ahead()) is not None]
        earlier = f"before its weights in {sum(early > 0 for early in ahead)} of {count(len(ahead), 'seed')}"
        found.append(f"{text} Measured as weights are, by norms, its mask settles {earlier}." if ahead else text)
    if len(found) > TOLD:
        found[TOLD:] = [f"Of {len(found) - TOLD} more methods whose masks change the table says when they settle."]
    if imposed:
        more = f" (and {len(imposed) - TOLD} more)" if len(imposed) > TOLD else ""
        found.append(
            "Where no mask changes, weights settle within 5 % all the same, which is the schedule: "
            f"{listed(imposed[:TOLD])}{more}."
        )
    return found


def _notes(noted: Mapping[str, RowSettling], things: Sequence[str], clock: TrainingClock) -> Table:
    """Some of the notes of each row: likeness of masks beside chance, distance of weights, score."""
    masks = [thing for thing in things if thing not in ("weights", "score")]
    columns = [Column("method", names=True, key=True), Column(clock.unit, right=True)]
    for mask in masks:
        columns += [Column(f"{mask} as at the end", right=True), Column("by chance", right=True)]
    columns += [Column("distance of weights", right=True), Column("score", right=True)]
    cells = []
    for name, one in noted.items():
        done = max((cell.done for cell in one.cells), key=len)
        alike = [cell for cell in one.cells if cell.done == done]  # of another a note may have been lost
        last = len(done) - 1
        for at in sorted({round(i * last / (SHOWN - 1)) for i in range(SHOWN)}):
            row = [name, clock.number(done[at])]
            for mask in masks:
                curves = [cell.masks[mask] for cell in alike if mask in cell.masks]
                row += [_mean([curve.same[at] for curve in curves]), _mean([curve.chance[at] for curve in curves])]
            cells.append(
                [*row, *(_mean([getattr(cell, what)[at] for cell in alike]) for what in ("distance", "score"))]
            )
    return Table("Masks, weights and score at some epochs, means over seeds", columns, cells)


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return fraction(sum(known) / len(known), 3) if known and len(known) == len(values) else NONE
