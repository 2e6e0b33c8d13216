"""Where finished stages and checkpoints of running ones live."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any

from harness import checkpoint
from harness.errors import CorruptFile
from harness.files import storage_error, write_json


class StageStore:
    """Folders ``stages/<hash>/`` with ``state.safetensors``, ``series.json`` and, last, ``stage.json``.

    A stage counts as finished only when its ``stage.json`` is there; it is written after everything else.
    """

    def __init__(self, work: Path) -> None:
        self.work = work

    def folder(self, stage: str) -> Path:
        """Folder of one stage."""
        return self.work / "stages" / stage

    def manifest(self, stage: str) -> dict[str, Any] | None:
        """What a finished stage says about itself, or None if it is not finished."""
        try:
            loaded = json.loads((self.folder(stage) / "stage.json").read_bytes())
        except (OSError, ValueError):
            return None
        finished = isinstance(loaded, dict) and (self.folder(stage) / "state.safetensors").is_file()
        return loaded if finished else None

    def state(self, stage: str) -> dict[str, Any]:
        """The state that a finished stage left.

        Raises:
            CorruptFile: if it is damaged; the stage no longer counts as finished and will run again.
        """
        path = self.folder(stage) / "state.safetensors"
        try:
            state: dict[str, Any] = checkpoint.load(path)
        except CorruptFile as error:
            (self.folder(stage) / "stage.json").unlink(missing_ok=True)
            raise CorruptFile(f"{error}. Run the same command again: the stage will be trained anew.") from error
        return state

    def series(self, stage: str) -> dict[str, Any]:
        """Curves over training up to the end of a finished stage; empty if they were lost."""
        try:
            loaded = json.loads((self.folder(stage) / "series.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return loaded if isinstance(loaded, dict) else {}

    def finish(self, stage: str, state: Any, series: dict[str, Any], manifest: dict[str, Any]) -> None:
        """Write a stage's outcome, then forget its checkpoints."""
        folder = self.folder(stage)
        checkpoint.save(folder / "state.safetensors", state)
        write_json(folder / "series.json", series)
        write_json(folder / "stage.json", manifest)
        for path in [*self._checkpoints(stage), *folder.glob(".checkpoint-*.tmp")]:
            path.unlink(missing_ok=True)

    def discard(self, stage: str) -> None:
        """Forget a stage, finished or not."""
        (self.folder(stage) / "stage.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder(stage), ignore_errors=True)

    # --- checkpoints -------------------------------------------------------------------------

    def save_checkpoint(self, stage: str, step: int, state: Any) -> None:
        """Write a checkpoint; the one before it is kept as well, older ones are deleted."""
        checkpoint.save(self.folder(stage) / f"checkpoint-{step:012d}.safetensors", state)
        for path in self._checkpoints(stage)[2:]:
            path.unlink(missing_ok=True)

    def newest_checkpoint(self, stage: str, warn: Callable[[str], None]) -> dict[str, Any] | None:
        """The newest checkpoint that is whole, or None; damaged ones are named to ``warn`` and deleted."""
        for path in self._checkpoints(stage):
            try:
                loaded: dict[str, Any] = checkpoint.load(path)
            except CorruptFile as error:
                warn(f"{error}; going back to the checkpoint before it")
                path.unlink(missing_ok=True)
            else:
                return loaded
        return None

    def _checkpoints(self, stage: str) -> list[Path]:
        """Newest first."""
        return sorted(self.folder(stage).glob("checkpoint-*.safetensors"), reverse=True)

    # --- one at a time -----------------------------------------------------------------------

    @contextmanager
    def claim(self, name: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the lock ``name`` against other processes of this machine; freed when the process dies.

        ``waiting`` is called about once a second while another process holds it; it may raise.
        """
        path = self.work / "locks" / f"{name}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = path.open("w")
        except OSError as error:
            raise storage_error(path, error) from error
        with handle:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    waiting()
                    sleep(0.5)
            yield
