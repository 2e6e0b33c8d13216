"""MNIST and Fashion-MNIST."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from harness import CorruptFile
from harness_benchmarks.idx import read_idx
from harness_benchmarks.images import Bytes, ImageOptions
from harness_benchmarks.splits import stratified_order
from harness_benchmarks.torchvision_files import TorchvisionImages


class MnistOptions(ImageOptions):
    """Options of ``mnist`` and ``fashion_mnist``."""

    validation_size: int = Field(default=5000, ge=0, lt=60_000)
    """Training images held out for validation, the same ones for every seed and method; 0 trains on all and has
    no validation metrics."""


class Mnist(TorchvisionImages):
    """60,000 training and 10,000 test images of handwritten digits, 28x28 grey pixels.

    The official test split is the test split. Validation is the first ``validation_size`` training images in
    a fixed permutation, stratified by class. Files: ``MNIST/raw/`` below the data directory, uncompressed.

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", made from NIST Special
    Databases 1 and 3. Licence: the authors state none; often given as CC BY-SA 3.0.

    Attributes:
        sha256: of the uncompressed files.
    """

    Options: ClassVar = MnistOptions
    protocol = "accuracy on the 10,000 official test images"
    inputs = (1, 28, 28)
    sizes: ClassVar = (60_000, 10_000)
    levels: ClassVar = 255
    mean: ClassVar = (0.1307,)
    std: ClassVar = (0.3081,)
    name: ClassVar[str] = "mnist"
    torchvision: ClassVar[str] = "MNIST"
    folder: ClassVar[str] = "MNIST/raw"
    unpacked: ClassVar[int] = 54_950_048
    sha256: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }

    @property
    def file_names(self) -> Sequence[str]:
        """Training images and labels, test images and labels."""
        return tuple(self.sha256)

    def read(self) -> tuple[Bytes, Bytes, Bytes, Bytes]:
        """The four files, which must be the official ones; training examples in the fixed order."""
        self.prepare(download=False)
        train, test = self.sizes
        shapes = [(train, *self.inputs[1:]), (train,), (test, *self.inputs[1:]), (test,)]
        images, labels, test_images, test_labels = map(read_idx, self.files(), shapes)
        # Sets of clothes, of letters and of Japanese characters come in files of these names and sizes.
        if problems := self.verify():
            raise CorruptFile(problems[0])
        order = stratified_order(labels)
        return images[order, None], labels[order], test_images[:, None], test_labels

    def verify(self) -> Sequence[str]:
        """One line per file that is missing or has another SHA-256 than the official one."""
        problems = []
        for path in self.files():
            if not path.is_file():
                problems.append(f"{path} is missing: run `harness data prepare {self.name}`")
            elif hashlib.sha256(path.read_bytes()).hexdigest() != self.sha256[path.name]:
                problems.append(
                    f"{path} is damaged or of another data set: delete it and run `harness data prepare {self.name}`"
                )
        return problems


class FashionMnist(Mnist):
    """60,000 training and 10,000 test images of clothes in 10 classes, 28x28 grey pixels.

    Splits and files as for ``mnist``, below ``FashionMNIST/raw/``.

    Source: Xiao, Rasul and Vollgraf 2017, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms", arXiv:1708.07747 (Zalando). Licence: MIT.
    """

    mean: ClassVar = (0.2860,)
    std: ClassVar = (0.3530,)
    name: ClassVar[str] = "fashion_mnist"
    torchvision: ClassVar[str] = "FashionMNIST"
    folder: ClassVar[str] = "FashionMNIST/raw"
    sha256: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    }
