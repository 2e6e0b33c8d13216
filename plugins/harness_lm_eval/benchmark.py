"""Any task or group of lm-evaluation-harness as a benchmark."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from harness import LanguageNetwork, Scores, Split, UserError
from harness.storage.digests import described, digest
from harness_language.evaluations.evaluation import EvaluationOptions, LanguageEvaluation
from harness_language.tokenizers import tokenizer
from harness_lm_eval import evaluation
from harness_lm_eval.catalogue import Group, Task, find
from harness_lm_eval.columns import columns
from harness_lm_eval.documents import fetch, missing, places, shots
from harness_lm_eval.generation import MAX_NEW

if TYPE_CHECKING:
    import torch

    from harness import Architecture


class LmEvalOptions(EvaluationOptions):
    """Options of ``lm_eval``."""

    task: str
    """Name of a task or group of lm-evaluation-harness."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """Examples in the prompt; null takes each task's own number, mostly 0. A task that fixes 0 keeps it."""
    limit: int | None = Field(default=None, ge=1)
    """Score only the first so many documents of each task; null scores all."""
    local_data: Mapping[str, str] | None = Field(default=None, json_schema_extra={"hashed": False, "file": ""})
    """For machines without a network: a file of documents for each split (``.jsonl``, ``.json`` or ``.parquet``,
    with the columns that the task reads), relative to the suite or the data directory; ``{task}`` and ``{name}``
    stand for the names of the task and of its subset. Says only where: the content is hashed."""


class LmEval(LanguageEvaluation[LmEvalOptions]):
    """A task or group of lm-evaluation-harness, scored as it does, with the numbers that it gives.

    Documents, prompts, metrics, aggregation over a group's tasks and standard errors are lm-eval's own; the
    network is asked through :mod:`harness_language.scoring`, with batches that no machine changes. A task is
    scored on its test split, or on validation where it has none; those are this benchmark's test scores. n counts
    documents. All metrics are per document, word or byte, so that networks with different tokenizers compare.

    Source: the authors of the task; EleutherAI's lm-evaluation-harness, MIT.
    """

    Options: ClassVar = LmEvalOptions
    name: ClassVar = "lm_eval"

    def __init__(self, options: LmEvalOptions) -> None:
        self.found = find(options.task)
        self.tasks: tuple[Task, ...] = self.found.tasks if isinstance(self.found, Group) else (self.found,)
        for task in self.tasks:
            if reason := _impossible(task):
                raise UserError(f"lm_eval: the task '{task.name}' {reason}. Choose another task.")
        self._columns = columns(self.found)
        self.metrics = tuple(column.metric for column in self._columns)
        super().__init__(options)

    def describe(self) -> str:
        """Versions, examples in the prompt, and which documents."""
        o = self.options
        revision = (self.found.config.get("metadata") or {}).get("version", "unknown")
        numbers = sorted({shots(task, o.num_fewshot) for task in self.tasks})
        shown = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
        text = f"lm-eval {version('lm_eval')} {self.found.name} version {revision}, {shown}-shot"
        if o.limit:
            text += f", first {o.limit} documents of each task"
        if o.local_data:
            text += f", documents from {', '.join(Path(path).name for path in o.local_data.values())}"
        return text

    def unsupported(self, architecture: Architecture[Any]) -> str | None:
        """Also a context in which there is no room to write an answer."""
        reason = super().unsupported(architecture)
        for task in self.tasks:
            if reason is None and task.config.get("output_type", "generate_until") == "generate_until":
                new = (task.config.get("generation_kwargs") or {}).get("max_gen_toks", MAX_NEW)
                if new >= architecture.context:
                    reason = (
                        f"{task.name} writes up to {new} tokens, but the network's context is {architecture.context}"
                    )
        return reason

    def examples(self, split: Split) -> int | None:
        """0 also where every file of documents is empty."""
        empty = not any(path.stat().st_size for path in self._there())
        return 0 if empty else super().examples(split)

    def fingerprint(self) -> str:
        """SHA-256 of the tasks' definitions, their documents and the tokenizer's identity."""
        found = hashlib.sha256(version("lm_eval").encode())
        found.update(json.dumps([self.found.config, *(task.config for task in self.tasks)], default=str).encode())
        found.update(tokenizer(self.options.tokenizer).identity.encode())
        for path in self._there():
            found.update(bytes.fromhex(digest(path)))
        return found.hexdigest()

    def data_source(self) -> Mapping[str, Any]:
        """The files of documents."""
        files = self._there()
        return described(Path(os.path.commonpath(files)), files)

    def files(self) -> Sequence[Path]:
        """The documents, and the tokenizer's files."""
        return [*self._places(), *super().files()]

    def prepare(self, download: bool = True) -> None:
        """Fetch the documents from the hub and keep them as parquet files; ``local_data`` is the user's to provide."""
        super().prepare(download)
        for task in self.tasks:
            for split, path in self._files(task).items():
                if not path.is_file():
                    if not download or self.options.local_data is not None:
                        raise missing(path)
                    fetch(task, split, path)

    def scores(self, model: LanguageNetwork, device: torch.device) -> Scores:
        """Test scores; one sample for each document."""
        self._there()  # in milliseconds, before lm-eval is imported
        from harness_lm_eval.adapter import HarnessLM

        o = self.options
        lm = HarnessLM(model, tokenizer(o.tokenizer), device)
        results = evaluation.run(lm, self.found, o.num_fewshot, o.limit, o.local_data)
        measured = {c.metric.name: evaluation.measurement(self.found, results, c.key) for c in self._columns}
        return Scores(measured, evaluation.samples(results))

    def _files(self, task: Task) -> dict[str, Path]:
        return places(task, self.options.num_fewshot, self.options.local_data)

    def _there(self) -> list[Path]:
        """The files of documents, which must be there."""
        for path in self._places():
            if not path.is_file():
                raise missing(path)
        return self._places()

    def _places(self) -> list[Path]:
        return list(dict.fromkeys(path for task in self.tasks for path in self._files(task).values()))


def _impossible(task: Task) -> str | None:
    config = task.config
    if "class" in config:
        return "is a Python class of its own, which cannot be told where its documents are"
    if config.get("doc_to_image") or config.get("doc_to_audio"):
        return "shows images or sound, which a language network cannot read"
    if config.get("unsafe_code"):
        return "runs the code that the network writes, which is not safe"
    return None
