"""How much memory a network takes while it runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from harness.compaction.packed import parts


@torch.no_grad()
def peak_bytes(program: fx.GraphModule, inputs: Tensor) -> int:
    """The most bytes of weights and of results of operations that live at once; what a kernel uses inside is not seen.

    A result lives until its last reader is done.
    """
    counting = _Counting(program)
    counting.run(inputs)
    return counting.most


class _Counting(fx.Interpreter):
    def __init__(self, program: fx.GraphModule) -> None:
        super().__init__(program)
        self.most = 0
        self._weights = _storages(dict(program.named_buffers()))

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self.most = max(self.most, sum((self._weights | _storages([*self.env.values(), result])).values()))
        return result


def _storages(values: Any) -> dict[int, int]:
    """Place of every storage below ``values`` -> its bytes; views share one."""
    found: dict[int, int] = {}
    for tensor in torch.utils._pytree.tree_leaves(values):
        if isinstance(tensor, Tensor):
            stores = [part.untyped_storage() for part in parts(tensor)]
            found |= {store.data_ptr(): store.nbytes() for store in stores}
    return found
