"""The Benchmark interface: training data, an evaluation, or both."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from harness.core.data import DataSpec, Split, TrainingData

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from harness.core.architecture import Architecture
    from harness.core.examples import Examples


class NoBenchmarkOptions(BaseModel):
    """Options of a benchmark that has none."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Metric:
    """What a number is: its name, unit, and whether more is better.

    Attributes:
        name: for example ``"accuracy"`` or ``"loss"``.
        unit: for example ``"fraction"``, which lies in [0, 1], or ``"nats/byte"``.
        direction: ``"max"`` if higher is better, ``"min"`` if lower is, ``"none"`` if the number describes and does
            not judge: rows are then not ranked by it.
        timed: whether a clock was read for it: equal runs then give other numbers.
    """

    name: str
    unit: str
    direction: Literal["max", "min", "none"]
    timed: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name and isinstance(self.unit, str)):
            raise ValueError(
                f"Metric({self.name!r}, {self.unit!r}, ...): name and unit must be texts, the name not empty"
            )
        if self.direction not in ("max", "min", "none"):
            raise ValueError(
                f"direction of metric '{self.name}' is {self.direction!r}; it must be 'max', 'min' or 'none'"
            )


@dataclass(frozen=True, slots=True)
class Measurement:
    """One metric's value on ``n`` examples, with its standard error over examples where there is one.

    ``examples`` are the results that it is made of, in the same order for every network; they are kept beside the
    cell's record, and intervals that hold for other test examples need them. None where the value is no mean of such
    (a correlation).
    """

    value: float
    n: int
    stderr: float | None = None
    examples: Examples | None = field(default=None, compare=False, repr=False)

    @classmethod
    def mean(cls, values: Tensor, each: str = "example") -> Measurement:
        """Mean of ``values`` (n,), in float64, with standard error s / sqrt(n), s with n - 1 in the denominator.

        For zeros and ones with mean p the standard error is sqrt(p (1 - p) / (n - 1)); for n = 1 it is None.
        ``each`` says what one of them is, see :class:`harness.Examples`.
        """
        from harness.core.examples import Examples  # late: numpy is slow to import

        values = values.double()
        n = len(values)
        stderr = float(values.std(correction=1)) / sqrt(n) if n > 1 else None
        return cls(float(values.mean()), n, stderr, Examples.of(values, unit=each))

    @classmethod
    def ratio(cls, sums: Tensor, sizes: Tensor, unit: float = 1.0, each: str = "window") -> Measurement:
        """Sum of ``sums`` over sum of ``sizes``, divided by ``unit``, in float64; n is the sum of ``sizes``.

        The standard error is that of a ratio over w windows, sqrt(w / (w - 1) sum_i (s_i - r m_i)^2) / sum_i m_i
        with r the ratio (Cochran 1977, Sampling Techniques, section 6.4; no finite-population correction). For
        windows of equal size it is that of the windows' means. It is None for one window.

        Args:
            sums: (w,) total loss of each window.
            sizes: (w,) number of scored tokens or bytes in each window.
            unit: what the result is divided by.
            each: what a window is, see :class:`harness.Examples`.
        """
        from harness.core.examples import Examples  # late: numpy is slow to import

        sums, sizes = sums.double(), sizes.double()
        total, windows = float(sizes.sum()), len(sums)
        value = float(sums.sum()) / total
        stderr = None
        if windows > 1:
            squares = float((sums - value * sizes).square().sum())
            stderr = sqrt(windows / (windows - 1) * squares) / total / unit
        return cls(value / unit, int(total), stderr, Examples.of(sums / unit, sizes, each))


class Scores(dict[str, Measurement]):
    """Measurements by metric, with what was found on each example.

    ``samples`` has one JSON-able mapping per example (or text sample); they are kept in a file beside the
    cell's record.
    """

    def __init__(self, measurements: Mapping[str, Measurement], samples: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(measurements)
        self.samples = samples


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
        allow_repeat: whether programs may train on more examples than there are. Where it is False, a suite
            that does so is refused, with the number of passes.
        quotes_data: whether what it keeps of each example (see :class:`Scores`) has parts of its data, which are then
            left out of what is published; False where it holds only what networks and the benchmark wrote.
    """

    Options: ClassVar[type[BaseModel]] = NoBenchmarkOptions
    version: ClassVar[str] = "1"
    metrics: tuple[Metric, ...] = ()
    protocol: str = ""
    allow_repeat: bool = True
    quotes_data: ClassVar[bool] = True

    def __init__(self, options: OptionsT) -> None:
        self.options = options

    def spec(self) -> DataSpec:
        """Shape of the training data.

        Raises:
            DataMissing: if it cannot be known without data that is not on this machine.
            Unsupported: if this benchmark only evaluates.
        """
        raise NotImplementedError(f"{type(self).__name__} offers no training data")

    def expected(self) -> DataSpec:
        """What :meth:`spec` will be once the data is here, as far as options tell: for the cost of a suite.

        Raises:
            DataMissing: as :meth:`spec`, where nothing can be said.
        """
        return self.spec()

    def unsupported(self, architecture: Architecture[Any]) -> str | None:
        """Why a network of ``architecture`` (with ``architecture.data``, what it is trained on) cannot be scored here.

        None if it can. Asked when a suite is planned, only where the network is trained on another benchmark.
        """
        return None

    def examples(self, split: Split) -> int | None:
        """How many examples :meth:`evaluate` scores on a split: the primary metric's n, 0 where it returns nothing.

        None where that is not known without running. Asked when a suite is planned: what cannot be scored, or has
        nothing to choose a checkpoint by, is then an error before anything is trained.

        Raises:
            UserError: instead of 0 for the test split, where it can say what to do about it.
            DataMissing: as :meth:`spec`.
        """
        return None

    def fingerprint(self) -> str:
        """Identifies the data's content; part of every stage's hash. Fixed data sets need only ``version``."""
        return self.version

    def data_source(self) -> Mapping[str, Any] | None:
        """Where the data came from, in short, as JSON, for the record; part of no hash. None has nothing to say.

        For files, :func:`harness.storage.digests.described`. Asked when a cell has been evaluated.
        """
        return None

    def preprocessing(self) -> Mapping[str, Any] | None:
        """How ``inputs`` come from what there is, and what ``outputs`` mean, as JSON: formulas and their numbers.

        For exported networks, which take inputs as they were in training; part of no hash. None has nothing to say;
        of texts the tokenizer in :meth:`spec` is told anyway.
        """
        return None

    def training_data(self, device: torch.device) -> TrainingData:
        """The training split on ``device``.

        Raises:
            DataMissing: with the command that gets it.
        """
        raise NotImplementedError(f"{type(self).__name__} offers no training data")

    def evaluate(self, model: Model, split: Split, device: torch.device) -> Mapping[str, Measurement]:
        """Scores on a split: metric name -> measurement, one per entry of ``metrics``.

        Empty if it has no such split; a :class:`Scores` if there is something to keep of each example.

        ``model`` maps a batch of inputs on ``device`` to logits, or to numbers of the targets' shape, in evaluation
        mode, without gradients.
        For language data it is a :class:`harness.LanguageNetwork` in all of the harness's architectures.
        The batch size is this benchmark's own, fixed, so that scores do not depend on the machine.
        """
        raise NotImplementedError(f"{type(self).__name__} offers no evaluation")

    def evaluate_network(
        self,
        network: nn.Module,
        architecture: Architecture[Any] | None,
        declared: Architecture[Any] | None,
        split: Split,
        device: torch.device,
    ) -> Mapping[str, Measurement]:
        """What is called to score a cell: :meth:`evaluate`, unless a benchmark asks about the network itself.

        Args:
            network: in evaluation mode, with effective weights: as what :meth:`evaluate` is given. Not to be changed.
            architecture: that built it; None where several networks predict together.
            declared: as the suite has it: another one where the method made a smaller network of it.
            split, device: as there.
        """
        return self.evaluate(network, split, device)

    def references(self, device: torch.device) -> Mapping[str, float]:
        """What can be had without any network: name -> what it scores on the test split by the primary metric.

        Shown beside the table: the last frame repeated, the most frequent class. Asked when a cell has been evaluated.
        """
        return {}

    def files(self) -> Sequence[Path]:
        """The files it needs, for ``harness data list``; none for data that comes with a package."""
        return ()

    def disk_bytes(self) -> int | None:
        """About how many bytes :meth:`files` will take, for ``harness data list`` while they are missing.

        None where that is not known.
        """
        return None

    def prepare(self, download: bool = True) -> None:
        """Fetch or build what :meth:`files` names; does nothing when it is there.

        Raises:
            DataMissing: if it cannot be had, with what to do.
        """

    def verify(self) -> Sequence[str]:
        """Checks the files' checksums; returns one line per problem, none if all is well."""
        return ()
