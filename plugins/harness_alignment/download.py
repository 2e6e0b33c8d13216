"""Getting one file of a known content."""

from __future__ import annotations

import shutil
import tempfile
import urllib.request
from pathlib import Path

from harness import CorruptFile
from harness.storage.digests import digest_now

SECONDS = 30


def download(url: str, path: Path, sha256: str) -> None:
    """Fetch ``url`` to ``path``; other processes see the whole file or none.

    Raises:
        OSError: if there is no connection, or the file cannot be written.
        CorruptFile: if what came has another SHA-256.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        part = Path(folder) / path.name
        with urllib.request.urlopen(url, timeout=SECONDS) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target)
        found = digest_now(part)
        if found != sha256:
            raise CorruptFile(f"{url} has SHA-256 {found}, not {sha256}: another release, or a broken download")
        part.replace(path)
