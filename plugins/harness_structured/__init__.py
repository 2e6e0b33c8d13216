"""Patterns that hardware can use: whole units, and N weights of every M."""

from harness import Entry, hookimpl


@hookimpl
def harness_register_methods() -> list[Entry]:
    """Register the methods."""
    return [
        Entry("units", "harness_structured.units:Units", "removes whole neurons, heads, branches or channels"),
    ]
