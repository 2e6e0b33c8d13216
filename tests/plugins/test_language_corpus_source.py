"""A corpus and what it was made of: other files, other content, other places, no files, manifests of older versions."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import UserError
from harness_language.corpora import origin
from harness_language.corpora.hub import HubDataset
from harness_language.corpora.manifest import Manifest, Shard, SplitShards
from harness_language.corpora.preparation import Preparation
from harness_language.corpus import Corpus, CorpusOptions

ANOTHER = r"another `name`, or delete the folder, and run `harness data prepare` again"


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("HARNESS_DATA", str(root))
    return root


def corpus(**options: object) -> Corpus:
    given = {"tokenizer": "bytes", "context": 8, "name": "c", "workers": 1, **options}
    return Corpus(CorpusOptions.model_validate(given))


def text(path: Path, word: str) -> str:
    """A file of documents, whose number of bytes depends on the length of the word only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{word} {i}\n<|endoftext|>\n" for i in range(100)))
    return path.name


def manifest(data: Path, name: str = "c") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / "corpora" / name / "manifest.json").read_text())
    return found


def aged(data: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Make the manifest of an older version of the harness."""
    found = manifest(data)
    change(found)
    (data / "corpora/c/manifest.json").write_text(json.dumps(found))


def without_digests(found: dict[str, Any]) -> None:
    for described in found["source"].values():
        del described["path"]
        for file in described["files"]:
            del file["sha256"]
            file["name"] = Path(file["name"]).name


def refused(made: Corpus, said: str) -> None:
    """Whatever would use the corpus says so, and leaves what was prepared as it is."""
    before = {path.name: path.read_bytes() for path in made.folder.iterdir()}
    for action in (made.prepare, made.spec, made.fingerprint, made.splits):
        with pytest.raises(UserError, match=f"corpora/{made.name} was {said}.*{ANOTHER}"):
            action()
    assert {path.name: path.read_bytes() for path in made.folder.iterdir()} == before


# --- other files ---------------------------------------------------------------------------------


def test_two_sources_of_one_name(data: Path) -> None:
    text(data / "one.txt", "one")
    text(data / "two.txt", "another")
    corpus(path="one.txt").prepare()
    refused(corpus(path="two.txt"), rf"made of one.txt \(2,090 bytes\), but {data}/two.txt has 2,490")
    text(data / "two.txt", "two")
    refused(corpus(path="two.txt"), rf"made of one.txt \(2,090 bytes\), but {data}/two.txt has other content")


def test_a_source_that_was_rewritten(data: Path) -> None:
    text(data / "a.txt", "one")
    corpus(path="a.txt").prepare()
    fingerprint = corpus(path="a.txt").fingerprint()
    text(data / "a.txt", "two")
    os.utime(data / "a.txt", ns=(1, 1))
    refused(corpus(path="a.txt"), r"made of a.txt \(2,090 bytes\), but .*/a.txt has other content \(SHA-256 \w{12}")
    text(data / "a.txt", "one")
    assert corpus(path="a.txt").fingerprint() == fingerprint, "only its time is another"


def test_sets_of_files(data: Path) -> None:
    for name, word in (("a/x.txt", "one"), ("b/x.txt", "two"), ("c.jsonl", "{}")):
        text(data / "many" / name, word)
    text(data / "many/c.txt", "six")
    (data / "many/c.jsonl").unlink()
    corpus(path="many").prepare()
    assert [file["name"] for file in manifest(data)["source"]["train"]["files"]] == ["a/x.txt", "b/x.txt", "c.txt"]
    corpus(path="many").spec()
    text(data / "many/d.txt", "new")
    refused(corpus(path="many"), r"made of 3 files, but .*/many has 4 files, with d.txt")
    (data / "many/d.txt").unlink()
    (data / "many/c.txt").rename(data / "c.txt")
    refused(corpus(path="many"), r"made of 3 files, but .*/many has 2 files, without c.txt")
    (data / "c.txt").rename(data / "many/c.txt")
    (data / "many/a").rename(data / "many/z")
    refused(corpus(path="many"), r"made of a/x.txt \(2,090 bytes\), but .*/many/b/x.txt has other content")


def test_each_split_with_a_source_of_its_own(data: Path) -> None:
    for word in ("one", "two", "six"):
        text(data / f"{word}.txt", word)
    given = {"path": "one.txt", "name": None}
    corpus(**given, validation_path="two.txt", test_path="six.txt").prepare()
    refused(corpus(**given, validation_path="six.txt", test_path="six.txt"), r"made of two.txt .*/six.txt has other")
    refused(corpus(**given, validation_path="two.txt", test_path="two.txt"), r"made of six.txt .*/two.txt has other")


def test_other_data_set_of_the_hub(data: Path) -> None:
    splits = {split: SplitShards(shards=()) for split in ("train", "validation", "test")}
    asked = corpus(dataset="owner/one")
    Manifest(
        tokenizer="bytes",
        identity="bytes",
        vocabulary=256,
        end=None,
        dtype="uint16",
        recipe=asked._recipe,
        source={
            "train": {"repository": "owner/one", "config": None, "split": "train", "field": "text", "revision": "1"}
        },
        splits=splits,
        complete=True,
    ).write(data / "corpora/c")
    assert asked.manifest.complete
    assert asked.data_source()["train"]["revision"] == "1"
    with pytest.raises(UserError, match=r"prepared with `dataset: owner/one`, but owner/two is asked for"):
        corpus(dataset="owner/two").spec()
    moved = HubDataset("owner/three", None, "train", "text", None, False)
    said = moved.difference(asked.manifest.source["train"])
    assert said == "made of the repository owner/one on the hub, but owner/three is asked for"


def test_a_source_that_changes_while_it_is_read(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text(data / "a.txt", "one")
    read = Preparation._read

    def changing(self: Preparation, *arguments: Any) -> None:
        read(self, *arguments)
        text(data / "a.txt", "two")

    monkeypatch.setattr(Preparation, "_read", changing)
    with pytest.raises(UserError, match=r"a.txt was changed while it was read. Run `harness data prepare` again"):
        corpus(path="a.txt").prepare()
    assert not (data / "corpora/c/manifest.json").exists()


def test_another_process_made_it_of_something_else(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text(data / "one.txt", "one")
    text(data / "two.txt", "two")
    run = Preparation.run

    def waited(self: Preparation) -> None:
        monkeypatch.setattr(Preparation, "run", run)
        corpus(path="one.txt").prepare()
        run(self)

    monkeypatch.setattr(Preparation, "run", waited)
    with pytest.raises(UserError, match=r"made of one.txt .*two.txt has other content"):
        corpus(path="two.txt").prepare()


# --- the same files elsewhere, or none -----------------------------------------------------------


def test_what_was_moved_or_touched_is_the_same(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text(data / "many/a/x.txt", "one")
    text(data / "many/b/x.txt", "two")
    corpus(path="many").prepare()
    fingerprint = corpus(path="many").fingerprint()
    shutil.move(data / "many", tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere/a/x.txt", ns=(1, 1))
    moved = corpus(path=tmp_path / "elsewhere")
    assert moved.fingerprint() == fingerprint
    moved.prepare()
    assert manifest(data)["source"]["train"]["path"] == str(tmp_path / "elsewhere")
    assert manifest(data)["source"]["train"]["files"][0]["modified"] == 1

    def no(path: Path) -> str:
        raise AssertionError(f"{path} is read, although it has not changed since it was compared")

    monkeypatch.setattr(origin, "digest", no)
    assert corpus(path=tmp_path / "elsewhere").fingerprint() == fingerprint


def test_the_data_directory_moves_with_its_sources(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text(data / "a.txt", "one")
    corpus(path="a.txt").prepare()
    assert manifest(data)["source"]["train"]["path"] == "a.txt"
    data.rename(tmp_path / "moved")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "moved"))
    monkeypatch.setattr(origin, "digest", lambda path: pytest.fail(f"{path} is read"))
    assert corpus(path="a.txt").spec().examples > 50
    assert corpus(path=tmp_path / "moved/a.txt").spec().examples > 50


def test_shards_without_their_source(data: Path) -> None:
    text(data / "sub/one.txt", "one")
    corpus(path="sub/one.txt").prepare()
    shutil.rmtree(data / "sub")
    for path in ("sub/one.txt", "/nowhere/one.txt"):
        made = corpus(path=path)
        made.prepare()
        assert made.spec().examples > 50 and made.verify() == []
    refused(corpus(path="sub/two.txt"), r"made of sub/one.txt, not of .*/sub/two.txt")


# --- verifying -----------------------------------------------------------------------------------


def test_only_verifying_finds_what_hides_behind_equal_size_and_time(data: Path) -> None:
    path = data / "a.txt"
    text(path, "one")
    corpus(path="a.txt").prepare()
    assert corpus(path="a.txt").verify() == []
    time = path.stat().st_mtime_ns
    text(path, "two")
    os.utime(path, ns=(time, time))
    made = corpus(path="a.txt")
    made.spec()
    (problem,) = made.verify()
    assert "made of a.txt" in problem and "has other content" in problem and "harness data prepare" in problem


# --- manifests of older versions -----------------------------------------------------------------


def test_a_manifest_without_digests(data: Path) -> None:
    path = data / "a.txt"
    text(path, "one")
    corpus(path="a.txt").prepare()
    aged(data, without_digests)
    time = path.stat().st_mtime_ns
    assert corpus(path="a.txt").spec().examples > 50
    assert corpus(path="a.txt").data_source()["train"] == {"path": "a.txt", "files": 1, "bytes": 2090, "sha256": None}
    os.utime(path, ns=(1, 1))
    refused(corpus(path="a.txt"), r"made of a.txt \(2,090 bytes\), but .* was changed since, if only its time")
    path.unlink()
    assert corpus(path="a.txt").spec().examples > 50
    refused(corpus(path="b.txt"), r"made of a.txt, not of .*/b.txt")
    assert corpus(path="folder.of.texts").spec().examples > 50, "the name of a folder was not kept"
    text(path, "one")
    os.utime(path, ns=(time, time))
    corpus(path="a.txt").prepare()
    assert len(manifest(data)["source"]["train"]["files"][0]["sha256"]) == 64


def test_fingerprints_are_as_they_were(data: Path) -> None:
    (data / "a.jsonl").write_text("".join(json.dumps({"text": f"document {i}"}) + "\n" for i in range(100)))
    made = corpus(path="a.jsonl", shard_tokens=500, validation_fraction=0.2, test_fraction=0.2)
    made.prepare()
    assert made.fingerprint() == "8c27ba5e769f6a4f568706c93103df8ed6d284d10dc544bd997532e204c794c8"
    first = Shard(file="a", tokens=5, bytes=10, sha256="0")
    whole = made.manifest.model_copy(update={"splits": {"train": SplitShards(shards=(first,))}, "source": {}})
    assert whole.fingerprint() == whole.model_copy(update={"source": {"train": {"path": "x"}}}).fingerprint()


# --- tokens of others ----------------------------------------------------------------------------


@pytest.fixture
def bins(data: Path) -> Path:
    (data / "bins").mkdir()
    for name, start in (("train", 0), ("val", 100)):
        (np.arange(start, start + 100) % 256).astype("<u2").tofile(data / f"bins/{name}.bin")
    return data / "bins"


def test_token_files_that_were_rewritten(data: Path, bins: Path) -> None:
    corpus(path="bins").prepare()
    assert corpus(path="bins").data_source()["train"]["files"] == 2
    os.utime(bins / "train.bin", ns=(1, 1))
    assert corpus(path="bins").spec().examples == 12
    np.ones(100, "<u2").tofile(bins / "train.bin")
    refused(corpus(path="bins"), r"made of train.bin \(200 bytes\), but .*/bins/train.bin has other content")
    np.ones(101, "<u2").tofile(bins / "train.bin")
    refused(corpus(path="bins"), r"made of train.bin \(200 bytes\), but .*/bins/train.bin has 202")


def test_more_token_files(data: Path, bins: Path) -> None:
    corpus(path="bins").prepare()
    (bins / "other.bin").write_bytes(b"of no split")
    corpus(path="bins").spec()
    np.ones(100, "<u2").tofile(bins / "train_2.bin")
    refused(corpus(path="bins"), r"made of 2 files, but .*/bins has 3 files, with train_2.bin")


def test_text_and_token_files_are_not_taken_for_each_other(data: Path, bins: Path) -> None:
    text(data / "mixed/a.txt", "one")
    corpus(path="mixed").prepare()
    for file in bins.iterdir():
        shutil.copy(file, data / "mixed")
    refused(corpus(path="mixed"), r"made of 1 file, but .*/mixed has 2 files, without a.txt")


def test_an_old_manifest_of_token_files(data: Path, bins: Path) -> None:
    corpus(path="bins").prepare()
    aged(data, lambda found: found.update(source={"files": ["train.bin", "val.bin"]}))
    made = corpus(path="bins")
    assert made.spec().examples == 12 and made.verify() == []
    np.ones(101, "<u2").tofile(bins / "train.bin")
    refused(corpus(path="bins"), r"made of train.bin \(200 bytes\), but .*/bins/train.bin has 202")
    (np.arange(100) % 256).astype("<u2").tofile(bins / "train.bin")
    corpus(path="bins").prepare()
    assert manifest(data)["source"]["train"]["path"] == "bins"
    assert len(manifest(data)["source"]["train"]["files"]) == 2
