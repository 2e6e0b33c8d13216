"""Controls: what remains of a method's success when one of its ingredients is taken away.

Builds on harness_architectures: how a network is made smaller.
"""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register the controls."""
    return [
        Entry("shuffle", "harness_controls.shuffle:Shuffle", "another cell's mask, permuted within each connection"),
        Entry("reinit", "harness_controls.reinit:Reinit", "another cell's mask on new initial weights"),
        Entry("continued", "harness_controls.continued:Continued", "goes on from another cell's weights and mask"),
        Entry("stored_mask", "harness_controls.stored_mask:StoredMask", "holds the zeros of imported weights"),
        Entry("small_dense", "harness_controls.small_dense:SmallDense", "a dense network with as many parameters"),
    ]
