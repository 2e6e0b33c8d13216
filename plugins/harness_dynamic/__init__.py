"""Dynamic sparse training: masks move while the network trains (SET, RigL, Top-KAST, AC/DC, hard thresholding)."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register the methods."""
    return []
