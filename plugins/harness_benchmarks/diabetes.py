"""The diabetes benchmark: a real number to predict, small enough for a test, and there without a download."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from harness import Benchmark, CorruptFile, DataSpec, Measurement, Metric, Split
from harness_benchmarks import scikit_learn
from harness_benchmarks.splits import stratified_order

_SHA256 = "839c546b0b4ac02c2e6cbe5e5c92313cefa993446c9733e9b49477cc3f96e104"
_ROWS, _TEST = 442, 100


class DiabetesOptions(BaseModel):
    """Options of ``diabetes``."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    validation_size: int = Field(default=42, ge=0, le=200)
    """Rows held out for validation, the same ones for every seed and method; 0 trains on all and has no validation
    metrics."""


@dataclass(frozen=True, slots=True)
class Patients:
    """Ten numbers of each, (n, 10), and the progression of the disease, (n, 1); float32, standardised."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Those of some."""
        indices = indices.to(self.inputs.device)
        return self.inputs[indices], self.targets[indices]


class Diabetes(Benchmark[DiabetesOptions]):
    """Progression of diabetes within a year, 25 to 346 points, of 442 patients by age, sex and eight measurements.

    A fixed permutation makes the first 100 rows the test split, the next ``validation_size`` (42) validation, the rest
    (300) training. Inputs and targets have mean 0 and deviation 1 over the training rows; scores are in points again.

    Source: Efron, Hastie, Johnstone, Tibshirani 2004, "Least angle regression", Annals of Statistics 32; as it comes
    with scikit-learn.
    """

    Options: ClassVar = DiabetesOptions
    metrics = (Metric("mse", "squared points", "min"), Metric("mae", "points", "min"))
    protocol = "errors of the progression, 100 of the 442 patients, a fixed random split of the harness's own"

    def spec(self) -> DataSpec:
        """Known without the data."""
        return DataSpec("regression", (10,), 1, _ROWS - _TEST - self.options.validation_size)

    def examples(self, split: Split) -> int:
        """Known without the data."""
        return _TEST if split == "test" else self.options.validation_size

    def preprocessing(self) -> Mapping[str, Any]:
        """Means and deviations of the training rows."""
        training = _load()[self._rows("train")]
        mean, deviation = training.mean(0).tolist(), training.std(0).tolist()
        return {
            "inputs": {
                "formula": "(numbers - mean) / deviation, a number a column",
                "mean": mean[:-1],
                "deviation": deviation[:-1],
            },
            "outputs": {"formula": "points = output * deviation + mean", "mean": mean[-1], "deviation": deviation[-1]},
        }

    def training_data(self, device: torch.device) -> Patients:
        """The training rows."""
        return self._split("train", device)[0]

    def evaluate(
        self, model: Callable[[Tensor], Tensor], split: Split, device: torch.device
    ) -> Mapping[str, Measurement]:
        """Mean squared and absolute errors in points; empty without validation rows."""
        patients, deviation = self._split(split, device)
        if not len(patients):
            return {}
        with torch.no_grad():
            errors = (model(patients.inputs).double() - patients.targets).cpu()[:, 0] * deviation
        return {"mse": Measurement.mean(errors.square()), "mae": Measurement.mean(errors.abs())}

    def references(self, device: torch.device) -> Mapping[str, float]:
        """What the mean of the training targets scores."""
        mean = self.evaluate(lambda inputs: inputs.new_zeros(len(inputs), 1), "test", device)
        return {"the mean training target": mean["mse"].value}

    def data_source(self) -> Mapping[str, Any]:
        """The package that brings it."""
        return scikit_learn.source()

    def verify(self) -> Sequence[str]:
        """Whether scikit-learn still brings the same numbers in the same order."""
        found = hashlib.sha256(_load().tobytes()).hexdigest()
        return () if found == _SHA256 else (scikit_learn.other_content("diabetes"),)

    def _split(self, split: str, device: torch.device) -> tuple[Patients, float]:
        """Its rows, and the deviation of a target, in points."""
        if problems := self.verify():
            raise CorruptFile(problems[0])
        rows = _load()
        training, part = rows[self._rows("train")], rows[self._rows(split)]
        numbers = torch.from_numpy((part - training.mean(0)) / training.std(0)).float().to(device)
        return Patients(numbers[:, :-1], numbers[:, -1:]), float(training[:, -1].std())

    def _rows(self, split: str) -> NDArray[np.int64]:
        """Which rows are in a split."""
        order, first = stratified_order(np.zeros(_ROWS, int)), _TEST + self.options.validation_size
        return {"train": order[first:], "validation": order[_TEST:first], "test": order[:_TEST]}[split]


def _load() -> NDArray[np.float64]:
    """Inputs and, last, the target: (442, 11)."""
    inputs, targets = (
        scikit_learn.table("diabetes", f"diabetes_{name}.csv.gz", np.float64) for name in ("data_raw", "target")
    )
    return np.column_stack([inputs, targets])
