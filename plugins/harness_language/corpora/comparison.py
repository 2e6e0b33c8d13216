"""What a corpus was made of, against what a suite names as its sources now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness_language.corpora.hub import HubDataset
from harness_language.corpora.manifest import Manifest
from harness_language.corpora.origin import Files, Origin

Named = Mapping[str, HubDataset | Files]
"""Split that has a source of its own -> that source as it is now."""


def difference(named: Named, manifest: Manifest, thorough: bool = False) -> str | None:
    """How what is named differs from what was read, as ``made of A, but ...``; None if it does not.

    Args:
        thorough: read all files, whatever their sizes and times say.
    """
    for split, source in named.items():
        described = manifest.described(split)
        if described is not None and (problem := source.difference(described, thorough)):
            return problem
    return None


def renewed(named: Named, manifest: Manifest) -> Manifest:
    """A manifest with the places and times that the same files have now, so that they need not be read to know them."""
    source = dict[str, Any]()
    for split, now in named.items():
        if described := manifest.described(split):
            source[split] = now.renewed(described) if isinstance(now, Files) else described
    return manifest.model_copy(update={"source": source})


def summary(manifest: Manifest) -> dict[str, Any]:
    """What was read, in short, for a record."""
    found = {split: manifest.described(split) for split in manifest.splits}
    return {
        split: Origin.model_validate(described).summary() if "files" in described else dict(described)
        for split, described in found.items()
        if described is not None
    }
