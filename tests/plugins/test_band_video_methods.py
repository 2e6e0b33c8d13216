"""Every method on the video transformer: it keeps its contract there, or says why it cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness import DataSpec, Masks, Source
from harness.registry.plugins import load
from harness.suites.cell import in_scope
from harness.testing import check_method
from harness_genome import Genome
from harness_ndna.band_video import BandVideo, BandVideoOptions

torch.set_num_threads(1)
REGISTRY = load()
NETWORK = BandVideo(BandVideoOptions(hidden=8, layers=3, heads=2, ffn=8, patch=3), DataSpec("video", (3, 6, 6), 36, 32))
REFUSED = {
    "synflow": "flow is conserved up to logits",
    "units": "are read by layer1.ffn_down, out of scope",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "genome": {"attention": {}},
    "random": {"attention": {"temporal_attention": 0.3, "spatial_attention": 0.5}},
}
ATTENTION = {"continued", "dense", "genome", "random", "reinit", "shuffle"}
"""Methods that mask attention, these two where an option says so; to the others it stays open."""


@pytest.mark.parametrize("name", [registered.entry.name for registered in REGISTRY.entries("method")])
def test_the_contract_is_kept_or_the_network_refused(name: str) -> None:
    cls = REGISTRY.get("method", name)
    options = OPTIONS.get(name, {})
    method = cls(cls.Options(**options))
    scope = in_scope("default", NETWORK.connections(), method.kinds)
    assert any(c.kind == "attention" for c in scope) == (name in ATTENTION)
    if name in REFUSED:
        assert REFUSED[name] in str(method.unsupported(NETWORK, scope))
        return
    source = Source("toy", Masks({}), {"genome": Genome(n_bands=5).state_dict()}, {}) if name == "genome_cut" else None
    density = {"genome": None, "n_m": 0.5, "sr_ste": 0.5}.get(name, 0.25)
    check_method(cls, options, architecture=NETWORK, source=source, density=density)
