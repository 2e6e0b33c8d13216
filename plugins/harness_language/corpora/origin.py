"""The files that a corpus was made of, and whether they are still what is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness import UserError
from harness.storage.digests import digest, digest_now, place, whole


class OriginFile(BaseModel):
    """A file as it was when it was read.

    Attributes:
        name: its path below the origin's folder.
        bytes: its size.
        modified, sha256: time of its last change in ns, and its content; None where an old manifest does not say.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    bytes: int
    modified: int | None = None
    sha256: str | None = None


class Origin(BaseModel):
    """What was read, for a manifest.

    Attributes:
        path: what the suite gave, see :func:`harness.storage.digests.place`; empty in old manifests.
        files: in the order in which they were read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = ""
    files: tuple[OriginFile, ...]

    def summary(self) -> dict[str, Any]:
        """For a record, like :func:`harness.storage.digests.described`; no digest where one is not known."""
        known = [file.sha256 for file in self.files if file.sha256]
        return {
            "path": self.path or self.files[0].name,
            "files": len(self.files),
            "bytes": sum(file.bytes for file in self.files),
            "sha256": whole(known) if len(known) == len(self.files) else None,
        }


@dataclass(frozen=True, slots=True)
class Files:
    """The user's own files that a path stands for now, in order; none if they are not on this machine."""

    path: Path
    paths: Sequence[Path]

    def described(self) -> Origin:
        """Names, sizes and times."""
        root = self.path if self.path.is_dir() else self.path.parent
        stats = [(path.relative_to(root).as_posix(), path.stat()) for path in self.paths]
        files = (OriginFile(name=name, bytes=s.st_size, modified=s.st_mtime_ns) for name, s in stats)
        return Origin(path=place(self.path), files=tuple(files))

    def sealed(self, before: Origin) -> Origin:
        """What was described ``before`` it was read, with the digests.

        Raises:
            UserError: if a file has changed or gone since.
        """
        if not all(path.exists() for path in self.paths) or self.described() != before:
            raise UserError(f"{self.path} was changed while it was read. Run `harness data prepare` again.")
        files = zip(before.files, self.paths, strict=True)
        known = tuple(file.model_copy(update={"sha256": digest(path)}) for file, path in files)
        return before.model_copy(update={"files": known})

    def renewed(self, described: Mapping[str, Any]) -> Mapping[str, Any]:
        """What was described, of the same content, with places and times as they are now."""
        was, now = Origin.model_validate(described), self.described()
        plain = tuple(file.model_copy(update={"sha256": None}) for file in was.files)
        if not self.paths or now == was.model_copy(update={"files": plain}):
            return described
        return self.sealed(now).model_dump()

    def difference(self, described: Mapping[str, Any], thorough: bool = False) -> str | None:
        """How these files differ from those that were described, as ``made of A, but ...``; None if they do not.

        Files in the same place, of the same size and time are taken as the same, others where their content is.
        Where none is here, only the name of the path is compared.

        Args:
            thorough: read every file, and believe no time.
        """
        was = Origin.model_validate(described)
        if not self.paths:
            return None if self._named_like(was) else f"made of {was.path or was.files[0].name}, not of {self.path}"
        now = self.described()
        if len(now.files) != len(was.files):
            before, after = ({file.name for file in files} for files in (was.files, now.files))
            gone, more = min(before - after, default=None), min(after - before, default=None)
            example = f", without {gone}" if gone else f", with {more}" if more else ""
            return f"made of {_counted(was.files)}, but {self.path} has {_counted(now.files)}{example}"
        read: Callable[[Path], str] = digest_now if thorough else digest
        moved = was.path not in ("", now.path)
        for path, old, new in zip(self.paths, was.files, now.files, strict=True):
            made = f"made of {old.name} ({old.bytes:,} bytes), but {path}"
            if old.bytes != new.bytes:
                return f"{made} has {new.bytes:,}"
            if _ending(old.name) != _ending(new.name):
                return f"{made} is another kind of file"
            same = not moved and old.name in (new.name, path.name) and old.modified in (None, new.modified)
            if same and not (thorough and old.sha256):
                continue
            if old.sha256 is None:
                return f"{made} was changed since, if only its time: the manifest is too old to tell"
            if (found := read(path)) != old.sha256:
                return f"{made} has other content (SHA-256 {found[:12]}..., not {old.sha256[:12]}...)"
        return None

    def _named_like(self, was: Origin) -> bool:
        if was.path:
            return Path(was.path).name == self.path.name
        # The name of a folder was not kept; with the files' own ending it is none.
        names = [Path(file.name).name for file in was.files]
        return _ending(self.path.name) != _ending(names[0]) or all(fnmatch(name, self.path.name) for name in names)


def _ending(name: str) -> str:
    """What says how a file is read: its suffix, and that below where it is packed."""
    path = Path(name)
    return "".join(path.suffixes[-2:] if path.suffix in (".gz", ".zst") else path.suffixes[-1:])


def _counted(files: Sequence[OriginFile]) -> str:
    return f"{len(files)} file{'s' if len(files) > 1 else ''}"
