"""Running lm-evaluation-harness on one task or group, without its side effects."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from math import exp, isclose, log
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
import yaml

from harness import Examples, HarnessError, Measurement, UserError
from harness_lm_eval.catalogue import Function, Group, Task
from harness_lm_eval.documents import places, shots, shown

if TYPE_CHECKING:
    from harness_lm_eval.adapter import HarnessLM

DRAWS = 1000
"""Bootstrap draws for standard errors that have no formula; one chunk of lm-eval's, with a fixed seed."""
_SEED = 1234


def run(
    lm: HarnessLM, found: Task | Group, asked: int | None, limit: int | None, local: Mapping[str, str] | None
) -> dict[str, Any]:
    """lm-eval's results for ``found``, with samples.

    Args:
        lm: the network.
        found: what to evaluate.
        asked: examples in the prompt; None is each task's own number.
        limit: only the first so many documents of each task.
        local: see :func:`harness_lm_eval.documents.places`.
    """
    with loaded(found, asked, local) as tasks:
        from lm_eval.evaluator import evaluate

        results: dict[str, Any] = evaluate(lm, tasks, limit=limit, bootstrap_iters=DRAWS, log_samples=True)
        return results


@contextlib.contextmanager
def loaded(found: Task | Group, asked: int | None, local: Mapping[str, str] | None) -> Iterator[dict[str, Any]]:
    """lm-eval's own objects for ``found``, as its ``TaskManager.load`` gives them; see :func:`run`.

    Raises:
        DataMissing, CorruptFile: for files of documents.
        UserError: if the documents do not suit the task.
    """
    with tempfile.TemporaryDirectory(prefix="harness-lm-eval-") as folder, _quiet():
        from lm_eval.tasks import TaskManager

        tasks = found.tasks if isinstance(found, Group) else (found,)
        for number, task in enumerate(tasks):
            (Path(folder) / f"task{number}.yaml").write_text(overlay(task, asked, local, folder))
        for number, group in enumerate(_groups(found)):
            (Path(folder) / f"group{number}.yaml").write_text(yaml.safe_dump({"include": str(group.path)}))
        try:
            built = TaskManager(include_path=folder, include_defaults=False).load([found.name])
        except HarnessError:
            raise
        except Exception as error:  # whatever a task's templates and functions raise for a document
            raise UserError(
                f"lm_eval: '{found.name}' cannot be made of its documents: {type(error).__name__}: {error}. Do the "
                f"files of local_data have the columns that the task reads?"
            ) from error
        for task in tasks:
            built["tasks"][task.name].set_config(key="num_fewshot", value=shots(task, asked))
            built["tasks"][task.name].set_fewshot_seed(seed=_SEED)
        yield built


def overlay(task: Task, asked: int | None, local: Mapping[str, str] | None, folder: str) -> str:
    """A task file over lm-eval's own that takes the documents from files here, and asks for no other split."""
    files = places(task, asked, local)
    changed: dict[str, Any] = {
        "include": str(task.path),
        "task": task.name,
        "dataset_kwargs": {"files": {split: str(path) for split, path in files.items()}, "folder": folder},
    }
    for role in ("training_split", "validation_split", "test_split", "fewshot_split"):
        changed[role] = split if (split := task.config.get(role)) in files else None
    fewshot = task.config.get("fewshot_config") or {}
    if shown(task) not in files and fewshot.get("split"):
        changed["fewshot_config"] = {k: v for k, v in fewshot.items() if k != "split" and not isinstance(v, Function)}
    return yaml.safe_dump(changed) + "custom_dataset: !function harness_lm_eval.documents.load\n"


def measurement(found: Task | Group, results: Mapping[str, Any], key: str) -> Measurement:
    """The number under ``key`` (metric,filter) of :func:`run`'s results; n counts documents.

    Standard errors are lm-eval's; those of word and byte perplexity, which it leaves out, are of a ratio over
    documents (:meth:`Measurement.ratio`) carried through the exponential.

    Raises:
        UserError: if the task did not give this number.
    """
    values = results["results"][found.name]
    if key not in values:
        given = ", ".join(k for k in values if "," in k and "_stderr," not in k)
        raise UserError(f"lm_eval: the task '{found.name}' gave no '{key}', but {given}.")
    metric, _, kept = key.partition(",")
    tasks = found.tasks if isinstance(found, Group) else (found,)
    n = sum(results["n-samples"][task.name]["effective"] for task in tasks)
    stderr = values.get(f"{metric}_stderr,{kept}")
    rows = [
        row[metric]
        for task in tasks
        for row in results["samples"].get(task.name, ())
        if row["filter"] == kept and metric in row
    ]
    if isinstance(stderr, str | None):  # lm-eval says N/A
        stderr = _rolling_stderr(metric, rows) if isinstance(found, Task) else None
    value = float(values[key])
    return Measurement(value, n, None if stderr is None else float(stderr), examples(rows, value))


def examples(rows: Sequence[Any], value: float) -> Examples | None:
    """Results of documents of which a number is the mean, a ratio of sums, or the exponential of minus either.

    None if it is none of these: F1 scores and the like, or a group whose tasks count alike whatever their size.

    Args:
        rows: what lm-eval keeps of each document: a number, or (log-likelihood, words or bytes).
        value: what it made of them.
    """
    try:
        table = torch.tensor(rows, dtype=torch.float64)
    except (TypeError, ValueError):
        return None
    found: list[Examples] = []
    if table.ndim == 1 and len(table):
        found = [Examples.of(table, unit="document"), Examples.of(-table, unit="document").exponential()]
    elif table.ndim == 2 and table.shape[1] == 2 and len(table):
        loss, sizes = -table[:, 0], table[:, 1]
        found = [Examples.of(loss / log(2), sizes, "document"), Examples.of(loss, sizes, "document").exponential()]
    return next((each for each in found if isclose(each.value, value, rel_tol=1e-9)), None)


def samples(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One mapping per document: task, number, target, answers and metrics; the prompt by its hash.

    Where a task filters the answers, one per document and filter, with what the filter made of them.
    """
    rows = []
    for task, logged in results["samples"].items():
        for row in logged:
            kept = {"task": task, "doc_id": row["doc_id"], "prompt": row["prompt_hash"], "target": row["target"]}
            kept["answers"] = row["resps"]
            if row["filter"] != "none":
                kept |= {"filter": row["filter"], "filtered": row["filtered_resps"]}
            kept["metrics"] = {name: row[name] for name in row["metrics"]}
            rows.append({name: _plain(value) for name, value in kept.items()})
    return rows


def _rolling_stderr(metric: str, rows: Sequence[Any]) -> float | None:
    if metric not in ("word_perplexity", "byte_perplexity", "bits_per_byte") or len(rows) < 2:
        return None
    sums, sizes = torch.tensor(rows, dtype=torch.float64).unbind(dim=1)
    ratio = Measurement.ratio(-sums, sizes)
    assert ratio.stderr is not None
    return ratio.stderr / log(2) if metric == "bits_per_byte" else ratio.stderr * exp(ratio.value)


def _groups(found: Task | Group) -> Iterator[Group]:
    if isinstance(found, Group):
        yield found
        for group in found.groups:
            yield from _groups(group)


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(inner) for inner in value]
    if hasattr(value, "item"):  # numpy's and torch's scalars
        value = value.item()
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No network, no processes, no progress bars and no chatter; templates compiled once, not once a document."""
    import huggingface_hub.constants
    import tqdm
    from lm_eval.utils import env

    silent = functools.partialmethod(tqdm.tqdm.__init__, disable=True)
    compiled = functools.lru_cache(maxsize=1024)(env.from_string)
    chatter = logging.getLogger("lm_eval")
    before = chatter.level
    with (
        patch.dict(os.environ, {"DISABLE_MULTIPROC": "1"}),
        patch.object(huggingface_hub.constants, "HF_HUB_OFFLINE", True),
        patch.object(tqdm.tqdm, "__init__", silent),
        patch.object(env, "from_string", compiled),
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        chatter.setLevel(logging.ERROR)
        try:
            yield
        finally:
            chatter.setLevel(before)
