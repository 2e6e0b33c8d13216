"""Which linear layers of a network run faster as sparse ones here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, fx

from harness.compaction.program import unused
from harness.compaction.standalone import compressed, pairs_linear, pairs_of_four, sparse_linear
from harness.compaction.timing import Speed, side_by_side

Kernel = Literal["dense", "csr", "2:4"]
OPERATORS: dict[str, Callable[..., Any]] = {"csr": sparse_linear, "2:4": pairs_linear}
"""Kernel -> what takes inputs, weight and bias."""
DENSEST = 0.5
"""Layers of a higher density are not tried: at 0.3 nothing was gained, and 0.5 leaves room for other machines."""
SMALLEST = 4096
"""Nor are layers of fewer weights."""


@dataclass(frozen=True, slots=True)
class Layer:
    """How one linear layer runs.

    Attributes:
        kernel: the fastest of those that were faster than ``dense`` with their whole interval; else that. ``csr`` is
            compressed rows, ``2:4`` a GPU's sparse tensor cores.
        density: of its weight.
        shape: of its weight, (out, in).
        measured: kernel -> beside dense at the batch size asked, of those that were tried.
    """

    kernel: Kernel
    density: float
    shape: tuple[int, int]
    measured: Mapping[Kernel, Speed] = field(default_factory=dict)

    def as_dense(self) -> Layer:
        """The same, dense."""
        return replace(self, kernel="dense")


Timed = Callable[[Mapping[str, Callable[[], object]], str, torch.device], Mapping[str, Speed]]


@torch.no_grad()
def choose_kernels(program: fx.GraphModule, inputs: Tensor, timed: Timed = side_by_side) -> dict[str, Layer]:
    """Let linear layers run on sparse kernels where that is faster; the program is changed.

    Each is timed alone, with inputs of the shape that it has in the program, at the number of threads that torch has
    now. One layer stays dense unless the whole interval of its ratio lies above 1.

    Args:
        program: of :func:`harness.compaction.program.trace`.
        inputs: a batch as it will be used.
        timed: how ways are timed.

    Returns:
        buffer -> layer, for every linear layer with a matrix of its own.
    """
    seen = _Inputs(program)
    seen.run(inputs)
    found: dict[str, Layer] = {}
    replaced: dict[str, tuple[Kernel, str]] = {}
    for node in list(program.graph.nodes):
        weight = _weight(node)
        if weight is None:
            continue
        if weight in found:  # read again, as by a second pass
            if weight in replaced:
                _replace(program, node, *replaced[weight])
            continue
        matrix = program.get_buffer(weight)
        dense = matrix.t() if node.target is torch.ops.aten.addmm.default else matrix
        density = int(dense.count_nonzero()) / max(1, dense.numel())
        shape = (dense.shape[0], dense.shape[1])
        kernel: Kernel = "dense"
        speeds: dict[Kernel, Speed] = {}
        if sparse := _sparse(dense.contiguous(), density):
            arguments = seen.arguments[node]
            x, bias = _operands(node, arguments)
            ways: dict[str, Callable[[], object]] = {"dense": partial(node.target, *arguments)}
            for name, tensor in sparse.items():
                way = partial(OPERATORS[name], x, tensor, bias)
                if _computes(way):
                    ways[name] = way
            times = timed(ways, "dense", inputs.device) if len(ways) > 1 else {}
            speeds = {name: times[name] for name in sparse if name in ways}
            if faster := [name for name, speed in speeds.items() if speed.low > 1]:
                kernel = max(faster, key=lambda name: speeds[name].ratio)
                buffer = unused(f"{weight}_sparse", program)
                program.register_buffer(buffer, sparse[kernel])
                replaced[weight] = kernel, buffer
                _replace(program, node, kernel, buffer)
        found[weight] = Layer(kernel, density, shape, speeds)
    program.graph.eliminate_dead_code()
    used = {node.target for node in program.graph.nodes if node.op == "get_attr"}
    for unread in [unread for unread, _ in program.named_buffers() if unread not in used]:
        delattr(program, unread)
    program.recompile()
    return found


def _weight(node: fx.Node) -> str | None:
    """The buffer with the matrix of a linear layer; None of another operation."""
    if node.target not in (torch.ops.aten.linear.default, torch.ops.aten.addmm.default) or node.kwargs:
        return None
    matrix = node.args[1 if node.target is torch.ops.aten.linear.default else 2]
    return str(matrix.target) if isinstance(matrix, fx.Node) and matrix.op == "get_attr" else None


def _operands(node: fx.Node, arguments: tuple[Any, ...]) -> tuple[Any, Any]:
    """What is multiplied and what is added, of nodes or of tensors."""
    if node.target is torch.ops.aten.addmm.default:
        return arguments[1], arguments[0]
    return arguments[0], arguments[2] if len(arguments) > 2 else None


def _sparse(dense: Tensor, density: float) -> dict[Kernel, Tensor]:
    """A matrix (out, in) for each kernel that may be faster on its device."""
    found: dict[Kernel, Tensor] = {}
    if density <= DENSEST and dense.numel() >= SMALLEST:
        found["csr"] = compressed(dense)
        if dense.shape[1] % 4 == 0 and int(dense.view(-1, 4).count_nonzero(1).max()) <= 2:
            pairs = pairs_of_four(dense)
            if pairs is not None:
                found["2:4"] = pairs
    return found


def _computes(way: Callable[[], object]) -> bool:
    """Whether this build of torch has the operation for such a device and type."""
    try:
        way()
    except RuntimeError:
        return False
    return True


def _replace(program: fx.GraphModule, node: fx.Node, kernel: Kernel, name: str) -> None:
    x, bias = _operands(node, node.args)
    with program.graph.inserting_before(node):
        weight = program.graph.get_attr(name)
        node.replace_all_uses_with(program.graph.call_function(OPERATORS[kernel], (x, weight, bias)))
    program.graph.erase_node(node)


class _Inputs(fx.Interpreter):
    """Notes what every linear layer is given."""

    def __init__(self, program: fx.GraphModule) -> None:
        super().__init__(program)
        self.arguments: dict[fx.Node, tuple[Any, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        if _weight(n) is not None:
            self.arguments[n] = self.fetch_args_kwargs_from_env(n)[0]
        return super().run_node(n)
