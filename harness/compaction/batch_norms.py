"""Batch norms of a graph in evaluation mode, taken into the convolutions before them."""

from __future__ import annotations

import torch
from torch import fx, nn


@torch.no_grad()
def fold_batch_norms(root: nn.Module, graph: fx.Graph) -> None:
    """Scale the channels of a convolution, and shift its bias, in place of the norm that alone reads what it gives.

    With running mean m and variance v, gamma (W x + b - m) / sqrt(v + eps) + beta is one convolution, whose channels
    are W gamma / sqrt(v + eps): zeros stay zeros. What the graph then no longer reads stays in ``root``. A linear layer
    is not looked at: a norm is over the second axis, which need not be that of its outputs.

    Args:
        root: has the tensors that the graph reads; they are folded in float64 and kept in their type.
        graph: of torch's operations; changed.
    """
    for node in list(graph.nodes):
        if node.target is not torch.ops.aten.batch_norm.default or node.args[5]:
            continue
        layer = node.args[0]
        if layer.target is not torch.ops.aten.conv2d.default or len(layer.users) > 1:
            continue
        read = [*layer.args[1:3], *[None] * (3 - len(layer.args)), *node.args[1:5]]
        if any(part is not None and part.op != "get_attr" for part in read):
            continue
        absent = 0.0, 0.0, 1.0, 0.0, 0.0, 1.0
        weight, bias, gamma, beta, mean, variance = (
            torch.tensor(number) if part is None else root.get_buffer(part.target).double()
            for part, number in zip(read, absent, strict=True)
        )
        scale = gamma * (variance + node.args[7]).rsqrt()
        shift = beta + (bias - mean) * scale
        with graph.inserting_before(layer):
            for place, tensor in ((1, weight * scale.view(-1, 1, 1, 1)), (2, shift)):
                name = f"{read[0].target}_{node.name}_{place}"
                root.register_buffer(name, tensor.to(root.get_buffer(read[0].target).dtype))
                layer.args = (*layer.args[:place], graph.get_attr(name), *layer.args[place + 1 :])
        node.replace_all_uses_with(layer)
        graph.erase_node(node)
