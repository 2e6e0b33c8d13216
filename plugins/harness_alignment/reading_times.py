"""Word surprisal against the times that people take to read the words."""

from __future__ import annotations

from math import log
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.stats import rankdata

from harness import Architecture, HarnessError, LanguageNetwork, Measurement, Metric, Scores
from harness_alignment.alignment import AlignmentBenchmark, AlignmentOptions
from harness_alignment.correlation import Correlation
from harness_alignment.likelihood import likelihood_gain
from harness_alignment.stories import Story, read_stories
from harness_alignment.surprisal import word_starts, word_surprisals
from harness_language.scoring import rolling
from harness_language.tokenizers import tokenizer

BLOCK = 50
Floats = NDArray[np.float64]


class ReadingTimesOptions(AlignmentOptions):
    """Options of ``reading_times``."""

    window: int | None = Field(default=None, ge=1)
    """Tokens that the network reads at once; null takes its whole context."""
    stride: int | None = Field(default=None, ge=1)
    """Tokens by which the window slides, at most the window; null takes half of it."""

    @model_validator(mode="after")
    def _stride_fits(self) -> ReadingTimesOptions:
        if self.window is not None and self.stride is not None and self.stride > self.window:
            raise ValueError(f"the stride of {self.stride} is longer than the window of {self.window}; lower it")
        return self


class ReadingTimes(AlignmentBenchmark[ReadingTimesOptions]):
    """Pearson's r between the surprisal of words, in bits, and the mean time that readers take for them.

    Ten stories of 10,256 words, each scored as one text, its words joined by spaces, in a sliding window, after
    the end-of-text token where the tokenizer has one. Words that begin within a story's first token are left
    out: with every usual tokenizer, the first word. Punctuation counts as part of its word.

    Standard errors and the interval come from a bootstrap over blocks of 50 consecutive words of a story, because
    neighbouring words depend on each other; for Spearman's r, ranks are taken once.

    Long and rare words have more tokens, so that a network that has learnt nothing reaches an r as well:
    ``uniform_r`` is that of one that finds every token equally likely, the floor for the tokenizer.
    ``delta_log_likelihood`` is free of it: what surprisal adds, on stories left out, to a regression on a word's
    characters, its tokens and its place in the story.

    ``noise_ceiling`` is sqrt(1 - mean(sd^2 / n) / var(means)) with sd and n over the readers of each word: the
    correlation that the noise-free times would have with these means. A cautious one, as part of sd is that some
    readers are faster than others, which the words of a story share.

    Source: Futrell et al. 2018 and 2021, "The Natural Stories corpus", Language Resources and Evaluation 55, in
    the release of 2025, whose times are no longer shifted against the words. Licence: CC BY-NC-SA 4.0. Pearson's r
    of surprisal is what Kotar and Tuckute 2025, arXiv:2504.21047, report.
    """

    Options: ClassVar = ReadingTimesOptions
    name: ClassVar[str] = "reading_times"
    folder: ClassVar[str] = "natural_stories"
    sha256: ClassVar = {
        "all_stories.tok": "0e4e9bd4708aaa01d8bea342696bb83cedff679c09184545483f6f3f4ba8aca3",
        "processed_wordinfo.tsv": "047d2a0b84eff99d90535d1517f7fa7d466b81fbd60e990f2f08caac04d8aa56",
    }
    source: ClassVar[str] = "https://raw.githubusercontent.com/languageMIT/naturalstories/master/naturalstories_RTS"
    origin: ClassVar[str] = (
        "Natural Stories (Futrell et al., CC BY-NC-SA 4.0, not for commercial use): run `harness data prepare "
        "reading_times` with internet, or copy all_stories.tok and processed_wordinfo.tsv from the folder "
        "naturalstories_RTS of github.com/languageMIT/naturalstories."
    )
    metrics = (
        Metric("pearson_r", "correlation", "max"),
        Metric("pearson_r_low", "correlation", "max"),
        Metric("pearson_r_high", "correlation", "max"),
        Metric("spearman_r", "correlation", "max"),
        Metric("delta_log_likelihood", "nats/word", "max"),
        Metric("uniform_r", "correlation", "max"),
        Metric("noise_ceiling", "correlation", "max"),
    )

    def __init__(self, options: ReadingTimesOptions) -> None:
        super().__init__(options)
        self.protocol = (
            f"r of word surprisal with mean self-paced reading times (Natural Stories, first words left out), "
            f"{options.tokenizer} tokens, after end-of-text where there is one, window "
            f"{options.window or 'of the context'}, stride {options.stride or 'of half a window'}, "
            f"95 % interval by bootstrap over blocks of {BLOCK} words"
        )

    def unsupported(self, architecture: Architecture[Any]) -> str | None:
        """Refuses other tokens, and a window longer than the network's context."""
        window, context = self.options.window, architecture.context
        if window is not None and window > context:
            return (
                f"the window of {window} tokens is longer than the network's context of {context}: set `window` lower"
            )
        return super().unsupported(architecture)

    def compare(self, model: LanguageNetwork, device: torch.device) -> Scores:
        """One sample per word."""
        rows = [row for story in read_stories(*self.paths()) for row in self._words(model, story, device)]
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        surprisal, times, stories, places = (columns[name] for name in ("surprisal", "time", "story", "place"))
        if not np.isfinite(surprisal).all():
            raise HarnessError("reading_times: the network gives some words no finite probability: it has diverged")
        blocks = np.unique(np.stack([stories, places // BLOCK]), axis=1, return_inverse=True)[1].reshape(-1)
        pearson = Correlation.of(surprisal, times, blocks)
        uniform = Correlation.of(columns["tokens"], times, blocks)
        spearman = Correlation.of(rankdata(surprisal), rankdata(times), blocks)
        baseline = np.stack([np.char.str_len(columns["word"]), columns["tokens"], places], axis=1)
        gain = np.bincount(blocks, likelihood_gain(baseline, surprisal, times, stories))
        n, (low, high) = len(rows), pearson.interval
        return Scores(
            {
                "pearson_r": Measurement(pearson.r, n, pearson.stderr),
                "pearson_r_low": Measurement(low, n),
                "pearson_r_high": Measurement(high, n),
                "spearman_r": Measurement(spearman.r, n, spearman.stderr),
                "delta_log_likelihood": Measurement.ratio(
                    torch.from_numpy(gain), torch.from_numpy(np.bincount(blocks)), each="block"
                ),
                "uniform_r": Measurement(uniform.r, n, uniform.stderr),
                "noise_ceiling": Measurement(noise_ceiling(times, columns["sd"], columns["readers"]), n),
            },
            rows,
        )

    def _words(self, model: LanguageNetwork, story: Story, device: torch.device) -> list[dict[str, Any]]:
        coder = tokenizer(self.options.tokenizer)
        ids = torch.tensor(coder.encode(story.text))
        window = self.options.window or model.context
        stride = self.options.stride or max(1, window // 2)
        losses = rolling(model, ids, device, window, stride, coder.end).numpy() / log(2)
        if coder.end is None:
            losses = np.concatenate([[0.0], losses])  # nothing precedes it, and its words are left out
        sizes = coder.token_bytes()[ids.numpy()]
        surprisals = word_surprisals(story.words, losses, sizes)
        tokens = word_surprisals(story.words, np.ones(len(ids)), sizes)
        return [
            {
                "story": story.number,
                "place": place + 1,
                "word": story.words[place],
                "surprisal": float(surprisals[place]),
                "tokens": float(tokens[place]),
                "time": float(story.means[place]),
                "sd": float(story.deviations[place]),
                "readers": int(story.readers[place]),
            }
            for place in np.flatnonzero(word_starts(story.words) >= sizes[0]).tolist()
        ]


def noise_ceiling(means: Floats, deviations: Floats, readers: Floats) -> float:
    """Square root of the reliability of the means, 1 - mean(sd^2 / n) / var(means); 0 where they are all noise."""
    return float(np.sqrt(max(0.0, 1 - (deviations**2 / readers).mean() / means.var(ddof=1))))
