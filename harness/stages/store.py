"""Where finished stages and checkpoints of running ones live."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import CorruptFile
from harness.stages.manifest import StageManifest
from harness.storage import checkpoint
from harness.storage.atomic_files import write_json
from harness.storage.reading import parse_json, read_bytes, read_object


class StageStore:
    """Folders ``stages/<hash>/`` with ``state.safetensors``, ``series.json`` and, last, ``stage.json``.

    A stage counts as finished only when its ``stage.json`` is there, which is written after everything else and
    holds checksums of itself and of the other two: one that was changed or came from elsewhere does not count.
    """

    def __init__(self, work: Path) -> None:
        self.work = work

    def folder(self, stage: str) -> Path:
        """Folder of one stage."""
        return self.work / "stages" / stage

    def manifest(self, stage: str) -> dict[str, Any] | None:
        """What a finished stage says about itself, or None if it is not finished."""
        loaded = read_object(self.folder(stage) / "stage.json")
        if loaded is None or loaded.get("stage") != stage or loaded.get("sha256") != _digest(loaded):
            return None
        try:
            StageManifest.model_validate(loaded)
        except ValidationError:
            return None
        return loaded if (self.folder(stage) / "state.safetensors").is_file() else None

    def damaged(self, stage: str) -> Path | None:
        """The file that says that a stage is finished, where it does not count; None where there is none."""
        path = self.folder(stage) / "stage.json"
        return path if path.exists() and self.manifest(stage) is None else None

    def state(self, stage: str) -> dict[str, Any]:
        """The state that a finished stage left.

        Raises:
            CorruptFile: if it is damaged; the stage no longer counts as finished and will run again.
        """
        path, manifest = self.folder(stage) / "state.safetensors", self.manifest(stage)
        try:
            state: dict[str, Any] = checkpoint.load(path, manifest["state"] if manifest else None)
        except CorruptFile as error:
            raise self.distrust(stage, str(error)) from error
        return state

    def distrust(self, stage: str, problem: str) -> CorruptFile:
        """The error for a finished stage whose state is of no use; it no longer counts as finished."""
        (self.folder(stage) / "stage.json").unlink(missing_ok=True)
        return CorruptFile(f"{problem}. Run the same command again: the stage will be trained anew.")

    def series(self, stage: str) -> dict[str, Any]:
        """Curves over training up to the end of a finished stage; empty if they were lost or changed."""
        manifest = self.manifest(stage) or {}
        try:
            content = read_bytes(self.folder(stage) / "series.json")
            found = parse_json(content)
        except (OSError, CorruptFile):
            return {}
        whole = hashlib.sha256(content).hexdigest() == manifest.get("series")
        return found if whole and isinstance(found, dict) else {}

    def finish(self, stage: str, state: Any, series: dict[str, Any], manifest: dict[str, Any]) -> None:
        """Write a stage's outcome, then forget its checkpoints."""
        folder = self.folder(stage)
        whole = {"stage": stage, **manifest, "state": checkpoint.save(folder / "state.safetensors", state)}
        write_json(folder / "series.json", series)
        whole["series"] = hashlib.sha256((folder / "series.json").read_bytes()).hexdigest()
        write_json(folder / "stage.json", {**whole, "sha256": _digest(whole)})
        self.forget_progress(stage)

    def forget_progress(self, stage: str) -> None:
        """Remove what only an unfinished stage needs."""
        folder = self.folder(stage)
        leftovers = [
            path for pattern in (".checkpoint-*.tmp", ".note-*.tmp", "note-*") for path in folder.glob(pattern)
        ]
        for path in [*self._checkpoints(stage), *leftovers, folder / "attempts.json"]:
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
                if not isinstance(loaded, dict):
                    raise CorruptFile(f"{path} is whole, and no checkpoint of a stage")
            except CorruptFile as error:
                warn(f"{error}; going back to the checkpoint before it")
                path.unlink(missing_ok=True)
            else:
                return loaded
        return None

    def forget_checkpoints(self, stage: str) -> None:
        """Begin anew the next time."""
        for path in self._checkpoints(stage):
            path.unlink(missing_ok=True)

    def checkpoint(self, stage: str, name: str) -> dict[str, Any]:
        """One checkpoint by name.

        Raises:
            CorruptFile: if it is damaged or gone.
        """
        loaded: dict[str, Any] = checkpoint.load(self.folder(stage) / f"{name}.safetensors")
        return loaded

    # --- notes -------------------------------------------------------------------------------

    def save_note(self, stage: str, step: int, content: Any) -> None:
        """Keep something of a running stage until it is finished."""
        checkpoint.save(self.folder(stage) / f"note-{step:012d}.safetensors", content)

    def note(self, stage: str, step: int) -> Any:
        """What was kept at a step.

        Raises:
            CorruptFile: if it is damaged or gone.
        """
        return checkpoint.load(self.folder(stage) / f"note-{step:012d}.safetensors")

    def _checkpoints(self, stage: str) -> list[Path]:
        """Newest first."""
        return sorted(self.folder(stage).glob("checkpoint-*.safetensors"), reverse=True)

    # --- attempts ----------------------------------------------------------------------------

    def reached(self, stage: str) -> str | None:
        """Name of the newest checkpoint, or None: what changes when a stage gets further."""
        return next((path.stem for path in self._checkpoints(stage)), None)

    def begin(self, stage: str) -> int:
        """Count an attempt; which one this is since the stage last got further, counted from 1."""
        path = self.folder(stage) / "attempts.json"
        reached, count = self.reached(stage), 0
        known = read_object(path) or {}
        if known.get("reached") == reached and isinstance(known.get("count"), int):
            count = known["count"]
        write_json(path, {"count": count + 1, "reached": reached})
        return count + 1

    def forget_attempts(self, stage: str) -> None:
        """Count from the beginning again."""
        (self.folder(stage) / "attempts.json").unlink(missing_ok=True)


def _digest(manifest: dict[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
