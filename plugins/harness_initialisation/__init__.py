"""Methods that prune before training: scores of the initial weights decide (SNIP, GraSP, SynFlow)."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register the methods."""
    return []
