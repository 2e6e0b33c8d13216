"""A convolutional network in which every band of channels feeds every later one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Architecture, Band, Connection, Size, UnitGroup, UnitMember
from harness_architectures.loss import mean_cross_entropy
from harness_architectures.scaling import largest_that_fits, narrowed


class BandCnnOptions(BaseModel):
    """What a suite may set.

    Attributes:
        channels: of each hidden band, from input to output.
        strides: of the convolution into each hidden band, 1 or 2; the side of its input must be even for 2.
        skips: whether a band reads all earlier ones, or only the one before it (the trunk alone).
    """

    model_config = ConfigDict(extra="forbid")

    channels: list[Size] = Field(default=[16, 16, 32, 32, 64, 64], min_length=1)
    strides: list[Literal[1, 2]] = [1, 1, 2, 1, 2, 1]
    skips: bool = True

    @model_validator(mode="after")
    def _of_equal_length(self) -> Self:
        if len(self.channels) != len(self.strides):
            raise ValueError(f"{len(self.channels)} channels and {len(self.strides)} strides: give one for each band")
        return self


class BandCnnNetwork(nn.Module):
    """x_t = relu(norm_t(conv_t(x_{t-1}) + sum over s <= t - 2 of norm_ts(conv_ts(x_s, averaged to the side of t)))).

    ``conv_t`` is 3x3, ``conv_ts`` 1x1; neither has a bias. The logits are a linear map of the last band's means.
    """

    def __init__(self, bands: Sequence[Band], sides: Sequence[int], skips: bool) -> None:
        super().__init__()
        self.convs, self.norms = nn.ModuleDict(), nn.ModuleDict()
        self.skip_convs, self.skip_norms = nn.ModuleDict(), nn.ModuleDict()
        first, *hidden, last = bands
        for source, target in zip([first, *hidden], hidden, strict=False):
            stride = sides[source.depth] // sides[target.depth]
            self.convs[target.name] = nn.Conv2d(source.size, target.size, 3, stride, padding=1, bias=False)
            self.norms[target.name] = nn.BatchNorm2d(target.size)
        self.sources: dict[str, list[tuple[str, int, int]]] = {}
        for target in hidden:
            for source in bands[: target.depth - 1] if skips else ():
                name = f"{target.name}_from_{source.name}"
                self.skip_convs[name] = nn.Conv2d(source.size, target.size, 1, bias=False)
                self.skip_norms[name] = nn.BatchNorm2d(target.size)
                block = sides[source.depth] // sides[target.depth]
                self.sources.setdefault(target.name, []).append((name, source.depth, block))
        self.classifier = nn.Linear(hidden[-1].size, last.size)

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits (batch, classes), or the mean loss when targets (batch,) are given."""
        outputs, means = [inputs], {(0, 1): inputs}
        for name, conv in self.convs.items():
            total = conv(outputs[-1])
            for skip, source, block in self.sources.get(name, ()):
                if (source, block) not in means:
                    means[source, block] = F.avg_pool2d(outputs[source], block)
                total = total + self.skip_norms[skip](self.skip_convs[skip](means[source, block]))
            outputs.append(self.norms[name](total).relu())
            means[len(outputs) - 1, 1] = outputs[-1]
        logits: Tensor = self.classifier(outputs[-1].mean((2, 3)))
        return logits if targets is None else mean_cross_entropy(logits, targets)


class BandCnn(Architecture[BandCnnOptions]):
    """The CIFAR network of "Neural DNA: A Compact Genome for Growing Network Architecture" (Sudarshan 2026).

    With its default bands it has 86,858 parameters on images of 3 channels with 10 classes, and with a genome of 258
    numbers the published 87,116.
    """

    Options = BandCnnOptions
    kinds = ("classification",)

    def unsupported(self) -> str | None:
        """Also what is no square picture, or cannot be halved as often as the strides say."""
        shape, halvings = self.data.inputs, self.options.strides.count(2)
        if reason := super().unsupported():
            return reason
        if len(shape) != 3 or shape[1] != shape[2]:
            return f"takes pictures (channels, side, side), not {shape}"
        if shape[1] % 2**halvings:
            return f"halves its pictures {halvings} times, and {shape[1]} pixels cannot be"
        return None

    def build(self) -> BandCnnNetwork:
        """A new network with torch's own initial weights."""
        return BandCnnNetwork(self._bands(), self._sides(), self.options.skips)

    def connections(self) -> Sequence[Connection]:
        """One per pair of bands that are joined, by target, then by source: ``band3.from_band1``.

        Roles: ``conv`` between neighbours, ``skip`` across bands, ``classifier`` into the output. A kernel is one pair.
        """
        bands, found = self._bands(), []
        for target in bands[1:-1]:
            sources = bands[: target.depth] if self.options.skips else [bands[target.depth - 1]]
            for source in sources:
                near = source.depth == target.depth - 1
                place = f"convs.{target.name}" if near else f"skip_convs.{target.name}_from_{source.name}"
                shape = (target.size, source.size, *((3, 3) if near else (1, 1)))
                name, role = f"{target.name}.from_{source.name}", "conv" if near else "skip"
                found.append(Connection(name, f"{place}.weight", role, source, target, shape, counts="pair"))
        last, output = bands[-2:]
        name, whole = f"{output.name}.from_{last.name}", (output.size, last.size)
        return [*found, Connection(name, "classifier.weight", "classifier", last, output, whole, counts="pair")]

    def units(self) -> Sequence[UnitGroup]:
        """The channels of each hidden band."""
        connections, groups = self.connections(), []
        for band in self._bands()[1:-1]:
            into = [c for c in connections if c.target == band]
            members = [UnitMember(c.parameter, 0, "in") for c in into]
            norms = [c.parameter.replace("convs.", "norms.", 1).removesuffix(".weight") for c in into]
            kept = ("weight", "bias", "running_mean", "running_var")
            members += [UnitMember(f"{norm}.{part}", 0, "own") for norm in norms for part in kept]
            members += [UnitMember(c.parameter, 1, "out") for c in connections if c.source == band]
            groups.append(UnitGroup(band.name, "channel", band.size, tuple(members)))
        return groups

    def scaled(self, parameters: int) -> BandCnn:
        """The same network with fewer channels, nearly in proportion; never more than this one has."""
        channels = self.options.channels

        def candidate(k: int) -> BandCnn:
            return BandCnn(self.options.model_copy(update={"channels": narrowed(channels, k)}), self.data)

        return largest_that_fits(candidate, 0, max(channels) * len(channels), parameters)

    def _bands(self) -> list[Band]:
        channels = self.options.channels
        names = ["input", *(f"band{i}" for i in range(1, len(channels) + 1)), "output"]
        sizes = [self.data.inputs[0], *channels, self.data.outputs]
        return [Band(name, size, depth) for depth, (name, size) in enumerate(zip(names, sizes, strict=True))]

    def _sides(self) -> list[int]:
        """Pixels of a side, of the input and of each hidden band."""
        sides = [self.data.inputs[1]]
        for stride in self.options.strides:
            sides.append(sides[-1] // stride)
        return sides
