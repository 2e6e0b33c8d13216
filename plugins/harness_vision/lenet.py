"""LeNet-5 as Caffe has it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Architecture, Band, Connection, Size, UnitGroup, UnitMember
from harness_architectures.loss import mean_cross_entropy
from harness_architectures.scaling import largest_that_fits, narrowed

_KERNEL = 5


class LeNetOptions(BaseModel):
    """What a suite may set.

    Attributes:
        channels: of the two convolutions.
        hidden: units of the hidden linear layer.
    """

    model_config = ConfigDict(extra="forbid")

    channels: list[Size] = Field(default=[20, 50], min_length=2, max_length=2)
    hidden: Size = 500


class LeNetNetwork(nn.Module):
    """Two 5x5 convolutions without padding, each followed by the maximum of 2x2; a linear layer; a classifier.

    As in Caffe, only the linear layer has a ReLU.
    """

    def __init__(self, sizes: Sequence[int], places: int) -> None:
        super().__init__()
        picture, first, second, hidden, classes = sizes
        self.conv1 = nn.Conv2d(picture, first, _KERNEL)
        self.conv2 = nn.Conv2d(first, second, _KERNEL)
        self.hidden = nn.Linear(second * places, hidden)
        self.classifier = nn.Linear(hidden, classes)

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits (batch, classes), or the mean loss when targets (batch,) are given."""
        x = F.max_pool2d(self.conv1(inputs), 2)
        x = F.max_pool2d(self.conv2(x), 2)
        logits: Tensor = self.classifier(self.hidden(x.flatten(1)).relu())
        return logits if targets is None else mean_cross_entropy(logits, targets)


class LeNet(Architecture[LeNetOptions]):
    """LeNet-5-Caffe, the convolutional network of SNIP, L0 and others on MNIST: 431,080 parameters on 28x28 pixels.

    (LeCun et al. 1998, as Caffe's example has it; torch's own initial weights.)
    """

    Options = LeNetOptions
    kinds = ("classification",)

    def unsupported(self) -> str | None:
        """Also what is no square picture of at least 16 pixels."""
        shape = self.data.inputs
        if reason := super().unsupported():
            return reason
        if len(shape) != 3 or shape[1] != shape[2] or shape[1] < 16:
            return f"takes pictures (channels, side, side) of at least 16 pixels a side, not {shape}"
        return None

    def build(self) -> LeNetNetwork:
        """A new network, initialised from torch's current random state."""
        return LeNetNetwork(self._sizes(), self._places())

    def connections(self) -> Sequence[Connection]:
        """One per layer, named after it: ``conv`` (two), ``dense``, ``classifier``.

        The hidden layer reads every place of every channel: its source is a band of all of them.
        """
        picture, first, second, hidden, classes = self._sizes()
        bands = [Band("input", picture, 0), Band("conv1", first, 1), Band("conv2", second, 2)]
        places = Band("places", second * self._places(), 2)
        last, output = Band("hidden", hidden, 3), Band("output", classes, 4)
        convs = [
            Connection(b.name, f"{b.name}.weight", "conv", a, b, (b.size, a.size, _KERNEL, _KERNEL))
            for a, b in pairwise(bands)
        ]
        return [
            *convs,
            Connection("hidden", "hidden.weight", "dense", places, last, (last.size, places.size)),
            Connection("output", "classifier.weight", "classifier", last, output, (output.size, last.size)),
        ]

    def units(self) -> Sequence[UnitGroup]:
        """The channels of both convolutions, the neurons of the hidden layer."""
        _, first, second, hidden, _ = self._sizes()
        read = {"conv1": ("conv2", 1), "conv2": ("hidden", self._places()), "hidden": ("classifier", 1)}
        counts = {"conv1": first, "conv2": second, "hidden": hidden}
        return [
            UnitGroup(
                name,
                "neuron" if name == "hidden" else "channel",
                counts[name],
                (
                    UnitMember(f"{name}.weight", 0, "in"),
                    UnitMember(f"{name}.bias", 0, "own"),
                    UnitMember(f"{reader}.weight", 1, "out", width=width),
                ),
            )
            for name, (reader, width) in read.items()
        ]

    def scaled(self, parameters: int) -> LeNet:
        """The same layers, narrower, nearly in proportion."""
        widths = [*self.options.channels, self.options.hidden]

        def candidate(k: int) -> LeNet:
            first, second, hidden = narrowed(widths, k)
            return LeNet(LeNetOptions(channels=[first, second], hidden=hidden), self.data)

        return largest_that_fits(candidate, 0, max(widths) * len(widths), parameters)

    def _sizes(self) -> tuple[int, int, int, int, int]:
        first, second = self.options.channels
        return (self.data.inputs[0], first, second, self.options.hidden, self.data.outputs)

    def _places(self) -> int:
        """How many pixels are left of a channel."""
        side = self.data.inputs[1]
        for _ in range(2):
            side = (side - _KERNEL + 1) // 2
        return side**2
