"""What a cell's program computed: dense-equivalent operations, and those that sparse kernels would be left with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.flops import CONVENTION, SPARSE_CONVENTION, Flops, Trained, sparse_training_flops
from harness.phases import Train

if TYPE_CHECKING:
    from harness.network import Network
    from harness.stage_store import StageStore
    from harness.stages import PlannedCell


def program_flops(
    planned: PlannedCell, store: StageStore, network: Network, forward: Flops, inference: Mapping[str, float]
) -> dict[str, Any]:
    """The record's ``flops``; ``inference`` is the density of each connection in evaluation.

    What is left in sparse kernels is None where it is not known.
    """
    phases = list(_trained(planned, store, network))
    training = 3 * forward.total * network.spent.examples
    inherited = training - 3 * forward.total * sum(phase.examples for phase in phases)
    sparse = sparse_training_flops(forward, network.connections, phases)
    return {
        "convention": CONVENTION,
        "training": training,
        "inference": forward.total,
        "sparse_convention": SPARSE_CONVENTION,
        "training_sparse": None if sparse is None else inherited + sparse,
        "inference_sparse": forward.sparse(network.connections, inference),
    }


def _trained(planned: PlannedCell, store: StageStore, network: Network) -> Iterator[Trained]:
    """Every training phase; one without the method's hooks, or without a curve, kept its masks as they ended.

    A stage that cells of different scopes share tells of the first one's connections: it has masked no others.
    """
    unmasked = {connection.name: 1.0 for connection in network.connections}
    for stage in planned.stages:
        manifest = store.manifest(stage.hash)
        assert manifest is not None, "a cell is evaluated when its stages are finished"
        ended = {name: d["kept"] / d["size"] for name, d in manifest["densities"].items()}
        series = store.series(stage.hash)
        for index, phase in enumerate(stage.phases, start=stage.offset):
            if isinstance(phase, Train):
                rows = [row for row in series["densities"] if row[0] == index]
                soft = any(pair[1] is not None for row in rows for pair in row[2].values())
                examples = phase.steps * stage.cell.training.batch_size
                dense = network.method.dense_gradients if phase.hooks else 0.0
                yield Trained(examples, unmasked | _mean(rows, ended), soft, dense)


def _mean(rows: Sequence[Any], ended: Mapping[str, float]) -> dict[str, float]:
    """Hard densities averaged over a phase's steps, by the trapezoidal rule."""
    lengths = np.diff([row[1] for row in rows])
    if not lengths.any():
        return dict(ended)
    curves = {name: np.array([row[2][name][0] for row in rows]) for name in ended}
    return {name: float(np.average((y[1:] + y[:-1]) / 2, weights=lengths)) for name, y in curves.items()}
