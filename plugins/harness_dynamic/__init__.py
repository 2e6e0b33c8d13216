"""Dynamic sparse training: masks move while the network trains (SET, RigL, Top-KAST, AC/DC, hard thresholding)."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register the methods."""
    return [
        Entry("set", "harness_dynamic.set:Set", "drops what is close to zero, grows at random"),
        Entry("rigl", "harness_dynamic.rigl:RigL", "drops the smallest weights, grows where gradients are largest"),
        Entry("top_kast", "harness_dynamic.top_kast:TopKast", "the largest weights compute, some more learn"),
        Entry("ac_dc", "harness_dynamic.ac_dc:AcDc", "trains densely and sparsely by turns"),
        Entry("iht", "harness_dynamic.iht:Iht", "after every step all but the largest weights become zero"),
    ]
