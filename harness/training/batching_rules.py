"""What ``torch.func.vmap`` computes badly, for several networks at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class BatchingRules(TorchFunctionMode):
    """Within it vmap computes ``F.linear`` and attention by the functions below."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _RULES.get(func, func)(*args, **kwargs or {})


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: A002 (names of F.linear)
    device = input.device.type
    cast = device != "meta" and torch.is_autocast_enabled(device)  # which chooses the type of the product
    if weight.ndim != 2 or cast:
        return F.linear(input, weight, bias)
    found: Tensor = _Linear.apply(input, weight, bias)
    return found


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **more: Any,
) -> Tensor:
    if query.ndim != 4 or attn_mask is not None or dropout_p or more:
        return F.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, **more)
    found: Tensor = _Attention.apply(query, key, value, is_causal, scale)
    return found


_RULES: Mapping[Any, Callable[..., Any]] = {F.linear: _linear, F.scaled_dot_product_attention: _attention}


class _Rule(torch.autograd.Function):
    """A function that vmap computes by :meth:`stacked`; ``forward`` is for what vmap does not batch."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Asked for by vmap."""

    @classmethod
    def vmap(cls, info: Any, in_dims: Any, *given: Any) -> tuple[Tensor, int]:
        """The result for N networks, its first axis."""
        n = info.batch_size
        tensors = (
            t if not isinstance(t, Tensor) else t.expand(n, *t.shape) if d is None else t.movedim(d, 0)
            for t, d in zip(given, in_dims, strict=True)
        )
        return cls.stacked(*tensors), 0

    @staticmethod
    def stacked(*given: Any) -> Tensor:
        """Of tensors whose first axis is N."""
        raise NotImplementedError


class _Linear(_Rule):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)

    @staticmethod
    def stacked(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = x.reshape(len(x), -1, x.shape[-1])
        found: Tensor = _Product.apply(rows, weight, bias)
        return found.view(*x.shape[:-1], -1)


class _Product(torch.autograd.Function):
    """x (N, rows, in), weight (N, out, in), bias (N, out) or None to (N, rows, out).

    vmap's own rule gives gradients of transposed weights; copying them into place takes as long as half the
    backward pass of a small network.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        product = weight.transpose(1, 2)
        return torch.bmm(x, product) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, product)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        by_x, by_weight, by_bias = ctx.needs_input_grad
        return (
            torch.bmm(gradient, weight) if by_x else None,
            torch.bmm(gradient.transpose(1, 2), x) if by_weight else None,
            gradient.sum(1) if by_bias else None,
        )


class _Attention(_Rule):
    """The kernel for CPUs has no rule of its own; networks and sequences are alike to it."""

    @staticmethod
    def forward(query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float | None) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal, scale=scale)

    @staticmethod
    def stacked(query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float | None) -> Tensor:
        q, k, v = (t.flatten(0, 1) for t in (query, key, value))
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale).view(*query.shape[:-1], -1)
