"""The losses that these networks are trained with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def mean_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean squared error where targets are real numbers, else :func:`mean_cross_entropy`.

    Args:
        outputs: (batch, outputs).
        targets: (batch, outputs) floating, or (batch,) int64.

    Raises:
        ValueError: if numbers have another shape than outputs, where broadcasting would find another loss.
    """
    if not targets.is_floating_point():
        return mean_cross_entropy(outputs, targets)
    if outputs.shape != targets.shape:
        raise ValueError(
            f"targets of a batch are {tuple(targets.shape)} numbers, and the network's outputs are "
            f"{tuple(outputs.shape)}: for regression both are (batch, outputs), also where there is one output"
        )
    outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    return F.mse_loss(outputs, targets.to(outputs.dtype))


def mean_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats, a scalar, computed in float32 or better whatever the logits' type is.

    Args:
        logits: (*batch, classes).
        targets: (*batch), int64 in [0, classes), or -100 where there is nothing to predict.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten())
