"""Data that come with scikit-learn, read without it: its loaders take a second and a half to import."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from harness import CorruptFile
from harness.extras import require


def table(benchmark: str, file: str, dtype: DTypeLike, delimiter: str | None = None) -> NDArray[Any]:
    """The numbers of one of its files, in rows.

    Raises:
        NotInstalled: if it is not installed.
        CorruptFile: if the file is not there, or no such table.
    """
    require("sklearn", what=benchmark)
    found = find_spec("sklearn")
    assert found is not None and found.origin is not None
    path = Path(found.origin).parent / "datasets" / "data" / file
    try:
        return np.loadtxt(path, dtype, delimiter=delimiter)
    except (OSError, ValueError) as error:
        raise CorruptFile(f"{benchmark}: {path} cannot be read ({error}): install scikit-learn again") from error


def source() -> Mapping[str, Any]:
    """The package that brings them, for records."""
    return {"package": "scikit-learn", "version": version("scikit-learn")}


def other_content(benchmark: str) -> str:
    """What is wrong where a checksum is another one."""
    return f"{benchmark}: scikit-learn's copy has other content than expected: install another version of it"
