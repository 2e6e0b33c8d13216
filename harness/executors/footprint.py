"""About how much memory a training takes, counted without any: on tensors that have shapes and no numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

if TYPE_CHECKING:
    from harness.core.architecture import Architecture
    from harness.core.data import DataSpec
    from harness.suites.schema import Training

COPIES = {"adamw": 4, "adam": 4, "sgd": 3}
"""Numbers of 4 bytes for each parameter: itself, its gradient, what the optimizer remembers."""


def training_bytes(architecture: Architecture[Any], spec: DataSpec, training: Training) -> int | None:
    """Bytes that one training needs beside those of its process and of its data.

    Weights, their gradients, the optimizer's state, and what the forward pass of one micro-batch keeps for the backward
    pass; not what an operation takes while it runs, nor masks and what a method has of its own: a lower bound.

    Args:
        architecture: builds the network.
        spec: what it is trained on.
        training: batch size, parts, optimizer, precision.

    Returns:
        None where the network cannot be run without real numbers.
    """
    batch = training.batch_size // training.micro_batches
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor  # alive, so that no other has its place
        return tensor

    try:
        with torch.random.fork_rng(devices=[]), FakeTensorMode():
            module = architecture.build().train()
            inputs = torch.zeros((batch, *spec.inputs), dtype=torch.int64 if spec.token_ids else torch.float32)
            targets = torch.zeros((batch, *spec.targets), dtype=torch.float32 if spec.real_targets else torch.int64)
            with (
                torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
                torch.autocast("cpu", torch.bfloat16, enabled=training.precision == "bf16"),
            ):
                module(inputs, targets)
    except Exception:  # it looks at numbers, which are not there; what a network raises then has no end
        return None
    owned = {tensor.untyped_storage()._cdata for tensor in (*module.parameters(), *module.buffers())}
    activations = sum(tensor.untyped_storage().nbytes() for storage, tensor in kept.items() if storage not in owned)
    return 4 * COPIES[training.optimizer] * sum(p.numel() for p in module.parameters()) + activations
