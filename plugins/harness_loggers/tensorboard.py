"""Event files for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.core.logger import Logged, Logger
from harness.extras import require

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard(Logger):
    """One folder a run under ``<results>/<suite>/tensorboard``; look at them with ``tensorboard --logdir``.

    A run that begins again tells TensorBoard to forget what an earlier event file says of the same steps.
    """

    def check(self) -> None:
        """See :class:`harness.core.logger.Logger`."""
        require("tensorboard", what="--log tensorboard")

    def start(self, run: Logged) -> None:
        """See :class:`harness.core.logger.Logger`."""
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / "tensorboard" / f"{run.kind}s" / run.name
        again = folder.is_dir()
        self._writer: SummaryWriter = SummaryWriter(folder, purge_step=run.first_step if again else None, flush_secs=10)
        if not again:
            text = json.dumps(run.config, indent=2).replace("\n", "\n    ")  # indented: markdown's code
            self._writer.add_text("config", f"    {text}", run.first_step)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See :class:`harness.core.logger.Logger`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def finish(self) -> None:
        """See :class:`harness.core.logger.Logger`."""
        self._writer.close()
