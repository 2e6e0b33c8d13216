"""HellaSwag: which of four endings continues a text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field

from harness import LanguageNetwork, Measurement, Metric, Scores
from harness_language.evaluations.json_lines_evaluation import JsonLinesEvaluation, JsonLinesOptions
from harness_language.evaluations.source import PublishedFile
from harness_language.scoring import Scored, score

if TYPE_CHECKING:
    from collections.abc import Mapping


class HellaswagOptions(JsonLinesOptions):
    """Options of ``hellaswag`` and ``hellaswag_ndna``."""

    path: Path = Field(default=Path("hellaswag/hellaswag_val.jsonl"), json_schema_extra={"hashed": False})
    """A file of one JSON object a line with ``activity_label``, ``ctx``, ``ctx_a``, ``ctx_b``, ``endings`` and
    ``label`` (a number or its text); a relative path is relative to the suite or the data directory. Says only
    where: the content is hashed."""


@dataclass(frozen=True, slots=True)
class _Question:
    context: str
    endings: Sequence[str]
    label: int


class Hellaswag(JsonLinesEvaluation[HellaswagOptions]):
    """How often the right ending of four is the most likely one, on HellaSwag's 10,042 validation questions.

    As lm-evaluation-harness does it, text cleaning included. ``accuracy`` takes the greatest log-probability,
    ``accuracy_norm`` (its acc_norm) the greatest one per character of the cleaned ending. Of equal ones the
    first counts. Labels of the test questions are not public.

    Source: Zellers et al. 2019, "HellaSwag: Can a Machine Really Finish Your Sentence?", arXiv:1905.07830.
    Licence: MIT.
    """

    Options: ClassVar = HellaswagOptions
    name: ClassVar = "hellaswag"
    published: ClassVar = PublishedFile(  # the authors' repository
        "https://github.com/rowanz/hellaswag/raw/master/data/hellaswag_val.jsonl",
        "0aa3b88843990f3f10a97b9575c94d7b71fb2205240ba04ae4884d9e9c992588",
    )
    unit: ClassVar = "questions"
    metrics: tuple[Metric, ...] = (
        Metric("accuracy", "fraction", "max"),
        Metric("accuracy_norm", "fraction", "max"),
    )
    how: ClassVar[str] = (
        "text cleaned as in lm-evaluation-harness; accuracy by the ending's log-probability, accuracy_norm by that "
        "per character of the ending"
    )

    def describe(self) -> str:
        """Everything that changes the numbers."""
        o = self.options
        return (
            f"HellaSwag ({o.path.name}, {self.count}), no examples shown, {o.tokenizer} tokens, context cut on "
            f"the left to the network's; {self.how}"
        )

    def scores(self, model: LanguageNetwork, device: torch.device) -> Scores:
        """Accuracies; one sample for each question."""
        questions = self.read(self.question)
        requests = [self.continuation(q.context, f" {ending}") for q in questions for ending in q.endings]
        found, samples = iter(score(model, requests, device)), []
        right: dict[str, list[float]] = {metric.name: [] for metric in self.metrics}
        for question in questions:
            answers = [next(found) for _ in question.endings]
            chosen = {name: _best(values) for name, values in self.ratings(question.endings, answers).items()}
            samples.append({"label": question.label, "logprobs": [a.total for a in answers], "chosen": chosen})
            for name, number in chosen.items():
                right[name].append(float(number == question.label))
        return Scores({name: Measurement.mean(torch.tensor(values)) for name, values in right.items()}, samples)

    def question(self, example: dict[str, Any]) -> _Question:
        """The cleaned question."""
        context = f"{example['activity_label']}: {example['ctx_a']} {example['ctx_b'].capitalize()}"
        return _checked(_cleaned(context), [_cleaned(ending) for ending in example["endings"]], example["label"])

    def ratings(self, endings: Sequence[str], answers: Sequence[Scored]) -> Mapping[str, Sequence[float]]:
        """For each metric, what the chosen ending has most of."""
        totals = [answer.total for answer in answers]
        return {"accuracy": totals, "accuracy_norm": [t / len(e) for t, e in zip(totals, endings, strict=True)]}


class HellaswagNdna(Hellaswag):
    """HellaSwag as Sudarshan 2026 (Neural DNA) takes it: raw context, and the least mean loss per token.

    The 31.2 that it was set against for GPT-2 is lm-evaluation-harness's acc_norm, another protocol.
    """

    name: ClassVar = "hellaswag_ndna"
    metrics = (Metric("accuracy", "fraction", "max"),)
    how: ClassVar[str] = "raw text (ctx, space, ending); accuracy by mean log-probability per token, as Neural DNA"

    def question(self, example: dict[str, Any]) -> _Question:
        """The question as it is."""
        return _checked(example["ctx"], example["endings"], example["label"])

    def ratings(self, endings: Sequence[str], answers: Sequence[Scored]) -> Mapping[str, Sequence[float]]:
        """Mean log-probability per token."""
        return {"accuracy": [float(answer.logprobs.mean()) for answer in answers]}


def _checked(context: str, endings: Sequence[str], label: Any) -> _Question:
    number = int(label)
    if len(endings) < 2 or not all((context, *endings)):
        raise ValueError("there must be a context and several endings, none of them empty")
    if not 0 <= number < len(endings):
        raise ValueError(f"the label is {number}, but there are {len(endings)} endings, numbered from 0")
    return _Question(context, endings, number)


def _cleaned(text: str) -> str:
    """Without WikiHow's marks in brackets: rules and their order as in lm-evaluation-harness."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)
