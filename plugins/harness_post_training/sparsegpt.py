"""SparseGPT: pruning after which what is left makes up for what went."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from harness_post_training.layerwise import Layerwise, LayerwiseOptions
from harness_post_training.surgeon import surgeon


class SparseGptOptions(LayerwiseOptions):
    """Options of ``sparsegpt``.

    Attributes:
        block: columns among which weights are compared, at least 1; 128 in Frantar, Alistarh 2023.
        damping: added to the diagonal of the Hessian, as a fraction of its mean, above 0; 0.01 there.
    """

    block: int = Field(128, ge=1)
    damping: float = Field(0.01, gt=0)


class SparseGpt(Layerwise[SparseGptOptions]):
    """Removes weights column by column, and changes later ones so that each layer's output stays nearly the same.

    Source: Frantar, Alistarh 2023, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot",
    arXiv:2301.00774. H = 2 X X^T / n over the calibration tokens; all in float64, where the released code has float32.
    A connection is a problem of its own: of several that are columns of one layer none makes up for another.
    """

    Options = SparseGptOptions
    full = True

    def prune(self, weights: Tensor, moments: Tensor, keep: int) -> tuple[Tensor, Tensor]:
        """See :func:`harness_post_training.surgeon.surgeon`."""
        return surgeon(weights, 2 * moments, keep, self.pattern, self.options.block, self.options.damping)
