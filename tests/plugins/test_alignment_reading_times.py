"""Reading times: tokens to words, correlations by hand, files, and the benchmark on networks of known surprisal."""

from __future__ import annotations

import hashlib
import math
import os
import random
import re
import statistics
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from harness import Architecture, CorruptFile, DataMissing, DataSpec, HarnessError, LanguageNetwork, Unsupported
from harness_alignment.correlation import Correlation
from harness_alignment.frequency import log_frequencies
from harness_alignment.likelihood import likelihood_gain
from harness_alignment.reading_times import ReadingTimes, ReadingTimesOptions, noise_ceiling
from harness_alignment.stories import read_stories
from harness_alignment.surprisal import word_starts, word_surprisals
from harness_language.tokenizers import tokenizer

CPU = torch.device("cpu")
WORDS = ["the", "of", "a", "cat,", "sat", "mat.", "dog's", "big-eared", "naïve", "when", "whatever", "it", "running"]


class Bigram(LanguageNetwork):
    """Predicts from the last token alone, by a table of log-probabilities (previous, next)."""

    def __init__(self, table: Tensor, context: int = 16) -> None:
        super().__init__()
        self.context, self.vocabulary = context, len(table)
        self.table = torch.nn.Parameter(table)

    def states(self, inputs: Tensor) -> list[Tensor]:
        return [torch.nn.functional.one_hot(inputs, self.vocabulary).to(self.table.dtype)]

    def normed(self, state: Tensor) -> Tensor:
        return state

    @property
    def head_weight(self) -> Tensor:
        return self.table.T


class Trained(Architecture[Any]):
    """An architecture, as far as a benchmark that only evaluates asks for it."""

    def build(self) -> torch.nn.Module:
        raise NotImplementedError

    def connections(self) -> list[Any]:
        return []


def trained(identity: str, context: int = 16) -> Trained:
    return Trained(Trained.Options(), DataSpec("language", (context,), 256, 1, context, identity))


def random_table(size: int) -> Tensor:
    return torch.randn(size, size, generator=torch.Generator().manual_seed(1)).double().mul(2).log_softmax(dim=1)


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, list[tuple[str, float, float, int]]]:
    """Three stories of (word, mean, sd, n), written as the corpus writes them, lines in no order."""
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    draw = random.Random(0)
    stories = {
        item: [
            (draw.choice(WORDS), draw.uniform(250, 450), draw.uniform(50, 200), draw.randint(60, 90))
            for _ in range(70 + item)
        ]
        for item in (1, 2, 3)
    }
    shown, timed = [], []
    for item, rows in stories.items():
        for zone, (word, mean, sd, n) in enumerate(rows, 1):
            shown.append(f"{word}\t{zone}\t{item}")
            timed.append(f"{word}\t{zone}\t{item}\t{n}\t{mean!r}\t{sd!r}\t1.0\t1.0")
    draw.shuffle(timed)
    write(shown, timed)
    return stories


def write(shown: list[str], timed: list[str]) -> None:
    words, times = benchmark().paths()
    words.parent.mkdir(exist_ok=True)
    words.write_text("\n".join(["word\tzone\titem", *shown]) + "\n")
    header = "word\tzone\titem\tnItem\tmeanItemRT\tsdItemRT\tgmeanItemRT\tgsdItemRT"
    times.write_text("\n".join([header, *timed]) + "\n")


def benchmark(**options: Any) -> ReadingTimes:
    return ReadingTimes(ReadingTimesOptions.model_validate({"tokenizer": "bytes", **options}))


def ranks(values: list[float]) -> list[float]:
    return [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]


def test_tokens_are_given_to_words_by_bytes() -> None:
    # "ab c def": tokens "ab", " c", " d", "ef" and, reaching over words, "a", "b c d", "ef".
    words = ["ab", "c", "def"]
    assert word_starts(words).tolist() == [0, 2, 4]
    assert word_surprisals(words, np.array([1.0, 2, 3, 4]), np.array([2, 2, 2, 2])).tolist() == [1, 2, 7]
    shared = word_surprisals(words, np.array([1.0, 5, 4]), np.array([1, 5, 2]))
    assert shared == pytest.approx([1 + 1, 2, 2 + 4])
    with pytest.raises(HarnessError, match="8 bytes stand for 9"):
        word_surprisals(words, np.ones(2), np.array([4, 5]))


def test_words_of_several_bytes_per_character() -> None:
    assert word_starts(["né", "é"]).tolist() == [0, 3]
    assert word_surprisals(["né", "é"], np.arange(6.0), np.ones(6, dtype=np.int64)).tolist() == [0 + 1 + 2, 3 + 4 + 5]


@pytest.mark.parametrize("window", [1, 7, None])
def test_surprisal_and_correlations_of_a_known_network(corpus: Any, window: int | None) -> None:
    table = random_table(256)
    scores = benchmark(window=window).evaluate(Bigram(table), "test", CPU)
    surprisals, times, sizes = [], [], []
    for rows in corpus.values():
        previous = rows[0][0].encode()[-1]
        for word, mean, _, _ in rows[1:]:
            total = 0.0
            for byte in b" " + word.encode():
                total -= float(table[previous, byte]) / math.log(2)
                previous = byte
            surprisals.append(total)
            times.append(mean)
            sizes.append(len(word.encode()) + 1)
    assert [row["surprisal"] for row in scores.samples] == pytest.approx(surprisals, rel=1e-9)
    assert [row["time"] for row in scores.samples] == times
    assert [row["tokens"] for row in scores.samples] == pytest.approx(sizes)
    assert scores["pearson_r"].n == len(times) == 71 + 72 + 73 - 3
    assert scores["pearson_r"].value == pytest.approx(statistics.correlation(surprisals, times), abs=1e-10)
    assert scores["uniform_r"].value == pytest.approx(statistics.correlation(sizes, times), abs=1e-10)
    ranked = statistics.correlation(ranks([round(value, 6) for value in surprisals]), ranks(times))
    assert scores["spearman_r"].value == pytest.approx(ranked, abs=1e-3)  # rounding parts what is tied
    assert benchmark(window=window).evaluate(Bigram(table), "test", CPU) == scores


def naive_gains(corpus: dict[int, list[tuple[str, float, float, int]]], table: Tensor) -> dict[tuple[int, int], float]:
    """(story, place) -> gain, word by word, by pseudo-inverses."""
    plain = {
        item: [re.sub(r"^[^a-z]+|[^a-z]+$", "", word.lower()) for word, *_ in rows] for item, rows in corpus.items()
    }
    words = {}
    for item, rows in corpus.items():
        others = Counter(word for other in corpus if other != item for word in plain[other])
        previous = rows[0][0].encode()[-1]
        for place, (word, time, *_) in enumerate(rows, 1):
            surprisal = 0.0
            for byte in b" " + word.encode() if place > 1 else b"":
                surprisal -= float(table[previous, byte]) / math.log(2)
                previous = byte
            marks = len(re.findall(r"[^a-zï]", word))
            known = [len(word), marks, len(word.encode()) + 1, math.log(1 + others[plain[item][place - 1]])]
            words[item, place] = known, surprisal, time
    gains = {}
    every = [(item, place) for item, place in words if place > 2]
    for held in corpus:
        logs = []
        for network in (True, False):
            design = {}
            for item, place in every:
                (known, surprisal, _), (before, earlier, _) = words[item, place], words[item, place - 1]
                design[item, place] = np.array([1, place, *known, *before, *([surprisal, earlier] if network else [])])
            fitted = [key for key in every if key[0] != held]
            weights = np.linalg.pinv(np.stack([design[key] for key in fitted])) @ [words[key][2] for key in fitted]
            sigma = math.sqrt(sum((words[key][2] - design[key] @ weights) ** 2 for key in fitted) / len(fitted))
            scored = [key for key in every if key[0] == held]
            normal = {key: statistics.NormalDist(float(design[key] @ weights), sigma) for key in scored}
            logs.append({key: math.log(normal[key].pdf(words[key][2])) for key in scored})
        gains.update({key: logs[0][key] - logs[1][key] for key in logs[0]})
    return gains


def test_the_gain_of_a_known_network(corpus: Any) -> None:
    table = random_table(256)
    scores = benchmark().evaluate(Bigram(table), "test", CPU)
    expected = naive_gains(corpus, table)
    found = {(row["story"], row["place"]): row["gain"] for row in scores.samples}
    assert [key for key, gain in found.items() if gain is None] == [(item, 2) for item in corpus]
    assert {key: gain for key, gain in found.items() if gain is not None} == pytest.approx(expected, abs=1e-8)
    gain = scores["delta_log_likelihood"]
    assert gain.n == len(expected) == 71 + 72 + 73 - 6
    assert gain.value == pytest.approx(statistics.mean(expected.values()), abs=1e-9)
    sums: dict[tuple[int, int], float] = defaultdict(float)
    sizes = Counter((item, place // 50) for item, place in expected)
    for (item, place), value in expected.items():
        sums[item, place // 50] += value
    squares = sum((sums[block] - gain.value * sizes[block]) ** 2 for block in sizes)
    assert gain.stderr == pytest.approx(math.sqrt(len(sizes) / (len(sizes) - 1) * squares) / gain.n)


def test_a_network_that_has_learnt_nothing_adds_nothing(corpus: Any) -> None:
    scores = benchmark().evaluate(Bigram(torch.zeros(256, 256)), "test", CPU)
    assert scores["delta_log_likelihood"].value == pytest.approx(0, abs=1e-9)
    assert scores["pearson_r"].value == pytest.approx(scores["uniform_r"].value)


def test_only_what_a_network_adds_is_ranked() -> None:
    assert [metric.name for metric in ReadingTimes.metrics if metric.direction != "none"] == ["delta_log_likelihood"]
    assert ReadingTimes.metrics[0].name == "delta_log_likelihood"
    assert ReadingTimes.version == "2"


def test_times_made_of_surprisal_are_found(corpus: Any) -> None:
    table = random_table(256)
    first = benchmark().evaluate(Bigram(table), "test", CPU)
    shown = [f"{row['word']}\t{row['place']}\t{row['story']}" for row in first.samples]
    timed = [
        f"{line}\t80\t{300 + 5 * row['surprisal']!r}\t0.0\t1\t1" for line, row in zip(shown, first.samples, strict=True)
    ]
    for item, rows in corpus.items():
        shown.append(f"{rows[0][0]}\t1\t{item}")
        timed.append(f"{rows[0][0]}\t1\t{item}\t80\t300.0\t0.0\t1\t1")
    write(shown, timed)
    scores = benchmark().evaluate(Bigram(table), "test", CPU)
    assert scores["pearson_r"].value == pytest.approx(1)
    assert scores["noise_ceiling"].value == 1
    assert scores["delta_log_likelihood"].value > 1


def byte_level(folder: Path, across_words: bool) -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    coder = Tokenizer(models.BPE())
    coder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not across_words)
    coder.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    coder.train_from_iterator([" ".join(WORDS * 3)], trainer)
    coder.save(str(folder / f"coder{across_words}.json"))
    return f"coder{across_words}.json"


@pytest.mark.parametrize("across_words", [False, True])
def test_byte_pair_tokens_after_the_end_of_text(corpus: Any, tmp_path: Path, across_words: bool) -> None:
    name = byte_level(tmp_path, across_words)
    coder = tokenizer(name)
    assert coder.end is not None
    table = random_table(coder.vocabulary)
    scores = benchmark(tokenizer=name).evaluate(Bigram(table), "test", CPU)
    expected, spanning = [], 0
    for rows in corpus.values():
        owner = [place for place, (word, *_) in enumerate(rows) for _ in range(len(word.encode()) + (place > 0))]
        totals = [0.0] * len(rows)
        previous, at = coder.end, 0
        for token in coder.encode(" ".join(word for word, *_ in rows)):
            size = len(coder.decode([token]).encode()) if token > 256 else 1
            spanning += owner[at] != owner[at + size - 1]
            for byte in range(at, at + size):
                totals[owner[byte]] -= float(table[previous, token]) / math.log(2) / size
            previous, at = token, at + size
        assert at == len(owner)
        expected += totals[1:]
    assert (spanning > 0) == across_words
    found = [row["surprisal"] for row in scores.samples]
    if not across_words:
        assert found == pytest.approx(expected, rel=1e-9)
    # A story may begin with a token of several words, which are left out.
    by_word = {(row["story"], row["place"]): row["surprisal"] for row in scores.samples}
    every = [(item, place) for item, rows in corpus.items() for place in range(2, len(rows) + 1)]
    assert len(by_word) >= len(every) - 9
    for key, value in zip(every, expected, strict=True):
        assert key not in by_word or by_word[key] == pytest.approx(value, rel=1e-9)


def test_bootstrap_resamples_whole_clusters() -> None:
    generator = np.random.default_rng(3)
    x = generator.normal(size=60)
    y = x + generator.normal(size=60)
    clusters = np.arange(60) // 7
    found = Correlation.of(x, y, clusters)
    draws = np.random.default_rng(0).multinomial(9, [1 / 9] * 9, len(found.resampled))
    for draw, r in list(zip(draws, found.resampled, strict=True))[:50]:
        times = draw[clusters]
        assert r == pytest.approx(np.corrcoef(np.repeat(x, times), np.repeat(y, times))[0, 1], abs=1e-12)
    assert found.stderr == pytest.approx(statistics.stdev(found.resampled.tolist()))


def test_bootstrap_agrees_with_theory_and_ignores_copies() -> None:
    generator = np.random.default_rng(4)
    x = generator.normal(size=3000)
    y = 0.5 * x + generator.normal(size=3000)
    single = Correlation.of(x, y, np.arange(3000))
    assert single.stderr == pytest.approx((1 - single.r**2) / math.sqrt(3000), rel=0.1)
    copied = Correlation.of(np.repeat(x, 5), np.repeat(y, 5), np.repeat(np.arange(3000), 5))
    assert copied.r == pytest.approx(single.r)
    assert copied.stderr == pytest.approx(single.stderr, rel=1e-9)


def test_a_constant_correlates_with_nothing() -> None:
    found = Correlation.of(np.full(10, 0.1), np.arange(10.0), np.arange(10))
    assert (found.r, found.stderr) == (0, 0)


def test_frequencies_by_hand() -> None:
    one, two, three = ["The", "cat,", "the", "--"], ["\u201cThe", "dog's", "cat"], ["the", "Dog\u2019s"]
    found = log_frequencies([one, two, three])
    # In the other stories: the 2, cat 1, the 2, -- 0; the 3, dog's 0 (another apostrophe), cat 1; the 3, dog's 0.
    assert found[0] == pytest.approx([math.log(3), math.log(2), math.log(3), 0])
    assert found[1] == pytest.approx([math.log(4), 0, math.log(2)])
    assert found[2] == pytest.approx([math.log(4), 0])


def test_likelihood_gain_by_hand() -> None:
    # Story 1 alone: 3 + 2 x with errors of 1, or 3 with a mean square of 5. Story 2 alone: 2, whatever x is.
    x = np.array([-1.0, -1, 1, 1, -1, -1, 1, 1])
    times = np.array([0.0, 2, 4, 6, 1, 3, 1, 3])
    found = likelihood_gain(np.empty((8, 0)), x[:, None], times, np.repeat([1, 2], 4))
    with_x, without = [0.0, 4, 16, 4], [4.0, 0, 4, 0]
    second = [(math.log(5) + b / 5 - a) / 2 for a, b in zip(with_x, without, strict=True)]
    assert found == pytest.approx([0, 0, 0, 0, *second], abs=1e-12)


def test_likelihood_gain_against_normal_equations() -> None:
    generator = np.random.default_rng(5)
    stories = np.repeat([1, 2, 3], [30, 40, 50])
    length, place, surprisal = generator.normal(size=(3, 120))
    times = 300 + 20 * length + 8 * surprisal + generator.normal(size=120) * 10
    gain = likelihood_gain(np.stack([length, place], axis=1), surprisal[:, None], times, stories)
    for row in (0, 35, 119):
        values = []
        for columns in ((length, place, surprisal), (length, place)):
            fitted = [i for i in range(120) if stories[i] != stories[row]]
            design = np.array([[1, *(column[i] for column in columns)] for i in range(120)])
            weights = np.linalg.inv(design[fitted].T @ design[fitted]) @ design[fitted].T @ times[fitted]
            sigma = math.sqrt(sum((times[i] - design[i] @ weights) ** 2 for i in fitted) / len(fitted))
            values.append(math.log(statistics.NormalDist(float(design[row] @ weights), sigma).pdf(times[row])))
        assert gain[row] == pytest.approx(values[0] - values[1])
    assert gain.mean() > 0.1
    assert abs(likelihood_gain(length[:, None], generator.normal(size=(120, 1)), times, stories).mean()) < 0.05
    implied = np.stack([2 * length - 3, length + place], axis=1)
    known = likelihood_gain(np.stack([length, place], axis=1), implied, times, stories)
    assert known == pytest.approx(np.zeros(120), abs=1e-10)


def test_noise_ceiling_is_what_noise_leaves() -> None:
    assert noise_ceiling(np.array([1.0, 3.0]), np.array([2.0, 2.0]), np.array([4.0, 8.0])) == pytest.approx(
        math.sqrt(1 - (1 + 0.5) / 2 / 2)
    )
    assert noise_ceiling(np.array([1.0, 1.1]), np.array([9.0, 9.0]), np.array([2.0, 2.0])) == 0
    generator = np.random.default_rng(6)
    truth = generator.normal(300, 40, size=4000)
    readings = truth[:, None] + generator.normal(0, 200, size=(4000, 50))
    means, sds = readings.mean(axis=1), readings.std(axis=1, ddof=1)
    ceiling = noise_ceiling(means, sds, np.full(4000, 50.0))
    assert ceiling == pytest.approx(np.corrcoef(truth, means)[0, 1], abs=0.01)


@pytest.mark.parametrize(
    ("file", "line", "text", "message"),
    [
        (0, 1, "word\tzone", r"all_stories.tok:1: the tab-separated header lacks item"),
        (0, 9, "cat\t8", r"all_stories.tok:9: 2 fields, but the header has 3"),
        (0, 9, "cat\teight\t1", r"all_stories.tok:9: invalid literal for int\(\) .*'eight'"),
        (0, 9, "cat\t7\t1", r"all_stories.tok:9: word 7 of story 1 is also in line 8"),
        (0, 9, "zebra\t8\t1", r"word 8 of story 1 is '.*', 'zebra' in .*all_stories.tok:9"),
        (0, 9, "two words\t8\t1", r"all_stories.tok:9: 'two words' is not one word"),
        (0, 9, "cat\t99\t1", r"all_stories.tok:9: word 99 of story 1 has no reading time"),
        (1, 4, "cat\t99\t1\t80\t300\t50\t1\t1", r"processed_wordinfo.tsv:4: story 1 has no word 99"),
        (1, 4, "cat\t99\t1\t80\tNA\t50\t1\t1", r"processed_wordinfo.tsv:4: could not convert .*'NA'"),
        (1, 4, "cat\t99\t1\t80\tnan\t50\t1\t1", r"processed_wordinfo.tsv:4: .*must be positive"),
        (1, 4, "cat\t99\t1\t0\t300\t50\t1\t1", r"processed_wordinfo.tsv:4: .*must be positive"),
    ],
)
def test_malformed_files_are_named_with_their_line(corpus: Any, file: int, line: int, text: str, message: str) -> None:
    paths = benchmark().paths()
    lines = paths[file].read_text().splitlines()
    if "has no word 99" in message:  # an extra line, the others stay
        lines.insert(line - 1, text)
    else:
        lines[line - 1] = text
    paths[file].write_text("\n".join(lines) + "\n")
    with pytest.raises(CorruptFile, match=message):
        read_stories(*paths)


def test_truncated_files(corpus: Any) -> None:
    words, times = benchmark().paths()
    whole = words.read_text().splitlines()
    words.write_text("\n".join(whole[:1]) + "\n")
    with pytest.raises(CorruptFile, match=r"tok:1: no words follow"):
        read_stories(words, times)
    words.write_text("\n".join(whole[:5] + whole[6:]) + "\n")
    with pytest.raises(CorruptFile, match=r"tok:6: word 5 of story 1 is missing"):
        read_stories(words, times)
    words.write_bytes(b"\xff\xfe")
    with pytest.raises(CorruptFile, match="not UTF-8"):
        read_stories(words, times)
    write(["a\t1\t1"], ["a\t1\t1\t80\t300\t50\t1\t1"])
    with pytest.raises(CorruptFile, match="only one story"):
        read_stories(words, times)


def test_only_evaluates_and_only_the_networks_tokens(corpus: Any) -> None:
    with pytest.raises(Unsupported, match="no training data"):
        benchmark().spec()
    assert benchmark().evaluate(Bigram(random_table(256)), "validation", CPU) == {}
    assert benchmark().unsupported(trained("bytes")) is None
    assert "tokens of tiktoken:gpt2" in str(benchmark().unsupported(trained("tiktoken:gpt2")))
    assert "no text" in str(benchmark().unsupported(trained("")))
    assert "window of 17" in str(benchmark(window=17).unsupported(trained("bytes")))
    with pytest.raises(ValidationError, match="stride of 5 is longer than the window of 4"):
        benchmark(window=4, stride=5)
    with pytest.raises(Unsupported, match="LanguageNetwork"):
        benchmark().evaluate(lambda inputs: inputs, "test", CPU)
    with pytest.raises(HarnessError, match="diverged"):
        benchmark().evaluate(Bigram(random_table(256) * math.nan), "test", CPU)
    assert set(benchmark().evaluate(Bigram(random_table(256)), "test", CPU)) == {m.name for m in ReadingTimes.metrics}


def test_protocol_and_fingerprint_say_what_changes_scores(corpus: Any) -> None:
    assert len({benchmark(**options).protocol for options in ({}, {"window": 8}, {"stride": 2})}) == 3
    before = benchmark().fingerprint()
    assert before == benchmark().fingerprint()
    path = benchmark().paths()[1]
    path.write_text(path.read_text().replace("\t1.0\t1.0", "\t1.0\t1.5", 1))
    assert benchmark().fingerprint() != before
    assert len(benchmark().verify()) == 2
    path.unlink()
    assert "is missing" in benchmark().verify()[1]
    with pytest.raises(DataMissing, match=r"processed_wordinfo.tsv is missing.*CC BY-NC-SA.*harness data prepare"):
        benchmark().evaluate(Bigram(random_table(256)), "test", CPU)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "site").mkdir()
    with HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "site"))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_prepare_downloads_whole_files_or_none(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    digests = {}
    for name in ReadingTimes.sha256:
        (tmp_path / "site" / name).write_text(f"content of {name}")
        digests[name] = hashlib.sha256(f"content of {name}".encode()).hexdigest()
    monkeypatch.setattr(ReadingTimes, "source", server)
    folder = tmp_path / "data" / "natural_stories"
    with pytest.raises(DataMissing, match="another release"):
        benchmark().prepare()
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(ReadingTimes, "sha256", digests)
    with pytest.raises(DataMissing):
        benchmark().prepare(download=False)
    benchmark().prepare()
    assert benchmark().verify() == []
    assert sorted(path.name for path in folder.iterdir()) == sorted(digests)
    (tmp_path / "site" / "all_stories.tok").unlink()
    benchmark().prepare()  # nothing is missing, so nothing is asked for
    (folder / "all_stories.tok").unlink()
    with pytest.raises(DataMissing, match="The download failed"):
        benchmark().prepare()


def test_real_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    root = os.environ.get("HARNESS_TEST_DATA")
    if not root or not (Path(root) / "natural_stories").is_dir():
        pytest.skip("HARNESS_TEST_DATA names no folder with natural_stories")
    monkeypatch.setenv("HARNESS_DATA", root)
    real = benchmark()
    assert real.verify() == []
    stories = read_stories(*real.paths())
    assert [len(story.words) for story in stories] == [1073, 990, 1040, 1085, 1013, 1099, 999, 980, 1038, 939]
    assert stories[0].text.startswith("If you were to journey to the North of England,")
    letters = torch.tensor(list(" ".join(story.text for story in stories).encode()))
    unigram = (torch.bincount(letters, minlength=256).double() + 0.5).log()
    scores = real.evaluate(Bigram(unigram.log_softmax(0).repeat(256, 1)), "test", CPU)
    assert scores["pearson_r"].n == 10_246
    assert 0.25 < scores["pearson_r"].value < 0.5
    assert scores["noise_ceiling"].value == pytest.approx(0.9107, abs=1e-4)
    assert scores["delta_log_likelihood"].n == 10_236
    # Which letters are rare says next to nothing; how they follow each other in these very stories says something.
    pairs = torch.bincount(letters[:-1] * 256 + letters[1:], minlength=256**2).view(256, 256).double() + 0.01
    pairwise = real.evaluate(Bigram((pairs / pairs.sum(dim=1, keepdim=True)).log()), "test", CPU)
    nothing = real.evaluate(Bigram(torch.zeros(256, 256)), "test", CPU)
    gains = [found["delta_log_likelihood"].value for found in (nothing, scores, pairwise)]
    assert gains == pytest.approx([0, 0.0005, 0.0017], abs=1e-4)
    assert nothing["pearson_r"].value == pytest.approx(scores["uniform_r"].value) == pytest.approx(0.3215, abs=1e-4)
