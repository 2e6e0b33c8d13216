"""Pictures that stay in their files and are decoded when a batch asks for them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from math import exp, log, sqrt
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from harness import CorruptFile
from harness.machine import cores

Box = tuple[float, float, float, float]
"""A part of a picture: left, upper, right, lower, in pixels."""
Cut = Callable[[int, int], tuple[Box, bool]]
"""From a picture's width and height to the part to take, and whether to mirror it."""
UNREADABLE = (OSError, SyntaxError, ValueError)
"""What Pillow raises, depending on the format."""


@functools.cache
def decoders() -> ThreadPoolExecutor:
    """A thread for each core: decoding and resizing hold no lock."""
    return ThreadPoolExecutor(cores(), thread_name_prefix="decoder")


@dataclass(frozen=True, slots=True)
class Pictures:
    """Picture files with labels, as float32 (batch, 3, size, size): the middle of each.

    As torchvision's reference does: the shorter side is made ``resize`` pixels long, bilinearly with antialiasing, and
    the middle is cut out; here in one step, so that only what is needed is computed.

    Attributes:
        folder: where the files are.
        names: of the files in there, (n,).
        labels: (n,) int64 on the device.
        scale, shift: a pixel becomes pixel * scale + shift, (3, 1, 1) each.
        size, resize: pixels of a side.
    """

    folder: Path
    names: list[str]
    labels: Tensor
    scale: Tensor
    shift: Tensor
    size: int
    resize: int

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 3, size, size) and (batch,) labels.

        Raises:
            CorruptFile: with the name of the file that cannot be read.
        """

        def cut(width: int, height: int) -> tuple[Box, bool]:
            return middle_box(width, height, self.size, self.resize), False

        return self._decoded(indices, repeat(cut))

    def _decoded(self, indices: Tensor, cuts: Iterable[Cut]) -> tuple[Tensor, Tensor]:
        pixels = torch.empty(len(indices), 3, self.size, self.size, dtype=torch.uint8)
        paths = (self.folder / self.names[i] for i in indices.tolist())
        for _ in decoders().map(_decode, paths, cuts, pixels.numpy()):
            pass
        inputs = pixels.to(self.labels.device).to(torch.float32).mul_(self.scale).add_(self.shift)
        return inputs, self.labels.index_select(0, indices.to(self.labels.device))


@dataclass(frozen=True, slots=True)
class CroppedPictures(Pictures):
    """Pictures of which training sees a part of random place, size and shape, every other one mirrored.

    The usual augmentation of ImageNet (Szegedy et al. 2014, arXiv:1409.4842, section 6), see :func:`random_box`.

    Attributes:
        draws: five numbers a picture: those of the part, and whether it is mirrored.
    """

    draws: int = 5

    def augmented(self, indices: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`batch`, altered by ``numbers`` (batch, 5) in [0, 1)."""

        def cut(own: list[float]) -> Cut:
            return lambda width, height: (random_box(width, height, own[:4]), own[4] < 0.5)

        return self._decoded(indices, map(cut, numbers.tolist()))


def middle_box(width: int, height: int, size: int, resize: int) -> Box:
    """What the middle ``size`` x ``size`` pixels are made of once the shorter side is ``resize`` pixels long."""
    shorter = min(width, height)
    sides = (resize * width // shorter, resize * height // shorter)
    left, upper = (round((side - size) / 2) for side in sides)
    x, y = width / sides[0], height / sides[1]
    return left * x, upper * y, (left + size) * x, (upper + size) * y


def random_box(width: int, height: int, numbers: list[float]) -> Box:
    """A part with 8 to 100 % of the area and sides in proportions of 3:4 to 4:3, all of it inside the picture.

    The share of the area is uniform, then the logarithm of the proportion among those that fit, then the place.
    Usual code draws both anew until they fit, ten times, which takes an unknown amount of random numbers.

    Args:
        width, height: of the picture.
        numbers: for area, proportion, left and upper edge, in [0, 1).
    """
    shape, narrowest = width / height, 3 / 4
    largest = min(1.0, shape / narrowest, 1 / (shape * narrowest))
    smallest = min(0.08, largest)
    area = smallest + numbers[0] * (largest - smallest)
    low, high = max(narrowest, area * shape), min(1 / narrowest, shape / area)
    proportion = exp(log(low) + numbers[1] * (log(high) - log(low)))
    across = min(float(width), sqrt(area * width * height * proportion))
    down = min(float(height), sqrt(area * width * height / proportion))
    left, upper = numbers[2] * (width - across), numbers[3] * (height - down)
    return left, upper, min(left + across, width), min(upper + down, height)


def unreadable(paths: Iterable[Path]) -> list[str]:
    """One line per file that does not begin as a picture; what follows is not read."""
    return [problem for problem in decoders().map(_problem, paths) if problem]


def _problem(path: Path) -> str | None:
    try:
        with Image.open(path):
            return None
    except UNREADABLE as error:
        return f"{path} is no picture ({error}): get it again"


def _decode(path: Path, cut: Cut, out: NDArray[np.uint8]) -> None:
    """Write a part of a picture into ``out`` (3, size, size)."""
    size = out.shape[1:]
    try:
        with Image.open(path) as picture:
            box, mirrored = cut(*picture.size)
            colours = picture.convert("RGB").resize(size, Image.Resampling.BILINEAR, box=box)
    except UNREADABLE as error:
        raise CorruptFile(f"{path} cannot be read as a picture ({error}): get it again") from error
    pixels = np.asarray(colours).transpose(2, 0, 1)
    out[:] = pixels[:, :, ::-1] if mirrored else pixels
