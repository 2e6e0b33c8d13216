"""Weights & Biases, on this machine alone unless the user says otherwise."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from harness.core.logger import Logged, Logger
from harness.extras import require

if TYPE_CHECKING:
    import wandb

PATIENCE = 60.0
"""Seconds that the end of a run may take: a network that is gone must not hold up the next one."""


class Wandb(Logger):
    """One run of W&B's a stage or cell, in the project of the suite's name; its id stays the same when it runs again.

    ``$WANDB_MODE`` is offline unless it is set. Offline runs are in ``<results>/<suite>/wandb`` (``wandb sync`` sends
    them); the folder of one that began again takes the place of the older ones. Online, what the server has already is
    not sent again.
    """

    def check(self) -> None:
        """See :class:`harness.core.logger.Logger`."""
        require("wandb", what="--log wandb")
        # Workers start services of their own, which end with them; an inherited one holds on to runs that were killed.
        os.environ.pop("WANDB_SERVICE", None)

    def start(self, run: Logged) -> None:
        """See :class:`harness.core.logger.Logger`."""
        import wandb

        identity = run.id[-64:]
        mode = os.environ.get("WANDB_MODE") or "offline"
        older = list((run.folder / "wandb").glob(f"offline-run-*-{identity}"))
        run.folder.mkdir(parents=True, exist_ok=True)
        self._run: wandb.Run = wandb.init(
            project=run.suite,
            id=identity,
            name=run.name,
            job_type=run.kind,
            config=dict(run.config),
            dir=run.folder,
            mode=mode,  # type: ignore[arg-type]
            resume=None if mode == "offline" else "allow",
            reinit="finish_previous",
            settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
        )
        self._first = self._run.step if self._run.resumed else 0
        for folder in older:
            if folder != Path(self._run.dir).parent:
                shutil.rmtree(folder, ignore_errors=True)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See :class:`harness.core.logger.Logger`."""
        if step >= self._first:
            self._run.log(dict(values), step=step)

    def finish(self) -> None:
        """See :class:`harness.core.logger.Logger`."""
        ending = Thread(target=self._run.finish, daemon=True)
        ending.start()
        ending.join(PATIENCE)
