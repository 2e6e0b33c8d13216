"""What an exported network needs besides torch and safetensors; this file is copied into the export as it is."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

WEIGHTS = "model.safetensors"


def sparse_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(*batch, in) -> (*batch, out), x W^T + bias, with W (out, in) in compressed rows."""
    rows = x.reshape(-1, x.shape[-1])
    y = (weight @ rows.t()).t()
    y = y.reshape(*x.shape[:-1], weight.shape[0])
    return y if bias is None else y + bias


def compressed(dense: Tensor) -> Tensor:
    """A matrix by its rows, with indices of 32 bits, which are faster."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        rows = dense.to_sparse_csr()
        indices = rows.crow_indices().int(), rows.col_indices().int()
        return torch.sparse_csr_tensor(*indices, rows.values(), rows.shape, check_invariants=False)


def unpacked(bits: Tensor, values: Tensor, shape: list[int]) -> Tensor:
    """A dense tensor from a bit for each entry, the lowest bit first, and the entries that are not zero."""
    places = torch.arange(8, dtype=torch.uint8)
    kept = (bits[:, None] >> places & 1).bool().flatten()
    dense = torch.zeros(len(kept), dtype=values.dtype)
    dense[kept] = values
    size = 1
    for length in shape:
        size *= length
    return dense[:size].view(shape)


def stored_tensors(folder: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """All tensors of an export, dense and compressed, and what its file says of each."""
    found: dict[str, Tensor] = {}
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        layout = json.loads(file.metadata()["layout"])
        for name, how in layout.items():
            if how["stored"] == "bits":
                tensor = unpacked(file.get_tensor(f"{name}.bits"), file.get_tensor(f"{name}.values"), how["shape"])
            else:
                tensor = file.get_tensor(name)
            found[name] = compressed(tensor) if how["runs"] == "csr" else tensor
    return found, layout
