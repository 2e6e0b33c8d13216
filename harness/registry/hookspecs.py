"""The hooks by which a plugin registers what it brings. Registration only: behaviour is in the ABCs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pluggy

GROUP = "harness"
"""Entry-point group under which plugins are found, and the project name of the hooks."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a plugin brings.

    Attributes:
        name: what users type; lower case, digits and underscores.
        target: ``"package.module:Class"``, imported on first use, or the class itself.
        summary: one line for ``harness plugins``.
    """

    name: str
    target: str | type
    summary: str = ""


@hookspec
def harness_register_architectures() -> Sequence[Entry]:
    """Called once when plugins are loaded; return the plugin's architectures."""
    raise NotImplementedError


@hookspec
def harness_register_methods() -> Sequence[Entry]:
    """Called once when plugins are loaded; return the plugin's sparsity methods."""
    raise NotImplementedError


@hookspec
def harness_register_benchmarks() -> Sequence[Entry]:
    """Called once when plugins are loaded; return the plugin's benchmarks."""
    raise NotImplementedError


@hookspec
def harness_register_importers() -> Sequence[Entry]:
    """Called once when plugins are loaded; return what reads the checkpoints of others (``harness import``)."""
    raise NotImplementedError


@hookspec
def harness_register_exporters() -> Sequence[Entry]:
    """Called once when plugins are loaded; return the formats that ``harness export`` can write."""
    raise NotImplementedError


@hookspec
def harness_register_loggers() -> Sequence[Entry]:
    """Called once when plugins are loaded; return what ``harness run --log`` can show training in."""
    raise NotImplementedError
