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


def pairs_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(*batch, in) -> (*batch, out), x W^T + bias, with W (out, in) for sparse tensor cores."""
    y = torch.nn.functional.linear(x.reshape(-1, x.shape[-1]), weight)
    y = y.reshape(*x.shape[:-1], weight.shape[0])
    return y if bias is None else y + bias


def compressed(dense: Tensor) -> Tensor:
    """A matrix by its rows, with indices of 32 bits, which are faster."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        rows = dense.to_sparse_csr()
        indices = rows.crow_indices().int(), rows.col_indices().int()
        return torch.sparse_csr_tensor(*indices, rows.values(), rows.shape, check_invariants=False)


def pairs_of_four(dense: Tensor) -> Tensor | None:
    """A matrix of which two of every four entries of a row are zero, for a GPU's sparse tensor cores.

    None where they do not take it: another device, older than compute capability 8.0, a type that is not of 16 bits
    (float32 would be rounded to TF32), or a shape that torch refuses.
    """
    if dense.device.type != "cuda" or torch.cuda.get_device_capability(dense.device) < (8, 0) or dense.itemsize != 2:
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The PyTorch API of SparseSemiStructuredTensor")
        try:
            found: Tensor = torch.sparse.to_sparse_semi_structured(dense)
        except RuntimeError:
            return None
    return found


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


def stored_tensors(folder: Path, device: str | torch.device = "cpu") -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """All tensors of an export, dense and compressed, and what its file says of each.

    What the device cannot take as it ran where it was exported is dense.
    """
    found: dict[str, Tensor] = {}
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        layout = json.loads(file.metadata()["layout"])
        for name, how in layout.items():
            if how["stored"] == "bits":
                tensor = unpacked(file.get_tensor(f"{name}.bits"), file.get_tensor(f"{name}.values"), how["shape"])
            else:
                tensor = file.get_tensor(name)
            tensor = tensor.to(device)
            if how["runs"] == "csr":
                tensor = compressed(tensor)
            elif how["runs"] == "2:4" and (pairs := pairs_of_four(tensor)) is not None:
                tensor = pairs
            found[name] = tensor
    return found, layout
