"""Tensors as they take least room in a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import is_traceable_wrapper_subclass


def kernel_of(tensor: Tensor) -> str:
    """How products with a tensor are computed: ``dense``, ``csr`` or ``2:4``."""
    if tensor.layout == torch.sparse_csr:
        return "csr"
    return "2:4" if is_traceable_wrapper_subclass(tensor) else "dense"


def parts(tensor: Tensor) -> list[Tensor]:
    """The dense tensors that a tensor is kept in; those of numbers first."""
    if tensor.layout == torch.sparse_csr:
        return [tensor.values(), tensor.crow_indices(), tensor.col_indices()]
    if is_traceable_wrapper_subclass(tensor):
        names, _ = tensor.__tensor_flatten__()
        return [getattr(tensor, name) for name in names]
    return [tensor]


def packed(program: fx.GraphModule) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a file says of each tensor of a program, and the tensors to store.

    Dense, or a bit for each entry, the lowest of a byte first, and the entries that are not zero: what is smaller.
    """
    layout: dict[str, Any] = {}
    stored: dict[str, Tensor] = {}
    for name, tensor in program.named_buffers():
        runs = kernel_of(tensor)
        dense = (tensor if runs == "dense" else tensor.to_dense()).detach().cpu().contiguous()
        kept = dense != 0
        values = dense[kept]
        bits = torch.from_numpy(np.packbits(kept.flatten().numpy(), bitorder="little"))
        smaller = dense.ndim > 0 and bits.nbytes + values.nbytes < dense.nbytes
        layout[name] = {"shape": list(dense.shape), "stored": "bits" if smaller else "dense", "runs": runs}
        stored |= {f"{name}.bits": bits, f"{name}.values": values} if smaller else {name: dense.clone()}
    return layout, stored
