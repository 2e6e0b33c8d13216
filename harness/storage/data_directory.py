"""Where downloaded data lives."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import UserError


def data_directory() -> Path:
    """``$HARNESS_DATA``, or ``data`` under the user's cache folder (``$XDG_CACHE_HOME/harness``).

    Raises:
        UserError: if ``$HARNESS_DATA`` is no folder.
    """
    if explicit := os.environ.get("HARNESS_DATA"):
        folder = Path(explicit).expanduser()
        if folder.exists() and not folder.is_dir():
            raise UserError(f"HARNESS_DATA is {folder}, which is a file: give the folder of downloaded data")
        return folder
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "harness" / "data"
