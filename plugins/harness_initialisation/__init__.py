"""Methods that prune before training: scores of the initial weights decide (SNIP, GraSP, SynFlow)."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register the methods."""
    return [
        Entry("snip", "harness_initialisation.snip:Snip", "keeps initial weights without which the loss would change"),
        Entry("grasp", "harness_initialisation.grasp:Grasp", "keeps initial weights that gradient flow needs"),
        Entry("synflow", "harness_initialisation.synflow:Synflow", "keeps initial weights by flow, in rounds, no data"),
        Entry(
            "magnitude_at_init",
            "harness_initialisation.magnitude_at_init:MagnitudeAtInit",
            "keeps the largest initial weights",
        ),
    ]
