"""BioGPT of any size, each part of which can be left out."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from harness import Architecture, Connection, Size, UnitGroup, Unsupported
from harness_architectures.scaling import largest_that_fits, parameter_count
from harness_biogpt.column import CorticalColumn
from harness_biogpt.layout import cortical_layout, feedback_pairs
from harness_biogpt.maskable import maskable
from harness_biogpt.network import BiogptNetwork
from harness_biogpt.shape import FeedbackInto, Shape
from harness_biogpt.units import units_of


class BiogptOptions(BaseModel):
    """What a suite may set; the defaults are the published model.

    Attributes:
        n_layers: columns.
        width: units of the residual stream; numbers of branches are lowered until they divide it.
        context: positions, at least the data's; None takes the data's.
        n_passes: runs through all layers; above 1 every later one starts with feedback from the one
            before, and a learned softmax mixes them all. (The released code never runs more than two.)
        soma_expansion: hidden units of the soma FFN, in widths.
        temporal_conv: the convolution over time; it feeds the branch FFN alone and goes with it.
        branch_ffn: the FFN of each branch.
        branch_norm: the norm of each branch.
        soma_ffn: the FFN of each neuron, with its norm.
        multi_neuron: several neurons per column; if False, only the first.
        feedback: the gated feedback. With one pass it is never trained, but counted, as published.
        feedback_into: where feedback from late layers enters the next pass: all of it at its ``input``
            (released code), or each at the early ``layer`` it is named after (text).
        nmda: the NMDA decay; it acts only where a state is passed on, which ``segment`` does.
        segment: tokens of a segment. A text is then read segment by segment, attention and convolution within each, and
            what goes from one to the next are the NMDA traces. None reads it at once and without a state, as published.
        branch_gate: a learned gate for each branch, 2 sigmoid(w x + b) of the column's normed input x at each position,
            that starts at 1. Not published; w and b are not maskable, and go with their branch.
        checkpointing: the backward pass computes every column a second time instead of keeping what it needs of it.
    """

    model_config = ConfigDict(extra="forbid")

    n_layers: int = Field(12, ge=1, le=1_000)
    width: Size = 768
    context: Size | None = None
    n_passes: int = Field(1, ge=1, le=100)
    soma_expansion: float = Field(default=3.0, gt=0.0, le=1_000.0)
    temporal_conv: bool = True
    branch_ffn: bool = True
    branch_norm: bool = True
    soma_ffn: bool = True
    multi_neuron: bool = True
    feedback: bool = True
    feedback_into: FeedbackInto = "input"
    nmda: bool = True
    segment: Size | None = Field(default=None, json_schema_extra={"hashed": "unless_none"})
    branch_gate: bool | None = Field(default=None, json_schema_extra={"hashed": "unless_none"})
    checkpointing: bool | None = Field(default=None, json_schema_extra={"hashed": "unless_none"})


class Biogpt(Architecture[BiogptOptions]):
    """The dendritic language model of Hamond 2026."""

    Options = BiogptOptions
    scaled_version = "2"
    version = "3"  # float32 products where torch sends them: other last bits
    kinds = ("language",)

    @property
    def context(self) -> int:
        """Positions of the network."""
        return self.options.context or self.data.inputs[0]

    def unsupported(self) -> str | None:
        """Also refuses passes that would all be the same, and segments that would know nothing of each other."""
        shape = self.shape
        if reason := super().unsupported():
            return reason
        if shape.n_passes > 1 and not shape.pairs:
            return (
                f"n_passes {shape.n_passes} without feedback are equal passes; "
                "set n_passes: 1, or feedback: true with n_layers of 3 or more"
            )
        if shape.segment is not None and not shape.nmda:
            return "segments pass NMDA traces on, and nmda: false has none; leave segment out, or set nmda: true"
        return None

    def build(self) -> BiogptNetwork:
        """A new network, initialised from torch's current random state."""
        return BiogptNetwork(self.shape)

    def connections(self) -> Sequence[Connection]:
        """Embedding, layers, feedback, head; see :func:`harness_biogpt.maskable.maskable`."""
        return list(maskable(self.shape))

    def units(self) -> Sequence[UnitGroup]:
        """Neurons, branches, soma FFN units, the residual stream; see :func:`harness_biogpt.units.units_of`."""
        return list(units_of(self.shape))

    def cut(self, module: nn.Module, kept: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> None:
        """Columns note how many branches each neuron has, and share themselves out among their neurons."""
        assert isinstance(module, BiogptNetwork)
        for i, (column, layer) in enumerate(zip(module.columns, self.shape.layout, strict=True)):
            assert isinstance(column, CorticalColumn)
            branches = [kept[f"layer{i}.neuron{j}.branches"] for j in range(len(layer))]
            column.cut(kept[f"layer{i}.neurons"], branches, whole[f"columns.{i}.neuron_weights"])

    def scaled(self, parameters: int) -> Biogpt:
        """The same network with a smaller width that keeps every neuron's branches, of 2 units or more.

        Widths are far apart, so somata then get as many hidden units more as fit.
        """
        layout = self.shape.layout
        widest = max(branches for layer in layout for branches in layer)
        widths = [
            width
            for width in range(2 * widest, self.options.width + 1)
            if cortical_layout(width, self.options.n_layers, self.options.multi_neuron) == layout
        ]
        fitting = bisect_right(widths, parameters, key=lambda width: parameter_count(self._of_width(width)))
        if fitting == 0:
            least = parameter_count(self._of_width(widths[0]) if widths else self)
            raise Unsupported(
                f"biogpt with the branches of width {self.options.width} cannot be made as small as {parameters} "
                f"parameters: at its narrowest it has {least}. Ask for a higher density, or leave this control out."
            )
        width = widths[fitting - 1]
        least, most = self._of_width(width).shape.soma_units, self.shape.soma_units
        return largest_that_fits(lambda units: self._of_width(width, units), least, most, parameters)

    @property
    def shape(self) -> Shape:
        """The network's sizes and parts."""
        options = self.options
        return Shape(
            vocabulary=self.data.outputs,
            context=options.context or self.data.inputs[0],
            width=options.width,
            layout=cortical_layout(options.width, options.n_layers, options.multi_neuron),
            pairs=feedback_pairs(options.n_layers) if options.feedback else (),
            soma_units=max(1, int(options.width * options.soma_expansion)),
            n_passes=options.n_passes,
            feedback_into=options.feedback_into,
            temporal_conv=options.temporal_conv,
            branch_ffn=options.branch_ffn,
            branch_norm=options.branch_norm,
            soma_ffn=options.soma_ffn,
            nmda=options.nmda,
            branch_gate=bool(options.branch_gate),
            segment=options.segment,
            checkpointing=bool(options.checkpointing),
        )

    def _of_width(self, width: int, soma_units: int | None = None) -> Biogpt:
        expansion = self.options.soma_expansion
        if soma_units is not None and int(width * expansion) != soma_units:
            expansion = math.ceil(1e6 * soma_units / width) / 1e6
        return Biogpt(self.options.model_copy(update={"width": width, "soma_expansion": expansion}), self.data)
