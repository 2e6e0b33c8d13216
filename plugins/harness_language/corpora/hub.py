"""Documents of a data set on the Hugging Face hub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from harness import DataMissing, HarnessError, UserError
from harness.extras import require
from harness_language.corpora.source import CHUNK, Chunk, DocumentSource

TIMEOUT = 6.0
"""Seconds that a host may take to answer before it counts as unreachable."""

_TITLE = re.compile(r"^\s?= [^=].*[^=] =\s*$")


class HubDataset(DocumentSource):
    """One split of a data set on the hub, streamed: nothing but the tokens is kept on disk.

    Args:
        repository: ``owner/name``; anything that ``datasets.load_dataset`` reads.
        config: the subset, or None.
        split: its name on the hub.
        field: the column that holds the text.
        revision: branch, tag or commit; None is the newest commit, which is then recorded.
        articles: see :class:`KnownCorpus`.
    """

    def __init__(
        self, repository: str, config: str | None, split: str, field: str, revision: str | None, articles: bool
    ) -> None:
        self.repository, self.config, self.split, self.field = repository, config, split, field
        self.revision, self.articles = revision, articles

    def describe(self, before: Mapping[str, Any] | None) -> dict[str, Any]:
        """Repository, subset, split and commit.

        Raises:
            DataMissing: within seconds, if the hub cannot be reached.
        """
        require_hub(self.repository)
        if before is not None:
            self.revision = before["revision"]
        else:
            with self._explained():
                from huggingface_hub import HfApi  # imported late: slow

                self.revision = HfApi().dataset_info(self.repository, revision=self.revision, timeout=30).sha
        return {
            "repository": self.repository,
            "config": self.config,
            "split": self.split,
            "field": self.field,
            "revision": self.revision,
        }

    def difference(self, described: Mapping[str, Any], thorough: bool = False) -> str | None:
        """By name; a commit never changes."""
        for key in ("repository", "config", "split", "field"):
            if described.get(key) != getattr(self, key):
                return f"made of the {key} {described.get(key)} on the hub, but {getattr(self, key)} is asked for"
        return None

    def chunks(self, position: Any) -> Iterator[Chunk]:
        """Positions hold the stream's own state, the rows read, and the lines of an article that has begun."""
        with self._explained():
            from datasets import load_dataset  # imported late: slow

            stream = load_dataset(
                self.repository,
                self.config,
                split=self.split,
                revision=self.revision,
                streaming=True,
                trust_remote_code=False,  # left out, some versions ask on the terminal
            )
            if stream.column_names and self.field not in stream.column_names:
                names = ", ".join(stream.column_names)
                raise UserError(f"{self.repository} has no column '{self.field}', but {names}. Set `text_field`.")
            known = stream.info.splits or {}
            total = known[self.split].num_examples if self.split in known else 0
            stream = stream.select_columns([self.field])
            rows, lines = 0, list[str]()
            if position is not None:
                stream.load_state_dict(position["stream"])
                rows, lines = position["rows"], list(position["lines"])
            texts: list[str] = []
            size = 0
            for row in stream:
                rows += 1
                text = row[self.field] or ""
                if self.articles and not _TITLE.match(text):
                    lines.append(text)
                    continue
                if self.articles:
                    text, lines = "".join(lines), [text]
                texts.append(text)
                size += len(text)
                if size >= CHUNK:
                    after = {"stream": stream.state_dict(), "rows": rows, "lines": list(lines)}
                    yield Chunk(texts, after, min(1.0, rows / total) if total else None)
                    texts, size = [], 0
            texts.append("".join(lines))
            yield Chunk(texts, {"stream": stream.state_dict(), "rows": rows, "lines": []}, 1.0)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        require("datasets", "huggingface_hub", what=self.repository)
        try:
            yield
        except (HarnessError, GeneratorExit):
            raise
        except Exception as error:  # hub, HTTP client and file readers each have their own
            reason = (str(error.__cause__ or error).splitlines() or [""])[0]
            raise DataMissing(
                f"{self.repository} cannot be read from {endpoint()}: {type(error).__name__}: {reason}. Check "
                f"`dataset`, `config`, the names of splits and the connection; run the same command again and it "
                f"goes on where it stopped."
            ) from error


def endpoint() -> str:
    """Address of the hub."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def require_hub(repository: str) -> None:
    """Do nothing if the hub can be reached.

    Raises:
        DataMissing: within seconds, saying what to set.
    """
    offline = [name for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE") if _true(os.environ.get(name, ""))]
    if offline:
        problem = f"{offline[0]} is set. Unset it where there is a network"
    elif not answers(endpoint()):
        problem = f"{endpoint()} does not answer within {TIMEOUT:g} s. Set HF_ENDPOINT to a mirror that can be reached"
    else:
        return
    raise DataMissing(
        f"{repository} must be fetched from the hub, but {problem}; or set `path` to local files of documents; or "
        f"prepare it on a machine with a network and copy the folder `corpora` to $HARNESS_DATA here."
    )


def answers(address: str) -> bool:
    """Whether a web server answers at all, whatever it says, through a proxy if one is set."""
    heard: list[bool] = []

    def ask() -> None:
        try:
            with urlopen(Request(address, method="HEAD"), timeout=TIMEOUT):
                heard.append(True)
        except HTTPError:
            heard.append(True)
        except (OSError, ValueError):
            heard.append(False)

    # In a thread, as looking up a name has no time limit of its own.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(TIMEOUT + 2)
    return heard == [True]


def _true(value: str) -> bool:
    return value.strip().lower() in ("1", "true", "yes", "on")
