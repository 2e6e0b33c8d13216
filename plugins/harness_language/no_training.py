"""Tokens without text: what a network reads, for cells that only evaluate."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field

from harness import Benchmark, DataSpec, TrainingData, UserError
from harness_language.tokenizers import TokenizerName, content_identity, tokenizer


class NoTrainingOptions(BaseModel):
    """Options of ``no_training``."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    tokenizer: TokenizerName = "gpt2"
    """``bytes``, one of tiktoken's encodings, or the path of a tokenizers JSON, relative to the suite or the data
    directory."""
    context: int = Field(default=1024, ge=1)
    """Tokens that the network reads at once."""


class NoTraining(Benchmark[NoTrainingOptions]):
    """Says which tokens a network reads, and holds none: to ``train_on`` where ``training.steps`` are 0.

    With weights that were trained elsewhere, a suite can then score them without their training corpus.
    """

    Options: ClassVar = NoTrainingOptions
    protocol = "not trained"

    def spec(self) -> DataSpec:
        """The tokenizer's vocabulary and the context; no examples."""
        coder, context = tokenizer(self.options.tokenizer), self.options.context
        return DataSpec("language", (context,), coder.vocabulary, 0, context, coder.identity)

    def fingerprint(self) -> str:
        """Also the content of a tokenizer's file."""
        return f"{self.version}{content_identity(self.options.tokenizer)}"

    def training_data(self, device: torch.device) -> TrainingData:
        """There is none.

        Raises:
            UserError: always.
        """
        raise UserError("no_training has nothing to train on: give training.steps: 0, or train_on a corpus")
