"""Trackio, on this machine."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from io import StringIO

from harness.core.logger import Logged, Logger
from harness.extras import require


class Trackio(Logger):
    """One run of Trackio's a stage or cell, in the project of the suite's name; one that begins again is told anew.

    They are in ``<results>/<suite>/trackio``, unless ``$TRACKIO_DIR`` says otherwise, and no network is used, whatever
    Trackio's other variables say: ``trackio show`` draws them, ``trackio sync`` sends them.
    """

    def check(self) -> None:
        """See :class:`harness.core.logger.Logger`."""
        require("trackio", what="--log trackio")

    def start(self, run: Logged) -> None:
        """See :class:`harness.core.logger.Logger`."""
        # Read when it is imported. Its usual journal needs memory that machines on a network file system do not share.
        os.environ.setdefault("TRACKIO_DIR", str(run.folder.absolute() / "trackio"))
        os.environ.setdefault("TRACKIO_SQLITE_JOURNAL_MODE", "delete")
        for elsewhere in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_WEBHOOK_URL"):
            os.environ.pop(elsewhere, None)
        drawn = random.getstate()
        import trackio

        random.setstate(drawn)  # what it imports draws
        with suppress(ValueError):  # no project of that name yet
            for older in trackio.Api().runs(run.suite):
                if older.name == run.name:
                    older.delete()
        with redirect_stdout(StringIO()):  # it greets
            self._run = trackio.init(
                project=run.suite,
                name=run.name,
                group=run.kind,
                config=dict(run.config),
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See :class:`harness.core.logger.Logger`."""
        self._run.log(dict(values), step=step)

    def finish(self) -> None:
        """See :class:`harness.core.logger.Logger`."""
        import trackio

        with redirect_stdout(StringIO()):
            trackio.finish()  # not the run's own, which would be finished once more when the process ends
