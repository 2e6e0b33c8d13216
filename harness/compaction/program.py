"""A network as one graph of tensor operations, with everything computed that no input is needed for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.symbolic_shapes import is_concrete_int

from harness.compaction.batch_norms import fold_batch_norms
from harness.compaction.compact import random_inputs
from harness.errors import Unsupported

if TYPE_CHECKING:
    from harness.core.data import DataSpec

TRACED = 3
"""Examples that a network is traced with; as many as one likes may come later."""


def trace(module: nn.Module, spec: DataSpec) -> fx.GraphModule:
    """What a module computes in evaluation mode, as a graph of torch's own operations with one input.

    The number of examples is free, of language also the number of tokens. Batch norms go into the convolutions before
    them. Operations on weights alone are done once, here; tensors that are then needed are buffers of the graph, under
    the parameter's name with ``_`` for ``.``, or under that of the operation.

    Args:
        module: a network; not touched.
        spec: of its inputs.

    Raises:
        Unsupported: if torch cannot trace it, as where the operations depend on the numbers in a batch, or only for as
            many examples or tokens as it was traced with.
    """
    parameter = next(iter(module.parameters()))
    example = random_inputs(spec, 0, TRACED, parameter.dtype).to(parameter.device)
    free = {0: torch.export.Dim.AUTO}
    if spec.kind == "language":
        free[1] = torch.export.Dim.AUTO
    training = module.training
    try:
        with torch.no_grad():
            exported = torch.export.export(module.eval(), (example,), dynamic_shapes=(free,), strict=False)
    except Exception as error:  # torch.export raises whatever its parts raise
        reason = str(error).strip().split("\n")[0]
        raise Unsupported(f"{type(module).__name__} cannot be traced by torch.export: {reason}") from error
    finally:
        module.train(training)
    (given,) = (node for node in exported.graph.nodes if node.name in exported.graph_signature.user_inputs)
    for axis in free:
        if is_concrete_int(given.meta["val"].shape[axis]):
            raise Unsupported(
                f"{type(module).__name__} cannot be traced for any number of {('examples', 'tokens')[axis]}"
            )
    return _folded(exported)


def _folded(exported: torch.export.ExportedProgram) -> fx.GraphModule:
    """The graph without what depends on no input."""
    signature = exported.graph_signature
    held: dict[str, Tensor] = {**exported.state_dict, **exported.constants}
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    names |= signature.inputs_to_lifted_tensor_constants
    known: dict[fx.Node, Any] = {}
    graph, root = fx.Graph(), nn.Module()
    copied: dict[fx.Node, fx.Node] = {}

    def needed(node: fx.Node) -> fx.Node:
        """A node of the new graph; of a tensor that is known, one that reads a buffer."""
        if node not in copied:
            name = unused(names.get(_origin(node, names), node.name).replace(".", "_"), root)
            root.register_buffer(name, known[node].detach().contiguous().clone())
            copied[node] = graph.get_attr(name)
        return copied[node]

    with torch.no_grad():
        for node in exported.graph.nodes:
            if node.op == "placeholder":
                if node.name in names:
                    known[node] = held[names[node.name]]
                else:
                    copied[node] = graph.placeholder("inputs")
            elif node.op == "output":
                (result,) = node.args[0]
                graph.output(needed(result))
            elif _checks(node):
                continue
            elif node.op == "call_function" and all(part in known for part in node.all_input_nodes):
                known[node] = _computed(node, known)
            else:
                copied[node] = graph.node_copy(node, needed)
    fold_batch_norms(root, graph)
    graph.eliminate_dead_code()
    return fx.GraphModule(root, graph)  # takes over what the graph reads


def _origin(node: fx.Node, names: Mapping[str, str]) -> str:
    """The placeholder that a node is computed from, if it is only one, else the node itself."""
    sources, seen = set(), [node]
    while seen:
        part = seen.pop()
        seen += part.all_input_nodes
        if part.name in names:
            sources.add(part.name)
    return sources.pop() if len(sources) == 1 else node.name


def unused(name: str, module: nn.Module) -> str:
    """A name that a module has no attribute of, this one or with a number."""
    tried, number = name, 1
    while hasattr(module, tried):
        number += 1
        tried = f"{name}_{number}"
    return tried


def _computed(node: fx.Node, known: Mapping[fx.Node, Any]) -> Any:
    arguments = fx.node.map_arg((node.args, node.kwargs), lambda part: known[part])
    assert callable(node.target)
    return node.target(*arguments[0], **arguments[1])


def _checks(node: fx.Node) -> bool:
    """Whether a node only asserts something of shapes."""
    return node.op == "call_function" and ("assert" in str(node.target) or "sym_constrain" in str(node.target))
