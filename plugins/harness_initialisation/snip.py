"""SNIP: how much the loss would change without each weight, before training."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from harness import MethodContext
from harness_initialisation.calibration import Calibrated, CalibratedOptions


class Snip(Calibrated[CalibratedOptions]):
    """Keeps the initial weights with the highest connection sensitivity |w dL/dw|, and trains them.

    Gradients are summed over the batches before the absolute value is taken, so that the score is that of all examples
    together; the paper divides scores by their sum, which changes no order. The network is in evaluation mode. Nothing
    depends on classes unless ``per_class`` is given: language networks are pruned by their own loss. The paper wants
    initial weights whose variance fits the width of layers (Glorot), which is the architecture's to say. (Lee,
    Ajanthan, Torr 2019, "SNIP: Single-shot network pruning based on connection sensitivity", section 4.)
    """

    Options = CalibratedOptions

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Sensitivities |w g| of each weight, g being the loss's gradient by it, summed over batches."""
        for inputs, targets in self.examples(context):
            context.loss(inputs, targets).backward()  # type: ignore[no-untyped-call]
        return {c.name: (context.weight(c) * context.gradient(c)).abs() for c in context.connections}
