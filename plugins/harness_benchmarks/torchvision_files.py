"""Data sets that torchvision downloads, read from the files as it lays them out."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from harness import DataMissing, data_directory
from harness.extras import hint, require
from harness.storage.digests import described
from harness_benchmarks.images import ImageBenchmark


class TorchvisionImages(ImageBenchmark):
    """Images whose files lie in one folder below the data directory.

    They are read here and not by torchvision, whose import takes seconds.

    Attributes:
        name: as registered, for messages.
        torchvision: its class of the data set.
        folder: of the files, below torchvision's root and below the data directory.
        unpacked: about how many bytes they have.
    """

    name: ClassVar[str]
    torchvision: ClassVar[str]
    folder: ClassVar[str]
    unpacked: ClassVar[int]

    @property
    @abstractmethod
    def file_names(self) -> Sequence[str]:
        """In ``folder``."""

    def files(self) -> Sequence[Path]:
        """Of ``file_names``, in their order."""
        return [data_directory() / self.folder / name for name in self.file_names]

    def data_source(self) -> Mapping[str, Any]:
        """The files."""
        return described(data_directory() / self.folder, self.files())

    def disk_bytes(self) -> int:
        """See ``unpacked``."""
        return self.unpacked

    def prepare(self, download: bool = True) -> None:
        """Download what is missing with torchvision, which checks the archives' MD5.

        Downloads into a folder of its own and renames: other processes see whole files or none.
        """
        missing = [path for path in self.files() if not path.is_file()]
        if not missing:
            return
        if not download:
            raise DataMissing(self._missing(missing))
        require("torchvision", what=f"the download of {self.name}")
        from torchvision import datasets

        try:
            data_directory().mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{self.name}.", dir=data_directory()) as root:
                getattr(datasets, self.torchvision)(root, download=True)
                for path in missing:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    (Path(root) / self.folder / path.name).replace(path)
        except (OSError, RuntimeError) as error:
            raise DataMissing(f"{self._missing(missing)} The download failed: {error}") from error

    def _missing(self, missing: Sequence[Path]) -> str:
        command = f"`harness data prepare {self.name}`{hint('torchvision')}"
        return (
            f"{self.name}: {', '.join(path.name for path in missing)} not found in {missing[0].parent}. Run {command} "
            f"on a machine with internet, or set HARNESS_DATA (now the data directory is {data_directory()}) to a "
            f"folder that has {self.folder}."
        )
