"""`harness publish`: what others get of a suite's results, and what an upload asks and refuses."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from hub_server import TOKEN, hub
from huggingface_hub import DatasetCard, HfApi, constants
from result_files import small_record, write_plan, write_record

import harness
from harness.cli.publish import command
from harness.errors import UserError
from harness.registry.plugins import load
from harness.report import hub as remote
from harness.report.dataset import write_dataset
from harness.results.packing import pack
from harness.results.store import ResultStore

QUOTED, WRITTEN = {"text": "a passage of a data set"}, {"prompt": "Once", "text": "upon a network"}


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """Two methods on two benchmarks, with samples that quote and samples that do not."""
    store = ResultStore(tmp_path / "results")
    benchmarks = {"lambada": QUOTED, "text_samples": WRITTEN, "nobody_knows": QUOTED}
    cells = []
    for name, sample in benchmarks.items():
        for method in ("dense", "random"):
            for seed in (0, 1):
                cell = f"main.mlp.{name}.{method}.s{seed}.0123456789"
                part = {"label": name, "plugin": name, "protocol": f"of {name}"}
                samples = store.write_samples("small", cell, [sample])
                assert samples is not None
                write_record(
                    store,
                    small_record(
                        "small", cell, method, seed, 0.5 + seed / 8, benchmark=part, samples=samples.model_dump()
                    ),
                )
                cells.append(cell)
    write_plan(store, "small", {"suite": "small", "description": "Is this *small*?", "cells": cells})
    return store


def written(store: ResultStore, folder: Path) -> dict[str, bytes]:
    write_dataset(store, ["small"], folder, "me/quick", "mit", load())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_equal_results_are_equal_bytes_and_the_records_are_as_they_were(store: ResultStore, tmp_path: Path) -> None:
    first, second = written(store, tmp_path / "a"), written(store, tmp_path / "b")
    assert first == second
    for path in (store.root / "small" / "cells").iterdir():
        assert first[f"results/small/cells/{path.name}"] == path.read_bytes()
    assert not [name for name in first if Path(name).suffix in (".pt", ".bin", ".pkl", ".npy")]


@pytest.mark.parametrize("packed", [False, True])
def test_samples_that_may_quote_data_stay_here(store: ResultStore, tmp_path: Path, packed: bool) -> None:
    if packed:
        pack(store, "small")
    left = write_dataset(store, ["small"], tmp_path / "a", "me/quick", "mit", load())
    assert len(left) == 8 and all("lambada" in cell or "nobody_knows" in cell for cell in left)
    there = ResultStore(tmp_path / "a" / "results")
    kept = [cell for cell in store.names("small") if there.file("small", "samples", cell).exists]
    assert len(kept) == 4 and all("text_samples" in cell for cell in kept)
    content = gzip.decompress(there.file("small", "samples", kept[0]).read())
    assert json.loads(content) == WRITTEN
    raw = b"".join(path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert b"a passage" not in raw
    assert there.names("small") == store.names("small")
    for cell in store.names("small"):
        assert there.file("small", "cells", cell).read() == store.file("small", "cells", cell).read()


def test_the_card_is_valid_and_the_tables_are_those_of_the_harness(store: ResultStore, tmp_path: Path) -> None:
    written(store, tmp_path / "a")
    found = DatasetCard.load(tmp_path / "a" / "README.md")
    found.data.to_dict()
    head = found.data.to_dict()
    assert head["license"] == "mit" and head["pretty_name"] == "sparsity-harness: small" and "sparsity" in head["tags"]
    frames = {c["config_name"]: pd.read_parquet(tmp_path / "a" / c["data_files"]) for c in head["configs"]}
    results = harness.load(tmp_path / "a" / "results")
    text = found.text
    assert text.index("mlp on lambada") < text.index("Protocol: of lambada") < text.index("## Load it")
    assert "(results/small/leaderboard.md)" in text and (tmp_path / "a/results/small/leaderboard.md").is_file()
    assert r"Is this \*small\*?" in text
    pd.testing.assert_frame_equal(
        frames["scores"].astype(object), results.frame.astype(object), check_column_type=False
    )
    assert frames["scores"]["value"].tolist() == [0.5, 0.625] * 6
    pairs = zip(frames["comparison"]["mean"], results.compare().frame["mean"], strict=True)
    assert all(a == b for a, b in pairs)
    assert list(frames["comparison"]["cells"][0]) == results.compare().frame["cells"][0]


def test_a_data_set_library_reads_the_tables(store: ResultStore, tmp_path: Path) -> None:
    from datasets import load_dataset

    written(store, tmp_path / "a")
    found = load_dataset(str(tmp_path / "a"), "scores", split="train", cache_dir=str(tmp_path / "cache"))
    assert found.num_rows == 12 and found[0]["method"] == "dense"


def test_a_folder_that_holds_something_is_left_alone(store: ResultStore, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").touch()
    with pytest.raises(UserError, match="is not empty"):
        written(store, tmp_path / "a")
    with pytest.raises(UserError, match="Did you mean 'small'"):
        write_dataset(store, ["smal"], tmp_path / "b", "me/quick", "mit", load())


def publish(store: ResultStore, *more: str, said: str | None = None) -> Any:
    return CliRunner().invoke(command, ["small", "--repo", "me/quick", "--results", str(store.root), *more], input=said)


def test_an_upload_by_the_command(store: ResultStore, tmp_path: Path) -> None:
    arguments = ["publish", "small", "--repo", "me/quick", "--results", str(store.root)]
    with hub() as there:
        environment = {**os.environ, "HF_ENDPOINT": there.address, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "hf")}

        def call(*more: str) -> subprocess.CompletedProcess[str]:
            whole = [sys.executable, "-m", "harness", *arguments, *more]
            return subprocess.run(whole, capture_output=True, text=True, env=environment, timeout=300, input="")

        asked = call()
        assert asked.returncode == 2 and "--yes" in asked.stderr
        assert not there.asked
        assert f"me/quick of {there.address} (private; license mit)" in asked.stdout
        assert "samples of 8 runs, which may quote data" in asked.stdout
        done = call("--yes")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == f"{there.address}/datasets/me/quick"
        assert there.private is True
        assert there.files == written(store, tmp_path / "a")
        # What is gone here goes there, but nothing that somebody else has put beside it.
        there.files |= {"results/old/suite.json": b"{}", "notes.md": b""}
        assert call("--yes").returncode == 0
        assert there.files == {**written(store, tmp_path / "b"), "notes.md": b""}
        public = call("--yes", "--public")
        assert public.returncode == 2 and "there already and private, and public is asked for" in public.stderr
        assert there.commits == 2
        for ended in (asked, done, public):
            assert TOKEN not in ended.stdout + ended.stderr


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch):
    """The command talks to a hub of this test."""
    with hub() as there:
        monkeypatch.setattr(remote, "connect", lambda: HfApi(endpoint=there.address, token=TOKEN))
        yield there


def test_one_is_asked_on_a_terminal(store: ResultStore, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.cli.publish._asks", lambda: True)
    assert publish(store, said="n\n").exit_code == 1 and not client.commits
    assert publish(store, said="y\n").exit_code == 0 and client.commits == 1


def error_of(found: Any) -> str:
    assert isinstance(found.exception, UserError), found
    return str(found.exception)


def test_what_the_hub_refuses_is_one_line(store: ResultStore, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client.refuses = 403
    said = error_of(publish(store, "--yes"))
    assert "the token may not write to me/quick" in said and "\n" not in said
    monkeypatch.setattr(remote, "connect", lambda: HfApi(endpoint=client.address, token="hf_other"))
    said = error_of(publish(store, "--yes"))
    assert "the hub does not take the token" in said and "\n" not in said and "hf_other" not in said
    monkeypatch.setattr(remote, "connect", lambda: HfApi(endpoint="http://127.0.0.1:9", token=TOKEN))
    said = error_of(publish(store, "--yes"))
    assert said.startswith("the hub cannot be reached (") and "\n" not in said and TOKEN not in said


def test_what_is_missing_is_said_before_anything_is_written(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("harness.report.dataset.write_dataset", lambda *_: pytest.fail("too early"))
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert "nobody is logged in" in error_of(publish(store))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in error_of(publish(store))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'sparsity-harness[language]'" in error_of(publish(store))


@pytest.mark.parametrize("name", ["quick", "me/", "me/a b", "me/a--b", "me/a..b", "me/.a", "me/a.git", "a/b/c", "me/é"])
def test_a_name_that_no_repository_can_have(name: str) -> None:
    with pytest.raises(UserError, match="is no name of a repository: give USER/NAME"):
        remote.require_name(name)


@pytest.mark.parametrize("name", ["me/quick", "a-b/c_d.e", "M3/" + "x" * 96])
def test_names_that_the_hub_takes_too(name: str) -> None:
    from huggingface_hub.utils import validate_repo_id

    remote.require_name(name)
    validate_repo_id(name)


def test_a_suite_that_is_not_there_is_told_before_anyone_logs_in(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "connect", lambda: pytest.fail("the suite comes first"))
    found = CliRunner().invoke(command, ["smal", "--repo", "me/quick", "--results", str(store.root)])
    assert isinstance(found.exception, UserError) and "Did you mean 'small'?" in str(found.exception)


def test_only_writing_needs_neither_network_nor_account(
    store: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "connect", lambda: pytest.fail("no network is needed"))
    done = publish(store, "--output", str(tmp_path / "a"))
    assert done.exit_code == 0 and f"written: {tmp_path / 'a'}" in done.output
    assert (tmp_path / "a" / "README.md").is_file()
