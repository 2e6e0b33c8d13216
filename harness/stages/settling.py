"""How far the masks and effective weights of a training were from its end, at each step that was noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from harness.core.connections import weights_among
from harness.core.mask_history import Bytes, MaskHistory
from harness.errors import CorruptFile

if TYPE_CHECKING:
    from harness.core.connections import Connection
    from harness.core.masks import Masks
    from harness.stages.store import StageStore
    from harness.training.weights import Weights

Row = list[Any]
"""[phase, step, passes over the data, distance of weights, {connection: [mask's entries as at the end, open ones]}]."""


@dataclass(slots=True)
class Settling:
    """Notes of one training, in the folder of its stage until the training is over.

    What a note says is known at the training's end, and a network's weights at every note do not fit into memory. A
    stage that goes on from a checkpoint writes later notes again, to the same bits. An ``epoch`` has that many steps.
    """

    store: StageStore
    stage: str
    phase: int
    connections: Sequence[Connection]
    epoch: float = 1.0

    def note(self, step: int, weights: Weights, masks: Masks | None) -> None:
        """Keep the hard masks, if anything is masked, and the weights that training computes with."""
        with weights.evaluating("soft"):
            effective = {c.name: c.region(weights.parameters[c.parameter]) for c in weights_among(self.connections)}
            content = {"masks": None if masks is None else masks.packed(), "weights": effective}
            self.store.save_note(self.stage, step, content)

    def concluded(self, steps: Sequence[int]) -> tuple[list[Row], MaskHistory | None]:
        """What the notes at ``steps`` say, the last of them being the end; no history where nothing was ever closed.

        A note that is lost or damaged costs its row, and not the training.
        """
        end = self._read(steps[-1])
        if end is None:
            return [], None
        sizes = {c.name: c.size for c in self.connections}
        rows: list[Row] = []
        seen: dict[str, list[Bytes]] = {name: [] for name in sizes}
        for step in steps:
            note = self._read(step)
            if note is None:
                continue
            masks = {name: bits.numpy() for name, bits in (note["masks"] or {}).items()}
            counts = {}
            for name, bits in masks.items():
                seen[name].append(bits)
                changed = _ones(bits ^ end["masks"][name].numpy())
                counts[name] = [sizes[name] - changed, _ones(bits)]
            rows.append(
                [self.phase, step, round(step / self.epoch, 6), distance(note["weights"], end["weights"]), counts]
            )
        if all(kept == sizes[name] for row in rows for name, (_, kept) in row[4].items()):
            return [[*row[:4], {}] for row in rows], None
        return rows, MaskHistory.of(self.phase, [row[1] for row in rows], seen, sizes)

    def _read(self, step: int) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.store.note(self.stage, step)
        except CorruptFile:
            return None
        return found


def _ones(packed: Bytes) -> int:
    return int(np.unpackbits(packed).sum())


def distance(weights: Mapping[str, Tensor], end: Mapping[str, Tensor]) -> float | None:
    """Of the weights to what they are at the end, as a share of the latter's norm, over all connections; L2.

    None where all of the latter are zero.
    """
    apart = sum(float((weights[name].double() - last.double()).square().sum()) for name, last in end.items())
    norm = sum(float(last.double().square().sum()) for last in end.values())
    return (apart / norm) ** 0.5 if norm else None
