"""Loggers for programs that others wrote; each is imported when it is asked for."""

from __future__ import annotations

from harness import Entry, hookimpl


@hookimpl
def harness_register_loggers() -> list[Entry]:
    """What ``harness run --log`` knows."""
    return [
        Entry("tensorboard", "harness_loggers.tensorboard:TensorBoard", "event files in RESULTS/SUITE/tensorboard"),
        Entry("trackio", "harness_loggers.trackio:Trackio", "Trackio's database in RESULTS/SUITE/trackio; no network"),
        Entry("wandb", "harness_loggers.wandb:Wandb", "Weights & Biases; offline unless WANDB_MODE says otherwise"),
    ]
