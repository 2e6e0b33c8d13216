"""Whole parameters from the values of their regions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.core.connections import Connection


def assemble(parameter: Tensor, parts: Sequence[tuple[Connection, Tensor]]) -> Tensor:
    """The parameter with other values in the regions of some connections, which do not overlap; differentiable.

    A region that is all of the parameter is taken as it is. Regions that are slices along one axis are joined with
    what lies between them, in one copy. Others are written into a copy of the parameter, for which autograd passes
    over the whole of it once for each region.

    Args:
        parameter: in any layout.
        parts: connections of this parameter, each with the values of its region, (out, in, *kernel).

    Returns:
        tensor of the parameter's shape and type.
    """
    axes = (parts[0][0].out_axis, parts[0][0].in_axis)
    if all((c.out_axis, c.in_axis) == axes for c, _ in parts):
        rows, columns = ((0, parameter.shape[axis]) for axis in axes)
        if all(c.columns in (None, columns) for c, _ in parts):
            return _joined(parameter, axes, 0, [(c.rows or rows, values) for c, values in parts])
        if all(c.rows in (None, rows) for c, _ in parts):
            return _joined(parameter, axes, 1, [(c.columns or columns, values) for c, values in parts])
    whole = parameter.clone()
    for connection, values in parts:
        connection.region(whole).copy_(values)
    return whole


def _joined(
    parameter: Tensor, axes: tuple[int, int], along: int, slices: Sequence[tuple[tuple[int, int], Tensor]]
) -> Tensor:
    """Slices (start, stop) along the out axis (0) or the in axis (1), with the parameter's own values between them."""
    axis, end = axes[along], 0
    pieces: list[Tensor] = []
    for (start, stop), values in sorted(slices, key=lambda piece: piece[0]):
        if start > end:
            pieces.append(parameter.narrow(axis, end, start - end))
        pieces.append((values if axes == (0, 1) else values.movedim((0, 1), axes)).to(parameter.dtype))
        end = stop
    if end < parameter.shape[axis]:
        pieces.append(parameter.narrow(axis, end, parameter.shape[axis] - end))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, axis)
