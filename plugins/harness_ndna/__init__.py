"""The networks of Neural DNA's experiments, whose bands each feed all later ones.

Builds on harness_architectures (how a network is made narrower, and its loss) and on harness_genome.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness import Entry, hookimpl

if TYPE_CHECKING:
    from harness_ndna.published import load_published as load_published

__all__ = ["load_published"]


@hookimpl
def harness_register_architectures() -> Sequence[Entry]:
    """The networks."""
    return [
        Entry("band_cnn", "harness_ndna.band_cnn:BandCnn", "convolutions in which every band feeds every later one"),
        Entry(
            "band_transformer",
            "harness_ndna.band_transformer:BandTransformer",
            "transformer encoder of texts in which every layer feeds every later one",
        ),
        Entry(
            "band_video",
            "harness_ndna.band_video:BandVideo",
            "video transformer with divided attention in which every layer feeds every later one",
        ),
    ]


def __getattr__(name: str) -> Any:
    # It needs torch, which listing the plugins must not import.
    if name == "load_published":
        from harness_ndna.published import load_published

        return load_published
    raise AttributeError(f"module 'harness_ndna' has no attribute '{name}'")
