"""The loss of a linear head over a vocabulary."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

ROWS = {"cpu": 256, "cuda": 4096}
"""Rows whose logits are held at once: on a CPU for its caches (128 to 512 are alike), on a GPU to bound memory."""
SMALL = 512
"""Vocabulary below which the plain way is as fast, and small."""
IGNORED = -100


def head_loss(features: Tensor, weight: Tensor, targets: Tensor, vocabulary: int) -> Tensor:
    """Mean cross-entropy in nats of the head's logits, a scalar, computed in float32 or better.

    Many logits of a large vocabulary are computed for some rows at a time and never held together: their
    gradient is computed with them, in the forward pass, and the backward pass only scales it. Rounding apart
    the result is that of ``F.cross_entropy`` behind ``F.linear``, under autocast too, and for targets that
    are all -100 (nan, and a gradient of 0). There is no second derivative. ``torch.compile`` gets all logits,
    whose handling it fuses by itself.

    Args:
        features: (*batch, width), what the head reads.
        weight: (rows, width) of the head; rows from ``vocabulary`` on only pad it and are left out.
        targets: (*batch), int64 in [0, vocabulary), or -100 where there is nothing to predict.
        vocabulary: number of different tokens.
    """
    device = features.device.type
    few = vocabulary < SMALL or targets.numel() < ROWS.get(device, torch.inf)
    if few or torch.compiler.is_compiling():
        logits = F.linear(features, weight)[..., :vocabulary]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return F.cross_entropy(logits.flatten(0, -2), targets.flatten())
    dtype = features.dtype
    if torch.is_autocast_enabled(device) and dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
    if torch.is_grad_enabled():
        loss: Tensor = _SummedLoss.apply(features, weight, targets, vocabulary, dtype)
    else:
        loss = _in_chunks(features, weight, targets, vocabulary, dtype)[0]
    count = (targets != IGNORED).sum()
    return torch.where(count > 0, loss / count.clamp(min=1), torch.nan)


class _SummedLoss(torch.autograd.Function):
    """:func:`_in_chunks` under autograd."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, targets: Tensor, vocabulary: int, dtype: torch.dtype
    ) -> Tensor:
        ctx.settings = vocabulary, dtype, *ctx.needs_input_grad[:2]
        ctx.save_for_backward(features, weight, targets)
        loss, *ctx.gradients = _in_chunks(features, weight, targets, *ctx.settings)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # Scaled in place and given away: a copy costs 10 % where the head is wide and rows are few. Who keeps
        # the graph for another backward pass pays with another computation.
        found, ctx.gradients = ctx.gradients, None
        if found is None:
            _, *found = _in_chunks(*ctx.saved_tensors, *ctx.settings)
        return *(None if one is None else one.mul_(gradient) for one in found), None, None, None


def _in_chunks(
    features: Tensor,
    weight: Tensor,
    targets: Tensor,
    vocabulary: int,
    dtype: torch.dtype,
    by_features: bool = False,
    by_weight: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The summed loss, and where wanted its gradients by the features and by the weight.

    Args:
        features, weight, targets, vocabulary: as for :func:`head_loss`.
        dtype: of the matrix products; all else is computed in float32 or better.
        by_features, by_weight: which gradients are wanted.
    """
    device = features.device.type
    size, exact = ROWS[device], torch.promote_types(dtype, torch.float32)
    with torch.autocast(device, enabled=False):
        x, w = features.flatten(0, -2).to(dtype), weight.to(dtype)
        labels = targets.reshape(-1, 1)
        seen = labels != IGNORED
        labels, predicting = labels.where(seen, 0), x.where(seen, 0)
        losses, grads_x = [], []
        grad_w = torch.zeros_like(weight, dtype=exact) if by_weight else None
        # A CPU that gets new memory for every chunk spends a third of the time on getting it.
        buffers = [x.new_empty(size, len(w), dtype=d) if device == "cpu" else None for d in (dtype, exact)]
        for start in range(0, len(x), size):
            rows = slice(start, min(start + size, len(x)))
            out = [None if buffer is None else buffer[: rows.stop - start] for buffer in buffers]
            logits = torch.mm(x[rows], w.t(), out=out[0])
            logits[:, vocabulary:] = -torch.inf  # not cut off: a GPU wants the even number of columns
            p = torch.softmax(logits, 1, dtype=exact, out=out[1])
            # The normaliser is told by the likeliest token, whose probability cannot underflow.
            normaliser = logits.amax(1, keepdim=True).to(exact) - p.amax(1, keepdim=True).log()
            losses.append(normaliser - logits[:, :vocabulary].gather(1, labels[rows]).to(exact))
            if not by_features and not by_weight:
                continue
            grad = p.scatter_(1, labels[rows], p.gather(1, labels[rows]) - 1).to(dtype)
            if by_features:
                grads_x.append(torch.mm(grad, w))
            if grad_w is not None and dtype == exact:
                grad_w.addmm_(grad.t(), predicting[rows])
            elif grad_w is not None:
                grad_w += torch.mm(grad.t(), predicting[rows])
        loss = torch.cat(losses).where(seen, 0).sum()
        grad_x = torch.cat(grads_x).where(seen, 0).to(features.dtype).view_as(features) if by_features else None
    return loss, grad_x, None if grad_w is None else grad_w.to(weight.dtype)
