"""LAMBADA: the last word of a passage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field

from harness import LanguageNetwork, Measurement, Metric, Scores
from harness_language.evaluations.json_lines_evaluation import JsonLinesEvaluation, JsonLinesOptions
from harness_language.evaluations.losses import exponential
from harness_language.evaluations.source import PublishedFile
from harness_language.scoring import Scored, score

if TYPE_CHECKING:
    from torch import Tensor


class LambadaOptions(JsonLinesOptions):
    """Options of ``lambada`` and ``lambada_ndna``."""

    path: Path = Field(default=Path("lambada/lambada_test.jsonl"), json_schema_extra={"hashed": False})
    """A file of lines ``{"text": passage}``; a relative path is relative to the suite or the data directory. Says
    only where: the content is hashed."""


class Lambada(JsonLinesEvaluation[LambadaOptions]):
    """Perplexity of the last words of LAMBADA's passages, and how many of them are guessed.

    As lm-evaluation-harness does it: the target is the last space-separated word with the space before it,
    perplexity is exp of minus the mean over words of their log-probability, and a word is right if each of its
    tokens is the most likely one. Standard errors are over passages. The text is OpenAI's, with its
    capitals and punctuation.

    Source: Paperno et al. 2016, "The LAMBADA dataset", arXiv:1606.06031; text form of Radford et al. 2019.
    Licence: CC BY 4.0.
    """

    Options: ClassVar = LambadaOptions
    name: ClassVar = "lambada"
    published: ClassVar = PublishedFile(  # OpenAI's copy
        "https://openaipublic.blob.core.windows.net/gpt-2/data/lambada_test.jsonl",
        "4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226",
    )
    unit: ClassVar = "passages"
    metrics = (Metric("perplexity", "perplexity/word", "min"), Metric("accuracy", "fraction", "max"))
    per: ClassVar[str] = "per last word, exp(-mean log-probability of the word), as lm-evaluation-harness"

    def describe(self) -> str:
        """Everything that changes the numbers."""
        o = self.options
        return (
            f"LAMBADA ({o.path.name}, {self.count}), {o.tokenizer} tokens, context cut on the left to the "
            f"network's; perplexity {self.per}; accuracy: all tokens of the last word are the most likely"
        )

    def scores(self, model: LanguageNetwork, device: torch.device) -> Scores:
        """Perplexity and accuracy; one sample for each passage."""
        words = self.read(_last_word)
        found = score(model, [self.continuation(*parts) for parts in words], device)
        measured = {
            "perplexity": exponential(self.loss(found)),
            "accuracy": Measurement.mean(torch.tensor([float(s.greedy) for s in found])),
        }
        samples = [
            {"word": word.strip(), "logprob": s.total, "tokens": len(s.logprobs), "correct": s.greedy}
            for (_, word), s in zip(words, found, strict=True)
        ]
        return Scores(measured, samples)

    def loss(self, found: list[Scored]) -> Measurement:
        """Mean loss of which perplexity is the exponential."""
        return Measurement.mean(-_totals(found))


class LambadaNdna(Lambada):
    """LAMBADA as Sudarshan 2026 (Neural DNA) takes its perplexity: per BPE token of the last words.

    Much lower than per word, as the words have about 1.3 tokens: never set it beside GPT-2's 35.1 or
    lm-evaluation-harness's numbers. The rest is as in ``lambada``.
    """

    name: ClassVar = "lambada_ndna"
    metrics = (Metric("perplexity", "perplexity/token", "min"), Metric("accuracy", "fraction", "max"))
    per: ClassVar[str] = "per BPE token of the last words (not per word), as Neural DNA"

    def loss(self, found: list[Scored]) -> Measurement:
        """Total loss over the number of tokens; the standard error is that of a ratio over passages."""
        return Measurement.ratio(-_totals(found), torch.tensor([len(s.logprobs) for s in found]), each="example")


def _totals(found: list[Scored]) -> Tensor:
    return torch.tensor([s.total for s in found], dtype=torch.float64)


def _last_word(example: dict[str, Any]) -> tuple[str, str]:
    context, space, word = example["text"].rpartition(" ")
    if not context.strip() or not word.strip():
        raise ValueError("the text has no last word after a space")
    return context, space + word
