"""CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from harness import CorruptFile, DataSpec, data_directory
from harness_benchmarks.augmentation import ShiftedImages
from harness_benchmarks.cifar_files import example_digests, read_batches
from harness_benchmarks.images import Bytes, ImageOptions, Images
from harness_benchmarks.splits import stratified_order
from harness_benchmarks.torchvision_files import TorchvisionImages


class CifarOptions(ImageOptions):
    """Options of ``cifar10`` and ``cifar100``."""

    validation_size: int = Field(default=5000, ge=0, lt=50_000)
    """Training images held out for validation, the same ones for every seed and method; 0 trains on all and has
    no validation metrics."""
    train_size: int | None = Field(default=None, ge=1)
    """Training images to use, the classes in proportion; by default all that are not held out."""
    augment: bool = True
    """Whether training sees images mirrored and shifted at random, by up to an eighth of their size. Scores are of
    images as they are."""
    size: Literal[32, 16, 8] = 32
    """Pixels of a side; below 32 each pixel is the mean of a block, of 2x2 for 16."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        left = 50_000 - self.validation_size
        if self.train_size is not None and self.train_size > left:
            raise ValueError(f"train_size {self.train_size} is more than the {left} images that are not held out")
        return self


class Cifar10(TorchvisionImages):
    """50,000 training and 10,000 test images of things and animals in 10 classes, 32x32 pixels in colour.

    The official test split is the test split. Validation is the first ``validation_size`` training images in a fixed
    permutation, stratified by class, and training the next ``train_size``. The permutation is one of the images and
    not of their places in the files, of which copies are about.

    Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images". Licence: none stated.

    Attributes:
        batches: the files, for training and for testing, with the official MD5.
        labels: the key of the labels.
        content: SHA-256 of the sorted digests of the examples, for training and for testing.
    """

    Options: ClassVar = CifarOptions
    options: CifarOptions
    sizes: ClassVar = (50_000, 10_000)
    levels: ClassVar = 255
    mean: ClassVar = (0.4914, 0.4822, 0.4465)
    std: ClassVar = (0.2470, 0.2435, 0.2616)
    name: ClassVar[str] = "cifar10"
    torchvision: ClassVar[str] = "CIFAR10"
    folder: ClassVar[str] = "cifar-10-batches-py"
    unpacked: ClassVar[int] = 186_000_000
    labels: ClassVar[str] = "labels"
    batches: ClassVar[tuple[Mapping[str, str], Mapping[str, str]]] = (
        {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        {"test_batch": "40351d587109b95175f43aff81a1287e"},
    )
    content: ClassVar[tuple[str, str]] = (
        "2ace65ad21c813d01d4d27562d67204b8b90d483b3e2dbbdcb5947cd7bf9398d",
        "a0d98194a41413e774c6790d5222e1693102fef01ca7f5c34df406bf5d4d6f84",
    )

    def __init__(self, options: CifarOptions) -> None:
        super().__init__(options)
        side = options.size
        self.inputs = (3, side, side)
        smaller = f", {side}x{side} by means of blocks" if side < 32 else ""
        self.protocol = f"accuracy on the 10,000 official test images{smaller}"

    @property
    def file_names(self) -> Sequence[str]:
        """Training batches, test batch."""
        return [name for part in self.batches for name in part]

    def spec(self) -> DataSpec:
        """Known without the data."""
        examples = self.options.train_size or self.sizes[0] - self.options.validation_size
        return DataSpec("classification", self.inputs, self.classes, examples)

    def preprocessing(self) -> Mapping[str, Any]:
        """How bytes become inputs, and pixels larger ones."""
        inputs, block = super().preprocessing()["inputs"], 32 // self.options.size
        return {
            "inputs": {**({"size": f"each pixel the mean of {block}x{block}, rounded"} if block > 1 else {}), **inputs}
        }

    def read(self) -> tuple[Bytes, NDArray[np.int64], Bytes, NDArray[np.int64]]:
        """All files; training examples in the fixed order, those that are used."""
        self.prepare(download=False)
        (images, labels, order), (test_images, test_labels, _) = (self._official(i) for i in (0, 1))
        order = order[stratified_order(labels[order])][: self.options.validation_size + self.spec().examples]
        return self._sized(images[order]), labels[order], self._sized(test_images), test_labels

    def verify(self) -> Sequence[str]:
        """One line per file that is missing, and per part, training or testing, that has other images or labels."""
        missing = [path for path in self.files() if not path.is_file()]
        if missing:
            return [f"{path} is missing: run `harness data prepare {self.name}`" for path in missing]
        problems = []
        for part in (0, 1):
            try:
                self._official(part)
            except CorruptFile as error:
                problems.append(str(error))
        return problems

    def _official(self, part: int) -> tuple[Bytes, NDArray[np.int64], NDArray[np.int64]]:
        """Images, labels, and the order of their digests, of training (0) or testing (1).

        Raises:
            CorruptFile: if they are not the official ones.
        """
        paths = [data_directory() / self.folder / name for name in self.batches[part]]
        images, labels = read_batches(paths, self.labels)
        digests = example_digests(images, labels)
        if hashlib.sha256(np.sort(digests).tobytes()).hexdigest() != self.content[part] and any(
            hashlib.md5(path.read_bytes()).hexdigest() != md5
            for path, md5 in zip(paths, self.batches[part].values(), strict=True)
        ):
            names = ", ".join(path.name for path in paths)
            raise CorruptFile(
                f"{self.name}: {names} in {paths[0].parent} are damaged or of another data set: delete them and run "
                f"`harness data prepare {self.name}`"
            )
        return images, labels, np.argsort(digests, kind="stable")

    def _sized(self, images: Bytes) -> Bytes:
        """Means of blocks, rounded."""
        side = self.options.size
        block = 32 // side
        if block == 1:
            return images
        sums = images.reshape(len(images), 3, side, block, side, block).sum((3, 5), dtype=np.uint16)
        means: Bytes = ((sums + block * block // 2) // (block * block)).astype(np.uint8)
        return means

    def _images(self, images: Bytes, labels: NDArray[Any], device: torch.device) -> Images:
        found = super()._images(images, labels, device)
        if not self.options.augment:
            return found
        return ShiftedImages(found.pixels, found.labels, found.scale, found.shift, padding=self.options.size // 8)


class Cifar100(Cifar10):
    """50,000 training and 10,000 test images in 100 classes, 32x32 pixels in colour.

    Splits and files as for ``cifar10``; labels are the fine ones. Five training images come twice.

    Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images". Licence: none stated.
    """

    classes: ClassVar = 100
    mean: ClassVar = (0.5071, 0.4867, 0.4408)
    std: ClassVar = (0.2675, 0.2565, 0.2761)
    name: ClassVar[str] = "cifar100"
    torchvision: ClassVar[str] = "CIFAR100"
    folder: ClassVar[str] = "cifar-100-python"
    labels: ClassVar[str] = "fine_labels"
    batches: ClassVar = (
        {"train": "16019d7e3df5f24257cddd939b257f8d"},
        {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    )
    content: ClassVar = (
        "62e889dd1308dfc1edc4ecb9c437a0633beb3dfcf0e4292d066a3f855366e12d",
        "81055bd2c268f3b94c769e8693342c95012d9bbe9c6067ac1a92ad3dcd71a2ef",
    )
