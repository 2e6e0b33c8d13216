"""What a cell's program computed: dense-equivalent operations, and those that sparse kernels would be left with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.core.connections import weights_among
from harness.results.flops import CONVENTION, SPARSE_CONVENTION, Flops, Trained, sparse_training_flops
from harness.results.record_parts import OperationCounts

if TYPE_CHECKING:
    from harness.stages.graph import PlannedCell
    from harness.stages.network import Network
    from harness.stages.store import StageStore


def program_flops(
    planned: PlannedCell,
    store: StageStore,
    network: Network,
    forward: Flops,
    inference: Sequence[Mapping[str, float]],
) -> OperationCounts:
    """The record's ``flops``; ``inference`` is the density of each connection in evaluation, network by network.

    What is left in sparse kernels is None where it is not known.
    """
    phases, connections = list(_trained(planned, store, network)), weights_among(network.connections)
    training = 3 * forward.total * network.spent.examples
    inherited = training - 3 * forward.total * sum(phase.examples for phase in phases)
    sparse = sparse_training_flops(forward, connections, phases)
    each = [left for densities in inference if (left := forward.sparse(connections, densities)) is not None]
    return OperationCounts(
        convention=CONVENTION,
        training=training,
        inference=forward.total * len(inference),
        sparse_convention=SPARSE_CONVENTION,
        training_sparse=None if sparse is None else inherited + sparse,
        inference_sparse=sum(each) if len(each) == len(inference) else None,
    )


def _trained(planned: PlannedCell, store: StageStore, network: Network) -> Iterator[Trained]:
    """Every training phase.

    A stage that cells of different scopes share tells of the first one's connections: it has masked no others.
    """
    unmasked = {connection.name: 1.0 for connection in network.connections}
    for stage in planned.stages:
        manifest = store.manifest(stage.hash)
        assert manifest is not None, "a cell is evaluated when its stages are finished"
        if (trained := manifest["trained"]) is not None:
            densities = unmasked | trained["densities"]
            # Finished stages have the share under the name that the method's property had before.
            yield Trained(trained["examples"], densities, trained["soft"], trained["dense_gradients"])
