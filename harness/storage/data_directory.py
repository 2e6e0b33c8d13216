"""Where downloaded data lives."""

from __future__ import annotations

import os
from pathlib import Path


def data_directory() -> Path:
    """``$HARNESS_DATA``, or ``data`` under the user's cache folder (``$XDG_CACHE_HOME/harness``)."""
    if explicit := os.environ.get("HARNESS_DATA"):
        return Path(explicit).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "harness" / "data"
