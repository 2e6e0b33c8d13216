"""A perceptron in which every band feeds every later one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Architecture, Band, Connection, Size, UnitGroup, UnitMember
from harness_architectures.bands import bands
from harness_architectures.loss import mean_loss
from harness_architectures.scaling import largest_that_fits, narrowed


class SkipMlpOptions(BaseModel):
    """What a suite may set.

    Attributes:
        hidden: units of each hidden band, from input to output.
        bias: whether hidden and output units have biases; they start at 0.
    """

    model_config = ConfigDict(extra="forbid")

    hidden: list[Size] = Field(default=[48, 48, 48, 48], min_length=1)
    bias: bool = True


class SkipMlpNetwork(nn.Module):
    """One weight per target band, (target, all earlier bands): columns in band order, the input first."""

    def __init__(self, bands: Sequence[Band], bias: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        earlier = 0
        for source, target in pairwise(bands):
            earlier += source.size
            self.layers[target.name] = nn.Linear(earlier, target.size, bias=bias)

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits or numbers, (batch, outputs), or the mean loss when targets are given."""
        inputs = inputs.flatten(1)
        width = inputs.shape[1]
        first, *later = [layer for layer in self.layers.values() if isinstance(layer, nn.Linear)]
        # The input is by far the widest band. One product for all that it feeds, forward and backward, is
        # faster than one per band or than joining it to the hidden bands, and it needs no gradient itself.
        parts = [layer.weight.split_with_sizes([width, layer.weight.shape[1] - width], 1) for layer in later]
        from_input = torch.cat([first.weight, *(part for part, _ in parts)])
        biases: list[Tensor] = [layer.bias for layer in (first, *later) if layer.bias is not None]
        sums = F.linear(inputs, from_input, torch.cat(biases) if biases else None)
        start, *sums_later = sums.split_with_sizes([len(layer.weight) for layer in (first, *later)], 1)
        hidden = start.relu()
        for (_, weight), so_far in zip(parts[:-1], sums_later, strict=False):
            hidden = torch.cat((hidden, torch.addmm(so_far, hidden, weight.t()).relu()), 1)
        logits = torch.addmm(sums_later[-1], hidden, parts[-1][1].t())
        return logits if targets is None else mean_loss(logits, targets)


class SkipMlp(Architecture[SkipMlpOptions]):
    """The network of "Neural DNA: A Compact Genome for Growing Network Architecture" (Sudarshan 2026).

    With its default bands it has 174,112 connections on 28x28 images with 10 classes.
    """

    Options = SkipMlpOptions
    kinds = ("classification", "regression")

    def build(self) -> SkipMlpNetwork:
        """A new network: weights from N(0, (2 / sqrt(n_source + n_target))^2) per pair of bands, biases 0."""
        network = SkipMlpNetwork(bands(self.data, self.options.hidden), self.options.bias)
        parameters = dict(network.named_parameters())
        with torch.no_grad():
            for connection in self.connections():
                std = 2 / (connection.source.size + connection.target.size) ** 0.5
                connection.region(parameters[connection.parameter]).normal_(0, std)
            for name, parameter in parameters.items():
                if name.endswith("bias"):
                    parameter.zero_()
        return network

    def connections(self) -> Sequence[Connection]:
        """One per pair of bands, for example ``hidden2.from_input``, by target, then by source.

        Roles: ``classifier`` for all that enter the output, skips included; otherwise ``dense`` between
        neighbours and ``skip`` across bands.
        """
        layout = bands(self.data, self.options.hidden)
        found = []
        for target in layout[1:]:
            start = 0
            for source in layout[: target.depth]:
                role = "dense" if source.depth == target.depth - 1 else "skip"
                found.append(
                    Connection(
                        name=f"{target.name}.from_{source.name}",
                        parameter=f"layers.{target.name}.weight",
                        role="classifier" if target is layout[-1] else role,
                        source=source,
                        target=target,
                        shape=(target.size, source.size),
                        columns=(start, start + source.size),
                    )
                )
                start += source.size
        return found

    def units(self) -> Sequence[UnitGroup]:
        """The neurons of each hidden band, which every later band reads."""
        layout, groups = bands(self.data, self.options.hidden), []
        for band in layout[1:-1]:
            start = sum(earlier.size for earlier in layout[: band.depth])
            members = [UnitMember(f"layers.{band.name}.weight", 0, "in")]
            if self.options.bias:
                members.append(UnitMember(f"layers.{band.name}.bias", 0, "own"))
            later = layout[band.depth + 1 :]
            members += [UnitMember(f"layers.{reader.name}.weight", 1, "out", start) for reader in later]
            groups.append(UnitGroup(band.name, "neuron", band.size, tuple(members)))
        return groups

    def scaled(self, parameters: int) -> SkipMlp:
        """The same network with narrower hidden bands, nearly in proportion; never wider than this one.

        The direct way from input to output stays, so it cannot go below input x output parameters.
        """
        widths = self.options.hidden

        def candidate(k: int) -> SkipMlp:
            return SkipMlp(self.options.model_copy(update={"hidden": narrowed(widths, k)}), self.data)

        return largest_that_fits(candidate, 0, max(widths) * len(widths), parameters)
