"""A folder with a folder of picture files for each class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Of pictures, in any case; as torchvision's ImageFolder has them."""
_SCANNERS = 32
"""Folders listed at a time: on a network file system each takes long and costs nothing."""


@dataclass(frozen=True, slots=True)
class PictureFolder:
    """Pictures by class, named ``<class>/<file>``, in the order of their names; the classes are numbered in theirs.

    Attributes:
        path: the folder.
        classes: names of its folders.
        names: of the pictures, (n,).
        labels: (n,) class of each.
        sizes: (n,) bytes of each file.
    """

    path: Path
    classes: tuple[str, ...]
    names: list[str]
    labels: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def listed(cls, path: Path) -> PictureFolder:
        """The folder as it is now; no picture is opened.

        Raises:
            UserError: if it has no folders of classes, or one of these has no pictures.
        """
        classes = tuple(sorted(entry.name for entry in os.scandir(path) if entry.is_dir()))
        if not classes:
            raise UserError(
                f"{path} has no folders: each class needs one with its pictures in it. ImageNet's official validation "
                "pictures come without: they have to be sorted by class first"
            )
        with ThreadPoolExecutor(_SCANNERS) as pool:
            files = list(pool.map(_pictures, (path / name for name in classes)))
        if empty := [name for name, found in zip(classes, files, strict=True) if not found]:
            raise UserError(f"{path} has no pictures of {_few(empty)}: looked for {', '.join(EXTENSIONS)}")
        return cls(
            path,
            classes,
            [f"{name}/{file}" for name, found in zip(classes, files, strict=True) for file, _ in found],
            np.repeat(np.arange(len(classes)), [len(found) for found in files]),
            np.array([size for found in files for _, size in found], dtype=np.int64),
        )

    def digest(self) -> str:
        """SHA-256 of names and sizes; not of what is in the files."""
        lines = "".join(f"{name} {size}\n" for name, size in zip(self.names, self.sizes, strict=True))
        return hashlib.sha256(lines.encode()).hexdigest()

    def require_same_classes(self, other: PictureFolder) -> None:
        """Raises UserError unless both have the same classes."""
        for one, two in ((self, other), (other, self)):
            if missing := sorted(set(one.classes) - set(two.classes)):
                raise UserError(
                    f"{two.path} lacks the classes {_few(missing)}, which {one.path} has: they must be equal"
                )


def _pictures(folder: Path) -> list[tuple[str, int]]:
    """Name and size of each."""
    found = (e for e in os.scandir(folder) if e.name.lower().endswith(EXTENSIONS) and e.is_file())
    return sorted((entry.name, entry.stat().st_size) for entry in found)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
