"""What the layers of a network read, for scores that need more than weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import Unsupported

if TYPE_CHECKING:
    from harness.core.architecture import Architecture
    from harness.core.connections import Connection
    from harness.core.method_context import MethodContext

Hook = Callable[[nn.Module, tuple[Any, ...], Any], None]


@torch.no_grad()
def watch_inputs(
    context: MethodContext,
    connections: Sequence[Connection],
    batches: Iterable[tuple[Tensor, Tensor]],
    see: Callable[[str, Tensor], None],
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Shows what is read by the layers that ``connections`` lie in, while ``batches`` go through the network.

    A batch goes no further than needed.

    Args:
        context: of a hook that may look at batches.
        connections: in linear layers or convolutions that are called as modules; see :func:`unseen_inputs`.
        batches: inputs and targets, as of :meth:`MethodContext.batches`.
        see: called with a parameter's name and what it was multiplied by, (products, in, *kernel), at every call of its
            layer; not to be changed or kept. A connection that is some columns of it reads ``[:, slice(*c.columns)]``.
        weights: by parameter, in place of the network's own; those that are not given are the network's.

    Raises:
        Unsupported: if one of the layers is not called, or not in this way.
    """
    layers = {c.parameter: c for c in connections}
    seen, calls, wrong = set[str](), dict.fromkeys(layers, 0), dict[str, str]()
    once = False

    def watch(name: str) -> Hook:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if reason := _unlike_a_layer(layers[name], module, inputs, output):
                wrong[name] = reason
                return
            see(name, _products(module, inputs[0]))
            seen.add(name)
            calls[name] += 1
            if once and all(calls.values()):
                raise _EnoughSeen

        return hook

    handles = [_owner(context.model, c).register_forward_hook(watch(name)) for name, c in layers.items()]
    network = _Calibrated(context)
    replaced = {f"model.{name}": weight for name, weight in (weights or {}).items()}
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
    wrong = {**{name: "is in no module that is called" for name in layers if name not in seen}, **wrong}
    if wrong:
        raise Unsupported(_told(connections, wrong))


def unseen_inputs(architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
    """Why ``watch_inputs`` cannot see those of some connections, in words for whoever wrote the suite, or None.

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
    weight: Tensor = getattr(module, leaf)  # no parameter where another stands in its place
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


def _products(module: nn.Module, read: Tensor) -> Tensor:
    """What the weights of a layer are multiplied by, one product a row: (products, in, *kernel)."""
    if not isinstance(module, nn.Conv2d):
        return read.flatten(0, -2)
    assert not isinstance(module.padding, str)
    images = read.reshape(-1, *read.shape[-3:])
    patches = F.unfold(images, module.kernel_size, module.dilation, module.padding, module.stride)
    return patches.transpose(1, 2).reshape(-1, *module.weight.shape[1:])


def _told(connections: Sequence[Connection], wrong: Mapping[str, str]) -> str:
    first, *others = [c for c in connections if c.parameter in wrong]
    roles = ", ".join(dict.fromkeys(c.role for c in (first, *others)))
    more = f" (and {len(others)} more)" if others else ""
    return (
        f"it needs what every layer reads, as the input of a linear or convolutional module, and the weight of "
        f"'{first.name}' {wrong[first.parameter]}{more}: give a scope without the roles {roles}, or "
        "another architecture"
    )
