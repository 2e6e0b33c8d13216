"""Any method as a suite of a few steps has it."""

from __future__ import annotations

from typing import Any

from harness.registry.plugins import Registry

_SHORT = {"interval": 2, "recovery_steps": 4, "rounds": 2, "generations": 2, "outer_steps": 4}
_ORIGINS = {"genome_cut": {"use": "genome"}}


def short_methods(registry: Registry, name: str, more: dict[str, Any]) -> dict[str, Any]:
    """``methods`` of a suite: the one of that name, with ``more`` options, after what it starts from."""
    cls = registry.get("method", name)
    options = {key: value for key, value in _SHORT.items() if key in cls.Options.model_fields} | more
    if cls.takes_density == "required" or "pattern" in cls.Options.model_fields:
        options["density"] = 0.5
    if cls.takes_source != "required":
        return {name: options}
    return {"origin": _ORIGINS.get(name, {"use": "random", "density": 0.25}), name: options | {"source": "origin"}}
