"""When the masks, weights and score of a training are what they will be at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.results.cell_record import CellRecord
from harness.stages.series import EvaluationRow, Series, SettlingRow

TOLERANCES = (0.05, 0.01)
"""How far from the end something may be that has settled, as a share."""
MASK = "mask"
"""What the masks on weights are called together; one on attention goes by its connection's name."""


@dataclass(frozen=True, slots=True)
class MaskCurve:
    """Masks of some connections at each note.

    Attributes:
        same: share of the entries that are as they will be at the end.
        chance: the same of a mask that is as dense and shares nothing else with the one at the end.
        kept: share of the entries that are open at the end.
    """

    same: Sequence[float]
    chance: Sequence[float]
    kept: float

    @property
    def fixed(self) -> bool:
        """Whether it never changed."""
        return min(self.same) == 1

    @property
    def apart(self) -> list[float]:
        """Disagreement as a share of what chance leaves, 1 - Cohen's kappa: 0 at the end, 1 for no likeness.

        Not of all entries: two masks that keep 2 % of the weights agree on 96 % of them whatever they are.
        """
        return [(1 - a) / (1 - c) if c < 1 else 0.0 for a, c in zip(self.same, self.chance, strict=True)]

    @property
    def distance(self) -> list[float | None]:
        """As weights are measured: norm of what changes over that of the mask at the end, both as zeros and ones.

        A mask of which 5 % of the open entries move is 0.32 from the end by it: among as many that are not to be open.
        """
        return [((1 - one) / self.kept) ** 0.5 if self.kept else None for one in self.same]


@dataclass(frozen=True, slots=True)
class CellSettling:
    """The notes of one training of a cell.

    Attributes:
        done: share of the training that each note stands after, from 0 to 1.
        masks: of weights under :data:`MASK`, and each on attention; none where nothing is masked.
        distance: of the effective weights to those at the end, relative to the latter; None where that is not known.
        score: on validation data, or on test data where there are none; None where nothing was scored.
        epochs: passes over the data that this training made.
    """

    done: Sequence[float]
    masks: Mapping[str, MaskCurve]
    distance: Sequence[float | None]
    score: Sequence[float | None]
    epochs: float

    def apart(self) -> dict[str, list[float | None]]:
        """What settles, by name: how far each note is from the end, as a share; a score that never moves does not."""
        last = self.score[-1]
        moves = len({one for one in self.score if one is not None}) > 1
        scale = abs(last) if last and moves else None
        scores = [None if one is None or last is None or not scale else abs(one - last) / scale for one in self.score]
        masks: dict[str, list[float | None]] = {name: list(curve.apart) for name, curve in self.masks.items()}
        return masks | {"weights": list(self.distance), "score": scores}

    def settled(self) -> dict[str, tuple[float | None, ...]]:
        """What settles, by name: for each of :data:`TOLERANCES` the share of the training after which it has."""
        return {
            name: tuple(first_within(self.done, curve, tolerance) for tolerance in TOLERANCES)
            for name, curve in self.apart().items()
        }

    def mask_ahead(self) -> float | None:
        """How much earlier the mask has settled than the weights, as a share of the training, both by their distances.

        Within the first of :data:`TOLERANCES`; None where nothing is masked, or the mask ends empty.
        """
        if MASK not in self.masks:
            return None
        mask, weights = (
            first_within(self.done, curve, TOLERANCES[0]) for curve in (self.masks[MASK].distance, self.distance)
        )
        return None if mask is None or weights is None else weights - mask


def first_within(done: Sequence[float], apart: Sequence[float | None], tolerance: float) -> float | None:
    """The first of ``done`` from which on nothing is further apart than ``tolerance``; None where the end is unknown.

    A note that is not known (None) counts as further apart.
    """
    if not apart or apart[-1] is None:
        return None
    found = done[-1]
    for at, far in zip(reversed(done), reversed(apart), strict=True):
        if far is None or far > tolerance:
            break
        found = at
    return found


def settling(series: Series, record: CellRecord) -> CellSettling | None:
    """What the curves of a cell say of its last training in which a mask changes, else of its last one.

    None where nothing was noted. Methods that learn a mask and then train under it have settled before their last one.

    Raises:
        KeyError: if they are of connections that the record does not have.
    """
    phases = sorted({row.phase for row in series.settling}, reverse=True)
    found = [_training(series, record, phase) for phase in phases]
    changing = (one for one in found if not all(curve.fixed for curve in one.masks.values()))
    return next(changing, found[0] if found else None)


def _training(series: Series, record: CellRecord, phase: int) -> CellSettling:
    rows = sorted((row for row in series.settling if row.phase == phase), key=lambda row: row.step)
    metric = next((name for name, one in record.metrics.items() if one.primary), None)
    scores = _scores([row for row in series.evaluations if row.phase == phase], metric)
    last = rows[-1].step
    return CellSettling(
        done=[row.step / last if last else 1.0 for row in rows],
        masks={name: curve for name, sizes in _parts(record).items() if (curve := _curve(rows, sizes))},
        distance=[row.distance for row in rows],
        score=[scores.get(row.step) for row in rows],
        epochs=rows[-1].epoch,
    )


def _scores(rows: Sequence[EvaluationRow], metric: str | None) -> dict[int, float]:
    having = [row for row in rows if metric is not None and metric in row.scores]
    split = "validation" if any(row.split == "validation" for row in having) else "test"
    return {row.step: row.scores[metric] for row in having if row.split == split and metric is not None}


def _parts(record: CellRecord) -> dict[str, dict[str, int]]:
    """What is masked, by name: its connections and their entries."""
    parts = {MASK: {name: counts.size for name, counts in record.density.connections.items()}}
    attention = record.density.attention.connections if record.density.attention else {}
    return parts | {f"{name} {MASK}": {name: counts.size} for name, counts in attention.items()}


def _curve(rows: Sequence[SettlingRow], sizes: Mapping[str, int]) -> MaskCurve | None:
    """None where these are not masked: nothing is ever closed."""
    whole = sum(sizes.values())
    if not whole or any(not row.masks for row in rows):
        return None
    same = [sum(row.masks[name][0] for name in sizes) / whole for row in rows]
    kept = [sum(row.masks[name][1] for name in sizes) / whole for row in rows]
    if min(kept) == 1:
        return None
    end = kept[-1]
    return MaskCurve(same, [one * end + (1 - one) * (1 - end) for one in kept], end)
