"""The kept entries of sparsely masked parameters, in one vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SPARSE = 0.2
"""Largest density at which picking entries out and putting them back costs less than updating the others too."""

LANES = 64
"""Fused kernels compute blocks of so many numbers, and what is left over in another way, which rounds differently."""


class Kept:
    """What an optimizer owns in place of parameters of which most entries are masked for good.

    The numbers are the same to the bit as if the optimizer owned the whole parameters with masked gradients;
    the step is shorter, and the optimizer's state smaller, by the density.

    Attributes:
        vector: (1, n) with n a multiple of ``LANES``; two dimensions, as it consists of matrices' weights. What
            fills it up at its end are copies of its last entry, which stay equal to it.

    Args:
        entries: parameter and mask of ones in all bits, for parameters that :func:`fits` accepts.
    """

    def __init__(self, entries: Sequence[tuple[nn.Parameter, Tensor]]) -> None:
        parameters = [parameter for parameter, _ in entries]
        indices = [bits.view(-1).nonzero().squeeze(1) for _, bits in entries]
        if missing := -sum(map(len, indices)) % LANES:
            last = max(i for i, index in enumerate(indices) if len(index))
            indices[last] = torch.cat([indices[last], indices[last][-1:].expand(missing)])
        sizes = [len(index) for index in indices]
        self.vector = nn.Parameter(parameters[0].detach().new_empty(1, sum(sizes)))
        self._gradient = torch.empty_like(self.vector)
        values = torch.split(self.vector.detach().view(-1), sizes)
        gradients = torch.split(self._gradient.view(-1), sizes)
        self._parts = list(zip(parameters, indices, values, gradients, strict=True))
        for parameter, index, value, _ in self._parts:
            value.copy_(parameter.detach().view(-1)[index])

    def collect(self) -> None:
        """The vector's gradient from the parameters'; theirs are dropped."""
        for parameter, index, _, gradient in self._parts:
            if parameter.grad is None:
                gradient.zero_()
            else:
                torch.index_select(parameter.grad.reshape(-1), 0, index, out=gradient)
                parameter.grad = None
        self.vector.grad = self._gradient

    def spread(self) -> None:
        """Write the entries back into the parameters; the others are zero and stay so."""
        for parameter, index, value, _ in self._parts:  # looked up anew: it may have moved
            parameter.detach().view(-1).index_copy_(0, index, value)


def fits(parameter: nn.Parameter, bits: Tensor) -> bool:
    """Whether a masked parameter can be part of a :class:`Kept` without changing a bit, and gains by it."""
    blocks = parameter.is_contiguous() and parameter.ndim >= 2 and parameter.numel() % LANES == 0
    # Several threads cut a tensor at other places, with leftovers of their own.
    whole = parameter.device.type != "cpu" or torch.get_num_threads() == 1
    return blocks and whole and 0 < int(torch.count_nonzero(bits)) <= SPARSE * parameter.numel()
