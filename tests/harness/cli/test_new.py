"""``harness new``: what it writes works, is short, is clean, and never replaces anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import main

ROOT = Path(__file__).parents[3]
LONGEST = {"method": 25, "architecture": 80, "benchmark": 60}


def new(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["new", *arguments])
    return exit_.value.code


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new") / "sub"
    for kind in LONGEST:
        assert new(kind, f"my_{kind}", "--output", str(folder)) == 0
    # A name whose class would hide what the template imports.
    assert new("method", "prune", "--output", str(folder)) == 0
    return folder


def test_generated_plugins_pass_their_own_tests(written):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HARNESS_PLUGINS": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(written)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=written)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_generated_files_are_clean(written, command):
    ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    done = subprocess.run([*ruff, str(written)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", LONGEST)
def test_generated_plugins_are_short(written, kind):
    assert len((written / f"my_{kind}.py").read_text().splitlines()) <= LONGEST[kind]


def test_nothing_is_overwritten(tmp_path, capsys):
    for existing in ("mine.py", "test_mine.py"):
        folder = tmp_path / existing
        folder.mkdir()
        (folder / existing).write_text("precious")
        assert new("method", "mine", "--output", str(folder)) == 2
        assert f"{folder / existing} exists and is not overwritten" in capsys.readouterr().err
        assert [(p.name, p.read_text()) for p in folder.iterdir()] == [(existing, "precious")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My-Method", "lower-case letters"),
        ("1st", "lower-case letters"),
        ("../up", "lower-case letters"),
        ("lambda", "a word of Python's"),
        ("json", "would hide the Python module"),
    ],
)
def test_names_are_checked(tmp_path, capsys, name, message):
    assert new("method", name, "--output", str(tmp_path)) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_shows_the_kinds(tmp_path, capsys):
    assert new("optimizer", "mine", "--output", str(tmp_path)) == 2
    assert "architecture" in capsys.readouterr().err
