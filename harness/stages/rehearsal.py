"""One prediction before a network's first step: what a new architecture gets wrong shows before it is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from harness.core.connections import Connection
from harness.core.data import DataSpec, TrainingData
from harness.core.language_network import LanguageNetwork
from harness.core.returned import kind
from harness.errors import PluginError

IGNORED = -100
"""A target where there is nothing to predict, as torch has it."""


@torch.no_grad()
def rehearse(name: str, module: nn.Module, spec: DataSpec, data: TrainingData) -> None:
    """Predict for the first training example, as an evaluation does; leaves the module and random state alone.

    ``name`` is the architecture's, for the message; ``spec`` is of the ``data``.

    Raises:
        PluginError: if the outputs do not have the shape that every evaluation reads, or the loss is no scalar.
    """
    inputs, wanted = data.batch(torch.zeros(1, dtype=torch.int64))
    targets = spec.targets
    if isinstance(module, LanguageNetwork):  # a few positions: all logits would be the most memory that it ever takes
        inputs, wanted = inputs[:, :8], wanted[:, :8]
        targets = tuple(inputs.shape[1:])
    training = module.training
    module.eval()
    with torch.random.fork_rng(devices=[inputs.device] if inputs.is_cuda else []):
        outputs: object = module(inputs)
        loss: object = module(inputs, wanted)
    module.train(training)
    shape = (1, *targets) if spec.real_targets else (1, *targets, spec.outputs)
    found = tuple(outputs.shape) if isinstance(outputs, Tensor) else outputs
    if found != shape:
        what = "numbers of the targets' shape" if spec.real_targets else "logits"
        raise PluginError(
            f"architecture '{name}': module(inputs) gives {found!r:.80} for one example of shape "
            f"{tuple(inputs.shape[1:])}; it must give {what}, {shape}"
        )
    if not isinstance(loss, Tensor) or loss.ndim:
        given = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else kind(loss)
        raise PluginError(
            f"architecture '{name}': module(inputs, targets) gives {given}; it must give the mean loss, a tensor "
            "without dimensions"
        )


def require_classes(name: str, spec: DataSpec, data: TrainingData) -> None:
    """Look at targets from all over the data of benchmark ``name``, unless they are real numbers.

    Raises:
        PluginError: if one of them is no class that the ``spec`` has.
    """
    if spec.real_targets or not len(data):
        return
    count = min(len(data), 4 if spec.kind == "language" else 64)
    _, targets = data.batch(torch.linspace(0, len(data) - 1, count, dtype=torch.float64).round().long())
    where = f"{name}.training_data()"
    if targets.dtype != torch.int64:
        raise PluginError(f"{where}: targets are {targets.dtype}, must be torch.int64 (classes)")
    wrong = targets[(targets != IGNORED) & ((targets < 0) | (targets >= spec.outputs))]
    if len(wrong):
        raise PluginError(
            f"{where}: a target is {int(wrong[0])}, and its spec says outputs={spec.outputs}: targets are 0 to "
            f"{spec.outputs - 1}"
        )


def misplaced(connection: Connection, tensors: Mapping[str, Tensor]) -> str | None:
    """Why a connection does not lie where it says among tensors by name, as the end of a sentence; or None."""
    if connection.parameter not in tensors:
        fit = [name for name, tensor in tensors.items() if tuple(tensor.shape) == connection.shape] or list(tensors)
        return f"is of '{connection.parameter}', which the module has not; it has {', '.join(fit)}"
    whole = tensors[connection.parameter]
    try:
        found = tuple(connection.region(whole).shape)
    except (RuntimeError, IndexError) as error:
        return f"has rows {connection.rows} and columns {connection.columns} of {tuple(whole.shape)}: {error}"
    if found == connection.shape:
        return None
    return f"says shape {connection.shape}; its part of '{connection.parameter}', {tuple(whole.shape)}, is {found}"


def require_regions(name: str, connections: Iterable[Connection], module: nn.Module) -> None:
    """Check that every connection of architecture ``name`` lies where it says in its ``module``.

    Raises:
        PluginError: naming the first that does not.
    """
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for connection in connections:
        if problem := misplaced(connection, tensors):
            raise PluginError(f"architecture '{name}': connection '{connection.name}' {problem}")
