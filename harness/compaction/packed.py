"""Tensors as they take least room in a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, fx


def packed(program: fx.GraphModule) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a file says of each tensor of a program, and the tensors to store.

    Dense, or a bit for each entry, the lowest of a byte first, and the entries that are not zero: what is smaller.
    """
    layout: dict[str, Any] = {}
    stored: dict[str, Tensor] = {}
    for name, tensor in program.named_buffers():
        runs = "csr" if tensor.layout == torch.sparse_csr else "dense"
        dense = (tensor.to_dense() if runs == "csr" else tensor).detach().cpu().contiguous()
        kept = dense != 0
        values = dense[kept]
        bits = torch.from_numpy(np.packbits(kept.flatten().numpy(), bitorder="little"))
        smaller = dense.ndim > 0 and bits.nbytes + values.nbytes < dense.nbytes
        layout[name] = {"shape": list(dense.shape), "stored": "bits" if smaller else "dense", "runs": runs}
        stored |= {f"{name}.bits": bits, f"{name}.values": values} if smaller else {name: dense.clone()}
    return layout, stored
