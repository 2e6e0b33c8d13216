"""Masks and thresholds that are learned with the weights (movement pruning, STR, L0, PowerPropagation)."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register the methods."""
    return []
