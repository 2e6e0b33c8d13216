"""Methods that prune a trained network layer by layer, on calibration data (Wanda, SparseGPT)."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register ``wanda`` and ``sparsegpt``."""
    return [
        Entry("wanda", "harness_post_training.wanda:Wanda", "train, remove the smallest weights x inputs of each row"),
        Entry(
            "sparsegpt",
            "harness_post_training.sparsegpt:SparseGpt",
            "train, remove weights column by column, the others making up for them",
        ),
    ]
