"""The connections of a timm model, found by the types of its modules and the graph of a forward pass."""

from __future__ import annotations

import re

from torch import Tensor, nn

from harness import Band, Connection
from harness_vision.layer_depths import layer_depths

_ROLES = {
    "qkv": r".*attn\w*\.(to_)?(q|k|v|kv|qkv)(_proj)?",
    "attn_out": r".*attn\w*\.(proj|out_proj|to_out)",
    "ffn_up": r".*(mlp\w*|ffn)\.(fc1|fc1_x|w1)",
    "ffn_gate": r".*(mlp\w*|ffn)\.(fc1_g|w3)",
    "ffn_down": r".*(mlp\w*|ffn)\.(fc2|w2)",
}
"""By names in ViT and its relatives, Swin, ConvNeXt and Mixer."""


def connections_of(network: nn.Module, model: nn.Module, inputs: Tensor, logits: Tensor) -> list[Connection]:
    """A connection for each linear layer and each two-dimensional convolution that the logits depend on, by depth.

    The source of a layer lies at the depth of the deepest layer that it reads, its target one below. Which units of
    two layers are the same is not known: each has bands of its own. Weights of grouped convolutions have the shape
    (out, in / groups, *kernel); their bands have all channels.

    Args:
        network: what was run; on torch's meta device will do.
        model: the part of it that is timm's.
        inputs: a leaf that requires gradients.
        logits: what the network made of it.
    """
    layers = {id(m.weight): m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))}
    weights = {name: p for name, p in network.named_parameters() if id(p) in layers}
    depths = layer_depths(logits, inputs, weights)
    heads = {id(m) for part in _parts(model) for m in part.modules()}
    found = []
    for parameter in sorted((name for name in weights if name in depths), key=depths.__getitem__):
        layer, depth = layers[id(weights[parameter])], depths[parameter]
        name = parameter.removeprefix("model.").removesuffix(".weight")
        outs, ins, *kernel = layer.weight.shape
        if isinstance(layer, nn.Conv2d):
            ins *= layer.groups
        role = "classifier" if id(layer) in heads else _role_of(name, "conv" if kernel else "dense")
        source, target = Band(f"{name}.in", ins, depth - 1), Band(name, outs, depth)
        found.append(Connection(name, parameter, role, source, target, tuple(layer.weight.shape)))
    return found


def _role_of(name: str, other: str) -> str:
    return next((role for role, pattern in _ROLES.items() if re.fullmatch(pattern, name)), other)


def _parts(model: nn.Module) -> tuple[nn.Module, ...]:
    """What timm calls a model's classifier: of distilled models two."""
    given = model.get_classifier()  # type: ignore[operator]
    return tuple(given) if isinstance(given, (tuple, list)) else (given,)
