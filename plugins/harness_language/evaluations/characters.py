"""enwik8 and text8: bits per byte and per character."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field

from harness import CorruptFile, LanguageNetwork, Metric, Scores, data_directory
from harness_language.evaluations.file_evaluation import FileEvaluation
from harness_language.evaluations.losses import block_mean, per
from harness_language.evaluations.sliding import SlidingOptions
from harness_language.evaluations.source import PublishedFile
from harness_language.scoring import rolling
from harness_language.tokenizers import tokenizer

SIZE = 100_000_000
TEST = 5_000_000


class CharactersOptions(SlidingOptions):
    """Options of ``enwik8`` and ``text8``."""

    limit_bytes: int | None = Field(default=None, ge=2, le=TEST)
    """Score only the first so many bytes of the test part; null scores all 5,000,000."""


class Enwik8(FileEvaluation[CharactersOptions]):
    """Bits per byte of enwik8's last 5,000,000 bytes, the test part of the usual split (90, 5, 5 million).

    The total loss of any tokenizer's tokens over the bytes of the original text; the first token is counted in
    the bytes but not scored. Bytes of a character that the cuts parted are left out, at most 3 at each end.
    The standard error is over blocks of ``window`` tokens. File: ``enwik8/enwik8`` below the data directory.

    Source: Mahoney, "Large Text Compression Benchmark": the first 10^8 bytes of an English Wikipedia dump of
    2006. Licence: GNU FDL.
    """

    Options: ClassVar = CharactersOptions
    name: ClassVar = "enwik8"
    metrics: tuple[Metric, ...] = (Metric("bits_per_byte", "bits/byte", "min"),)
    sha256: ClassVar[str] = "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc"

    def __init__(self, options: CharactersOptions) -> None:
        super().__init__(options)
        self.window = options.window

    @property
    def file(self) -> Path:
        """The whole corpus."""
        return data_directory() / self.name / self.name

    @property
    def source(self) -> PublishedFile:
        """The author's own copy."""
        return PublishedFile(f"https://mattmahoney.net/dc/{self.name}.zip", self.sha256, (self.name,))

    def describe(self) -> str:
        """Everything that changes the number."""
        o, metric = self.options, self.metrics[0]
        cap = f", first {o.limit_bytes} of them only" if o.limit_bytes else ""
        return (
            f"{metric.unit} of {self.name}'s last {TEST} bytes{cap}: total loss over bytes of the original, "
            f"{o.tokenizer} tokens, {o.sliding}; standard error over blocks of {o.window} tokens"
        )

    def scores(self, model: LanguageNetwork, device: torch.device) -> Scores:
        """Bits per byte; one sample for each block."""
        part = self.part()
        ids = tokenizer(self.options.tokenizer).encode(part)
        losses = rolling(model, torch.tensor(ids), device, self.options.window, self.options.stride)
        blocks = torch.split(losses, self.options.window)
        samples = [{"block": i, "tokens": len(b), "loss": float(b.sum())} for i, b in enumerate(blocks)]
        bits = per(block_mean(losses, self.options.window), len(part.encode()), log(2))
        return Scores({self.metrics[0].name: bits}, samples)

    def part(self) -> str:
        """The text that is scored.

        Raises:
            CorruptFile: if the corpus has not its official size, so that its end would be other text.
        """
        content = self.content()
        if len(content) != SIZE:
            raise CorruptFile(
                f"{self.file} has {len(content)} bytes, but {self.name} has {SIZE}: delete it and run "
                f"`harness data prepare {self.name}`."
            )
        end = None if self.options.limit_bytes is None else SIZE - TEST + self.options.limit_bytes
        return content[SIZE - TEST : end].decode(errors="ignore")


class Text8(Enwik8):
    """Bits per character of text8's last 5,000,000 characters: lower-case letters and spaces, one byte each.

    Split, normaliser and standard error as for ``enwik8``. File: ``text8/text8`` below the data directory.

    Source: Mahoney, "About the Test Data": Wikipedia, cleaned. Licence: GNU FDL.
    """

    name: ClassVar = "text8"
    metrics: tuple[Metric, ...] = (Metric("bits_per_character", "bits/character", "min"),)
    sha256: ClassVar[str] = "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232"
