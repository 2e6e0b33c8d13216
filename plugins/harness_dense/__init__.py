"""The dense network: what every sparse one is compared with."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register ``dense``."""
    return [Entry("dense", "harness_dense.method:Dense", "no sparsity: the network as it is, trained plainly")]
