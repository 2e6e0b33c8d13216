"""The residual network for small pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Architecture, Band, Connection, Size, UnitGroup, UnitMember
from harness_architectures.loss import mean_cross_entropy
from harness_architectures.scaling import with_groups
from harness_vision.conv_norm import ConvNorm, Initialisation, initialise, written


class ResNetOptions(BaseModel):
    """What a suite may set.

    Attributes:
        depth: layers with weights on the longest way, 6 n + 2 with n blocks in each of three groups: 8, 14, 20, 32, ...
        width: channels of the first group, doubled in the second and again in the third; or of each of the three.
        shortcut: past the two blocks that change the shape: ``projection`` is a 1x1 convolution with a norm of its own,
            ``padding`` takes every other pixel and adds channels of zeros (He et al. 2015, options B and A).
        initialisation: of the convolutions: ``he`` as published, ``kaiming`` as torch does.
    """

    model_config = ConfigDict(extra="forbid")

    depth: int = Field(default=20, ge=8, le=1202)
    width: Annotated[int, Field(ge=1)] | Annotated[list[Size], Field(min_length=3, max_length=3)] = 16
    shortcut: Literal["projection", "padding"] = "projection"
    initialisation: Initialisation = "he"

    @field_validator("depth")
    @classmethod
    def _of_whole_blocks(cls, depth: int) -> int:
        if (depth - 2) % 6:
            below = (depth - 2) // 6 * 6 + 2
            raise ValueError(
                f"a residual network has 6 n + 2 layers: {depth} is none of these, {below} and {below + 6} are"
            )
        return depth

    @model_validator(mode="after")
    def _padding_adds(self) -> ResNetOptions:
        if self.shortcut == "padding" and self.widths != sorted(self.widths):
            raise ValueError(f"shortcuts that pad add channels, so no group is narrower than the last: {self.width}")
        return self

    @property
    def widths(self) -> list[int]:
        """Channels of each group."""
        return self.width if isinstance(self.width, list) else [self.width, 2 * self.width, 4 * self.width]


@dataclass(frozen=True, slots=True)
class _Block:
    """Number ``k``, from 1; channels it reads and writes; its stride; whether the shortcut is a projection."""

    k: int
    inputs: int
    outputs: int
    stride: int
    projects: bool

    @property
    def changes(self) -> bool:
        return self.inputs != self.outputs or self.stride != 1


class ResNetBlock(nn.Module):
    """relu(second(relu(first(x))) + shortcut(x))."""

    def __init__(self, block: _Block) -> None:
        super().__init__()
        self.first = ConvNorm(block.inputs, block.outputs, stride=block.stride)
        self.second = ConvNorm(block.outputs, block.outputs)
        self.shortcut = ConvNorm(block.inputs, block.outputs, 1, block.stride) if block.projects else None
        self._stride, self._more = block.stride, block.outputs - block.inputs
        self.left: Tensor | None = None  # channels that were not cut out of a padded shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, side, side) to (batch, outputs, side / stride, side / stride)."""
        past = x if self.shortcut is None else self.shortcut(x)
        if self.shortcut is None and (self._more or self._stride > 1):
            past = F.pad(x[:, :, :: self._stride, :: self._stride], (0, 0, 0, 0, 0, self._more))
            past = past if self.left is None else past.index_select(1, self.left)
        inner = self.second(self.first(x).relu())
        return torch.relu(inner + past)


class ResNetNetwork(nn.Module):
    """A convolution, the blocks, and a linear map of the last channels' means."""

    def __init__(self, channels: int, blocks: Sequence[_Block], classes: int) -> None:
        super().__init__()
        self.stem = ConvNorm(channels, blocks[0].inputs)
        self.blocks = nn.ModuleDict({f"block{block.k}": ResNetBlock(block) for block in blocks})
        self.classifier = nn.Linear(blocks[-1].outputs, classes)

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits (batch, classes), or the mean loss when targets (batch,) are given."""
        x = self.stem(inputs).relu()
        for block in self.blocks.values():
            x = block(x)
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits if targets is None else mean_cross_entropy(logits, targets)


class ResNet(Architecture[ResNetOptions]):
    """He et al. 2015, "Deep Residual Learning for Image Recognition", section 4.2 (arXiv:1512.03385).

    Three groups of blocks of two 3x3 convolutions, of ``width``, 2 ``width`` and 4 ``width`` channels; the second and
    the third group begin by halving the picture. With 16 channels and projections ResNet-20 has 272,474 parameters for
    ten classes, with padding 269,722; ResNet-14 is the baseline of Neural DNA's CIFAR experiments (175,258).
    """

    Options = ResNetOptions
    scaled_version = "2"
    kinds = ("classification",)

    def unsupported(self) -> str | None:
        """Also what is no square picture that can be halved twice."""
        shape = self.data.inputs
        if reason := super().unsupported():
            return reason
        if len(shape) != 3 or shape[1] != shape[2] or shape[1] % 4:
            return f"takes pictures (channels, side, side) of a side that 4 divides, not {shape}"
        return None

    def build(self) -> ResNetNetwork:
        """A new network, initialised from torch's current random state."""
        network = ResNetNetwork(self.data.inputs[0], self._blocks(), self.data.outputs)
        initialise(network, self.options.initialisation)
        return network

    def connections(self) -> Sequence[Connection]:
        """One per convolution, named after its target band, and the classifier.

        Roles: ``conv``, ``skip`` for the projections past a block, ``classifier``.
        """
        output = Band("output", self.data.outputs, 2 * len(self._blocks()) + 2)
        stream = Band("stem", self.options.widths[0], 1)
        picture = Band("input", self.data.inputs[0], 0)
        found = [_connection("stem", "stem", "conv", picture, stream, 3)]
        for block in self._blocks():
            name, place = f"block{block.k}", f"blocks.block{block.k}"
            hidden = Band(f"{name}.hidden", block.outputs, 2 * block.k)
            after = Band(name, block.outputs, 2 * block.k + 1)
            found.append(_connection(hidden.name, f"{place}.first", "conv", stream, hidden, 3))
            found.append(_connection(name, f"{place}.second", "conv", hidden, after, 3))
            if block.projects:
                found.append(_connection(f"{name}.shortcut", f"{place}.shortcut", "skip", stream, after, 1))
            stream = after
        shape = (output.size, stream.size)
        return [*found, Connection("output", "classifier.weight", "classifier", stream, output, shape)]

    def units(self) -> Sequence[UnitGroup]:
        """The channels within each block, and those of each group's stream, which all of its blocks read and write."""
        blocks, groups = self._blocks(), []
        stream, group = written("stem"), 1
        for block in blocks:
            place = f"blocks.block{block.k}"
            hidden = [*written(f"{place}.first"), UnitMember(f"{place}.second.conv.weight", 1, "out")]
            groups.append(UnitGroup(f"block{block.k}.hidden", "channel", block.outputs, tuple(hidden)))
            stream.append(UnitMember(f"{place}.first.conv.weight", 1, "out"))
            if block.changes:
                coupled = None if block.projects else "the next group's stream, which these channels are a part of"
                if block.projects:
                    stream.append(UnitMember(f"{place}.shortcut.conv.weight", 1, "out"))
                groups.append(UnitGroup(f"group{group}", "channel", block.inputs, tuple(stream), coupled))
                stream = written(f"{place}.shortcut") if block.projects else []
                group += 1
            stream += written(f"{place}.second")
        stream.append(UnitMember("classifier.weight", 1, "out"))
        return [*groups, UnitGroup(f"group{group}", "channel", blocks[-1].outputs, tuple(stream))]

    def cut(self, module: nn.Module, kept: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> None:
        """A shortcut that pads with zeros has none for channels that are gone."""
        padded = [block for block in self._blocks() if block.changes and not block.projects]
        last = next((left for name, left in kept.items() if name == "group3" and not left.all()), None)
        if padded and last is not None:
            block = module.get_submodule(f"blocks.block{padded[-1].k}")
            assert isinstance(block, ResNetBlock)
            block.left = last.nonzero().flatten().to(block.first.conv.weight.device)

    def scaled(self, parameters: int) -> ResNet:
        """The same depth with fewer channels, nearly in proportion."""
        options = self.options

        def candidate(widths: list[int]) -> ResNet:
            width = options.width if widths == options.widths else widths
            return ResNet(options.model_copy(update={"width": width}), self.data)

        return with_groups(candidate, options.widths, parameters)

    def _blocks(self) -> list[_Block]:
        widths = self.options.widths
        a_group, inputs = (self.options.depth - 2) // 6, widths[0]
        found: list[_Block] = []
        for group, outputs in enumerate(widths):
            for i in range(a_group):
                stride = 2 if group and not i else 1
                changes = inputs != outputs or stride > 1
                projects = changes and self.options.shortcut == "projection"
                found.append(_Block(len(found) + 1, inputs, outputs, stride, projects))
                inputs = outputs
        return found


def _connection(name: str, place: str, role: str, source: Band, target: Band, kernel: int) -> Connection:
    shape = (target.size, source.size, kernel, kernel)
    return Connection(name, f"{place}.conv.weight", role, source, target, shape)
