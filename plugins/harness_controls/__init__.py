"""Controls: what remains of a method's success when one of its ingredients is taken away."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register ``shuffle``, ``reinit`` and ``small_dense``."""
    return [
        Entry("shuffle", "harness_controls.shuffle:Shuffle", "another cell's mask, permuted within each connection"),
        Entry("reinit", "harness_controls.reinit:Reinit", "another cell's mask on new initial weights"),
        Entry("small_dense", "harness_controls.small_dense:SmallDense", "a dense network with as many parameters"),
    ]
