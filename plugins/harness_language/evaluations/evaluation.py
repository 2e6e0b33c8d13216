"""What the evaluations of language models share: a tokenizer, no training, and no validation scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from harness import Benchmark, DataSpec, LanguageNetwork, Model, Scores, Split, Unsupported
from harness_language.scoring import Continuation, network
from harness_language.tokenizers import ENCODINGS, TokenizerName, encoding, tokenizer, tokenizer_files

if TYPE_CHECKING:
    import torch

    from harness import Architecture


class EvaluationOptions(BaseModel):
    """Options of every evaluation."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    tokenizer: TokenizerName = "gpt2"
    """The one that the network was trained with: ``bytes``, one of tiktoken's encodings, or the path of a
    ``tokenizers`` JSON, relative to the suite or the data directory."""


OptionsT = TypeVar("OptionsT", bound=EvaluationOptions)


class LanguageEvaluation(Benchmark[OptionsT], Generic[OptionsT]):
    """A benchmark that scores a language network and trains none.

    It has test scores only. Nothing chooses by validation scores of a benchmark that trains nothing, so they
    would double the cost for nobody; where a set has a validation part, an option puts it in the test's place,
    and the protocol says so.

    Attributes:
        name: as registered, for messages.
        window: tokens that the protocol reads at once; None takes what the network has.
    """

    name: ClassVar[str]
    window: int | None = None

    def __init__(self, options: OptionsT) -> None:
        super().__init__(options)
        self.protocol = self.describe()

    @abstractmethod
    def describe(self) -> str:
        """The protocol in one line, with everything that changes the number."""

    @abstractmethod
    def scores(self, model: LanguageNetwork, device: torch.device) -> Scores:
        """Test scores."""

    def spec(self) -> DataSpec:
        """There is no training data."""
        raise Unsupported(
            f"{self.name} only evaluates: set `train_on` to the benchmark that the networks are trained on."
        )

    def unsupported(self, architecture: Architecture[Any]) -> str | None:
        """Another tokenizer than the network's, or a window longer than its context."""
        data = architecture.data
        if data.kind != "language":
            return f"{self.name} scores language networks; this one takes {data.kind} data"
        own = tokenizer(self.options.tokenizer).identity
        if data.tokenizer != own:
            return (
                f"{self.name} gives text in tokens of '{own}', but the network reads '{data.tokenizer}': set the "
                f"option `tokenizer` of {self.name} to the one of the training data"
            )
        if self.window is not None and self.window > architecture.context:
            return (
                f"{self.name} reads {self.window} tokens at once, but the network at most {architecture.context}: "
                f"set the option `window` of {self.name} to {architecture.context} or less"
            )
        return None

    def examples(self, split: Split) -> int | None:
        """0 for validation; those of the test are counted when they are read."""
        return 0 if split == "validation" else None

    def evaluate(self, model: Model, split: Split, device: torch.device) -> Scores:
        """Test scores; none for validation."""
        return Scores({}) if split == "validation" else self.scores(network(model, self.name), device)

    def continuation(self, context: str, ending: str) -> Continuation:
        """Ids of ``context + ending``, parted where the ids of ``context`` alone end.

        Spaces between the two belong to the ending, as GPT-2's tokens begin with the space before a word
        (lm-evaluation-harness does the same).
        """
        coder = tokenizer(self.options.tokenizer)
        bare = context.rstrip()
        whole, first = coder.encode(context + ending), len(coder.encode(bare))
        return Continuation(whole[:first], whole[first:])

    def files(self) -> Sequence[Path]:
        """The tokenizer's files."""
        return tokenizer_files(self.options.tokenizer)

    def prepare(self, download: bool = True) -> None:
        """Fetch the tokenizer if it is missing."""
        name = self.options.tokenizer
        if name in ENCODINGS:
            encoding(name, download)
        else:
            tokenizer(name)
