"""The loss that all of these networks are trained with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def mean_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats, a scalar, computed in float32 or better whatever the logits' type is.

    Args:
        logits: (*batch, classes).
        targets: (*batch), int64 in [0, classes), or -100 where there is nothing to predict.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten())
