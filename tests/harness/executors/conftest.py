"""A module's ``SUITE``, loaded and planned."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.registry.plugins import load
from harness.results.store import ResultStore
from harness.stages.graph import Graph, compile_graph
from harness.suites.suite import Suite, load_suite


@pytest.fixture(scope="module")
def suite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    path = tmp_path_factory.mktemp("suite") / "s.yaml"
    path.write_text(request.module.SUITE)
    return load_suite(path, load())


@pytest.fixture(scope="module")
def graph(suite: Suite) -> Graph:
    return compile_graph(suite.cells, suite.registry)


@pytest.fixture
def results(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")
