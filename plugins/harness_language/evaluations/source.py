"""Fetching published files of a known content, whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from harness import CorruptFile
from harness.storage.leases import Leases

SECONDS = 10
"""Without an answer for so long, a download fails."""


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file on the web, or the files that are wanted from a zip or tar archive there.

    Attributes:
        url: its address.
        sha256: of what is there.
        members: paths in the archive; none if it is the file itself.
    """

    url: str
    sha256: str
    members: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What to take from the address, in words."""
        return " and ".join(self.members) or "it"

    def fetch(self, folder: Path) -> None:
        """Put the files into ``folder`` under their own names; others see whole files or none.

        A download that was cut off is continued; of several processes at once, one works and the others wait.

        Raises:
            OSError, http.client.HTTPException: without a connection, or if a file cannot be written.
            StorageError: if nothing can be written there at all.
            CorruptFile: if something else is at the address.
        """
        names = [PurePosixPath(member).name for member in self.members or (self.url,)]
        folder.mkdir(parents=True, exist_ok=True)
        own = f".{self.sha256[:16]}"
        partial = folder / f"{own}.part"
        with Leases(folder).hold(f"{own}.lease", lambda: None), partial.open("a+b") as file:
            if not all((folder / name).is_file() for name in names):
                self._download(file)
                self._unpack(file, folder)
            partial.unlink(missing_ok=True)

    def _download(self, file: BufferedRandom) -> None:
        done = file.seek(0, 2)
        # Some servers refuse Python's own name.
        request = Request(self.url, headers={"User-Agent": "harness", "Range": f"bytes={done}-"})
        try:
            with urlopen(request, timeout=SECONDS) as answer:
                if answer.status != 206:  # from the start, whatever was asked
                    file.truncate(0)
                shutil.copyfileobj(answer, file)
                if answer.length:  # bytes that were announced and did not come
                    raise ConnectionError("the connection ended early: run the same command again to go on")
        except HTTPError as error:
            if error.code != 416:  # nothing is left to send
                raise
        file.seek(0)
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.sha256:
            file.truncate(0)
            raise CorruptFile(f"{self.url} has the SHA-256 {found}, not the published {self.sha256}.")

    def _unpack(self, file: BufferedRandom, folder: Path) -> None:
        file.seek(0)
        if not self.members:
            _write(file, folder / PurePosixPath(self.url).name)
        elif zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                for member in self.members:
                    with archive.open(member) as content:
                        _write(content, folder / PurePosixPath(member).name)
        else:
            file.seek(0)
            with tarfile.open(fileobj=file) as archive:
                for member in self.members:
                    found = archive.extractfile(member)
                    assert found is not None, f"{member} is no file in {self.url}"
                    _write(found, folder / PurePosixPath(member).name)


def _write(content: IO[bytes], path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        whole = Path(folder) / path.name
        with whole.open("wb") as file:
            shutil.copyfileobj(content, file)
        whole.replace(path)
