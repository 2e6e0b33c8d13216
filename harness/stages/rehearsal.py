"""One prediction before a network's first step: what a new architecture gets wrong shows before it is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from harness.core.connections import Connection
from harness.core.data import DataSpec, TrainingData
from harness.core.language_network import LanguageNetwork
from harness.errors import PluginError


@torch.no_grad()
def rehearse(name: str, module: nn.Module, spec: DataSpec, data: TrainingData) -> None:
    """Predict for the first training example, as an evaluation does; leaves the module and random state alone.

    ``name`` is the architecture's, for the message; ``spec`` is of the ``data``.

    Raises:
        PluginError: if the outputs do not have the shape that every evaluation reads.
    """
    inputs, _ = data.batch(torch.zeros(1, dtype=torch.int64))
    targets = spec.targets
    if isinstance(module, LanguageNetwork):  # a few positions: all logits would be the most memory that it ever takes
        inputs = inputs[:, :8]
        targets = tuple(inputs.shape[1:])
    training = module.training
    module.eval()
    with torch.random.fork_rng(devices=[inputs.device] if inputs.is_cuda else []):
        outputs: object = module(inputs)
    module.train(training)
    shape = (1, *targets) if spec.real_targets else (1, *targets, spec.outputs)
    found = tuple(outputs.shape) if isinstance(outputs, Tensor) else outputs
    if found != shape:
        what = "numbers of the targets' shape" if spec.real_targets else "logits"
        raise PluginError(
            f"architecture '{name}': module(inputs) gives {found!r:.80} for one example of shape "
            f"{tuple(inputs.shape[1:])}; it must give {what}, {shape}"
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


def require_regions(name: str, connections: Iterable[Connection], tensors: Mapping[str, Tensor]) -> None:
    """Check that every connection of architecture ``name`` lies where it says.

    Raises:
        PluginError: naming the first that does not.
    """
    for connection in connections:
        if problem := misplaced(connection, tensors):
            raise PluginError(f"architecture '{name}': connection '{connection.name}' {problem}")
