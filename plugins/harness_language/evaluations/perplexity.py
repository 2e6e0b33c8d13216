"""Perplexity of a text under a sliding window."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from itertools import accumulate, takewhile
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeVar

import torch
from pydantic import Field

from harness import LanguageNetwork, Metric, Scores, UserError, data_directory
from harness_language.evaluations.detokenizers import detokenize
from harness_language.evaluations.file_evaluation import FileEvaluation
from harness_language.evaluations.losses import block_mean, exponential, per
from harness_language.evaluations.sliding import SlidingOptions
from harness_language.scoring import rolling
from harness_language.tokenizers import tokenizer

if TYPE_CHECKING:
    from harness_language.tokenizers import Tokenizer


class SlidingPerplexityOptions(SlidingOptions):
    """How a text is read."""

    detokenize: Literal["none", "wikitext", "ptb"] = "none"
    """Which corpus's preprocessing is undone before the network reads the text."""
    join: Literal["none", "blank_lines"] = "none"
    """``none`` reads the file as it is; ``blank_lines`` puts two line ends between its lines (each with its own
    line end, empty where it is blank), as scripts do that join the rows of a data set by an empty line."""
    limit_tokens: int | None = Field(default=None, ge=2)
    """Read only whole lines from the beginning, as many as give at most so many tokens when each is tokenised by
    itself; null reads all."""


OptionsT = TypeVar("OptionsT", bound=SlidingPerplexityOptions)


class SlidingPerplexity(FileEvaluation[OptionsT], Generic[OptionsT]):
    """Perplexity of a file of text, per token and per word, and bits per byte.

    Each token but the first is scored once, by the first window that reads it. Total loss is divided by the
    number of scored tokens; by the number of whitespace-separated words of the original file; by its UTF-8
    bytes. Original means before joining and detokenizing, so both of these compare across tokenizers and
    detokenizers; both count the first token's text, which is not scored. n is the divisor. Standard errors
    are over blocks of ``window`` tokens, perplexities' by the delta method.
    """

    metrics = (
        Metric("perplexity", "perplexity/token", "min"),
        Metric("word_perplexity", "perplexity/word", "min"),
        Metric("bits_per_byte", "bits/byte", "min"),
    )

    def __init__(self, options: OptionsT) -> None:
        super().__init__(options)
        self.window = options.window

    def describe(self) -> str:
        """Everything that changes the numbers."""
        o = self.options
        lines = {"none": "lines as they are", "blank_lines": "lines joined by blank lines"}[o.join]
        limit = f", whole lines up to {o.limit_tokens} tokens" if o.limit_tokens else ""
        return (
            f"perplexity of {self.file.name}{limit}, {lines}, detokenizer {o.detokenize}, {o.tokenizer} tokens, "
            f"{o.sliding}; per word: whitespace-separated words of the file; per byte: its UTF-8 bytes; "
            f"standard errors over blocks of {o.window} tokens"
        )

    def scores(self, model: LanguageNetwork, device: torch.device) -> Scores:
        """Perplexities; one sample for each block."""
        o, coder = self.options, tokenizer(self.options.tokenizer)
        original, ids = self._read(coder)
        losses = rolling(model, torch.tensor(ids), device, o.window, o.stride)
        loss = block_mean(losses, o.window)
        measured = {
            "perplexity": exponential(loss),
            "word_perplexity": exponential(per(loss, len(original.split()))),
            "bits_per_byte": per(loss, len(original.encode()), log(2)),
        }
        blocks = torch.split(losses, o.window)
        return Scores(measured, [{"block": i, "tokens": len(b), "loss": float(b.sum())} for i, b in enumerate(blocks)])

    def _read(self, coder: Tokenizer) -> tuple[str, list[int]]:
        """What is scored as the file has it, and its tokens."""
        # Unlike splitlines, parts at line feeds only.
        lines, limit = list(StringIO(self.text(), newline="\n")), self.options.limit_tokens
        if limit is not None:
            counts = accumulate(len(self._tokens([line], coder)) for line in lines)
            lines = [line for line, _ in zip(lines, takewhile(limit.__ge__, counts), strict=False)]
        ids = self._tokens(lines, coder)
        if len(ids) < 2:
            short = f"with limit_tokens {limit} no whole line fits" if limit else "it has fewer than 2 tokens"
            raise UserError(f"{self.name}: there is nothing to score in {self.file}: {short}.")
        return "".join(lines), ids

    def _tokens(self, lines: Sequence[str], coder: Tokenizer) -> list[int]:
        joined = "".join(lines)
        if self.options.join == "blank_lines":
            joined = "\n\n".join(line if line.strip() else "" for line in lines)
        return coder.encode(detokenize(joined, self.options.detokenize))


class PerplexityOptions(SlidingPerplexityOptions):
    """Options of ``perplexity``."""

    path: Path = Field(json_schema_extra={"hashed": False})
    """A file of UTF-8 text; a relative path is relative to the suite or the data directory. Says only where: the
    content is hashed."""


class Perplexity(SlidingPerplexity[PerplexityOptions]):
    """Sliding-window perplexity of any text of the user's own."""

    Options: ClassVar = PerplexityOptions
    name: ClassVar = "perplexity"

    @property
    def file(self) -> Path:
        """``path``."""
        return data_directory() / self.options.path.expanduser()
