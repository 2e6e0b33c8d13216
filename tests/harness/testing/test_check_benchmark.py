"""What ``check_benchmark`` finds: every fault that it knows, and nothing in what is sound."""

from __future__ import annotations

import itertools
from math import nan
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from harness import (
    Benchmark,
    DataSpec,
    Measurement,
    Metric,
    Unsupported,
)
from harness.testing import check_benchmark

COUNT = itertools.count()


class Points:
    def __init__(self, seed, n=20):
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(n, 5, generator=generator)
        self.targets = (self.inputs[:, 0] > 0).long()

    def __len__(self):
        return len(self.inputs)

    def batch(self, indices):
        return self.inputs[indices], self.targets[indices]


class Bench(Benchmark):
    metrics = (Metric("accuracy", "fraction", "max"),)
    protocol = "on 20 points"

    def spec(self):
        return DataSpec("classification", (5,), 2, examples=20)

    def training_data(self, device):
        return Points(0)

    def points(self, split):
        return Points({"validation": 1, "test": 2}[split])

    def evaluate(self, model, split, device):
        data = self.points(split)
        return {"accuracy": Measurement(float((model(data.inputs).argmax(1) == data.targets).double().mean()), 20)}


class WithoutValidation(Bench):
    def evaluate(self, model, split, device):
        return {} if split == "validation" else super().evaluate(model, split, device)


class Miscounted(Bench):
    def spec(self):
        return DataSpec("classification", (5,), 2, examples=19)


class Misshapen(Bench):
    def spec(self):
        return DataSpec("classification", (1, 5), 2, examples=20)


class TooFewClasses(Bench):
    def spec(self):
        return DataSpec("classification", (5,), 1, examples=20)


class OtherData(Bench):
    def training_data(self, device):
        return Points(next(COUNT))


class Undeclared(Bench):
    metrics = (Metric("loss", "nats", "min"),)


class Wavering(Bench):
    def points(self, split):
        return Points(next(COUNT))


class SameSplits(Bench):
    def points(self, split):
        return Points(1)


class Unexplained(Bench):
    protocol = ""


class Damaged(Bench):
    def verify(self):
        return ["file a is damaged"]


class Counted(Bench):
    def examples(self, split):
        return 20


class NothingToTest(Bench):
    def examples(self, split):
        return 0 if split == "test" else None


class Unwritable(Bench):
    def data_source(self):
        return {"path": Path("a")}


class ManySources(Bench):
    def data_source(self):
        return {"path": str(next(COUNT))}


class Nothing(Benchmark):
    pass


class OnlyEvaluates(Bench):
    spec = Benchmark.spec
    training_data = Benchmark.training_data


class Refusing(OnlyEvaluates):
    def spec(self):
        raise Unsupported("it only evaluates")


class ReadsStates(Bench):
    def evaluate(self, model, split, device):
        return super().evaluate(lambda inputs: model.states(inputs)[-1], split, device)


class ReadsTheSameStates(ReadsStates):
    def points(self, split):
        return Points(1)


class WithStates(nn.Module):
    """Its states are what the parts of it compute; nobody calls it as a whole."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 2)

    def states(self, inputs):
        return [inputs, self.layer(inputs)]


def sign_of_the_first(inputs):
    return torch.stack([-inputs[:, 0], inputs[:, 0]], 1)


class Numbers(Points):
    """Two real numbers for each point."""

    def __init__(self, seed, n=20):
        super().__init__(seed, n)
        self.targets = 100 * self.inputs[:, :2]


class Regression(Bench):
    metrics = (Metric("mse", "squared metres", "min"),)

    def spec(self):
        return DataSpec("regression", (5,), 2, examples=20)

    def training_data(self, device):
        return self.points("training")

    def points(self, split):
        return Numbers({"training": 0, "validation": 1, "test": 2}[split])

    def evaluate(self, model, split, device):
        data = self.points(split)
        return {"mse": Measurement.mean((model(data.inputs) - data.targets).square().mean(1))}


class Changed(Regression):
    """Training data that are altered: ``alter`` gets inputs and targets of a batch."""

    def training_data(self, device):
        data = Numbers(0)
        given = data.batch
        data.batch = lambda indices: self.alter(*given(indices))
        return data


class Flat(Changed):
    alter = staticmethod(lambda inputs, targets: (inputs, targets[:, 0]))


class Rounded(Changed):
    alter = staticmethod(lambda inputs, targets: (inputs, targets.long()))


class Double(Changed):
    alter = staticmethod(lambda inputs, targets: (inputs, targets.double()))


class MissingInput(Changed):
    alter = staticmethod(lambda inputs, targets: (inputs.where(inputs < 2, nan), targets))


class MissingTarget(Changed):
    alter = staticmethod(lambda inputs, targets: (inputs, targets.where(targets < 200, nan)))


class TwoVersions(Changed):
    alter = staticmethod(lambda inputs, targets: (inputs + 0.001 * torch.arange(len(inputs))[:, None], targets))


class Broadcast(Regression):
    """Targets of one number without their axis: (20, 1) - (20,) is (20, 20)."""

    def spec(self):
        return DataSpec("regression", (5,), 1, examples=20)

    def training_data(self, device):
        data = super().training_data(device)
        data.targets = data.targets[:, :1]
        return data

    def evaluate(self, model, split, device):
        data = self.points(split)
        return {"mse": Measurement.mean((model(data.inputs) - data.targets[:, 0]).square())}


class Fingers(Regression):
    def fingerprint(self):
        return str(next(COUNT))


class Scored(Regression):
    """Scores as ``measured`` says."""

    def evaluate(self, model, split, device):
        super().evaluate(model, split, device)
        return {"mse": self.measured}


class NotANumber(Scored):
    measured = Measurement(nan, 20)


class OfNone(Scored):
    measured = Measurement(1.0, 0)


class NegativeError(Scored):
    measured = Measurement(1.0, 20, -1.0)


class NoMetrics(Regression):
    metrics = ()


class Twice(Regression):
    metrics = (*Regression.metrics, *Regression.metrics)


class Augmenting(Numbers):
    """Moved by the number that it draws."""

    draws = 1

    def augmented(self, indices, numbers):
        return self.inputs[indices] + numbers, self.targets[indices]


class Augmented(Regression):
    def training_data(self, device):
        return Augmenting(0)


class Cropped(Augmented):
    def training_data(self, device):
        data = Augmenting(0)
        data.augmented = lambda indices, numbers: (data.inputs[indices, :3], data.targets[indices])
        return data


class Chance(Augmented):
    def training_data(self, device):
        data = Augmenting(0)
        data.augmented = lambda indices, numbers: (data.inputs[indices] + next(COUNT), data.targets[indices])
        return data


class Words(Bench):
    """Texts of three tokens, of which there are as many as ``known``."""

    known = 9

    def points(self, split):
        data = Points({"training": 0, "validation": 1, "test": 2}[split])
        data.inputs = (3 * data.inputs[:, :3].abs()).long().clamp(max=8)
        data.inputs[0, 0] = 8
        return data

    def training_data(self, device):
        return self.points("training")

    def spec(self):
        return DataSpec("text_classification", (3,), 2, examples=20, vocabulary=self.known)


class UnknownWords(Words):
    known = 8


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    n: int


class Optional(Bench):
    Options = Options


def test_a_sound_benchmark_passes():
    check_benchmark(Bench)
    check_benchmark(WithoutValidation)
    check_benchmark(Counted)
    check_benchmark(Regression)
    check_benchmark(Augmented)
    check_benchmark(Words)
    check_benchmark(OnlyEvaluates, model=sign_of_the_first)
    check_benchmark(ReadsStates, model=WithStates())
    with pytest.raises(AssertionError, match="validation and test data are the same"):
        check_benchmark(ReadsTheSameStates, model=WithStates())
    check_benchmark(Optional, {"n": 3})
    check_benchmark(Optional, Options(n=3))


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Miscounted, "spec.. says 19 examples, there are 20"),
        (Misshapen, "inputs are"),
        (TooFewClasses, "targets outside"),
        (OtherData, "training data differs between two instances"),
        (Flat, r"targets are \(3,\), must be \(3, 2\)"),
        (Rounded, "targets are torch.int64, must be torch.float32"),
        (Double, "targets are torch.float64, must be torch.float32"),
        (MissingInput, "inputs have numbers that are not finite"),
        (MissingTarget, "targets have numbers that are not finite"),
        (TwoVersions, "one example comes in two versions within a batch"),
        (Broadcast, r"evaluate\('validation'\) fails on a linear map"),
        (Fingers, "fingerprint.. differs between two instances"),
        (NotANumber, "mse on validation is nan"),
        (OfNone, "mse on validation counts 0 examples"),
        (NegativeError, "mse on validation has stderr -1.0"),
        (NoMetrics, "metrics is empty"),
        (Twice, "metrics repeats a name"),
        (Cropped, "augmented.. gives .* unlike batch"),
        (Chance, "augmented.. depends on more than an example and its numbers"),
        (UnknownWords, r"token ids outside \[0, 8\)"),
        (Undeclared, r"returned \['accuracy'\], declares \['loss'\]"),
        (Wavering, "differs when called again"),
        (SameSplits, "validation and test data are the same"),
        (Unexplained, "protocol is empty"),
        (Damaged, "file a is damaged"),
        (NothingToTest, r"examples\('test'\) says 0, but evaluate\(\) scores 20"),
        (Unwritable, "data_source.. cannot be written as JSON"),
        (ManySources, "data_source.. differs between two instances"),
        (Nothing, "offers neither"),
        (OnlyEvaluates, r"does not say what .* \(OnlyEvaluates offers no training data\): pass model="),
        (Refusing, r"\(it only evaluates\): pass model="),
        (ReadsStates, r"evaluate\('validation'\) fails on a linear map .* 'states'.*: if it needs .* pass model="),
        (Optional, "refuses options"),
    ],
)
def test_a_faulty_benchmark_is_found(cls, message):
    """A model that is given is the author's: what fails on it is raised as it is."""
    if cls is ReadsStates:
        with pytest.raises(AttributeError, match="states"):
            check_benchmark(cls, model=sign_of_the_first)
    with pytest.raises(AssertionError, match=message):
        check_benchmark(cls)
