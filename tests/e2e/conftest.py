"""What two results folders must have in common, however the runs went."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fated_run import Place

from harness.cli import main
from harness.storage import checkpoint


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Place:
    """Everything run by one worker, without any accident but divergence."""
    place = Place(tmp_path_factory.mktemp("undisturbed"), "mended")
    code, said = place.run("--workers", "1")
    assert code == 1, said
    return place


@pytest.fixture
def said(capsys):
    """Runs the command in this process; (exit code, stderr)."""

    def call(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as caught:
            main(["run", *arguments])
        return caught.value.code, capsys.readouterr().err

    return call


@pytest.fixture(scope="session")
def assert_same() -> Callable[[Path, Path], None]:
    """Compares two results folders: records, curves, masks and the states of stages, to the last bit."""

    def compare(one: Path, other: Path) -> None:
        a, b = _outcome(one), _outcome(other)
        assert a.keys() == b.keys()
        assert [name for name in a if not _same(a[name], b[name])] == []

    return compare


def _outcome(results: Path) -> dict[str, Any]:
    """Everything in a results folder that must not depend on how the run went."""
    found: dict[str, Any] = {}
    for path in sorted(results.glob("*/cells/*.json")):
        record = json.loads(path.read_text())
        for name in ("spent", "environment", "finished"):
            record.pop(name)
        found[path.name] = record
    for path in sorted(results.glob("*/series/*.json")):
        found[f"series {path.name}"] = json.loads(path.read_text())
    for path in sorted(results.glob("*/masks/*.safetensors")):
        found[f"masks {path.name}"] = path.read_bytes()
    for path in sorted((results / ".work" / "stages").glob("*/state.safetensors")):
        state = checkpoint.load(path)
        state.pop("spent")
        found[path.parent.name] = state
    assert any(name.startswith("masks ") for name in found), f"no masks in {results}: too little is compared"
    return found


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
