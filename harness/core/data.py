"""What networks are trained on: the shape of the data, and its examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["validation", "test"]


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Shape of a benchmark's training data.

    Attributes:
        kind: ``"classification"``, ``"regression"``, whose targets are real numbers, ``"language"``,
            ``"text_classification"``, whose examples are token ids with one class, or ``"video"``, whose targets are
            the frame after the last.
        inputs: shape of one example without the batch: (1, 8, 8) for images, (context,) for language, (length,) for
            texts, which are that long at most, (frames, height, width) for video, in [0, 1].
        outputs: number of classes, or for regression of numbers, for language size of the vocabulary, for video pixels
            of a frame.
        examples: number of training examples (windows for language).
        tokens: tokens in one example; 1 where an example is no sequence.
        tokenizer: what turned text into these tokens, with its version; empty where there is no text.
        vocabulary: of texts with a class: how many token ids there are, the one for padding included.
        padding: the id that fills a batch of such texts up to the longest of them, and stands nowhere else.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: int
    examples: int
    tokens: int = 1
    tokenizer: str = ""
    vocabulary: int = 0
    padding: int = 0

    @property
    def targets(self) -> tuple[int, ...]:
        """Shape of one example's target: a class, its numbers, the token after each token, or a frame."""
        shapes = {"regression": (self.outputs,), "language": self.inputs, "video": self.inputs[1:]}
        return shapes.get(self.kind, ())

    @property
    def real_targets(self) -> bool:
        """Whether targets are real numbers, float32, and the loss is the mean squared error; else classes, int64."""
        return self.kind in ("regression", "video")

    @property
    def token_ids(self) -> int:
        """How many there are, where inputs are token ids; else 0."""
        return self.outputs if self.kind == "language" else self.vocabulary


class TrainingData(Protocol):
    """Indexable training examples on one device; :class:`AugmentedData` where training sees them altered."""

    def __len__(self) -> int:
        """Number of training examples."""

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """(inputs, targets) of the examples ``indices``, an int64 tensor (batch,) on the CPU.

        One gather: no Python loop per example. Texts with a class are as long as the longest of the batch.
        """


class AugmentedData(TrainingData, Protocol):
    """Training examples that training sees altered at random: flipped, cut out.

    What an example becomes depends on nothing but itself and the numbers that belong to its position in the stream of
    training examples, which the harness draws from the seed: it is the same for every method, batch size and number of
    processes, and after a resumption.

    Attributes:
        draws: how many numbers an example takes, at least 1.
    """

    draws: int

    def augmented(self, indices: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`batch`, altered.

        ``numbers`` are uniform in [0, 1): float32 (batch, draws) on the CPU. One pass: no Python loop per example.
        """
