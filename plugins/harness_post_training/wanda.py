"""Wanda: weights by their size times that of what they are multiplied by."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from harness import top_k
from harness_post_training.layerwise import Layerwise, LayerwiseOptions


class WandaOptions(LayerwiseOptions):
    """Options of ``wanda``.

    Attributes:
        group: weights are compared within an output ``row``, as published, or within the ``layer`` (a connection).
    """

    group: Literal["row", "layer"] = "row"


class Wanda(Layerwise[WandaOptions]):
    """Keeps the largest |W_ij| ||X_j||_2, X_j being input j over all calibration tokens; no weight changes.

    Source: Sun, Liu, Bair, Kolter 2024, "A Simple and Effective Pruning Approach for Large Language Models",
    arXiv:2306.11695, eq. 1 and algorithm 1.
    """

    Options = WandaOptions
    full = False

    def prune(self, weights: Tensor, moments: Tensor, keep: int) -> tuple[Tensor, Tensor]:
        """As the options say."""
        scores = weights.abs() * moments.sqrt()
        if self.pattern is not None:
            return self.pattern.mask(scores), weights
        return top_k(scores, keep) if self.options.group == "layer" else top_k_by_row(scores, keep), weights


def top_k_by_row(scores: Tensor, k: int) -> Tensor:
    """Mask of ``k`` scores: equally many of the largest of each row, and one more in rows whose next one is largest.

    Args:
        scores: (rows, columns); ties go to the lower index.
        k: in [0, scores.numel()].
    """
    each, more = divmod(k, len(scores))
    ranked = scores.argsort(dim=1, descending=True, stable=True)
    mask = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, ranked[:, :each], True)
    if more:
        following = ranked[:, each : each + 1]
        mask.scatter_(1, following, top_k(scores.gather(1, following), more))
    return mask
