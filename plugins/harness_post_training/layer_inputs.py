"""What the layers of a network read: second moments of their inputs, on calibration batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Architecture, Connection, MethodContext, Unsupported

Batch = tuple[Tensor, Tensor]
Hook = Callable[[nn.Module, tuple[Any, ...], Any], None]


def matrix(region: Tensor) -> Tensor:
    """A region (out, in, *kernel) as (out, features): features are inputs, of each place of the kernel in turn."""
    return region.movedim(1, -1).flatten(1)


def region(values: Tensor, connection: Connection) -> Tensor:
    """The inverse of :func:`matrix`."""
    inputs, *kernel = connection.shape[1:]
    return values.reshape(len(values), *kernel, inputs).movedim(-1, 1)


def features_of(connection: Connection, model: nn.Module) -> Tensor:
    """Which features of its whole layer are those of a connection, in the order of :func:`matrix`; (features,)."""
    inputs = model.get_parameter(connection.parameter).shape[connection.in_axis]
    kernel = connection.shape[2:]
    whole = torch.arange(inputs * prod(kernel)).reshape(inputs, *kernel)
    begin, end = connection.columns or (0, inputs)
    return whole[begin:end].movedim(0, -1).flatten()


def second_moments(
    context: MethodContext,
    connections: Sequence[Connection],
    batches: Sequence[Batch],
    weights: Mapping[str, Tensor],
    *,
    full: bool,
) -> dict[str, Tensor]:
    """Means of x x^T, or of its diagonal, over all that is read by the layers that ``connections`` lie in.

    The batches go through the network with ``weights`` in place of its own, once, and no further than needed.

    Args:
        context: of a hook that may look at batches.
        connections: in linear layers or convolutions that are called as modules.
        batches: inputs and targets.
        weights: by parameter; those that are not given are the network's own.
        full: whether the whole matrix is meant.

    Returns:
        parameter -> (features,) or, if ``full``, (features, features), in float64; features are inputs, or for a
        convolution inputs x places of the kernel.

    Raises:
        Unsupported: if one of the layers is not called, or not in this way.
    """
    layers = {c.parameter: c for c in connections}
    sums: dict[str, Tensor] = {}
    counts, calls, wrong = dict.fromkeys(layers, 0), dict.fromkeys(layers, 0), dict[str, str]()
    once = False

    def watch(name: str) -> Hook:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if reason := _unlike_a_layer(layers[name], module, inputs, output):
                wrong[name] = reason
                return
            read = _rows(module, inputs[0]).double()
            found = read.T @ read if full else read.square().sum(0)
            sums[name] = sums[name] + found if name in sums else found
            counts[name] += len(read)
            calls[name] += 1
            if once and all(calls.values()):
                raise _EnoughSeen

        return hook

    handles = [_owner(context.model, c).register_forward_hook(watch(name)) for name, c in layers.items()]
    network = _Calibrated(context)
    replaced = {f"model.{name}": weight for name, weight in weights.items()}
    try:
        for inputs, targets in batches:
            calls.update(dict.fromkeys(calls, 0))
            try:
                torch.func.functional_call(network, replaced, (inputs, targets))
            except _EnoughSeen:
                continue
            # What is called once is called once again: the rest of the network need not run.
            once = all(count == 1 for count in calls.values())
    finally:
        for handle in handles:
            handle.remove()
    wrong = {**{name: "is in no module that is called" for name in layers if name not in sums}, **wrong}
    if wrong:
        raise Unsupported(_told(connections, wrong))
    return {name: total / counts[name] for name, total in sums.items()}


def unseen(architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
    """Why the inputs of some connections cannot be seen, in words for whoever wrote the suite, or None.

    Runs one example through the network on torch's meta device, without memory for weights; once, because a suite asks
    for every method and benchmark.
    """
    network = type(architecture), architecture.options.model_dump_json(), architecture.data, tuple(connections)
    if network not in _ASKED:
        _ASKED[network] = _unseen(architecture, connections)
    return _ASKED[network]


_ASKED: dict[tuple[Any, ...], str | None] = {}


def _unseen(architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
    layers, spec = {c.parameter: c for c in connections}, architecture.data
    with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():
        model = architecture.build().eval()
        wrong = dict.fromkeys(layers, "is in no module that is called")

        def watch(name: str) -> Hook:
            def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
                if reason := _unlike_a_layer(layers[name], module, inputs, output):
                    wrong[name] = reason
                elif wrong.get(name) == "is in no module that is called":
                    del wrong[name]

            return hook

        for name, connection in layers.items():
            _owner(model, connection).register_forward_hook(watch(name))
        model(torch.zeros((1, *spec.inputs), dtype=torch.int64 if spec.token_ids else torch.float32))
    return _told(connections, wrong) if wrong else None


class _EnoughSeen(Exception):
    """Every layer that is watched has been called."""


class _Calibrated(nn.Module):
    """The network with its loss as training computes it, as a module, so that weights can be put in place of its own.

    The loss, unlike the logits of all tokens, needs little memory where the vocabulary is large.
    """

    def __init__(self, context: MethodContext) -> None:
        super().__init__()
        self.model = context.model
        self._loss = context.loss

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return self._loss(inputs, targets)


def _owner(model: nn.Module, connection: Connection) -> nn.Module:
    return model.get_submodule(connection.parameter.rpartition(".")[0])


def _unlike_a_layer(connection: Connection, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> str | None:
    """Why this call does not multiply the connection's weights by what the module read, or None."""
    leaf = connection.parameter.rpartition(".")[2]
    weight = module.get_parameter(leaf)
    read = inputs[0] if inputs else None
    if leaf != "weight" or not isinstance(read, Tensor) or not isinstance(output, Tensor):
        return f"is no weight of a layer with one input and one output, but of {type(module).__name__}"
    if not read.is_floating_point():
        return f"is looked up by whole numbers in {type(module).__name__}"
    if isinstance(module, nn.Conv2d):
        plain = module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
        return None if plain else "is a convolution in groups, or with padding other than a number of zeros"
    sizes = (weight.shape[connection.in_axis], weight.shape[connection.out_axis]) if weight.ndim == 2 else None
    if sizes != (read.shape[-1], output.shape[-1]):
        return f"is no whole matrix by which {type(module).__name__} multiplies what it reads"
    return None


def _rows(module: nn.Module, read: Tensor) -> Tensor:
    """What the weights of a layer are multiplied by, one product a row: (products, features)."""
    if not isinstance(module, nn.Conv2d):
        return read.flatten(0, -2)
    assert not isinstance(module.padding, str)
    images = read.reshape(-1, *read.shape[-3:])
    patches = F.unfold(images, module.kernel_size, module.dilation, module.padding, module.stride)
    return patches.transpose(1, 2).flatten(0, 1)


def _told(connections: Sequence[Connection], wrong: Mapping[str, str]) -> str:
    first, *others = [c for c in connections if c.parameter in wrong]
    roles = ", ".join(dict.fromkeys(c.role for c in (first, *others)))
    more = f" (and {len(others)} more)" if others else ""
    return (
        f"it needs what every layer reads, as the input of a linear or convolutional module, and the weight of "
        f"'{first.name}' {wrong[first.parameter]}{more}: give a scope without the roles {roles}, or "
        "another architecture"
    )
