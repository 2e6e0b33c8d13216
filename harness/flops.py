"""Floating-point operations of a network, counted by running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from harness.architecture import Architecture
    from harness.benchmark import DataSpec

CONVENTION = (
    "2 per multiply-accumulate of matrix products, convolutions and attention (counted in full, not causal); "
    "backward = 2 x forward; masked weights count (dense-equivalent); elementwise work and optimizer left out"
)


def forward_flops(architecture: Architecture[Any], spec: DataSpec) -> int:
    """Operations of one forward pass of one example, dense-equivalent; no memory is allocated."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        module = architecture.build().eval()
        dtype = torch.int64 if spec.kind == "language" else torch.float32
        inputs = torch.zeros((1, *spec.inputs), dtype=dtype)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(inputs)
    return int(counter.get_total_flops())
