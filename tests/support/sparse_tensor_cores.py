"""torch's own tensors for sparse tensor cores on a processor: all but the product is what runs on a GPU."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from torch import Tensor
from torch.sparse import SparseSemiStructuredTensorCUTLASS


def emulate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let matrices of a processor be such tensors, and multiply by what they hold."""

    def product(self: Any, right: Tensor, *, should_transpose_dense: bool = False, **_: Any) -> Tensor:
        found: Tensor = self.to_dense() @ (right.t() if should_transpose_dense else right)
        return found.t() if should_transpose_dense else found

    def pairs_of_four(dense: Tensor) -> Tensor | None:
        rows, columns = dense.shape
        if rows % 32 or columns % 64:
            return None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The PyTorch API of SparseSemiStructuredTensor")
            return SparseSemiStructuredTensorCUTLASS.from_dense(dense)

    tensors = SparseSemiStructuredTensorCUTLASS
    monkeypatch.setattr(tensors, "_validate_device_dim_dtype_shape", classmethod(lambda cls, tensor: None))
    monkeypatch.setattr(tensors, "_mm", product)
    for module in ("kernels", "standalone"):
        monkeypatch.setattr(f"harness.compaction.{module}.pairs_of_four", pairs_of_four)
