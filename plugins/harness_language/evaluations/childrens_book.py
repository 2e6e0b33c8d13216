"""The Children's Book Test: which word was left out of a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field

from harness import CorruptFile, LanguageNetwork, Measurement, Metric, Scores, data_directory
from harness_language.evaluations.detokenizers import detokenize
from harness_language.evaluations.evaluation import EvaluationOptions
from harness_language.evaluations.file_evaluation import FileEvaluation
from harness_language.evaluations.source import PublishedFile
from harness_language.scoring import Continuation, score
from harness_language.tokenizers import tokenizer

_BLANK = "XXXXX"
_NAMES = {"test": "test_2500ex", "valid": "valid_2000ex"}


class ChildrensBookOptions(EvaluationOptions):
    """Options of the Children's Book Test."""

    split: Literal["test", "valid"] = "test"
    """Which file gives the test score. Radford et al. 2019 report the validation questions, because a book of the
    test was in their training data."""
    detokenize: Literal["none", "treebank"] = "none"
    """``treebank`` writes quotes, brackets, punctuation and contractions as in plain text; Radford et al. 2019 do so
    with rules that they did not publish."""
    limit: int | None = Field(default=None, ge=1)
    """Score only the first so many questions; null scores all."""


@dataclass(frozen=True, slots=True)
class Cloze:
    """Twenty sentences, then one that lacks a word: what stands before and after it, and what may stand there."""

    before: str
    after: str
    answer: str
    candidates: Sequence[str]


class ChildrensBook(FileEvaluation[ChildrensBookOptions]):
    """How often the left-out word of ten candidates is the most likely one.

    As Radford et al. 2019 (GPT-2), section 3.2: the log-probability of the candidate and the rest of its
    sentence, not normalised, given the twenty sentences and the beginning of the last. Of equal ones the first
    counts. Files as in the official archive, ``CBTest/data/`` below the data directory.

    Source: Hill et al. 2015, "The Goldilocks Principle", arXiv:1511.02301. Licence: GNU FDL 1.3.
    """

    Options: ClassVar = ChildrensBookOptions
    metrics = (Metric("accuracy", "fraction", "max"),)
    choices: ClassVar = {"split": ("test", "valid")}
    kind: ClassVar[str]
    how: ClassVar[str] = (
        "log-probability of candidate and rest of the sentence, not normalised, given all before it, context cut on "
        "the left to the network's"
    )

    @property
    def file(self) -> Path:
        """The split's file."""
        return data_directory() / "CBTest" / "data" / f"cbtest_{self.kind}_{_NAMES[self.options.split]}.txt"

    @property
    def source(self) -> PublishedFile:
        """The archive of the authors, as Hugging Face keeps it."""
        return PublishedFile(
            "https://huggingface.co/datasets/cam-cst/cbt/resolve/main/data/CBTest.tgz",
            "932df0cadc1337b2a12b4c696b1041c1d1c6d4b6bd319874c6288f02e4a61e92",
            tuple(f"CBTest/data/cbtest_{kind}_{name}.txt" for kind in ("CN", "NE") for name in _NAMES.values()),
        )

    def describe(self) -> str:
        """Everything that changes the number."""
        o = self.options
        count = f"first {o.limit}" if o.limit else "all"
        return (
            f"Children's Book Test ({self.file.name}, {count} questions), detokenizer {o.detokenize}, "
            f"{o.tokenizer} tokens; {self.how}"
        )

    def scores(self, model: LanguageNetwork, device: torch.device) -> Scores:
        """Accuracy; one sample for each question."""
        clozes = read_clozes(self.file, self.text())[: self.options.limit]
        requests = [self.request(c, candidate, model.context) for c in clozes for candidate in c.candidates]
        found, samples = iter(score(model, requests, device)), []
        for cloze in clozes:
            logprobs = [next(found).total for _ in cloze.candidates]
            chosen = cloze.candidates[max(range(len(logprobs)), key=logprobs.__getitem__)]
            samples.append(
                {"answer": cloze.answer, "chosen": chosen, "candidates": cloze.candidates, "logprobs": logprobs}
            )
        right = torch.tensor([float(s["chosen"] == s["answer"]) for s in samples])
        return Scores({"accuracy": Measurement.mean(right)}, samples)

    def request(self, cloze: Cloze, candidate: str, context: int) -> Continuation:
        """What is scored for a candidate, on a network that reads ``context`` tokens."""
        return self.continuation(*self._filled(cloze, candidate))

    def _filled(self, cloze: Cloze, candidate: str) -> tuple[str, str]:
        how = self.options.detokenize
        return detokenize(cloze.before, how), detokenize(candidate + cloze.after, how)


class ChildrensBookNdna(ChildrensBook):
    """The Children's Book Test as Sudarshan 2026 (Neural DNA) takes it: the whole passage, with each candidate.

    The log-probability, not normalised, of the passage's last tokens, as many as the network reads; the first
    of these is not scored. Candidates of more tokens push others out on the left, which are then not scored.
    """

    how: ClassVar[str] = (
        "log-probability of the whole passage with the candidate, not normalised, its last tokens as many as the "
        "network reads, the first of these not scored, as Neural DNA"
    )

    def request(self, cloze: Cloze, candidate: str, context: int) -> Continuation:
        """All but the first of the last ``context`` tokens."""
        ids = tokenizer(self.options.tokenizer).encode("".join(self._filled(cloze, candidate)))[-context:]
        return Continuation(ids[:1], ids[1:])


class CommonNouns(ChildrensBook):
    """The Children's Book Test with common nouns left out."""

    name: ClassVar = "cbt_cn"
    kind: ClassVar = "CN"


class NamedEntities(ChildrensBook):
    """The Children's Book Test with names left out."""

    name: ClassVar = "cbt_ne"
    kind: ClassVar = "NE"


class CommonNounsNdna(ChildrensBookNdna):
    """Common nouns, the whole passage scored."""

    name: ClassVar = "cbt_cn_ndna"
    kind: ClassVar = "CN"


class NamedEntitiesNdna(ChildrensBookNdna):
    """Names, the whole passage scored."""

    name: ClassVar = "cbt_ne_ndna"
    kind: ClassVar = "NE"


def read_clozes(path: Path, text: str) -> list[Cloze]:
    """Questions of a file in which each has 21 numbered lines, and blank lines between questions.

    The 21st line has, divided by tabs, the sentence with ``XXXXX``, the answer, an empty field and the
    candidates, divided by ``|``.

    Raises:
        CorruptFile: for a line that is not what it must be, with its number; or if there is no question.
    """
    clozes: list[Cloze] = []
    sentences: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        label, _, sentence = line.rstrip("\r").partition(" ")
        if label != str(len(sentences) + 1):
            raise CorruptFile(f"{path}:{number}: not line {len(sentences) + 1} of a question. Get the file anew.")
        sentences.append(sentence)
        if label == "21":
            try:
                clozes.append(_cloze(sentences))
            except ValueError as error:
                raise CorruptFile(f"{path}:{number}: {error}. Get the file anew.") from error
            sentences = []
    if sentences or not clozes:
        raise CorruptFile(f"{path} ends within a question, or has none. Get the file anew.")
    return clozes


def _cloze(sentences: Sequence[str]) -> Cloze:
    query, *fields = sentences[-1].split("\t")
    if _BLANK not in query or len(fields) < 2:
        raise ValueError(f"must have, divided by tabs, a sentence with {_BLANK}, an answer and the candidates")
    candidates = [candidate for candidate in fields[-1].split("|") if candidate]
    if fields[0] not in candidates:
        raise ValueError(f"the answer '{fields[0]}' is not among the candidates")
    before, _, after = query.partition(_BLANK)
    return Cloze(" ".join([*sentences[:-1], before]), after, fields[0], candidates)
