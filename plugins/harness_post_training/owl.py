"""Densities of layers by how many outliers they have."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def outlier_ratio(scores: Sequence[Tensor], threshold: float) -> float:
    """Fraction of all scores of a layer, in [0, 1], that exceed ``threshold`` times their mean.

    Source: Yin et al. 2023, "Outlier Weighed Layerwise Sparsity (OWL)", arXiv:2310.05175, where the scores are
    |weight| x norm of its input on the dense network, and a layer is a whole transformer block.
    """
    count = sum(values.numel() for values in scores)
    mean = sum(float(values.sum()) for values in scores) / count
    return sum(int((values > threshold * mean).sum()) for values in scores) / count


def owl_densities(ratios: Sequence[float], sizes: Sequence[int], density: float, spread: float) -> list[float]:
    """Density of each layer: linear in its ratio of outliers over a range of 2 ``spread``, and ``density`` on the mean.

    As in the released code of Yin et al. 2023, but for the mean, which is weighted by sizes, so that layers of unequal
    size have the density together. None is below 0; those above 1 are for whoever makes counts of them.

    Args:
        ratios, sizes: of each layer.
        density: of all of them together, in [0, 1].
        spread: the paper's lambda, at least 0.
    """
    low, high = min(ratios), max(ratios)
    shifts = [2 * spread * (ratio - low) / (high - low) if high > low else 0.0 for ratio in ratios]
    mean = sum(shift * size for shift, size in zip(shifts, sizes, strict=True)) / sum(sizes)
    return [max(0.0, density + shift - mean) for shift in shifts]
