"""Magnitude pruning after training, with recovery: the pruning curves of BioGPT."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register ``magnitude``."""
    return [Entry("magnitude", "harness_magnitude.method:Magnitude", "train, remove the smallest weights, recover")]
