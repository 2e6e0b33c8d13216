"""Methods that prune a trained network layer by layer, on calibration data (Wanda, SparseGPT)."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register the methods."""
    return []
