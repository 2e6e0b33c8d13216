"""What the language benchmarks share: windows for training, and a score for every token."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import log
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from harness import Benchmark, DataSpec, Examples, Measurement, Metric, Split, TrainingData, UserError

Tokens = NDArray[Any]
_LOGITS = 2**26


class LanguageOptions(BaseModel):
    """Options of a language benchmark."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    context: int = Field(default=64, ge=1)
    """Tokens that the model reads at once, in training and evaluation."""
    eval_tokens: int | None = Field(default=65_536, ge=1)
    """Score only the first so many tokens of a split; null scores all."""


OptionsT = TypeVar("OptionsT", bound=LanguageOptions)


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of context + 1 tokens, each sharing one with the next, so that every token but the first is a target.

    Tokens at the end that fill no window are left out.
    """

    tokens: Tensor
    context: int

    def __len__(self) -> int:
        return max(0, len(self.tokens) - 1) // self.context

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, context) int64 inputs, and the same one token later as targets."""
        device = self.tokens.device
        starts = indices.to(device) * self.context
        windows = self.tokens[starts[:, None] + torch.arange(self.context + 1, device=device)].long()
        return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


class LanguageBenchmark(Benchmark[OptionsT], Generic[OptionsT]):
    """Prediction of the next token, from disjoint windows as long as those of training.

    Every token of the split is scored exactly once, except the first, which nothing precedes; the first token
    of a window is predicted from one token, the last from ``context``. The last window may be shorter: it is
    padded at the end, which a causal model cannot see, and the padding is not scored. With ``eval_tokens``
    the split ends after so many scored tokens. The evaluation batch is as large as fits 16,384 tokens and
    2**26 logits.

    ``loss`` is the mean over scored tokens, whose number is n. ``bits_per_byte`` is their total loss in bits
    over the bytes of text that they stand for, whose number is n. Standard errors are over windows, not
    tokens, as tokens of a window depend on each other; neighbouring windows are taken as independent. What is kept
    beside the record is summed by document where there is more than one, else by window.
    """

    protocol = "next-token loss on disjoint windows of the training context, each token but the first scored once"
    metrics = (Metric("loss", "nats/byte", "min"), Metric("bits_per_byte", "bits/byte", "min"))
    unit: str = "byte"

    def __init__(self, options: OptionsT) -> None:
        super().__init__(options)
        cap = f", first {options.eval_tokens} only" if options.eval_tokens else ""
        # What changes the score must be in the text, so each instance has its own.
        self.protocol = (
            f"next-{self.unit} loss on disjoint windows of {options.context}, "
            f"each {self.unit} but the first scored once{cap}"
        )
        self._tensors: dict[tuple[str, torch.device], Tensor] = {}

    @abstractmethod
    def splits(self) -> Mapping[str, Tokens]:
        """The tokens of ``train``, ``validation`` and ``test``; cheap when called again."""

    def vocabulary(self) -> int:
        """Number of different tokens."""
        return 256

    def tokenizer(self) -> str:
        """Identity of what turned the text into tokens."""
        return "bytes"

    def token_bytes(self) -> NDArray[np.int64]:
        """(vocabulary,) bytes of text that each token stands for."""
        return np.ones(256, dtype=np.int64)

    def spec(self) -> DataSpec:
        """Counts the training windows."""
        context, tokens = self.options.context, len(self.splits()["train"])
        if tokens <= context:
            raise UserError(
                f"{type(self).__name__}: {tokens} training {self.unit}s are not enough for one window of context + 1 "
                f"= {context + 1}. Give more text, or a smaller context."
            )
        examples = (tokens - 1) // context
        return DataSpec("language", (context,), self.vocabulary(), examples, context, self.tokenizer())

    def end(self) -> int | None:
        """The token that ends each document; None if there is none."""
        return None

    def documents(self, split: str) -> NDArray[np.int64] | None:
        """(tokens,) the document of each token of a split, counted from 0; None where documents are not known."""
        end = self.end()
        if end is None:
            return None
        ends: NDArray[np.int64] = (self.splits()[split] == end).astype(np.int64)
        return ends.cumsum() - ends

    def size(self, split: str) -> int:
        """Tokens of a split."""
        return len(self.splits()[split])

    def more_test_text(self) -> str:
        """What to do where the test split is empty, as a sentence."""
        return "Give more text."

    def examples(self, split: Split) -> int:
        """Scored tokens: all but the first, up to ``eval_tokens``.

        Raises:
            UserError: if there are none to test on.
        """
        scored = max(0, self.size(split) - 1)
        if split == "test" and not scored:
            raise UserError(f"the test split has {self.size(split)} {self.unit}s. {self.more_test_text()}")
        return min(scored, self.options.eval_tokens or scored)

    def training_data(self, device: torch.device) -> TrainingData:
        """Contiguous windows over the training split."""
        return Windows(self._tokens("train", device), self.options.context)

    def evaluate(
        self, model: Callable[[Tensor], Tensor], split: Split, device: torch.device
    ) -> Mapping[str, Measurement]:
        """Loss and bits per byte; empty if the validation split is."""
        scored, context = self.examples(split), self.options.context
        if not scored:
            return {}
        tokens = self._tokens(split, device)[: scored + 1]
        data = Windows(F.pad(tokens, (0, -scored % context)), context)
        rows = max(1, min(16_384, _LOGITS // self.vocabulary()) // context)
        losses, targets = [], []
        with torch.no_grad():
            for start in range(0, len(data), rows):
                inputs, target = data.batch(torch.arange(start, min(start + rows, len(data))))
                logits = model(inputs).float()
                losses.append(F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").cpu())
                targets.append(target.flatten().cpu())
        real = (torch.arange(len(data) * context) < scored).view(-1, context)
        loss = torch.cat(losses).double().view(-1, context).where(real, 0).sum(dim=1)
        sizes = torch.from_numpy(self.token_bytes())[torch.cat(targets)].view(-1, context).where(real, 0).sum(dim=1)
        found = {
            "loss": Measurement.ratio(loss, real.sum(dim=1)),
            "bits_per_byte": Measurement.ratio(loss, sizes, unit=log(2)),
        }
        documents = self.documents(split)
        if documents is None or documents[1] == documents[scored]:
            return found
        groups = torch.from_numpy(documents[1 : scored + 1])
        each, stood_for = torch.cat(losses)[:scored].double(), torch.cat(targets)[:scored]
        parts = {
            "loss": Examples.of(each, torch.ones(scored)),
            "bits_per_byte": Examples.of(each / log(2), torch.from_numpy(self.token_bytes())[stood_for]),
        }
        return {
            name: replace(measured, examples=parts[name].grouped(groups, "document"))
            for name, measured in found.items()
        }

    def _tokens(self, split: str, device: torch.device) -> Tensor:
        key = split, device
        if key not in self._tensors:
            self._tensors[key] = torch.from_numpy(self.splits()[split]).to(device)
        return self._tensors[key]
