"""The documents of tasks: always files on this machine, never fetched unasked, and no caches of their content."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import CorruptFile, DataMissing, UserError, data_directory
from harness.extras import require
from harness.storage.atomic_files import write_atomic
from harness_language.corpora.hub import answers, endpoint
from harness_language.evaluations.json_lines import read_json_lines
from harness_lm_eval.catalogue import Function, Task

if TYPE_CHECKING:
    from datasets import Dataset

FORMATS = (".jsonl", ".json", ".parquet")


def shots(task: Task, asked: int | None) -> int:
    """Examples in a task's prompt: what is asked for, unless the task fixes 0, which lm-eval keeps."""
    own: int | None = task.config.get("num_fewshot")
    return own or 0 if asked is None or own == 0 else asked


def evaluated(task: Task) -> str:
    """Name of the split that a task is scored on: its test split, or validation where it has none."""
    split: str | None = task.config.get("test_split") or task.config.get("validation_split")
    if split is None:
        raise UserError(f"lm_eval: the task '{task.name}' says no split to evaluate on. Choose another task.")
    return split


def shown(task: Task) -> str | None:
    """Name of the split that examples in the prompt are drawn from; None if the task brings its own."""
    config = task.config
    fewshot = config.get("fewshot_config") or {}
    if split := fewshot.get("split") or config.get("fewshot_split"):
        return str(split)
    if fewshot.get("samples"):
        return None
    found: str = config.get("training_split") or config.get("validation_split") or evaluated(task)
    return found


def places(task: Task, asked: int | None, local: Mapping[str, str] | None) -> dict[str, Path]:
    """The file of each split that a task needs, whether it is there or not.

    Args:
        task: whose documents.
        asked: examples in the prompt; None is the task's own number.
        local: path of each split, ``{task}`` and ``{name}`` standing for the names of the task and of its subset;
            None is where :func:`fetch` puts them.

    Raises:
        UserError: for a split without a path, or a format that cannot be read.
    """
    number = shots(task, asked)
    splits = dict.fromkeys([evaluated(task), *([split] if number and (split := shown(task)) else [])])
    subset = str(task.config.get("dataset_name") or "default")
    if local is None:
        source = str(task.config.get("dataset_path")).replace("/", "--")
        if options := _options(task):  # which may name other files of the same data set
            subset += f"-{hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()[:8]}"
        return {split: data_directory() / "lm_eval" / source / subset / f"{split}.parquet" for split in splits}
    found = {}
    for split in splits:
        if split not in local:
            given = ", ".join(local) or "none"
            raise UserError(
                f"lm_eval: '{task.name}' with {number} examples needs the split '{split}', but local_data has {given}: "
                f"give local_data a path for '{split}'."
            )
        path = Path(local[split].replace("{task}", task.name).replace("{name}", subset)).expanduser()
        if path.suffix not in FORMATS:
            raise UserError(f"lm_eval: local_data: {path} must be one of {', '.join(FORMATS)} (one object a line).")
        found[split] = data_directory() / path
    return found


def load(files: Mapping[str, str], folder: str, **_metadata: Any) -> dict[str, Dataset]:
    """What lm-eval calls for a task's documents.

    They are put into ``folder``, so that what lm-eval makes of them is kept there and made once: it asks for the
    same documents five times.

    Raises:
        DataMissing, CorruptFile: with the path and what is wrong.
    """
    from datasets import Dataset  # imported late: slow

    found = {}
    for split, path in files.items():
        place = str(Path(folder) / hashlib.sha256(path.encode()).hexdigest())
        if not Path(place).exists():
            _read(Path(path)).save_to_disk(place)
        found[split] = Dataset.load_from_disk(place)
    return found


def missing(path: Path) -> DataMissing:
    """What to do about a file that is not there."""
    return DataMissing(
        f"lm_eval: {path} is not here. With internet, `harness data prepare SUITE` fetches it; without, copy it from a "
        f"machine that has it, or set `local_data` to a file of documents for each split."
    )


def fetch(task: Task, split: str, path: Path) -> None:
    """Get one split from the hub and keep it as a parquet file.

    Raises:
        DataMissing: within seconds if the hub cannot be reached; or if it does not have the data.
    """
    source = task.config.get("dataset_path")
    if isinstance(task.config.get("custom_dataset"), Function) or not isinstance(source, str):
        raise DataMissing(f"lm_eval: '{task.name}' makes its documents itself: put them into files, set `local_data`.")
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        raise DataMissing(f"{missing(path)} HF_HUB_OFFLINE is set: unset it to fetch.")
    if not answers(endpoint()):
        raise DataMissing(f"{missing(path)} {endpoint()} does not answer; HF_ENDPOINT sets a mirror.")
    require("datasets", what="the benchmark lm_eval")
    from datasets import load_dataset  # imported late: slow

    # Left out, some versions of datasets ask on the terminal whether to run the repository's code.
    options = {**_options(task), "trust_remote_code": False}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=path.parent) as folder:
        try:
            documents = load_dataset(source, task.config.get("dataset_name"), split=split, cache_dir=folder, **options)
        except Exception as error:  # the hub, its client and file readers each have their own
            reason = (str(error.__cause__ or error).splitlines() or [""])[0]
            raise DataMissing(
                f"lm_eval: {source} ({split}) cannot be fetched: {type(error).__name__}: {reason}. {missing(path)}"
            ) from error
        write_atomic(path, documents.to_parquet)


def _options(task: Task) -> dict[str, Any]:
    """What decides which documents are loaded, besides data set, subset and split."""
    return {k: v for k, v in (task.config.get("dataset_kwargs") or {}).items() if k != "trust_remote_code"}


def _read(path: Path) -> Dataset:
    if not path.is_file():
        raise missing(path)
    from datasets import Dataset  # imported late: slow

    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            return Dataset(parquet.read_table(path))
        text = path.read_text(encoding="utf8")
        if path.suffix == ".jsonl":
            return Dataset.from_list(read_json_lines(path, text, dict, None))
        return Dataset.from_list(json.loads(text))
    except (ValueError, TypeError, AttributeError) as error:  # pyarrow's errors are ValueErrors
        raise CorruptFile(f"lm_eval: {path} cannot be read as documents: {error}. Get the file anew.") from error
