"""The fastest way that we know to run a masked network here, beside the dense one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from harness.compaction.compact import Compacted, compact, random_inputs
from harness.compaction.kernels import Layer, Timed, choose_kernels
from harness.compaction.packed import packed
from harness.compaction.program import trace
from harness.compaction.timing import Speed, side_by_side
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.core.architecture import Architecture

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
TOLERANCE, COARSE = 1e-4, 0.1
"""By how much outputs may differ from the masked network's, relative to the largest; in 16 bits."""


@dataclass(frozen=True, slots=True)
class Fast:
    """A masked network without dead units, its linear layers as fast as measured.

    Attributes:
        program: a graph of torch's operations with one input.
        whole: the same of the network that it is compared with: the masked one as it is, with zeros, unless another was
            given.
        compacted: what was cut out.
        layers: buffer -> how a linear layer runs.
        speed: of the program beside ``whole``, at the batch size asked.
        inputs: that batch.
    """

    program: fx.GraphModule
    whole: fx.GraphModule
    compacted: Compacted
    layers: Mapping[str, Layer]
    speed: Speed
    inputs: Tensor

    @property
    def dtype(self) -> torch.dtype:
        """Of the program's numbers."""
        return next(tensor.dtype for tensor in self.program.buffers() if tensor.is_floating_point())

    @property
    def bytes(self) -> int:
        """Of the program's tensors, as a file packs them."""
        return sum(tensor.nbytes for tensor in packed(self.program)[1].values())


@torch.no_grad()
def make_fast(
    architecture: Architecture[Any],
    module: nn.Module,
    batch: int,
    reference: nn.Module | None = None,
    timed: Timed = side_by_side,
    precision: str | None = None,
) -> Fast:
    """Cut out dead units, and let linear layers of low density run as sparse ones where that is faster.

    Both are traced in the same way, so that what differs is the mask. Sparse layers are dropped again if the whole
    network is not faster with them. Timed on the module's device with as many threads as torch has now.

    Args:
        architecture: that built the module.
        module: with effective weights; not touched.
        batch: examples at a time.
        reference: what its speed is compared with; the module itself by default.
        timed: how ways are timed.
        precision: of all numbers, one of :data:`PRECISIONS`; by default the module's. Sparse tensor cores want bf16.

    Raises:
        Unsupported: if torch cannot trace the network.
        HarnessError: if what comes out computes something else.
    """
    parameter = next(iter(module.parameters()))
    dtype = PRECISIONS[precision] if precision else parameter.dtype
    inputs = random_inputs(architecture.data, 0, batch, dtype, whole=True).to(parameter.device)
    compacted = compact(architecture, module)
    masked = _converted(module, dtype)
    whole = trace(masked if reference is None else _converted(reference, dtype), architecture.data)
    dense = trace(_converted(compacted.module, dtype), architecture.data)
    sparse = copy.deepcopy(dense)
    layers = choose_kernels(sparse, inputs, timed)
    program = dense
    if any(layer.kernel != "dense" for layer in layers.values()):
        ways = {"dense": partial(dense, inputs), "sparse": partial(sparse, inputs)}
        if timed(ways, "dense", inputs.device)["sparse"].low > 1:
            program = sparse
        else:
            layers = {name: layer.as_dense() for name, layer in layers.items()}
    require_equal(program(inputs), masked(inputs))
    both = {"whole": partial(whole, inputs), "fast": partial(program, inputs)}
    speed = timed(both, "whole", inputs.device)["fast"]
    return Fast(program, whole, compacted, layers, speed, inputs)


def _converted(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The module itself where it has this type, else a copy."""
    return module if next(iter(module.parameters())).dtype == dtype else copy.deepcopy(module).to(dtype)


def require_equal(found: Tensor, expected: Tensor) -> None:
    """Raise HarnessError if outputs of one shape and type differ by more than :data:`TOLERANCE` or :data:`COARSE`."""
    difference = float((found - expected).abs().max())
    tolerance = COARSE if expected.itemsize == 2 else TOLERANCE
    if not difference <= tolerance * max(1.0, float(expected.abs().max())):
        raise HarnessError(f"the compact network is off by {difference:.3g}")
