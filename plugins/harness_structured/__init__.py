"""Patterns that hardware can use: whole units, and N weights of every M."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register ``units``, ``n_m`` and ``sr_ste``."""
    return [
        Entry("units", "harness_structured.units:Units", "removes whole neurons, heads, branches or channels"),
        Entry("n_m", "harness_structured.n_m:NM", "train, keep the largest n of every m weights, train again"),
        Entry("sr_ste", "harness_structured.sr_ste:SrSte", "n of every m weights from the first step on (SR-STE)"),
    ]
