"""Language modelling on a corpus in shards of tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic.config import JsonDict

from harness import DataMissing, DataSpec, Metric, UserError, data_directory
from harness.errors import StorageError, unknown_name
from harness.machine import cores
from harness_language.corpora.comparison import Named, difference, renewed, summary
from harness_language.corpora.hub import HubDataset, answers
from harness_language.corpora.known import KNOWN
from harness_language.corpora.local_files import LocalFiles
from harness_language.corpora.manifest import FILE, Manifest
from harness_language.corpora.origin import Files
from harness_language.corpora.preparation import SPLITS, Pass, Preparation
from harness_language.corpora.shards import REPAIR, content_problem, joined, open_split, size_problem
from harness_language.corpora.token_files import describe_token_files, find_token_files, token_files
from harness_language.corpora.windows import ShardWindows
from harness_language.language import LanguageBenchmark, LanguageOptions, Tokens
from harness_language.tokenizers import ENCODINGS, TokenizerName, encoding, tokenizer, tokenizer_files

_TIKTOKEN_HOST = "https://openaipublic.blob.core.windows.net"
_PLACE: JsonDict = {"hashed": False}
"""For options that do not decide what is learnt or scored: the content is hashed."""
_RECIPE = (
    *("dataset", "config", "revision", "split", "validation_split", "test_split", "text_field", "separator"),
    *("tokens", "validation_tokens", "test_tokens", "validation_fraction", "test_fraction"),
)


class CorpusOptions(LanguageOptions):
    """Options of ``corpus`` and of the well-known corpora, which only differ in ``dataset``."""

    context: int = Field(default=1024, ge=1)
    """Tokens that the model reads at once, in training and evaluation."""
    eval_tokens: int | None = Field(default=1_048_576, ge=1)
    """Score only the first so many tokens of a split; null scores all."""
    dataset: str | None = None
    """A well-known corpus (openwebtext, fineweb_10b, fineweb_100m, pile, wikitext_103, imdb), or ``owner/name`` of any
    data set on the Hugging Face hub."""
    config: str | None = None
    """Subset of the data set on the hub."""
    revision: str | None = None
    """Branch, tag or commit on the hub; null is the newest commit when it is prepared, which the manifest records."""
    split: str = "train"
    """Name of the training split on the hub."""
    validation_split: str | None = None
    """Name of a validation split on the hub; null takes documents of the training split."""
    test_split: str | None = None
    """Name of a test split on the hub; null takes half of the validation split's documents if it has a name, else
    documents of the training split."""
    text_field: str = "text"
    """Column or JSON field that holds the text."""
    path: Path | None = Field(default=None, json_schema_extra=_PLACE)
    """Instead of ``dataset``: a file, a folder or a pattern with ``*`` of parquet, jsonl, json, csv or txt files, the
    text ones also packed (.gz, .zst); or a folder of tokens of nanoGPT (``train.bin``, ``val.bin``) or llm.c, read as
    they are. Relative paths are relative to the suite or the data directory."""
    validation_path: Path | None = Field(default=None, json_schema_extra=_PLACE)
    """Files of validation documents; null takes documents of ``path``."""
    test_path: Path | None = Field(default=None, json_schema_extra=_PLACE)
    """Files of test documents; null takes half of the documents of ``validation_path`` if it is given, else
    documents of ``path``."""
    separator: str = "<|endoftext|>"
    """In txt files, a line that holds only this ends a document."""
    skip_empty: bool | None = Field(default=None, json_schema_extra={"hashed": "unless_none"})
    """Whether rows of ``path`` without text, null or empty, are left out and counted; else null is an error."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", json_schema_extra=_PLACE)
    """Folder below ``corpora`` in the data directory; null is named after the source."""
    tokenizer: TokenizerName = "gpt2"
    """``bytes``, one of tiktoken's encodings, or the path of a tokenizers JSON, relative to the suite or the data
    directory."""
    tokens: int | None = Field(default=None, ge=2)
    """Training tokens; null takes everything. A corpus that has more gives the first so many."""
    validation_tokens: int | None = Field(default=10_000_000, ge=2)
    """Most validation tokens that are prepared; null keeps all."""
    test_tokens: int | None = Field(default=10_000_000, ge=2)
    """Most test tokens that are prepared; null keeps all."""
    validation_fraction: float = Field(default=0.005, ge=0, lt=1)
    """Fraction of the training documents taken for validation where it has no source of its own."""
    test_fraction: float = Field(default=0.005, ge=0, lt=1)
    """Fraction of the training documents taken for testing where neither it nor validation has a source of its own."""
    allow_repeat: bool = Field(default=False, json_schema_extra=_PLACE)
    """Whether a training budget may exceed the training tokens, so that they are read several times."""
    shard_tokens: int = Field(default=100_000_000, ge=1, json_schema_extra=_PLACE)
    """Tokens of a shard."""
    workers: int | None = Field(default=None, ge=1, json_schema_extra=_PLACE)
    """Processes that tokenise; null is one a core. The shards do not depend on it."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_known(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        dataset = given.get("dataset", cls.model_fields["dataset"].default)
        known = KNOWN.get(dataset) if isinstance(dataset, str) else None
        return {**known.defaults, **given} if known else given

    @model_validator(mode="after")
    def _one_source(self) -> CorpusOptions:
        if (self.dataset is None) == (self.path is None):
            raise ValueError("needs either `dataset` or `path`")
        if self.dataset and self.dataset not in KNOWN and "/" not in self.dataset:
            raise ValueError(unknown_name("corpus", self.dataset, KNOWN) + " Or `owner/name` of one on the hub.")
        if self.dataset and (self.validation_path or self.test_path):
            raise ValueError("`validation_path` and `test_path` go with `path`, not with `dataset`")
        if self.dataset and self.skip_empty is not None:
            raise ValueError("`skip_empty` goes with `path`, not with `dataset`")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction + test_fraction must be below 1, to leave some training text")
        return self


class Corpus(LanguageBenchmark[CorpusOptions]):
    """Language modelling on a corpus of any size, prepared once as shards of tokens that stay on disk.

    ``harness data prepare`` reads the documents in order, tokenises them as they are (special tokens written
    out are ordinary text to tiktoken's encodings), puts the tokenizer's end-of-text token behind each, and
    writes ``corpora/NAME`` in the data directory: shards of raw little-endian uint16 or uint32 and a
    manifest. Where a split has no source of its own, the SHA-256 of a document's content says which split it
    is in, so equal documents never part. A repeat of the preparation gives the same bytes.

    Licence and source are those of the corpus; the manifest records repository, commit or files.
    """

    Options: ClassVar = CorpusOptions

    def __init__(self, options: CorpusOptions) -> None:
        self.unit = "byte" if options.tokenizer == "bytes" else "token"
        super().__init__(options)
        self.allow_repeat = options.allow_repeat
        if options.tokenizer != "bytes":
            self.protocol += f", {options.tokenizer} tokens"
            self.metrics = (Metric("loss", "nats/token", "min"), *self.metrics[1:])

    # --- what it offers ----------------------------------------------------------------------

    def spec(self) -> DataSpec:
        """Counts the training windows, from the manifest alone."""
        context, manifest = self.options.context, self.manifest
        tokens = min(manifest.splits["train"].tokens, self.options.tokens or 2**63)
        if tokens <= context:
            raise UserError(
                f"{self.name}: {tokens} training {self.unit}s are not enough for one window of context + 1 = "
                f"{context + 1}. Give more text, or a smaller context."
            )
        examples = (tokens - 1) // context
        return DataSpec("language", (context,), manifest.vocabulary, examples, context, manifest.identity)

    def expected(self) -> DataSpec:
        """As :meth:`spec` will be, where ``tokens`` or the corpus's known size tell."""
        options, tokens = self.options, self._expected_tokens
        if tokens is None:
            return super().expected()
        coder = tokenizer(options.tokenizer)
        examples = (tokens - 1) // options.context
        return DataSpec("language", (options.context,), coder.vocabulary, examples, options.context, coder.identity)

    def training_data(self, device: torch.device) -> ShardWindows:
        """Windows over the memory-mapped training shards."""
        shards = open_split(self.root, self.manifest, "train", self.options.tokens)
        return ShardWindows(shards, self.options.context, device)

    def splits(self) -> Mapping[str, Tokens]:
        """As much of the validation and test tokens as is scored; the training tokens stay on disk."""
        return self._held_out

    @cached_property
    def _held_out(self) -> Mapping[str, Tokens]:
        limit = None if self.options.eval_tokens is None else self.options.eval_tokens + 1
        return {split: joined(open_split(self.root, self.manifest, split, limit)) for split in ("validation", "test")}

    def size(self, split: str) -> int:
        """As in the manifest."""
        return self.manifest.splits[split].tokens

    def more_test_text(self) -> str:
        """Where the test documents come from, and how to have more."""
        options = self.options
        own = "`test_path`" if options.path is not None else "`test_split`"
        if self.manifest.external:
            return "Put a file of tokens with 'test' in its name, or more validation tokens, beside the others."
        if self._source("test"):
            return f"Give {own} more text."
        if self._source("validation"):
            return f"Too few validation documents fall into the half for testing: give more of them, or {own}."
        return f"Too few documents fall into it: raise `test_fraction` from {options.test_fraction:g}, or give {own}."

    def vocabulary(self) -> int:
        """As in the manifest."""
        return self.manifest.vocabulary

    def tokenizer(self) -> str:
        """As in the manifest."""
        return self.manifest.identity

    def token_bytes(self) -> NDArray[np.int64]:
        """Lengths of the tokens, special ones 0."""
        return tokenizer(self.options.tokenizer).token_bytes()

    def end(self) -> int | None:
        """As in the manifest."""
        return self.manifest.end

    def fingerprint(self) -> str:
        """SHA-256 over the digests in the manifest, wherever the shards are."""
        return self.manifest.fingerprint()

    def data_source(self) -> Mapping[str, Any]:
        """What the corpus was made of, by the split that it was read for."""
        return summary(self.manifest)

    # --- files -------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of its folder."""
        options = self.options
        if options.name:
            return options.name
        if options.dataset:
            return options.dataset.replace("/", "--")
        # Files of one name in several folders must not meet in one corpus.
        digest = hashlib.sha256(str(options.path).encode()).hexdigest()[:8]
        stem = "".join(c if c.isalnum() else "_" for c in Path(str(options.path)).name.split(".")[0]).strip("_")
        return f"{stem or 'corpus'}-{digest}"

    @property
    def _expected_tokens(self) -> int | None:
        options = self.options
        return options.tokens or (KNOWN[options.dataset].tokens if options.dataset in KNOWN else None)

    @property
    def folder(self) -> Path:
        """Where its manifest is."""
        return data_directory() / "corpora" / self.name

    @property
    def root(self) -> Path:
        """Where its shards are."""
        if not self.manifest.external:
            return self.folder
        path = self._place(self.options.path)
        return path if path.is_dir() else path.parent

    @cached_property
    def manifest(self) -> Manifest:
        """What was prepared.

        Raises:
            DataMissing: if nothing was.
            UserError: if it was prepared with other options, or of something else than the suite names now.
        """
        manifest = Manifest.read(self.folder)
        if manifest is None:
            raise DataMissing(
                f"the corpus '{self.name}' is not prepared in {self.folder}. Run `harness data prepare` with the suite "
                f"that uses it or its name, or set HARNESS_DATA to the folder that has `corpora/{self.name}`."
            )
        if problem := self._mismatch(manifest) or difference(self._named(), manifest):
            raise UserError(self._repair(problem))
        return manifest

    def files(self) -> Sequence[Path]:
        """The manifest, and the shards that it names."""
        try:
            shards = [self.root / shard.file for shard in self.manifest.files()]
        except DataMissing:
            shards = []
        return [self.folder / FILE, *shards, *tokenizer_files(self.options.tokenizer)]

    def disk_bytes(self) -> int | None:
        """Of the training tokens, where their number is known."""
        vocabulary, _ = ENCODINGS.get(self.options.tokenizer, (0, 0))
        width = 4 if vocabulary > 2**16 else 2
        return width * self._expected_tokens if self._expected_tokens else None

    def prepare(self, download: bool = True) -> None:
        """Fetch the tokenizer and the documents, and write the shards; goes on where an earlier try was killed."""
        options = self.options
        if options.tokenizer in ENCODINGS:
            there = all(path.is_file() for path in tokenizer_files(options.tokenizer))
            encoding(options.tokenizer, download and (there or answers(_TIKTOKEN_HOST)))
        self._forget()
        prepared = Manifest.read(self.folder) is not None
        if prepared and not any(size_problem(self.root, shard) for shard in self.manifest.files()):
            if (now := renewed(self._named(), self.manifest)) != self.manifest:
                with suppress(StorageError):  # it only spares reading: a folder that others own is as good
                    now.write(self.folder)
            return
        if options.dataset is not None and not download:
            raise DataMissing(f"the corpus '{self.name}' is not whole in {self.folder}. Run `harness data prepare`.")
        if options.path is not None and find_token_files(self._place(options.path)):
            describe_token_files(self._place(options.path), options.tokenizer, self._recipe).write(self.folder)
        else:
            limits = {"train": options.tokens, "validation": options.validation_tokens, "test": options.test_tokens}
            workers = options.workers or cores()
            Preparation(
                self.folder, options.tokenizer, self._passes(), limits, options.shard_tokens, workers, self._recipe
            ).run()
        self._forget()
        _ = self.manifest  # is compared: another process may have made it meanwhile, of something else

    def verify(self) -> Sequence[str]:
        """Reads every shard, and every file that they were made of and that is here, and compares its SHA-256."""
        problems = [content_problem(self.root, shard) for shard in self.manifest.files()]
        found = [f"{problem}. {REPAIR}" for problem in problems if problem]
        if not self.manifest.external and (problem := difference(self._named(), self.manifest, thorough=True)):
            found.append(self._repair(problem))
        return found

    def _forget(self) -> None:
        """What was read before is not what is there now."""
        for name in ("manifest", "_held_out"):
            self.__dict__.pop(name, None)

    # --- how it is made ----------------------------------------------------------------------

    def _passes(self) -> list[Pass]:
        train, validation, test = (self._source(split) for split in ("train", "validation", "test"))
        assert train is not None
        options = self.options
        cut_validation = 0.0 if validation else options.validation_fraction
        cut_test = 0.0 if validation or test else options.test_fraction
        passes = [Pass(train, cut_validation, cut_test, ("train",))]
        if validation and test:
            passes.append(Pass(validation, 1.0, 0.0, ("validation",)))
        elif validation:
            passes.append(Pass(validation, 0.5, 0.5, ("validation", "test")))
        if test:
            passes.append(Pass(test, 0.0, 1.0, ("test",)))
        return passes

    def _source(self, split: str) -> HubDataset | LocalFiles | None:
        options = self.options
        if options.dataset is not None:
            place = {"train": options.split, "validation": options.validation_split, "test": options.test_split}[split]
            known = KNOWN.get(options.dataset)
            repository, articles = (known.repository, known.articles) if known else (options.dataset, False)
            if place is None:
                return None
            return HubDataset(repository, options.config, place, options.text_field, options.revision, articles)
        path = {"train": options.path, "validation": options.validation_path, "test": options.test_path}[split]
        if not path:
            return None
        return LocalFiles(self._place(path), options.text_field, options.separator, bool(options.skip_empty))

    @property
    def _recipe(self) -> dict[str, Any]:
        """The options that decide the content, places aside."""
        recipe = self.options.model_dump(mode="json", include=set(_RECIPE))
        if self.options.skip_empty is not None:  # came later than corpora that are prepared
            recipe["skip_empty"] = self.options.skip_empty
        return recipe | {place: getattr(self.options, place) is not None for place in ("validation_path", "test_path")}

    def _named(self) -> Named:
        """The sources that the options name, as they are now."""
        found: dict[str, HubDataset | Files] = {}
        for split in SPLITS:
            source = self._source(split)
            if isinstance(source, LocalFiles):
                tokens = token_files(source.files.path) if split == "train" else None
                found[split] = tokens if tokens and tokens.paths else source.files
            elif source is not None:
                found[split] = source
        return found

    def _repair(self, problem: str) -> str:
        return (
            f"the corpus in {self.folder} was {problem}. Set that back; or give it another `name`, or delete the "
            f"folder, and run `harness data prepare` again."
        )

    def _mismatch(self, manifest: Manifest) -> str | None:
        """The first thing in which the manifest differs from the options, in words, or None."""
        name = self.options.tokenizer
        if manifest.tokenizer != name or name.endswith(".json"):
            identity = tokenizer(name).identity
            if identity != manifest.identity:
                return f"prepared with the tokenizer {manifest.identity}, but `tokenizer: {name}` is {identity}"
        asked, revision = self._recipe, self.options.revision
        if revision is None or revision == manifest.source.get("train", {}).get("revision"):
            asked["revision"] = manifest.recipe["revision"]
        for field in sorted((asked.keys() | manifest.recipe.keys()) - {"tokens"}):
            before, now = manifest.recipe.get(field), asked.get(field)
            if before != now:
                return f"prepared with `{field}: {before}`, but {now} is asked for"
        tokens = manifest.splits["train"].tokens
        if not manifest.complete and (self.options.tokens is None or self.options.tokens > tokens):
            return f"prepared with `tokens: {tokens}`, but {self.options.tokens or 'everything'} is asked for"
        return None

    def _place(self, path: Path | None) -> Path:
        assert path is not None
        return data_directory() / path.expanduser()
