"""Every method that comes with the harness passes the check that plugin authors are given."""

from __future__ import annotations

from typing import Any

import pytest

from harness import DataSpec
from harness.registry.plugins import load
from harness.testing import check_method

REGISTRY = load()


@pytest.mark.parametrize("name", [registered.entry.name for registered in REGISTRY.entries("method")])
def test_methods_pass(name: str) -> None:
    architecture: Any = None
    if name == "small_dense":  # the toy network has no width to scale
        mlp = REGISTRY.get("architecture", "mlp")
        architecture = mlp(mlp.Options(hidden=[16, 16]), DataSpec("classification", (8,), 4, examples=32))
    density = 0.5 if name in ("n_m", "sr_ste") else 0.25  # the former is what their pattern, 2:4, makes it
    check_method(REGISTRY.get("method", name), architecture=architecture, density=density)
