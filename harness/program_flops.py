"""What a cell's program computed: dense-equivalent operations, and those that sparse kernels would be left with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness.flops import CONVENTION, SPARSE_CONVENTION, Flops, Trained, sparse_training_flops

if TYPE_CHECKING:
    from harness.network import Network
    from harness.stage_store import StageStore
    from harness.stages import PlannedCell


def program_flops(
    planned: PlannedCell, store: StageStore, network: Network, forward: Flops, inference: Mapping[str, float]
) -> dict[str, Any]:
    """The record's ``flops``; ``inference`` is the density of each connection in evaluation."""
    phases = list(_trained(planned, store))
    training = 3 * forward.total * network.spent.examples
    inherited = training - 3 * forward.total * sum(phase.examples for phase in phases)
    return {
        "convention": CONVENTION,
        "training": training,
        "inference": forward.total,
        "sparse_convention": SPARSE_CONVENTION,
        "training_sparse": inherited + sparse_training_flops(forward, network.connections, phases),
        "inference_sparse": forward.sparse(network.connections, inference),
    }


def _trained(planned: PlannedCell, store: StageStore) -> Iterator[Trained]:
    """Every training phase; a connection that was in no method's scope then was whole."""
    for stage in planned.stages:
        manifest = store.manifest(stage.hash)
        assert manifest is not None, "a cell is evaluated when its stages are finished"
        if (trained := manifest["trained"]) is not None:
            yield Trained(**trained)
