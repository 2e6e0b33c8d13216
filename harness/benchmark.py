"""The Benchmark interface: training data, an evaluation, or both."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Split = Literal["validation", "test"]


class NoBenchmarkOptions(BaseModel):
    """Options of a benchmark that has none."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Metric:
    """What a number is: its name, unit, and whether more is better.

    Attributes:
        name: for example ``"accuracy"`` or ``"loss"``.
        unit: for example ``"fraction"``, ``"nats/byte"``.
        direction: ``"max"`` if higher is better, ``"min"`` if lower is.
    """

    name: str
    unit: str
    direction: Literal["max", "min"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One metric's value on ``n`` examples, with its standard error over examples where there is one."""

    value: float
    n: int
    stderr: float | None = None


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Shape of a benchmark's training data.

    Attributes:
        kind: ``"classification"`` or ``"language"``.
        inputs: shape of one example without the batch: (1, 8, 8) for images, (context,) for language.
        outputs: number of classes, or size of the vocabulary.
        examples: number of training examples (windows for language).
        tokens: tokens in one example; 1 where an example is no sequence.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: int
    examples: int
    tokens: int = 1


class TrainingData(Protocol):
    """Indexable training examples on one device."""

    def __len__(self) -> int:
        """Number of training examples."""

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """(inputs, targets) of the examples ``indices``, an int64 tensor (batch,) on the CPU.

        One gather: no Python loop per example.
        """


Model = Callable[["Tensor"], "Tensor"]
OptionsT = TypeVar("OptionsT", bound=BaseModel)


class Benchmark(ABC, Generic[OptionsT]):
    """Training data, an evaluation, or both.

    Attributes:
        Options: pydantic model of what a suite may set.
        version: raise it whenever the same options would give other data or other scores.
        metrics: what :meth:`evaluate` returns; the first one is the primary, used for selection.
        protocol: one line that says how the score is taken (split, masks aside); rows of different
            protocols are never ranked together. Both may depend on the options.
    """

    Options: ClassVar[type[BaseModel]] = NoBenchmarkOptions
    version: ClassVar[str] = "1"
    metrics: tuple[Metric, ...] = ()
    protocol: str = ""

    def __init__(self, options: OptionsT) -> None:
        self.options = options

    def spec(self) -> DataSpec:
        """Shape of the training data.

        Raises:
            DataMissing: if it cannot be known without data that is not on this machine.
            Unsupported: if this benchmark only evaluates.
        """
        raise NotImplementedError(f"{type(self).__name__} offers no training data")

    def fingerprint(self) -> str:
        """Identifies the data's content; part of every stage's hash. Fixed data sets need only ``version``."""
        return self.version

    def training_data(self, device: torch.device) -> TrainingData:
        """The training split on ``device``.

        Raises:
            DataMissing: with the command that gets it.
        """
        raise NotImplementedError(f"{type(self).__name__} offers no training data")

    def evaluate(self, model: Model, split: Split, device: torch.device) -> Mapping[str, Measurement]:
        """Scores on a split: metric name -> measurement, one per entry of ``metrics``.

        ``model`` maps a batch of inputs on ``device`` to logits, in evaluation mode, without gradients.
        The batch size is this benchmark's own, fixed, so that scores do not depend on the machine.
        """
        raise NotImplementedError(f"{type(self).__name__} offers no evaluation")

    def files(self) -> Sequence[Path]:
        """The files it needs, for ``harness data list``; none for data that comes with a package."""
        return ()

    def prepare(self, download: bool = True) -> None:
        """Fetch or build what :meth:`files` names; does nothing when it is there.

        Raises:
            DataMissing: if it cannot be had, with what to do.
        """

    def verify(self) -> Sequence[str]:
        """Checks the files' checksums; returns one line per problem, none if all is well."""
        return ()
