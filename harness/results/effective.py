"""Which weights lie on a path from the inputs to the outputs: gradients under a mask, of random weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness.errors import Unsupported
from harness.seeds import derived_seed

if TYPE_CHECKING:
    from harness.core.data import DataSpec

DRAWS = 8
"""Draws of weights and inputs at most; fewer where one more could find nothing new."""
REFUSALS = ("Double", "double", "float64", "out of memory", "allocate memory")
"""What torch's errors say where an operation has no such numbers, or no room for them."""
EXAMPLES = 2
"""Examples of one draw; each, of language each token, has its own pattern of active units."""


@dataclass(frozen=True, slots=True)
class Effective:
    """What the draws found.

    Attributes:
        weights: parameter -> bool of its shape, True where a gradient was not zero; closed weights are False.
        depends: whether the outputs differed for other inputs.
    """

    weights: Mapping[str, Tensor]
    depends: bool


@torch.random.fork_rng(devices=[])
def effective(module: nn.Module, spec: DataSpec, kept: Mapping[str, Tensor], more: Collection[str] = ()) -> Effective:
    """Effective weights of a network under a mask (Vysogorets and Kempe 2021, arXiv:2107.02306).

    A weight is effective if the gradient of the outputs by it, in float64, is not zero in one of :data:`DRAWS` draws.
    The gradient is that of a random linear function of all outputs, so that nothing cancels.

    In every second draw weights and inputs are positive, and those of a unit are scaled to a sum of about 1. No ReLU
    is closed then, and nothing over- or underflows: of a network of linear layers, convolutions, batch norms and
    ReLUs the gradient is not zero exactly where a path of kept weights leads, and one such draw finds all. In the
    others both have random signs, for networks that subtract. (With these alone a path through d ReLUs is found with
    probability 2^-d a draw.) Biases are zero: a weight that carries nothing but a constant, because no path leads
    to its unit, is not effective. Buffers stay as they are, masks on attention among them, but running
    statistics begin anew. Rows of an embedding that no drawn token reads are taken to act as the others do.

    A copy of the network is used, in evaluation mode; neither it nor torch's random state is touched.

    Args:
        module: the network that was scored.
        spec: of its inputs.
        kept: parameter -> bool of its shape, True where it is open; the others are open.
        more: further parameters of which to tell.

    Raises:
        Unsupported: if the network cannot compute in float64, or there is no memory for it.
    """
    try:
        return _drawn(copy.deepcopy(module).double().eval(), spec, kept, {*kept, *more})
    except (RuntimeError, TypeError) as error:
        if any(word in str(error) for word in REFUSALS):
            raise Unsupported(f"{type(module).__name__} cannot compute in float64: {error}") from error
        raise


def _drawn(module: nn.Module, spec: DataSpec, kept: Mapping[str, Tensor], names: Collection[str]) -> Effective:
    found: dict[str, Tensor] = {}
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in names)
        if name in names:
            found[name] = torch.zeros_like(parameter, dtype=torch.bool)
            parameter.register_post_accumulate_grad_hook(_noting(found[name]))  # type: ignore[no-untyped-call]
    parts = list(module.modules())
    for part in parts:
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.reset_running_stats()
    read = {id(part.weight) for part in parts if isinstance(part, nn.Embedding)}
    tables = {name for name, parameter in module.named_parameters() if id(parameter) in read}
    device = next(iter(module.parameters())).device
    depends = False
    for draw in range(DRAWS):
        generator, positive = torch.Generator().manual_seed(derived_seed(0, "effective", draw)), draw % 2 == 0
        _draw_weights(module, kept, tables, positive, generator)
        with torch.enable_grad():
            outputs = module(_draw_inputs(spec, positive, generator).to(device))
        if not bool(outputs.isfinite().all()):
            continue  # says nothing
        with torch.no_grad():  # equal shapes are computed alike: where nothing depends on inputs, not a bit differs
            depends |= not torch.equal(outputs, module(_draw_inputs(spec, positive, generator).to(device)))
        if outputs.requires_grad:
            outputs.backward(torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype).to(device))
        for name in tables & found.keys():
            found[name] |= found[name].any(0, keepdim=True)
        if depends and all(bool((found[name] | ~mask).all()) for name, mask in kept.items()):
            break
    return Effective({name: flags & kept[name] if name in kept else flags for name, flags in found.items()}, depends)


def _noting(found: Tensor) -> Callable[[Tensor], None]:
    """A hook that notes where a gradient is not zero, and drops it: only one of them is in memory at a time."""

    def note(parameter: Tensor) -> None:
        if parameter.grad is not None:
            found.logical_or_(parameter.grad.abs() > 0)  # NaN says nothing
            parameter.grad = None

    return note


@torch.no_grad()
def _draw_weights(
    module: nn.Module, kept: Mapping[str, Tensor], tables: Collection[str], positive: bool, generator: torch.Generator
) -> None:
    """Rows of matrices and kernels are divided by the number of their open entries, or by its root with signs."""
    for name, parameter in module.named_parameters():
        if "bias" in name.rpartition(".")[2]:
            parameter.zero_()
            continue
        values = _values(parameter.shape, positive, generator).to(parameter.device)
        if name in kept:
            values.masked_fill_(~kept[name], 0)
        if values.ndim > 1 and name not in tables:
            entries = kept[name].flatten(1).sum(1) if name in kept else values[0].numel()
            count = torch.as_tensor(entries, dtype=torch.float64, device=values.device).clamp(min=1)
            values.flatten(1).div_((count if positive else count.sqrt()).view(-1, 1))
        parameter.copy_(values)


def _draw_inputs(spec: DataSpec, positive: bool, generator: torch.Generator) -> Tensor:
    shape = (EXAMPLES, *spec.inputs)
    if spec.token_ids:
        return torch.randint(spec.token_ids, shape, generator=generator)
    return _values(shape, positive, generator)


def _values(shape: tuple[int, ...], positive: bool, generator: torch.Generator) -> Tensor:
    """Magnitudes from U(0.5, 1.5), in float64."""
    if positive:
        return torch.empty(shape, dtype=torch.float64).uniform_(0.5, 1.5, generator=generator)
    values = torch.empty(shape, dtype=torch.float64).uniform_(-1, 1, generator=generator)
    return values.add_(values.sign(), alpha=0.5)
