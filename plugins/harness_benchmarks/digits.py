"""The digits benchmark: small enough for a test, and there without a download."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from harness import CorruptFile
from harness_benchmarks import scikit_learn
from harness_benchmarks.images import Bytes, ImageBenchmark, ImageOptions
from harness_benchmarks.splits import stratified_order

_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


class DigitsOptions(ImageOptions):
    """Options of ``digits``; by default a tenth of all images is for validation."""

    validation_size: int = Field(default=180, ge=0, le=1000)
    """Training images held out for validation, the same ones for every seed and method; 0 trains on all and has
    no validation metrics."""


class Digits(ImageBenchmark):
    """1,797 handwritten digits of 8x8 pixels with values 0 to 16, as they come with scikit-learn.

    They have no official test split. Here a fixed permutation, stratified by class, makes the first 360
    images (20 %) the test split, the next ``validation_size`` (180, 10 %) validation, the rest (1,257,
    70 %) training. The 13 writers are not named and write in every split: scores are optimistic.

    Source: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits" (its test part), UCI
    Machine Learning Repository, doi 10.24432/C50P49. Licence: CC BY 4.0.
    """

    Options: ClassVar = DigitsOptions
    protocol = "accuracy on 360 of the 1,797 images, a fixed stratified split of the harness's own"
    inputs = (1, 8, 8)
    sizes: ClassVar = (1437, 360)
    levels: ClassVar = 16
    mean: ClassVar = (0.3057,)
    std: ClassVar = (0.3764,)

    def read(self) -> tuple[Bytes, Bytes, Bytes, Bytes]:
        """All images in the fixed order, divided."""
        if problems := self.verify():
            raise CorruptFile(problems[0])
        images, labels = _load()
        order = stratified_order(labels)
        test, training = order[: self.sizes[1]], order[self.sizes[1] :]
        return images[training, None], labels[training], images[test, None], labels[test]

    def data_source(self) -> Mapping[str, Any]:
        """The package that brings them."""
        return scikit_learn.source()

    def verify(self) -> Sequence[str]:
        """Whether scikit-learn still brings the same images in the same order."""
        images, labels = _load()
        found = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        return () if found == _SHA256 else (scikit_learn.other_content("digits"),)


@functools.cache
def _load() -> tuple[Bytes, Bytes]:
    rows = scikit_learn.table("digits", "digits.csv.gz", np.uint8, delimiter=",")
    return rows[:, :64].reshape(-1, 8, 8).copy(), rows[:, 64].copy()
