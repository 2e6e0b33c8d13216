"""What word surprisal adds to a prediction of the times that people take to read the words."""

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
from harness_alignment.frequency import log_frequencies
from harness_alignment.likelihood import likelihood_gain
from harness_alignment.stories import Story, read_stories
from harness_alignment.surprisal import word_starts, word_surprisals
from harness_language.scoring import rolling
from harness_language.tokenizers import tokenizer

BASELINE = ("characters", "marks", "tokens", "log_frequency")
"""What is known of a word without a network."""
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
    """How much better reading times are predicted with a network's surprisal than without, in nats a word.

    Ten stories of 10,256 words, each scored as one text, its words joined by spaces, in a sliding window, after
    the end-of-text token where the tokenizer has one. Words that begin within a story's first token are left
    out: with every usual tokenizer, the first word. Punctuation counts as part of its word.

    ``delta_log_likelihood``, what rows are ranked by: the log-likelihood of mean times, on stories left out of the
    fit, of a linear regression with the surprisal of a word and of the word before it (reading slows down late),
    minus that of one without. Both have, of the word and of the one before it, characters, how many of them are
    punctuation, tokens, and the log frequency in the other stories; and the word's place in the story. So nothing is
    gained by a network that finds every token equally likely, as tokens are in the baseline, nor to speak of by one
    that only knows which tokens are rare. Words whose predecessor is left out have no gain.

    The correlations describe and do not judge. Long and rare words have more tokens, so that a network that has
    learnt nothing reaches an r as well: ``uniform_r`` is that of one that finds every token equally likely, and
    small networks stay below it. They are given because papers report them.

    Standard errors come from blocks of 50 consecutive words of a story, because neighbouring words depend on each
    other: of r from a bootstrap over them (for Spearman's, ranks are taken once), of the gain from their sums.

    ``noise_ceiling`` is sqrt(1 - mean(sd^2 / n) / var(means)) with sd and n over the readers of each word: the
    correlation that the noise-free times would have with these means. A cautious one, as part of sd is that some
    readers are faster than others, which the words of a story share.

    Source: Futrell et al. 2018 and 2021, "The Natural Stories corpus", Language Resources and Evaluation 55, in
    the release of 2025, whose times are no longer shifted against the words. Licence: CC BY-NC-SA 4.0. Spillover as
    in Smith and Levy 2013, "The effect of word predictability on reading time is logarithmic". Pearson's r of
    surprisal is what Kotar and Tuckute 2025, arXiv:2504.21047, report.
    """

    Options: ClassVar = ReadingTimesOptions
    name: ClassVar[str] = "reading_times"
    version: ClassVar[str] = "2"
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
        Metric("delta_log_likelihood", "nats/word", "max"),
        Metric("pearson_r", "correlation", "none"),
        Metric("spearman_r", "correlation", "none"),
        Metric("uniform_r", "correlation", "none"),
        Metric("noise_ceiling", "correlation", "none"),
    )

    def __init__(self, options: ReadingTimesOptions) -> None:
        super().__init__(options)
        self.protocol = (
            "gain in log-likelihood of mean self-paced reading times (Natural Stories, each story left out of its "
            "fit) from the surprisal of a word and the one before it, over characters, punctuation, tokens and log "
            f"frequency in the other stories of both, and the place; {options.tokenizer} tokens, after end-of-text "
            f"where there is one, window {options.window or 'of the context'}, stride "
            f"{options.stride or 'of half a window'}; r without first words; standard errors over blocks of {BLOCK} "
            "words"
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
        stories = read_stories(*self.paths())
        frequencies = log_frequencies([story.words for story in stories])
        rows = [
            row
            for story, frequency in zip(stories, frequencies, strict=True)
            for row in self._words(model, story, frequency, device)
        ]
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        surprisal, times, numbers, places = (columns[name] for name in ("surprisal", "time", "story", "place"))
        if not np.isfinite(surprisal).all():
            raise HarnessError("reading_times: the network gives some words no finite probability: it has diverged")
        blocks = np.unique(np.stack([numbers, places // BLOCK]), axis=1, return_inverse=True)[1].reshape(-1)
        pearson = Correlation.of(surprisal, times, blocks)
        uniform = Correlation.of(columns["tokens"], times, blocks)
        spearman = Correlation.of(rankdata(surprisal), rankdata(times), blocks)
        follows = np.flatnonzero(numbers[1:] == numbers[:-1]) + 1
        known = [columns[name][at] for name in BASELINE for at in (follows, follows - 1)]
        added = np.stack([surprisal[follows], surprisal[follows - 1]], axis=1)
        gains = likelihood_gain(np.stack([*known, places[follows]], axis=1), added, times[follows], numbers[follows])
        for at, gain in zip(follows.tolist(), gains.tolist(), strict=True):
            rows[at]["gain"] = gain
        sums, sizes = (np.bincount(blocks[follows], weights) for weights in (gains, None))
        n = len(rows)
        return Scores(
            {
                "delta_log_likelihood": Measurement.ratio(
                    torch.from_numpy(sums), torch.from_numpy(sizes), each="block"
                ),
                "pearson_r": Measurement(pearson.r, n, pearson.stderr),
                "spearman_r": Measurement(spearman.r, n, spearman.stderr),
                "uniform_r": Measurement(uniform.r, n, uniform.stderr),
                "noise_ceiling": Measurement(noise_ceiling(times, columns["sd"], columns["readers"]), n),
            },
            rows,
        )

    def _words(
        self, model: LanguageNetwork, story: Story, frequency: Floats, device: torch.device
    ) -> list[dict[str, Any]]:
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
                "characters": len(story.words[place]),
                "marks": sum(not letter.isalnum() for letter in story.words[place]),
                "log_frequency": float(frequency[place]),
                "time": float(story.means[place]),
                "sd": float(story.deviations[place]),
                "readers": int(story.readers[place]),
                "gain": None,
            }
            for place in np.flatnonzero(word_starts(story.words) >= sizes[0]).tolist()
        ]


def noise_ceiling(means: Floats, deviations: Floats, readers: Floats) -> float:
    """Square root of the reliability of the means, 1 - mean(sd^2 / n) / var(means); 0 where they are all noise."""
    return float(np.sqrt(max(0.0, 1 - (deviations**2 / readers).mean() / means.var(ddof=1))))
