"""Everything that determines the parameters and the computation of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness_biogpt.layout import Layout, Pairs

FeedbackInto = Literal["input", "layer"]


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes and parts of a network; the defaults are the parts of the published one.

    Attributes:
        vocabulary, context, width: rows of the head, positions, units of the residual stream.
        layout: branches of each neuron of each layer; all divide ``width``.
        pairs: (late layer, early layer) of every feedback.
        soma_units: hidden units of each neuron's soma FFN.
        n_passes: runs through all layers; every one after the first starts with feedback.
        feedback_into: see :class:`harness_biogpt.architecture.BiogptOptions`.
        temporal_conv, branch_ffn, branch_norm, soma_ffn, nmda, branch_gate: which parts there are.
        segment: positions of a segment, at the end of which NMDA traces are passed on; None is the whole text.
        checkpointing: the backward pass computes each column again.
    """

    vocabulary: int
    context: int
    width: int
    layout: Layout
    pairs: Pairs
    soma_units: int
    n_passes: int = 1
    feedback_into: FeedbackInto = "input"
    temporal_conv: bool = True
    branch_ffn: bool = True
    branch_norm: bool = True
    soma_ffn: bool = True
    nmda: bool = True
    branch_gate: bool = False
    segment: int | None = None
    checkpointing: bool = False
