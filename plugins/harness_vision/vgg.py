"""VGG with batch normalisation, for small pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Architecture, Band, Connection, Size, UnitGroup, UnitMember
from harness_architectures.loss import mean_cross_entropy
from harness_architectures.scaling import with_groups
from harness_vision.conv_norm import ConvNorm, Initialisation, initialise, written

_CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""In each of the five groups, by depth."""


class VggOptions(BaseModel):
    """What a suite may set.

    Attributes:
        depth: layers with weights of the original, which has two linear layers more: 11, 13, 16 or 19.
        width: channels of the first group; the others have 2, 4, 8 and 8 times as many. Or those of each of the five.
        initialisation: of the convolutions: ``he``, or ``kaiming`` as torch does.
    """

    model_config = ConfigDict(extra="forbid")

    depth: Literal[11, 13, 16, 19] = 16
    width: Annotated[int, Field(ge=1)] | Annotated[list[Size], Field(min_length=5, max_length=5)] = 64
    initialisation: Initialisation = "he"

    @property
    def widths(self) -> list[int]:
        """Channels of each group."""
        return self.width if isinstance(self.width, list) else [self.width * times for times in (1, 2, 4, 8, 8)]


class VggNetwork(nn.Module):
    """Groups of convolutions with norm and ReLU, each group followed by the maximum of 2x2; a linear classifier."""

    def __init__(self, channels: Sequence[int], ends: Sequence[int], classes: int) -> None:
        super().__init__()
        pairs = pairwise(channels)
        self.layers = nn.ModuleDict({f"conv{i}": ConvNorm(a, b) for i, (a, b) in enumerate(pairs, start=1)})
        self.classifier = nn.Linear(channels[-1], classes)
        self._ends = frozenset(f"conv{end}" for end in ends)

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits (batch, classes), or the mean loss when targets (batch,) are given."""
        x = inputs
        for name, layer in self.layers.items():
            x = layer(x).relu()
            if name in self._ends:
                x = F.max_pool2d(x, 2)
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits if targets is None else mean_cross_entropy(logits, targets)


class Vgg(Architecture[VggOptions]):
    """Simonyan and Zisserman 2014 (arXiv:1409.1556), as pruning papers have it for CIFAR.

    With batch normalisation, without biases of convolutions, and with one linear layer after them: 14,724,042
    parameters for VGG-16 and ten classes.
    """

    Options = VggOptions
    scaled_version = "2"
    kinds = ("classification",)

    def unsupported(self) -> str | None:
        """Also what is no square picture that can be halved five times."""
        shape = self.data.inputs
        if reason := super().unsupported():
            return reason
        if len(shape) != 3 or shape[1] != shape[2] or shape[1] % 32:
            return f"takes pictures (channels, side, side) of a side that 32 divides, not {shape}"
        return None

    def build(self) -> VggNetwork:
        """A new network, initialised from torch's current random state."""
        network = VggNetwork(self._channels(), self._ends(), self.data.outputs)
        initialise(network, self.options.initialisation)
        return network

    def connections(self) -> Sequence[Connection]:
        """One per layer, named after its target band: ``conv`` and ``classifier``."""
        sizes = [*self._channels(), self.data.outputs]
        names = ["input", *(f"conv{i}" for i in range(1, len(sizes) - 1)), "output"]
        bands = [Band(name, size, depth) for depth, (name, size) in enumerate(zip(names, sizes, strict=True))]
        found = []
        for source, target in pairwise(bands[:-1]):
            place, shape = f"layers.{target.name}.conv.weight", (target.size, source.size, 3, 3)
            found.append(Connection(target.name, place, "conv", source, target, shape))
        last, output = bands[-2:]
        whole = (output.size, last.size)
        return [*found, Connection("output", "classifier.weight", "classifier", last, output, whole)]

    def units(self) -> Sequence[UnitGroup]:
        """The channels of each convolution."""
        groups = []
        for writer, reader in pairwise(self.connections()):
            members = [*written(f"layers.{writer.name}"), UnitMember(reader.parameter, 1, "out")]
            groups.append(UnitGroup(writer.name, "channel", writer.target.size, tuple(members)))
        return groups

    def scaled(self, parameters: int) -> Vgg:
        """The same depth with fewer channels, nearly in proportion."""
        options = self.options

        def candidate(widths: list[int]) -> Vgg:
            width = options.width if widths == options.widths else widths
            return Vgg(options.model_copy(update={"width": width}), self.data)

        return with_groups(candidate, options.widths, parameters)

    def _channels(self) -> list[int]:
        """Of the picture, and of each convolution."""
        counts = _CONVOLUTIONS[self.options.depth]
        of_groups = zip(self.options.widths, counts, strict=True)
        return [self.data.inputs[0], *(width for width, n in of_groups for _ in range(n))]

    def _ends(self) -> list[int]:
        """The last convolution of each group, counted from 1."""
        counts = _CONVOLUTIONS[self.options.depth]
        return [sum(counts[: i + 1]) for i in range(len(counts))]
