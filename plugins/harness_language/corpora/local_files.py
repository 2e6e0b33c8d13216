"""Documents in the user's own files."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from harness import CorruptFile, DataMissing, UserError
from harness.extras import require
from harness_language.corpora.origin import Files, Origin
from harness_language.corpora.source import CHUNK, Chunk, DocumentSource

Reader = Callable[["LocalFiles", IO[bytes], Path], Iterator[str]]


class LocalFiles(DocumentSource):
    """Documents in files of text, JSON, CSV or Parquet, each of the first three packed by gzip or zstandard or not.

    A text file (``.txt``, ``.tokens``) is one document, or several that end with a line that holds nothing but
    ``separator``. The others have a document a row, in the column ``field``; JSON is one object a line or one
    array of objects. A byte-order mark is no text, and lines of text and CSV that end as Windows ends them end as
    others do, so that a file has the same documents whatever system wrote it.

    Args:
        path: a file, a folder (all files of these formats, subfolders too, hidden ones not) or a pattern with
            ``*``; files are read in the order of their paths.
        skip_empty: whether rows without text are left out, and counted, instead of refused.
    """

    def __init__(self, path: Path, field: str, separator: str, skip_empty: bool = False) -> None:
        self.field, self.separator, self.skip_empty = field, separator, skip_empty
        self.skipped = 0
        self.paths = find_files(path, tuple(f"{kind}{packing}" for kind in _READERS for packing in _PACKED))
        self.files = Files(path, self.paths)

    def describe(self, before: Mapping[str, Any] | None) -> dict[str, Any]:
        """Names, sizes and times of the files: when one has changed, a preparation begins anew.

        Raises:
            DataMissing: if there are no such files.
        """
        if not self.paths:
            raise DataMissing(
                f"{self.files.path} is no file, folder or pattern of files that end with {', '.join(_READERS)}, packed "
                "(.gz, .zst) or not. Relative paths are relative to the suite or the data directory, which "
                "HARNESS_DATA sets."
            )
        return self.files.described().model_dump()

    def sealed(self, described: Mapping[str, Any]) -> Mapping[str, Any]:
        """Also their digests; only now, as of some files just a part was read, and that in any order."""
        return self.files.sealed(Origin.model_validate(described)).model_dump()

    def chunks(self, position: Any) -> Iterator[Chunk]:
        """Positions are [file, documents read of it]."""
        first, skip = position or (0, 0)
        sizes = [path.stat().st_size for path in self.paths]
        texts: list[str] = []
        size = 0
        for number, path in enumerate(self.paths[first:], first):
            with path.open("rb") as raw:
                for count, text in enumerate(islice(self._documents(raw, path), skip, None), skip + 1):
                    texts.append(text)
                    size += len(text)
                    if size >= CHUNK:
                        done = (sum(sizes[:number]) + min(raw.tell(), sizes[number])) / sum(sizes)
                        yield Chunk(texts, [number, count], done)
                        texts, size = [], 0
            skip = 0
        if texts:
            yield Chunk(texts, [len(self.paths), 0], 1.0)

    def _documents(self, raw: IO[bytes], path: Path) -> Iterator[str]:
        try:
            with _unpacked(raw, path) as file:
                for text in _READERS[_kind(path)](self, file, path):
                    if text or not self.skip_empty:
                        yield text
                    else:
                        self.skipped += 1
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not all UTF-8 ({error}). Convert it.") from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise CorruptFile(f"{path} is truncated or damaged ({error}). Get it again.") from error

    def _lines(self, file: IO[bytes], path: Path) -> Iterator[str]:
        lines: list[str] = []
        with io.TextIOWrapper(file, "utf-8-sig", newline="\n") as text:
            for read in text:
                line = f"{read[:-2]}\n" if read.endswith("\r\n") else read
                if line.strip() == self.separator:
                    yield "".join(lines)
                    lines = []
                else:
                    lines.append(line)
            yield "".join(lines)

    def _json(self, file: IO[bytes], path: Path) -> Iterator[str]:
        start = file.read(1)
        if start == codecs.BOM_UTF8[:1]:  # which no JSON begins with
            file.read(2)
            start = file.read(1)
        while start.isspace():
            start = file.read(1)
        number = 1
        try:
            if start == b"[":
                rows = json.loads(start + file.read())
                for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
                    yield self._text(row, path, number)
                return
            # Joined again to the line that it was read from.
            for number, line in enumerate(file, 1):
                whole = start + line if number == 1 else line
                if whole.strip():
                    yield self._text(json.loads(whole), path, number)
        except UnicodeDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{number}: no valid JSON ({error!s:.200}). Repair that line.") from error

    def _csv(self, file: IO[bytes], path: Path) -> Iterator[str]:
        csv.field_size_limit(sys.maxsize)
        with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
            rows = csv.DictReader(text, strict=True)
            number = 0
            try:
                for number, row in enumerate(rows, 1):
                    yield self._text(row, path, number).replace("\r\n", "\n")
            except csv.Error as error:
                begins = (
                    f"the row after row {number}, which ends with line {rows.line_num}," if number else "its beginning"
                )
                raise UserError(f"{path}: {begins} is no valid CSV ({error}): is a quote never closed?") from error

    def _parquet(self, file: IO[bytes], path: Path) -> Iterator[str]:
        require("pyarrow", what=str(path))
        from pyarrow import ArrowException, parquet  # imported late: few need it

        try:
            table = parquet.ParquetFile(file)
            if self.field not in table.schema_arrow.names:
                raise self._no_field(path, table.schema_arrow.names)
            batches = table.iter_batches(batch_size=1024, columns=[self.field])
            for number, text in enumerate(chain.from_iterable(batch.column(0).to_pylist() for batch in batches), 1):
                yield self._text({self.field: text}, path, number)
        except ArrowException as error:
            raise CorruptFile(f"{path} cannot be read as Parquet ({error}). Get it again.") from error

    def _text(self, row: Any, path: Path, number: int) -> str:
        if not isinstance(row, dict) or self.field not in row:
            raise self._no_field(path, row if isinstance(row, dict) else ())
        text = row[self.field]
        if text is None and self.skip_empty:
            return ""
        if not isinstance(text, str):
            repair = " Give skip_empty: true to leave out rows without text." if text is None else ""
            raise UserError(f"{path}, row {number}: '{self.field}' is {type(text).__name__}, must be text.{repair}")
        return text

    def _no_field(self, path: Path, names: Any) -> UserError:
        known = ", ".join(map(str, list(names)[:20])) or "none"
        return UserError(f"{path} has no column '{self.field}', but {known}. Set `text_field`.")


_READERS: dict[str, Reader] = {
    ".txt": LocalFiles._lines,
    ".tokens": LocalFiles._lines,
    ".jsonl": LocalFiles._json,
    ".json": LocalFiles._json,
    ".csv": LocalFiles._csv,
    ".parquet": LocalFiles._parquet,
}
_PACKED = ("", ".gz", ".zst")


def find_files(path: Path, endings: tuple[str, ...]) -> list[Path]:
    """The files that a file, folder or pattern stands for, those in folders by their endings, sorted by path."""
    if path.is_file():
        found = [path] if path.name.endswith(endings) else []
    elif path.is_dir():
        found = [file for file in path.rglob("*") if file.name.endswith(endings) and not _hidden(file, path)]
    else:
        found = [file for file in path.parent.glob(path.name) if file.name.endswith(endings)]
    return sorted(file for file in found if file.is_file())


def _hidden(file: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(root).parts)


def _kind(path: Path) -> str:
    return Path(path.stem).suffix if path.suffix in _PACKED[1:] else path.suffix


def _unpacked(raw: IO[bytes], path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.GzipFile(fileobj=raw))
    if path.suffix == ".zst":
        require("zstandard", what=str(path))
        import zstandard  # imported late: few need it

        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))
    return raw
