"""A suite that notes when masks settle and sets masks beside each other, from its run to its pages and archive."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from harness.results import mask_pictures
from harness.results.store import ResultStore

SUITE = """
seeds: 2
training: {epochs: 3, batch_size: 64, lr: 3.0e-3}
evaluation: {checks: 3, settling: true}
architectures: {skip_mlp: {hidden: [16, 16]}}
benchmarks: digits
methods:
  dense:
  rigl: {density: 0.3, interval: 5}
  random: {density: 0.3}
agreements:
  - [{method: rigl}, {method: random}]
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("settling")
    (folder / "settled.yaml").write_text(SUITE)
    harness(folder, "run", "settled.yaml")
    return folder


def harness(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "harness", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_leaderboard_says_when_masks_settle_and_how_far_they_agree(results: Path) -> None:
    page = (results / "results/settled/leaderboard.md").read_text()
    assert "## When masks and weights settle: main: skip_mlp on digits" in page
    assert "- rigl's mask settles within 5 % at epoch " in page
    assert "Where no mask changes, weights settle within 5 % all the same" in page
    assert "## Agreement of masks: rigl and random" in page
    assert "connections that pass over a band A has" in page
    assert len(list((results / "results/settled/figures").glob("*settling.svg"))) == 1


def test_stages_keep_no_notes_and_archives_keep_the_masks_of_each(results: Path) -> None:
    store = ResultStore(results / "results")
    assert not list(store.work.rglob("*note-*"))

    def histories() -> dict[str, bytes]:
        found = {}
        for name in ResultStore(store.root).names("settled"):
            record = store.read("settled", name)
            assert record is not None
            if record.method.label != "dense":
                found[name] = ResultStore(store.root).file("settled", "masks", record.stages[-1]).read()
        return found

    loose = histories()
    for content in loose.values():
        history = mask_pictures.read_history(content)
        assert history is not None and len(history.steps) == 4
    harness(results, "archive", "settled")
    assert not list(store.root.glob("settled/masks/*"))
    assert histories() == loose
    before = (results / "results/settled/leaderboard.md").read_bytes()
    harness(results, "leaderboard", "settled")
    assert (results / "results/settled/leaderboard.md").read_bytes() == before


def test_the_page_has_them_too(results: Path) -> None:
    harness(results, "report", "-o", "page.html")
    page = (results / "page.html").read_text()
    assert "When masks and weights settle" in page
    (index,) = re.findall(r'<script[^>]*id="data-index"[^>]*>"([^"]*)"</script>', page)
    assert "Agreement of masks: rigl and random" in zlib.decompress(base64.b64decode(index)).decode()
