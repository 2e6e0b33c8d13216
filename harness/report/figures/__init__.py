"""Figures as SVG text: pure functions of rows and curves, in the colours of a palette, light and dark.

Each returns None where there is nothing to draw. ``prefix`` becomes the id of the SVG: two figures in one
document need two prefixes.
"""

from harness.report.figures.attention_curves import attention_curves
from harness.report.figures.frontier import frontier
from harness.report.figures.layer_densities import layer_densities
from harness.report.figures.performance_profile import performance_profile
from harness.report.figures.pruning_curve import pruning_curve
from harness.report.figures.settling_curves import settling_curves
from harness.report.figures.training_curves import training_curves

__all__ = [
    "attention_curves",
    "frontier",
    "layer_densities",
    "performance_profile",
    "pruning_curve",
    "settling_curves",
    "training_curves",
]
