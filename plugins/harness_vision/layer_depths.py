"""How deep in a network each layer lies, seen in the graph that autograd makes of a forward pass."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.autograd.graph import Node


def layer_depths(output: Tensor, inputs: Tensor, weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Layers on the longest way from the inputs through each weight, itself counted: 1 for the first.

    A layer is where weights, maybe standardised or joined before, meet what comes from the inputs; layers side by
    side, such as a projection past a block, begin at the same depth. A weight that is used at several depths has the
    largest. Works on torch's meta device, and whether or not a layer's own module is called.

    Args:
        output: of the network, with its graph.
        inputs: what went in, a leaf that required gradients.
        weights: by name; those that the output does not depend on are left out.
    """
    names = {id(weight): name for name, weight in weights.items()}
    found: dict[str, int] = {}
    seen: dict[Node, tuple[int, frozenset[str]]] = {}  # depth, -1 without inputs; weights that have not met any yet
    waiting: list[Node | None] = [output.grad_fn]
    while waiting:
        node = waiting[-1]
        before = [other for other, _ in node.next_functions if other is not None] if node is not None else []
        unseen = [other for other in before if other not in seen]
        if unseen:
            waiting += unseen
            continue
        waiting.pop()
        if node is None or node in seen:
            continue
        depth = max((seen[other][0] for other in before), default=-1)
        met = frozenset[str]().union(*(seen[other][1] for other in before))
        leaf = getattr(node, "variable", None)
        if leaf is inputs:
            depth = 0
        elif id(leaf) in names:
            met = frozenset({names[id(leaf)]})
        if met and depth >= 0:
            depth += 1
            found.update({name: max(depth, found.get(name, 0)) for name in met})
            met = frozenset()
        seen[node] = (depth, met)
    return found
