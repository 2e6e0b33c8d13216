"""Floating-point operations of a network, counted by running it, and what a mask would save of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from harness.architecture import Architecture
    from harness.benchmark import DataSpec
    from harness.connections import Connection

CONVENTION = (
    "2 per multiply-accumulate of matrix products, convolutions and attention (counted in full, not causal); "
    "backward = 2 x forward; masked weights count (dense-equivalent); elementwise work and optimizer left out"
)
SPARSE_CONVENTION = (
    "the same without the multiply-accumulates of masked weights, forward and for the gradient of the inputs; the "
    "gradient of the weights too, but in steps whose method needs the gradients of all of them (RigL's accounting, "
    "Evci et al. 2020, appendix H); soft masks, and training that the cell started from, save nothing"
)


class Flops(NamedTuple):
    """Operations of one forward pass of one example, dense-equivalent.

    ``per_weight`` holds what each entry of a parameter costs that is multiplied by, itself or a view of it.
    """

    total: int
    per_weight: Mapping[str, float]

    def sparse(self, connections: Iterable[Connection], densities: Mapping[str, float]) -> float:
        """Operations that are left when masked weights cost nothing; ``densities`` by connection."""
        return self.total - sum(
            self.per_weight.get(c.parameter, 0.0) * c.size * (1 - densities[c.name]) for c in connections
        )


class Trained(NamedTuple):
    """One training phase: its examples, the mean density of each connection, and how it used them.

    Attributes:
        soft: whether the network ran with soft masks.
        dense_gradients: fraction of steps that needed the gradients of all weights.
    """

    examples: int
    densities: Mapping[str, float]
    soft: bool
    dense_gradients: float


def forward_flops(architecture: Architecture[Any], spec: DataSpec) -> Flops:
    """Count one forward pass; no memory is allocated."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        module = architecture.build().eval()
        dtype = torch.int64 if spec.kind == "language" else torch.float32
        inputs = torch.zeros((1, *spec.inputs), dtype=dtype)
        with torch.no_grad(), _Counter(module) as counter:
            module(inputs)
    return Flops(counter.total, counter.per_weight)


def sparse_training_flops(forward: Flops, connections: Sequence[Connection], phases: Iterable[Trained]) -> float:
    """Operations of a whole program in sparse kernels; see :data:`SPARSE_CONVENTION`."""
    total = 0.0
    for phase in phases:
        sparse = float(forward.total) if phase.soft else forward.sparse(connections, phase.densities)
        dense = 1.0 if phase.soft else phase.dense_gradients
        total += phase.examples * (2 * sparse + (1 - dense) * sparse + dense * forward.total)
    return total


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every operation, and finds the parameters that it multiplies by.

    A tensor made of nothing but parameters (a view, a concatenation, a product of two) stands for them: it knows
    which fraction of its entries comes from which.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        self.per_weight: dict[str, float] = {}
        self._sizes = {name: p.numel() for name, p in module.named_parameters()}
        self._made: dict[int, dict[str, float]] = {_key(p): {name: 1.0} for name, p in module.named_parameters()}
        self._alive: list[torch.Tensor] = []  # so that no storage takes another one's address

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        with FlopCounterMode(display=False) as counter:
            out = func(*args, **(kwargs or {}))
        flops = int(counter.get_total_flops())
        self.total += flops
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if flops:
            for tensor in tensors:
                for name, fraction in self._made.get(_key(tensor), {}).items():
                    self.per_weight[name] = self.per_weight.get(name, 0.0) + flops * fraction / self._sizes[name]
        elif isinstance(out, torch.Tensor) and tensors and all(_key(tensor) in self._made for tensor in tensors):
            self._derive(out, tensors)
        return out

    def _derive(self, out: torch.Tensor, tensors: Sequence[torch.Tensor]) -> None:
        if _key(out) in self._made:
            return
        self._alive.append(out)
        made = self._made[_key(out)] = {}
        for tensor in tensors:
            for name, fraction in self._made[_key(tensor)].items():
                made[name] = made.get(name, 0.0) + fraction * tensor.numel() / max(1, out.numel())


def _key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
