"""SynFlow: how much of the network's flow goes through each weight, before training and without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from harness import Architecture, Connection, MethodContext, Phase, Prune, Unsupported
from harness_initialisation.at_initialisation import AtInitialisation, AtInitialisationOptions


class SynflowOptions(AtInitialisationOptions):
    """Options of ``synflow``.

    Attributes:
        rounds: prunings on the way to the density, each of which leaves the same fraction of what the last one left;
            at least 1, default 100, the paper's. One round is another method, which can cut whole layers.
    """

    rounds: int = Field(100, ge=1, le=10_000)


class Synflow(AtInitialisation[SynflowOptions]):
    """Prunes in many rounds by synaptic flow w dR/dw, R = sum of f(1; |w|), and trains what is left.

    After round k of n the density is d^(k/n). R is computed in float64, since it is a product over layers, with the
    absolute values of all parameters; batch norms use their variances, and means of 0. It is the paper's R, which has
    no biases, so that the scores of every layer sum to R: R is the derivative of the outputs by the inputs, at an input
    of ones. Synaptic-Flow's code adds |bias|, which is 0 at its initialisation. No score depends on data. (Tanaka,
    Kunin, Yamins, Ganguli 2020, "Pruning neural networks without any data by iteratively conserving synaptic flow".)
    """

    Options = SynflowOptions

    def unsupported(self, architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
        """An input of ones is no token, and frames in [0, 1] are no logits."""
        if architecture.data.kind in ("classification", "regression"):
            return None
        if architecture.data.kind == "video":
            return "flow is conserved up to logits, and what is predicted of a film is frames: use snip"
        return "the flow of an input of ones is not defined for tokens: use snip or grasp"

    def prunings(self) -> Sequence[Phase]:
        """One for each round."""
        n, distribution = self.options.rounds, self.options.distribution
        return [Prune(exponent=(k + 1) / n, distribution=distribution) for k in range(n)]

    def influences(self, phase: Phase) -> Mapping[str, Any]:
        """Nothing: the phases carry both options."""
        return {}

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Flow w dR/dw through each weight, float64; pruned ones have 0.

        Raises:
            Unsupported: if the network is not linear in positive inputs under |w|: there is no flow to conserve then.
        """
        state = linear_state(context.model)
        weights = {c.parameter: state[c.parameter].requires_grad_() for c in context.connections}
        ones = torch.ones(1, *context.data.inputs, dtype=torch.float64, device=context.device)

        def flow(inputs: Tensor) -> Tensor:
            """From each input to all outputs: the derivative, in which biases do not appear."""
            outputs = torch.func.functional_call(context.model, state, (inputs.requires_grad_(),))
            return torch.autograd.grad(outputs.sum(), inputs, create_graph=True)[0]

        found = flow(ones)
        if not torch.allclose(found, flow(2 * ones), rtol=1e-6, atol=0):
            raise Unsupported(
                "synflow needs a network that is linear in its inputs where all weights are positive (ReLU, batch "
                "norm, sums and means), and this one's derivative by them is not constant: use snip or grasp"
            )
        gradients = torch.autograd.grad(found.sum(), list(weights.values()), materialize_grads=True)
        by_name = dict(zip(weights, gradients, strict=True))
        return {c.name: c.region(weights[c.parameter].detach() * by_name[c.parameter]) for c in context.connections}


@torch.no_grad()
def linear_state(model: torch.nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name: |w| and variances in float64, means of batch norms 0, whole numbers as such."""
    means = {id(module.running_mean) for module in model.modules() if isinstance(module, _BatchNorm)}
    state = {name: parameter.double().abs() for name, parameter in model.named_parameters()}
    for name, buffer in model.named_buffers():
        floating = buffer.double() if buffer.is_floating_point() else buffer
        state[name] = torch.zeros_like(floating) if id(buffer) in means else floating
    return state
