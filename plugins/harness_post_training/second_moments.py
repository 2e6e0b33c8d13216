"""Second moments of what the layers of a network read, and their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn

from harness import Connection, MethodContext, watch_inputs

Batch = tuple[Tensor, Tensor]


def matrix(region: Tensor) -> Tensor:
    """A region (out, in, *kernel) as (out, features): features are inputs, of each place of the kernel in turn."""
    return region.movedim(1, -1).flatten(1)


def region(values: Tensor, connection: Connection) -> Tensor:
    """The inverse of :func:`matrix`."""
    inputs, *kernel = connection.shape[1:]
    return values.reshape(len(values), *kernel, inputs).movedim(-1, 1)


def features_of(connection: Connection, model: nn.Module) -> Tensor:
    """Which features of its whole layer are those of a connection, in the order of :func:`matrix`; (features,)."""
    inputs = model.get_parameter(connection.parameter).shape[connection.in_axis]
    kernel = connection.shape[2:]
    whole = torch.arange(inputs * prod(kernel)).reshape(inputs, *kernel)
    begin, end = connection.columns or (0, inputs)
    return whole[begin:end].movedim(0, -1).flatten()


def second_moments(
    context: MethodContext,
    connections: Sequence[Connection],
    batches: Sequence[Batch],
    weights: Mapping[str, Tensor],
    *,
    full: bool,
) -> dict[str, Tensor]:
    """Means of x x^T, or of its diagonal, over all that is read by the layers that ``connections`` lie in.

    Args:
        context, connections, batches, weights: see :func:`harness.watch_inputs`.
        full: whether the whole matrix is meant.

    Returns:
        parameter -> (features,) or, if ``full``, (features, features), in float64; features are inputs, or for a
        convolution inputs x places of the kernel.
    """
    sums: dict[str, Tensor] = {}
    counts: Counter[str] = Counter()

    def see(parameter: str, read: Tensor) -> None:
        read = read.flatten(1).double()
        found = read.T @ read if full else read.square().sum(0)
        sums[parameter] = sums[parameter] + found if parameter in sums else found
        counts[parameter] += len(read)

    watch_inputs(context, connections, batches, see, weights)
    return {parameter: total / counts[parameter] for parameter, total in sums.items()}
