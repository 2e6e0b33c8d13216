"""GraSP: how much gradient flow would be lost without each weight, before training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from harness import MethodContext
from harness_initialisation.calibration import Calibrated, CalibratedOptions


class GraspOptions(CalibratedOptions):
    """Options of ``grasp``.

    Attributes:
        temperature: what logits are divided by before the cross-entropy, above 0; default 200, the paper's. Numbers
            that are no logits are not divided.
    """

    temperature: float = Field(200.0, gt=0)


class Grasp(Calibrated[GraspOptions]):
    """Keeps the initial weights without which the gradient norm would fall most, and trains them.

    Without weight i the squared norm g'g of the gradient changes by -2 w_i (Hg)_i at first order; what would raise it
    goes, what would lower it stays: the highest w (Hg). H is the Hessian and g the gradient, both by the weights in
    scope and summed over the batches, of the cross-entropy of logits divided by ``temperature``, or of the squared
    error where targets are real numbers. The network is in evaluation mode. (Wang, Zhang, Grosse 2020, "Picking
    winning tickets before training by preserving gradient flow", whose score is the negative of this one, and whose
    highest scores are removed.)
    """

    Options = GraspOptions

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Products w (Hg) of each weight; two passes over the batches, the second one differentiated twice."""
        parameters = {c.parameter: context.model.get_parameter(c.parameter) for c in context.connections}
        for inputs, targets in self.examples(context):
            self._loss(context, inputs, targets).backward()  # type: ignore[no-untyped-call]
        gradient = {c.name: context.gradient(c).clone() for c in context.connections}
        context.model.zero_grad()
        with sdpa_kernel(SDPBackend.MATH):  # the only attention that can be differentiated twice
            for inputs, targets in self.examples(context):
                loss = self._loss(context, inputs, targets)
                found = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
                own = dict(zip(parameters, found, strict=True))
                products = [(c.region(own[c.parameter]) * gradient[c.name]).sum() for c in context.connections]
                torch.stack(products).sum().backward()  # type: ignore[no-untyped-call]
        return {c.name: context.weight(c) * context.gradient(c) for c in context.connections}

    def _loss(self, context: MethodContext, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy at the temperature, or squared error, in the precision of the weights."""
        if context.data.real_targets:
            error: Tensor = context.model(inputs, targets)
            return error
        logits: Tensor = context.model(inputs)
        return cross_entropy(logits.flatten(0, -2) / self.options.temperature, targets.flatten())
