"""BioGPT, the dendritic language model (Hamond 2026): columns of neurons, neurons of branches.

Builds on harness_architectures: how a network is made smaller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import Entry, hookimpl

if TYPE_CHECKING:
    from harness_biogpt.published import load_published as load_published

__all__ = ["load_published"]


@hookimpl
def harness_register_architectures() -> list[Entry]:
    """Register ``biogpt``."""
    summary = "dendritic language model: columns of neurons whose branches attend, convolve and mix"
    return [Entry("biogpt", "harness_biogpt.architecture:Biogpt", summary)]


def __getattr__(name: str) -> Any:
    # load_published needs torch, which listing the plugins must not import.
    if name == "load_published":
        from harness_biogpt.published import load_published

        return load_published
    raise AttributeError(f"module 'harness_biogpt' has no attribute '{name}'")
