"""Model connectomes: generations of training, pruning and resetting to signs (Kotar and Tuckute 2025)."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register ``connectome``."""
    summary = "generations of training, pruning and resetting to signs, then one training"
    return [Entry("connectome", "harness_connectome.method:Connectome", summary)]
