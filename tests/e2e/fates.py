"""Methods that come to grief, until ``$FATES_FOLDER/mended`` exists; loaded as a single-file plugin."""

import errno
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from harness import Entry, MethodContext, Phase, Prune, SparsityMethod, Train, TrainingBudget, hookimpl

FOLDER = Path(os.environ.get("FATES_FOLDER", "."))
DEADLY_STEP = 30


class FateOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    fate: Literal["raise", "exit", "kill", "live", "full"]


class Fate(SparsityMethod[FateOptions]):
    """Trains; notes in ``trained`` when it begins; ``slow`` in the folder makes it slow."""

    Options = FateOptions
    takes_density = "optional"

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        return [Prune(), Train(budget.steps)] if self.options.fate == "raise" else [Train(budget.steps)]

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        if not (FOLDER / "mended").exists():
            raise RuntimeError("boom at the scores")
        return {c.name: context.weight(c).abs() for c in context.connections}

    def on_gradients(self, context: MethodContext) -> None:
        if context.step == 0:
            with (FOLDER / "trained").open("a") as log:
                log.write(f"{self.options.fate} {context.seed} {context.steps}\n")
        if (FOLDER / "slow").exists():
            time.sleep(0.02)
        if context.step == DEADLY_STEP and not (FOLDER / "mended").exists():
            if self.options.fate == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.options.fate == "full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/scratch/of/a/plugin")
            if self.options.fate == "exit" and not (FOLDER / "has exited").exists():
                (FOLDER / "has exited").touch()
                os._exit(7)


@hookimpl
def harness_register_methods() -> Sequence[Entry]:
    return [Entry("fate", Fate)]
