"""Suites and the data that they name: what was prepared from something else, or holds nothing to score."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import UserError
from harness.cli import main
from harness.executors.as_planned import require_as_planned
from harness.registry.plugins import load
from harness.suites.suite import load_suite

SUITE = """\
architectures: {{tiny: {{use: gpt2, n_layers: 1, width: 16, heads: 2, context: 16}}}}
benchmarks: {{mine: {{use: {use}, path: {path}, tokenizer: bytes, context: 16{more}}}}}
training: {{steps: 6, batch_size: 4, lr: 1e-3}}
evaluation: {{checks: 1}}
methods: {{dense: }}
"""
NOVEL = ", workers: 1, validation_fraction: 0.2, test_fraction: 0.2, name: novel"
Harness = Callable[..., tuple[int, str]]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("HARNESS_DATA", str(root))
    return root


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Harness:
    """Runs a command beside the suites; (exit code, all that it says)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str]:
        code = 0
        try:
            main(arguments)
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def suite(name: str, use: str, path: str, more: str = "") -> str:
    Path(name).write_text(SUITE.format(use=use, path=path, more=more))
    return name


def story(path: Path, word: str) -> None:
    path.write_text("".join(f"The {word} went out for the {i}th time.\n<|endoftext|>\n" for i in range(99)))


def records(results: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(results.glob("*/cells/*.json"))]


def test_two_suites_of_one_corpus_name_and_different_paths(harness: Harness, data: Path) -> None:
    story(data / "one.txt", "cat")
    story(data / "two.txt", "dog")
    one, two = suite("one.yaml", "corpus", "one.txt", NOVEL), suite("two.yaml", "corpus", "two.txt", NOVEL)
    assert harness("data", "prepare", one)[0] == 0
    assert harness("run", one)[0] == 0
    (record,) = records(Path("results"))
    for part in (record["benchmark"], record["training_data"]):
        assert part["source"]["train"]["path"] == "one.txt"
        assert len(part["source"]["train"]["sha256"]) == 64
    before = sorted((data / "corpora/novel").iterdir())
    made = (
        f"corpora/novel was made of one.txt ({(data / 'one.txt').stat().st_size:,} bytes), but {data}/two.txt has other"
    )
    commands = {
        ("data", "prepare"): 2,
        ("run",): 2,
        ("run", "--dry-run"): 2,
        ("data", "verify"): 1,
        ("data", "list"): 0,
    }
    for command, expected in commands.items():
        code, said = harness(*command, two)
        assert code == expected
        assert made in said
        assert "another `name`, or delete the folder, and run `harness data prepare` again" in said
        assert "Traceback" not in said
    assert len(records(Path("results"))) == 1
    assert sorted((data / "corpora/novel").iterdir()) == before


def test_a_source_that_was_rewritten_behind_equal_size_and_time(harness: Harness, data: Path) -> None:
    story(data / "a.txt", "cat")
    name = suite("s.yaml", "corpus", "a.txt", NOVEL)
    assert harness("data", "prepare", name)[0] == 0
    assert harness("data", "verify", name) == (0, "mine: ok\n")
    time = (data / "a.txt").stat().st_mtime_ns
    story(data / "a.txt", "dog")
    os.utime(data / "a.txt", ns=(time, time))
    assert harness("run", name, "--dry-run")[0] == 0, "nothing tells without reading all of it"
    code, said = harness("data", "verify", name)
    assert code == 1 and "made of a.txt" in said and "has other content" in said


def test_no_document_for_the_test(harness: Harness, data: Path) -> None:
    (data / "few.jsonl").write_text("".join(json.dumps({"text": f"document {i} " * 9}) + "\n" for i in range(12)))
    name = suite("s.yaml", "corpus", "few.jsonl", ", workers: 1")
    repair = "raise `test_fraction` from 0.005, or give `test_path`"
    code, said = harness("data", "prepare", name)
    assert code == 0 and "mine: ready, but it can only be trained on: the test split has 0 bytes." in said
    assert repair in said
    code, said = harness("run", name)
    assert code == 2 and "error: s.yaml:2:14: benchmark 'mine': the test split has 0 bytes." in said and repair in said
    assert not Path("results").exists(), "nothing was trained"


def test_a_text_names_its_source(harness: Harness, data: Path) -> None:
    (data / "a.txt").write_text("to be or not to be " * 99)
    assert harness("run", suite("s.yaml", "text", "a.txt"))[0] == 0
    (record,) = records(Path("results"))
    source = record["benchmark"]["source"]
    assert (source["path"], source["files"], source["bytes"]) == ("a.txt", 1, 99 * 19)
    assert record["trained_on"] == "mine" and record["training_data"]["source"] == source
    code, said = harness("show", record["cell"])
    assert code == 0 and "source path a.txt, files 1, bytes 1,881, sha256 " in said


def test_a_corpus_that_was_made_anew_after_planning(harness: Harness, data: Path) -> None:
    story(data / "a.txt", "cat")
    name = suite("s.yaml", "corpus", "a.txt", NOVEL)
    assert harness("data", "prepare", name)[0] == 0
    registry = load()
    (cell,) = load_suite(Path(name), registry).cells
    require_as_planned(cell, registry, scored=True)
    story(data / "a.txt", "dog")
    with pytest.raises(UserError, match=r"corpora/novel was made of a\.txt"):
        require_as_planned(cell, registry, scored=False)
    shutil.rmtree(data / "corpora")
    assert harness("data", "prepare", name)[0] == 0
    for scored in (False, True):
        with pytest.raises(UserError, match="the data of benchmark 'mine' changed after this run was planned"):
            require_as_planned(cell, registry, scored)
