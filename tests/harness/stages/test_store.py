"""Finished stages: nothing that was changed, mixed up or lost counts unseen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.errors import CorruptFile
from harness.stages.store import StageStore
from harness.storage import checkpoint

MANIFEST = {"densities": {"c": {"shape": [2, 3], "size": 6, "kept": 4, "soft": 0.5}}, "trained": None}
SERIES = {"loss": [[0, 20, 1.5, 0.1]]}


@pytest.fixture
def store(tmp_path: Path) -> StageStore:
    made = StageStore(tmp_path)
    made.finish("one", {"weights": torch.arange(6.0)}, SERIES, MANIFEST)
    made.finish("other", {"weights": torch.arange(6.0) + 1}, {}, MANIFEST)
    return made


def test_what_was_written_comes_back(store: StageStore) -> None:
    manifest = store.manifest("one")
    assert manifest is not None and manifest.items() >= {"stage": "one", **MANIFEST}.items()
    assert store.series("one") == SERIES and store.damaged("one") is None
    assert store.state("one")["weights"].tolist() == [0, 1, 2, 3, 4, 5]
    assert store.manifest("none") is None and store.damaged("none") is None and store.series("none") == {}


def changed(old: str, new: str) -> Callable[[Path, Path], None]:
    def change(one: Path, other: Path) -> None:
        text = (one / "stage.json").read_text()
        assert old in text
        (one / "stage.json").write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    "damage",
    [
        changed('"kept": 4', '"kept": 5'),
        changed('"soft": 0.5', '"soft": 0.6'),
        changed('"stage": "one"', '"stage": "two"'),
        changed('"sha256"', '"sha255"'),
        lambda one, other: (one / "stage.json").write_text('{"stage": "one"}'),
        lambda one, other: (one / "stage.json").write_text("[" * 100_000),
        lambda one, other: (one / "stage.json").write_bytes(b"\xff"),
        lambda one, other: shutil.copy(other / "stage.json", one / "stage.json"),
        lambda one, other: (one / "state.safetensors").unlink(),
    ],
    ids=["count", "soft density", "name", "checksum", "older", "nested", "no text", "of another stage", "state gone"],
)
def test_a_stage_that_says_something_else_of_itself_is_not_finished(store: StageStore, damage) -> None:
    damage(store.folder("one"), store.folder("other"))
    assert store.manifest("one") is None and store.series("one") == {}
    assert store.damaged("one") == store.folder("one") / "stage.json"
    assert store.manifest("other") is not None


def test_a_whole_state_of_another_stage_is_refused_and_made_anew(store: StageStore) -> None:
    shutil.copy(store.folder("other") / "state.safetensors", store.folder("one") / "state.safetensors")
    with pytest.raises(CorruptFile, match=r"not the file that was written.* the stage will be trained anew"):
        store.state("one")
    assert store.manifest("one") is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"loss": []}', b"[]"])
def test_changed_curves_cost_the_curves_only(store: StageStore, content: bytes) -> None:
    (store.folder("one") / "series.json").write_bytes(content)
    assert store.series("one") == {} and store.manifest("one") is not None
    assert store.state("one")["weights"].tolist() == [0, 1, 2, 3, 4, 5]


def test_finishing_again_replaces_everything(store: StageStore) -> None:
    trained = {"examples": 1, "densities": {}, "soft": False, "dense_gradients": 0.0}
    store.finish("one", {"weights": torch.ones(1)}, {}, {**MANIFEST, "trained": trained})
    assert store.state("one")["weights"].tolist() == [1] and store.series("one") == {}
    manifest = store.manifest("one")
    assert manifest is not None and manifest["trained"] == trained
    written = json.loads((store.folder("one") / "stage.json").read_text())
    assert written["state"] == checkpoint.save(store.folder("one") / "copy", {"weights": torch.ones(1)})


@pytest.mark.parametrize("alien", [{}, {"weights": "x"}, ["a"], {"a": {"b": 1}}, 3])
def test_alien_content_behind_a_valid_checksum_is_named_and_made_anew(store: StageStore, alien: object) -> None:
    store.finish("one", alien, {}, {**MANIFEST, "densities": {"fc": {"shape": [2], "kept": -1, "soft": 1.0}}})
    assert store.manifest("one") is None and store.damaged("one") == store.folder("one") / "stage.json"
