"""ImageNet, from a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from harness import Benchmark, DataMissing, DataSpec, Measurement, Metric, Split, UserError, data_directory
from harness.storage.digests import place
from harness_benchmarks.images import ImageOptions, normalisation, pixels_to_inputs, scored
from harness_benchmarks.picture_folder import PictureFolder
from harness_benchmarks.pictures import CroppedPictures, Pictures, unreadable
from harness_benchmarks.splits import stratified_order

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the colours of training pictures, as they are always given."""


class ImageNetOptions(ImageOptions):
    """Options of ``imagenet``."""

    folder: Path = Field(default=Path("imagenet"), json_schema_extra={"hashed": False})
    """With the folders ``train`` and ``val``, relative to the suite or the data directory. Says only where."""
    size: int = Field(default=224, ge=8)
    """Pixels of a side of what networks see."""
    resize: int = Field(default=256, ge=8)
    """Pixels of the shorter side before the middle is cut out, where pictures are not altered at random."""
    augment: bool = True
    """Whether training sees random parts of pictures, every other one mirrored; if False their middle, as scores do."""
    validation_size: int = Field(default=10_000, ge=0)
    """Training pictures held out for validation, the same ones for every seed and method; 0 trains on all and has
    no validation metrics."""

    @model_validator(mode="after")
    def _cut_out_of_more(self) -> Self:
        if self.resize < self.size:
            raise ValueError(f"resize {self.resize} is less than size {self.size}, which is cut out of it: raise it")
        return self


class ImageNet(Benchmark[ImageNetOptions]):
    """Photographs of 1,000 classes (ILSVRC 2012), or any pictures in such folders: ``train/CLASS/*``, ``val/CLASS/*``.

    The official validation pictures, in ``val``, are the test split. Validation is the first ``validation_size``
    pictures of ``train`` in a fixed permutation of their sorted names, stratified by class. Pictures are decoded when
    they are needed; in memory are their names. The fingerprint is one of names and sizes of files, not of their
    content: to read 150 GB takes an hour.

    Source: Russakovsky et al. 2015, "ImageNet Large Scale Visual Recognition Challenge", arXiv:1409.0575. Licence:
    terms of access of image-net.org, for research without commerce.

    Attributes:
        official: classes and training pictures of ILSVRC 2012.
        eval_batch_size: fixed, so that scores do not depend on the machine.
    """

    Options: ClassVar = ImageNetOptions
    metrics = (Metric("accuracy", "fraction", "max"), Metric("loss", "nats", "min"))
    official: ClassVar[tuple[int, int]] = (1000, 1_281_167)
    eval_batch_size: ClassVar[int] = 100

    def __init__(self, options: ImageNetOptions) -> None:
        super().__init__(options)
        size = options.size
        self.protocol = (
            f"accuracy on the official validation pictures, {size}x{size} in the middle at a shorter side of "
            f"{options.resize}"
        )
        self._splits: dict[torch.device, dict[str, Pictures]] = {}

    @property
    def folder(self) -> Path:
        """Where ``train`` and ``val`` are."""
        return data_directory() / self.options.folder.expanduser()

    def spec(self) -> DataSpec:
        """Classes and pictures are counted in the folder."""
        train, _ = self._folders
        return self._spec(len(train.classes), len(train.names))

    def expected(self) -> DataSpec:
        """Where there is no folder, what ILSVRC 2012 has."""
        return self.spec() if self._here() else self._spec(*self.official)

    def examples(self, split: Split) -> int:
        """All of ``val``, or what is held out."""
        return len(self._folders[1].names) if split == "test" else self.options.validation_size

    def fingerprint(self) -> str:
        """SHA-256 of names and sizes of all files."""
        digests = " ".join(part.digest() for part in self._folders)
        return hashlib.sha256(f"{self.version} {digests}".encode()).hexdigest()

    def data_source(self) -> Mapping[str, Any]:
        """The folder."""
        return {
            "path": place(self.folder),
            "files": sum(len(part.names) for part in self._folders),
            "bytes": sum(int(part.sizes.sum()) for part in self._folders),
        }

    def preprocessing(self) -> Mapping[str, Any]:
        """How a picture becomes an input."""
        size, resize = self.options.size, self.options.resize
        cut = {"cut": f"the middle {size} x {size} of the picture with a shorter side of {resize}"}
        return {"inputs": {**cut, **pixels_to_inputs(self.options.normalize, MEAN, STD, 255)["inputs"]}}

    def training_data(self, device: torch.device) -> Pictures:
        """The training pictures without those held out for validation."""
        return self._split("train", device)

    def evaluate(
        self, model: Callable[[Tensor], Tensor], split: Split, device: torch.device
    ) -> Mapping[str, Measurement]:
        """Accuracy of the largest logit, and mean cross-entropy in nats; empty without validation pictures."""
        return scored(model, self._split(split, device), self.eval_batch_size)

    def files(self) -> Sequence[Path]:
        """The two folders."""
        return [self.folder / part for part in ("train", "val")]

    def disk_bytes(self) -> int:
        """Of ILSVRC 2012."""
        return 155_000_000_000

    def prepare(self, download: bool = True) -> None:
        """Only looks whether it is all there: these pictures must not be passed on."""
        if not self._here():
            raise DataMissing(
                f"imagenet: {self.folder} lacks train or val. ImageNet must be got by hand: accept its terms at "
                "image-net.org, download the training and validation pictures of ILSVRC 2012, and unpack them as "
                "train/n01440764/*.JPEG and val/n01440764/*.JPEG, a folder for each class; or set `folder`, or "
                f"HARNESS_DATA (now the data directory is {data_directory()})."
            )
        self.spec()

    def verify(self) -> Sequence[str]:
        """One line per file that does not begin as a picture; for single pictures there are no checksums."""
        self.prepare()
        return unreadable([part.path / name for part in self._folders for name in part.names])

    def _here(self) -> bool:
        return all(path.is_dir() for path in self.files())

    def _spec(self, classes: int, pictures: int) -> DataSpec:
        side = self.options.size
        return DataSpec("classification", (3, side, side), classes, pictures - self.options.validation_size)

    @cached_property
    def _folders(self) -> tuple[PictureFolder, PictureFolder]:
        """Training (validation included) and test pictures."""
        if not self._here():
            self.prepare()
        train, test = (PictureFolder.listed(path) for path in self.files())
        train.require_same_classes(test)
        if self.options.validation_size >= len(train.names):
            raise UserError(
                f"imagenet: validation_size {self.options.validation_size} leaves none of the {len(train.names)} "
                f"pictures in {train.path} to train on: lower it"
            )
        return train, test

    def _split(self, split: str, device: torch.device) -> Pictures:
        if device not in self._splits:
            train, test = self._folders
            order, held_out = stratified_order(train.labels), self.options.validation_size
            self._splits[device] = {
                "train": self._pictures(train, order[held_out:], device, self.options.augment),
                "validation": self._pictures(train, order[:held_out], device),
                "test": self._pictures(test, np.arange(len(test.names)), device),
            }
        return self._splits[device][split]

    def _pictures(
        self, folder: PictureFolder, which: NDArray[np.int64], device: torch.device, augment: bool = False
    ) -> Pictures:
        options = self.options
        return (CroppedPictures if augment else Pictures)(
            folder.path,
            [folder.names[i] for i in which],
            torch.from_numpy(folder.labels[which]).to(device),
            *normalisation(options.normalize, MEAN, STD, 255, device),
            options.size,
            options.resize,
        )
