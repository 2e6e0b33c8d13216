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


def require_regions(name: str, connections: Iterable[Connection], tensors: Mapping[str, Tensor]) -> None:
    """Check that every connection of architecture ``name`` lies where it says.

    Raises:
        PluginError: naming the first that does not.
    """
    for c in connections:
        what = f"architecture '{name}': connection '{c.name}'"
        if c.parameter not in tensors:
            known = [other for other, tensor in tensors.items() if tuple(tensor.shape) == c.shape] or list(tensors)
            raise PluginError(f"{what} is of '{c.parameter}', which the module has not; it has {', '.join(known)}")
        whole = tuple(tensors[c.parameter].shape)
        try:
            found = tuple(c.region(tensors[c.parameter]).shape)
        except (RuntimeError, IndexError) as error:
            raise PluginError(f"{what} has rows {c.rows} and columns {c.columns} of {whole}: {error}") from error
        if found != c.shape:
            raise PluginError(f"{what} says shape {c.shape}; its part of '{c.parameter}', {whole}, is {found}")
