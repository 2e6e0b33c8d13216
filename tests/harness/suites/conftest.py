"""A suite from its text, and what is said of one that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import SuiteError
from harness.registry.plugins import load
from harness.suites.suite import Suite, load_suite


@pytest.fixture(scope="session")
def registry():
    """The installed plugins; a module that needs more has a fixture of this name."""
    return load([])


@pytest.fixture
def suite(tmp_path: Path, registry):
    def make(text: str, *overrides: str) -> Suite:
        path = tmp_path / "s.yaml"
        path.write_text(text, encoding="utf8")
        return load_suite(path, registry, overrides)

    return make


@pytest.fixture
def refusal(suite):
    def call(text: str, *overrides: str) -> str:
        with pytest.raises(SuiteError) as caught:
            suite(text, *overrides)
        return str(caught.value)

    return call
