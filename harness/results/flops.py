"""Floating-point operations of a network, counted by running it, and what a mask would save of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from harness.results.factors import Factors, Unknown
from harness.results.origins import Origins, tensors_in

if TYPE_CHECKING:
    from harness.core.architecture import Architecture
    from harness.core.connections import Connection
    from harness.core.data import DataSpec

CONVENTION = (
    "2 per multiply-accumulate of matrix products, convolutions and attention (counted in full, not causal); "
    "backward = 2 x forward; masked weights count (dense-equivalent); elementwise work and optimizer left out"
)
SPARSE_CONVENTION = (
    "the same without the multiply-accumulates of masked weights, forward and for the gradient of the inputs; the "
    "gradient of the weights too, but in steps whose method needs the gradients of all of them (RigL's accounting, "
    "Evci et al. 2020, appendix H); soft masks, and training that the cell started from, save nothing; weights made of "
    "others cost nothing where a masked factor makes them zero, sums never do; null where densities do not tell"
)


@dataclass(frozen=True, slots=True)
class Flops:
    """Operations of one forward pass of one example.

    Attributes:
        total: dense-equivalent.
        alone: by connection, those that each of its weights takes part in and no other maskable weight does; a tensor
            of the region's shape where they are not equally many.
        joint: the same of each operation that multiplies several factors which may be masked, factor by factor.
    """

    total: int
    alone: Mapping[str, float | Tensor]
    joint: Sequence[Sequence[Mapping[str, float | Tensor] | Unknown]]

    def sparse(self, connections: Iterable[Connection], densities: Mapping[str, float]) -> float | None:
        """Operations that are left when masked weights cost nothing, in [0, total].

        Args:
            connections: those that may be masked.
            densities: of each of them, by name, in [0, 1].

        Returns:
            None where densities do not tell: two factors of a product are masked, so that it matters whether their
            zeros coincide; weights of a masked connection are not all used equally often; or the weights are made
            from masked ones by an operation that is not known to leave zeros in their places.
        """
        masked = {c.name: (c.size, densities[c.name]) for c in connections if densities[c.name] < 1}
        uses = [self.alone]
        for factors in self.joint:
            found = [factor for factor in factors if _touched(factor, masked)]
            if len(found) > 1 or any(isinstance(factor, Unknown) for factor in found):
                return None
            uses += [factor for factor in found if not isinstance(factor, Unknown)]
        saved = 0.0
        for name, (size, density) in masked.items():
            each = sum((use[name] for use in uses if name in use), 0.0)
            if isinstance(each, Tensor):
                if density > 0 and each.min() < each.max():
                    return None
                each = float(each.mean())
            saved += each * size * (1 - density)
        return max(0.0, self.total - saved)


class Trained(NamedTuple):
    """One training phase: its examples, the mean density of each connection, and how it used them.

    Attributes:
        soft: whether the network ran with soft masks.
        dense_gradient_share: fraction of steps that needed the gradients of all weights.
    """

    examples: int
    densities: Mapping[str, float]
    soft: bool
    dense_gradient_share: float


def forward_flops(architecture: Architecture[Any], spec: DataSpec) -> Flops:
    """Count one forward pass on the meta device; memory is needed only where weights are cut up and put together."""
    connections = architecture.connections()
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        module = architecture.build().eval()
        dtype = torch.int64 if spec.token_ids else torch.float32
        inputs = torch.zeros((1, *spec.inputs), dtype=dtype)
        factors = Factors(dict(module.named_parameters()), connections)
        with torch.no_grad(), _Counter(factors, inputs) as counter:
            module(inputs)
    return Flops(counter.total, counter.alone, counter.joint)


def sparse_training_flops(forward: Flops, connections: Sequence[Connection], phases: Iterable[Trained]) -> float | None:
    """Operations of a whole program in sparse kernels, None if not known; see :data:`SPARSE_CONVENTION`."""
    total = 0.0
    for phase in phases:
        if phase.examples == 0:
            continue
        sparse = float(forward.total) if phase.soft else forward.sparse(connections, phase.densities)
        dense = 1.0 if phase.soft else phase.dense_gradient_share
        if sparse is None:
            return None
        total += phase.examples * (2 * sparse + (1 - dense) * sparse + dense * forward.total)
    return total


OPERANDS = {"mm": "xx", "bmm": "xx", "addmm": "+xx", "baddbmm": "+xx", "convolution": "?x+", "_convolution": "?x+"}
"""Arguments whose entries take part in equally many operations (x), in none that is counted (+), or who knows (?)."""


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every operation, and finds the weights that it multiplies by."""

    def __init__(self, factors: Factors, inputs: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        self.alone: dict[str, float | Tensor] = {}
        self.joint: list[list[Mapping[str, float | Tensor] | Unknown]] = []
        self._factors, self._origins = factors, Origins(factors)
        self._origins.add_input(inputs)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        with FlopCounterMode(display=False) as counter:
            out = func(*args, **(kwargs or {}))
        flops = int(counter.get_total_flops())
        if flops:
            self.total += flops
            self._count(func, args, kwargs or {}, flops)
        self._origins.note(func, args, kwargs or {}, out)
        return out

    def _count(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], flops: int) -> None:
        found: list[Mapping[str, float | Tensor] | Unknown] = []
        kinds = OPERANDS.get(func._schema.name.removeprefix("aten::"), "")
        for kind, operand in zip_longest(kinds, (*args, *kwargs.values()), fillvalue="?"):
            for tensor in tensors_in(operand) if kind != "+" else ():
                for factor in self._origins.of(tensor):
                    if isinstance(factor, Unknown):
                        found.append(factor)
                    elif kind == "?":
                        found.append(Unknown((self._factors.names([factor]),)))
                    elif uses := self._factors.uses(factor):
                        found.append({name: flops / tensor.numel() * times for name, times in uses.items()})
        if len(found) == 1 and not isinstance(found[0], Unknown):
            for name, each in found[0].items():
                self.alone[name] = self.alone.get(name, 0.0) + each
        elif found:
            self.joint.append(found)


def _touched(factor: Mapping[str, float | Tensor] | Unknown, masked: Collection[str]) -> bool:
    """Whether masks may make zeros in a factor."""
    if isinstance(factor, Unknown):
        return all(any(name in masked for name in group) for group in factor.groups)
    return any(name in masked for name in factor)
