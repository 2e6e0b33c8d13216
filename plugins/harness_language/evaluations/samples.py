"""Text that a network writes: samples to read, with two simple numbers."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from harness import LanguageNetwork, Measurement, Metric, Scores
from harness_language.evaluations.evaluation import EvaluationOptions, LanguageEvaluation
from harness_language.evaluations.prompts import PROMPTS
from harness_language.tokenizers import tokenizer


class TextSamplesOptions(EvaluationOptions):
    """Options of ``text_samples``."""

    new_tokens: int = Field(default=60, ge=4)
    """Tokens written after each prompt."""
    temperature: float = Field(default=0.7, gt=0)
    """Logits are divided by it."""
    top_k: int = Field(default=40, ge=1)
    """Only the so many most likely tokens are drawn from."""
    seed: int = 0
    """Of the draws; the same for every network, so that samples differ by the networks alone."""


class TextSamples(LanguageEvaluation[TextSamplesOptions]):
    """Continuations of fixed prompts, kept with the cell's record: the text is what matters.

    The end-of-text token is never drawn, so that all samples have the same length; where prompt and sample
    exceed the network's context it reads their end. ``distinct_2``: distinct pairs of neighbouring tokens
    over all pairs of a sample (Li et al. 2016, arXiv:1510.03055). ``repetition``: fraction of its runs of four
    tokens that stood in the sample before. Both are means over samples, with their standard errors. Neither
    says whether the text is good: noise repeats nothing.
    """

    Options: ClassVar = TextSamplesOptions
    name: ClassVar = "text_samples"
    version: ClassVar = "2"
    quotes_data: ClassVar = False
    metrics = (Metric("distinct_2", "fraction", "none"), Metric("repetition", "fraction", "none"))

    def describe(self) -> str:
        """Everything that changes the samples."""
        o = self.options
        return (
            f"{len(PROMPTS)} fixed prompts, {o.new_tokens} new {o.tokenizer} tokens each, temperature {o.temperature}, "
            f"top-k {o.top_k}, seed {o.seed}, end of text never drawn; distinct_2 and repetition (4-grams) of the new "
            f"tokens, means over samples"
        )

    def fingerprint(self) -> str:
        """SHA-256 of the prompts and the tokenizer's identity."""
        return hashlib.sha256(repr((PROMPTS, tokenizer(self.options.tokenizer).identity)).encode()).hexdigest()

    def scores(self, model: LanguageNetwork, device: torch.device) -> Scores:
        """The samples, and how much they repeat themselves."""
        coder = tokenizer(self.options.tokenizer)
        written = self._write(model, [coder.encode(prompt) for _, prompt in PROMPTS], coder.end, device)
        samples = [
            {"category": category, "prompt": prompt, "text": coder.decode(ids)}
            for (category, prompt), ids in zip(PROMPTS, written, strict=True)
        ]
        distinct = [_distinct(ids, 2) for ids in written]
        repeated = [1 - _distinct(ids, 4) for ids in written]
        measured = {
            "distinct_2": Measurement.mean(torch.tensor(distinct)),
            "repetition": Measurement.mean(torch.tensor(repeated)),
        }
        return Scores(measured, samples)

    @torch.no_grad()
    def _write(
        self, model: LanguageNetwork, prompts: list[list[int]], end: int | None, device: torch.device
    ) -> list[list[int]]:
        """New tokens after each prompt; the network reads everything anew for each of them."""
        texts = [list(prompt) for prompt in prompts]
        # On the CPU, so that all devices draw alike.
        generator = torch.Generator().manual_seed(self.options.seed)
        for _ in range(self.options.new_tokens):
            read = [torch.tensor(text[-model.context :]) for text in texts]
            # Padding comes after the text, where a causal network does not see it.
            inputs = torch.nn.utils.rnn.pad_sequence(read, batch_first=True).to(device)
            last = torch.tensor([len(text) - 1 for text in read], device=device)
            features = model.features(inputs)[torch.arange(len(read), device=device), last]
            drawn = self._draw(model.logits(features).float().cpu(), end, generator)
            for text, token in zip(texts, drawn.tolist(), strict=True):
                text.append(token)
        return [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]

    def _draw(self, logits: Tensor, end: int | None, generator: torch.Generator) -> Tensor:
        """(rows,) one token for each row of logits (rows, vocabulary)."""
        if end is not None:
            logits[:, end] = float("-inf")
        values, ids = logits.topk(min(self.options.top_k, logits.shape[1]))
        chosen = torch.multinomial((values / self.options.temperature).softmax(dim=1), 1, generator=generator)
        return ids.gather(1, chosen).squeeze(1)


def _distinct(ids: list[int], n: int) -> float:
    """Distinct runs of ``n`` tokens over all of them."""
    runs = [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
    return len(set(runs)) / len(runs)
