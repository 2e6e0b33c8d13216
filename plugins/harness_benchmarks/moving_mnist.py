"""Moving MNIST: the frame that comes after ten of two moving digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from numpy.random import RandomState
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from harness import Benchmark, CorruptFile, DataSpec, Measurement, Metric, Split, UserError
from harness_benchmarks.idx import read_idx
from harness_benchmarks.images import Bytes
from harness_benchmarks.mnist import Mnist, MnistOptions
from harness_benchmarks.moving_digits import DIGIT, FRAMES, sequences, smaller

TRAIN, TEST, SEED = 5000, 1000, 42


class MovingMnistOptions(BaseModel):
    """Options of ``moving_mnist``."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    validation_size: int = Field(default=500, ge=0, lt=TRAIN)
    """Training sequences held out for validation, the last ones; 0 trains on all and has no validation metrics."""
    train_size: int | None = Field(default=None, ge=1)
    """Training sequences to use, the first ones; by default all that are not held out."""
    test_size: int = Field(default=TEST, ge=1, le=TEST)
    """Test sequences to score, the first ones."""
    size: Literal[64, 32] = 64
    """Pixels of a side; with 32 each pixel is the mean of a block of 2x2."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        left = TRAIN - self.validation_size
        if self.train_size is not None and self.train_size > left:
            raise ValueError(f"train_size {self.train_size} is more than the {left} sequences that are not held out")
        return self


@dataclass(frozen=True, slots=True)
class Clips:
    """Sequences as bytes (n, 11, side, side) on one device; ``batch`` divides by 255."""

    frames: Tensor

    def __len__(self) -> int:
        return len(self.frames)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 10, side, side) frames and (batch, side, side), the next one; float32 in [0, 1]."""
        whole = self.frames.index_select(0, indices.to(self.frames.device)).to(torch.float32).div_(255)
        return whole[:, :-1], whole[:, -1]


class TrainingImages(Mnist):
    """The only one of MNIST's files that is needed here."""

    sha256: ClassVar[dict[str, str]] = dict(list(Mnist.sha256.items())[:1])


class MovingMnist(Benchmark[MovingMnistOptions]):
    """5,000 training and 1,000 test sequences of 11 frames, 64x64 pixels, of two digits that move and bounce.

    Digits of both are MNIST's training images: test sequences have digits that training sequences have too. Made by the
    generator of Srivastava, Mansimov and Salakhutdinov 2015 ("Unsupervised Learning of Video Representations
    using LSTMs") as the released code of "Neural DNA" (Sudarshan 2026) has it, with seed 42: to the byte.
    """

    Options: ClassVar = MovingMnistOptions
    metrics = (Metric("squared_error", "sum over pixels", "min"), Metric("mse", "mean over pixels", "min"))
    eval_batch_size: ClassVar[int] = 100

    def __init__(self, options: MovingMnistOptions) -> None:
        super().__init__(options)
        side, tested = options.size, options.test_size
        self.protocol = f"squared error of the 11th frame, summed over its {side * side:,} pixels, {tested:,} sequences"
        self._mnist = TrainingImages(MnistOptions())
        self._splits: dict[torch.device, dict[str, Clips]] = {}

    def spec(self) -> DataSpec:
        """Known without the data."""
        side, examples = self.options.size, self.options.train_size or TRAIN - self.options.validation_size
        return DataSpec("video", (FRAMES - 1, side, side), side * side, examples)

    def examples(self, split: Split) -> int:
        """Known without the data."""
        return self.options.test_size if split == "test" else self.options.validation_size

    def data_source(self) -> Mapping[str, Any]:
        """The file of the digits."""
        return self._mnist.data_source()

    def preprocessing(self) -> Mapping[str, Any]:
        """Bytes are divided by 255."""
        return {"inputs": {"formula": "frames / 255"}, "outputs": {"formula": "frame = output * 255"}}

    def training_data(self, device: torch.device) -> Clips:
        """The training sequences without those held out for validation."""
        return self._split("train", device)

    def evaluate(
        self, model: Callable[[Tensor], Tensor], split: Split, device: torch.device
    ) -> Mapping[str, Measurement]:
        """Squared errors of each sequence's last frame; empty without validation sequences."""
        clips = self._split(split, device)
        if not len(clips):
            return {}
        with torch.no_grad():
            return self._scores(clips, model)

    def references(self, device: torch.device) -> Mapping[str, float]:
        """What the last frame scores, repeated, and the mean 11th frame of training."""
        test, training = self._split("test", device), self._split("train", device)
        mean = training.frames[:, -1].double().mean(0).div(255)
        found = {
            "the last frame repeated": self._scores(test, lambda frames: frames[:, -1]),
            "the mean training frame": self._scores(test, lambda frames: mean.expand(len(frames), *mean.shape)),
        }
        return {name: scores["squared_error"].value for name, scores in found.items()}

    def files(self) -> Sequence[Path]:
        """MNIST's training images."""
        return self._mnist.files()

    def disk_bytes(self) -> int:
        """Of MNIST's training images, unpacked."""
        return 60_000 * 28 * 28 + 16

    def prepare(self, download: bool = True) -> None:
        """Get MNIST's training images."""
        self._mnist.prepare(download)

    def verify(self) -> Sequence[str]:
        """As for MNIST, of the training images."""
        return self._mnist.verify()

    def _scores(self, clips: Clips, model: Callable[[Tensor], Tensor]) -> dict[str, Measurement]:
        found = []
        for indices in torch.split(torch.arange(len(clips)), self.eval_batch_size):
            frames, wanted = clips.batch(indices)
            found.append((model(frames).double() - wanted.double()).square().flatten(1).sum(1).cpu())
        sums = torch.cat(found)
        pixels = self.options.size**2
        return {"squared_error": Measurement.mean(sums, each="sequence"), "mse": Measurement.mean(sums / pixels)}

    def _split(self, split: str, device: torch.device) -> Clips:
        if device not in self._splits:
            training, test = self._made()
            used, held_out = self.spec().examples, self.options.validation_size
            parts = {
                "train": training[:used],
                "validation": training[TRAIN - held_out :],
                "test": test[: self.options.test_size],
            }
            self._splits[device] = {
                name: Clips(torch.from_numpy(smaller(part, self.options.size)).to(device))
                for name, part in parts.items()
            }
        return self._splits[device][split]

    def _made(self) -> tuple[Bytes, Bytes]:
        """All sequences; two seconds."""
        self.prepare(download=False)
        try:
            digits = read_idx(self.files()[0], (self._mnist.sizes[0], DIGIT, DIGIT))
        except UserError as error:
            raise CorruptFile(str(error)) from error
        if problems := self.verify():
            raise CorruptFile(problems[0])
        random = RandomState(SEED)
        return sequences(digits, TRAIN, random), sequences(digits, TEST, random)
