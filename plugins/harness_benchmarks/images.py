"""What the sets of small images share: normalisation, validation split, evaluation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from harness import Benchmark, DataSpec, Measurement, Metric, Split, TrainingData

Bytes = NDArray[np.uint8]


class ImageOptions(BaseModel):
    """Options of an image benchmark."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    normalize: Literal["unit", "standard"] = "standard"
    """``unit`` scales pixels to [0, 1]; ``standard`` then also subtracts the mean and divides by the standard
    deviation of all pixels of the training images (validation included), of each colour its own."""
    validation_size: int = Field(ge=0)
    """Training images held out for validation; 0 trains on all and has no validation metrics."""


@dataclass(frozen=True, slots=True)
class Images:
    """Images as bytes (n, channels, height, width) on one device, with labels (n,) int64.

    ``batch`` gathers and normalises: pixel * scale + shift, as float32, both (channels, 1, 1).
    """

    pixels: Tensor
    labels: Tensor
    scale: Tensor
    shift: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, height, width) float32 images and (batch,) int64 labels."""
        indices = indices.to(self.labels.device)
        return self.normalised(self.pixels.index_select(0, indices)), self.labels.index_select(0, indices)

    def normalised(self, pixels: Tensor) -> Tensor:
        """Bytes (batch, channels, height, width) as float32."""
        return pixels.to(torch.float32).mul_(self.scale).add_(self.shift)


class ImageBenchmark(Benchmark[ImageOptions]):
    """Classification of small images, scored one by one; n is the number of images.

    Standard errors are over images: sqrt(p (1 - p) / (n - 1)) for an accuracy of p.

    Attributes:
        inputs: shape of one image, (channels, height, width).
        classes: how many there are.
        sizes: number of training images (validation included) and of test images.
        levels: the largest value a pixel can have.
        mean, std: of all pixels of the training images (validation included), scaled to [0, 1], a number a channel.
        eval_batch_size: fixed, so that scores do not depend on the machine.
    """

    metrics = (Metric("accuracy", "fraction", "max"), Metric("loss", "nats", "min"))
    inputs: tuple[int, int, int]
    classes: ClassVar[int] = 10
    sizes: ClassVar[tuple[int, int]]
    levels: ClassVar[int]
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]
    eval_batch_size: ClassVar[int] = 1000

    def __init__(self, options: ImageOptions) -> None:
        super().__init__(options)
        self._splits: dict[torch.device, dict[str, Images]] = {}

    @abstractmethod
    def read(self) -> tuple[Bytes, NDArray[Any], Bytes, NDArray[Any]]:
        """Training images (n, channels, height, width) and labels (n,), then those for testing.

        Validation is the first ``validation_size`` of the training images, so their order is a fixed,
        well-mixed one.
        """

    def spec(self) -> DataSpec:
        """Known without the data."""
        return DataSpec("classification", self.inputs, self.classes, self.sizes[0] - self.options.validation_size)

    def examples(self, split: Split) -> int:
        """Known without the data."""
        return self.sizes[1] if split == "test" else self.options.validation_size

    def preprocessing(self) -> Mapping[str, Any]:
        """How bytes become inputs."""
        return pixels_to_inputs(self.options.normalize, self.mean, self.std, self.levels)

    def training_data(self, device: torch.device) -> Images:
        """The training images without those held out for validation."""
        return self._split("train", device)

    def evaluate(
        self, model: Callable[[Tensor], Tensor], split: Split, device: torch.device
    ) -> Mapping[str, Measurement]:
        """Accuracy of the largest logit, and mean cross-entropy in nats; empty without validation images."""
        return scored(model, self._split(split, device), self.eval_batch_size)

    def _split(self, split: str, device: torch.device) -> Images:
        if device not in self._splits:
            images, labels, test_images, test_labels = self.read()
            held_out = self.options.validation_size
            self._splits[device] = {
                "train": self._images(images[held_out:], labels[held_out:], device),
                "validation": self._images(images[:held_out], labels[:held_out], device),
                "test": self._images(test_images, test_labels, device),
            }
        return self._splits[device][split]

    def _images(self, images: Bytes, labels: NDArray[Any], device: torch.device) -> Images:
        return Images(
            torch.from_numpy(np.ascontiguousarray(images)).to(device),
            torch.from_numpy(labels.astype(np.int64)).to(device),
            *normalisation(self.options.normalize, self.mean, self.std, self.levels, device),
        )


def pixels_to_inputs(
    how: Literal["unit", "standard"], mean: Sequence[float], std: Sequence[float], levels: int
) -> Mapping[str, Any]:
    """What :meth:`harness.Benchmark.preprocessing` says of images; arguments as of :func:`normalisation`."""
    if how == "unit":
        return {"inputs": {"formula": f"pixels / {levels}"}}
    formula = f"(pixels / {levels} - mean) / deviation, a number a channel"
    return {"inputs": {"formula": formula, "mean": list(mean), "deviation": list(std)}}


def normalisation(
    how: Literal["unit", "standard"],
    mean: Sequence[float],
    std: Sequence[float],
    levels: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """What pixels are multiplied by and what is then added, float32 (channels, 1, 1) each.

    Args:
        how: see :class:`ImageOptions`.
        mean, std: of pixels scaled to [0, 1], a number a channel.
        levels: the largest value a pixel can have.
    """
    center, spread = (mean, std) if how == "standard" else ((0.0,) * len(mean), (1.0,) * len(mean))
    scale, shift = [1 / (levels * s) for s in spread], [-c / s for c, s in zip(center, spread, strict=True)]
    first, second = (
        torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1) for values in (scale, shift)
    )
    return first, second


def scored(model: Callable[[Tensor], Tensor], images: TrainingData, size: int) -> Mapping[str, Measurement]:
    """Accuracy of the largest logit, and mean cross-entropy in nats, by batches of ``size``; empty without images."""
    if not len(images):
        return {}
    losses, correct = [], []
    with torch.no_grad():
        for start in range(0, len(images), size):
            inputs, labels = images.batch(torch.arange(start, min(start + size, len(images))))
            logits = model(inputs).float()
            losses.append(F.cross_entropy(logits, labels, reduction="none"))
            correct.append(logits.argmax(dim=1) == labels)
    return {
        "accuracy": Measurement.mean(torch.cat(correct).cpu()),
        "loss": Measurement.mean(torch.cat(losses).cpu()),
    }
