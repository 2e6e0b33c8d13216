"""`harness reproduce`: from a record alone to the same numbers, or a clear word why not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli.reproduce import command
from harness.errors import HarnessError, UserError
from harness.interchange import bundle
from harness.registry.plugins import load
from harness.results.packing import pack
from harness.results.rerun import _scope, chain, suite_of
from harness.results.store import ResultStore
from harness.stages.graph import compile_graph
from harness.suites.suite import load_suite

ROOT = Path(__file__).parents[3]
TOY = Path(__file__).parents[1] / "toy_plugin.py"
SUITE = """
name: toys
architectures: {small: {use: net, dropout: 0.1}}
benchmarks: {blobs: , tasks: {use: scorer, task: test}}
train_on: blobs
training: {steps: 20, batch_size: 16, lr: 0.01}
evaluation: {checks: 2, select: validation}
scope: all
seeds: [3]
methods:
  dense:
  magnitude: {density: [0.5, 0.25], recovery_steps: 10, training: {steps: 30}}
  matched: {use: random, density: {match: magnitude, by: per_layer}}
  goes_on: {use: continued, source: magnitude}
  turned: {use: random, density: 0.5, inverted: true}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a suite that has run, by itself."""
    folder = tmp_path_factory.mktemp("toys")
    (folder / "s.yaml").write_text(SUITE)
    arguments = ["run", str(folder / "s.yaml"), "--plugin", str(TOY), "--results", str(folder / "results")]
    done = subprocess.run([sys.executable, "-m", "harness", *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "results"


@pytest.fixture
def store(made: Path, tmp_path: Path) -> ResultStore:
    shutil.copytree(made, tmp_path / "results", ignore=shutil.ignore_patterns(".work"))
    return ResultStore(tmp_path / "results")


def named(store: ResultStore, part: str) -> str:
    (cell,) = [cell for cell in store.names("toys") if part in cell]
    return cell


def edit(store: ResultStore, part: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = store.file("toys", "cells", named(store, part)).path
    record = json.loads(path.read_bytes())
    change(record)
    path.write_text(json.dumps(record))


def reproduce(store: ResultStore, cell: str, *more: str, plugin: Path | None = TOY) -> tuple[int, str]:
    plugins = ["--plugin", str(plugin)] if plugin else []
    environment = {"COLUMNS": "80", "TMPDIR": str(store.root.parent)}
    found = CliRunner(env=environment).invoke(command, [cell, "--results", str(store.root), *plugins, *more])
    if isinstance(found.exception, HarnessError):
        raise found.exception
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.output


def left(store: ResultStore) -> list[str]:
    return [path.name for path in store.root.parent.iterdir() if path.name.startswith("harness-reproduce")]


@pytest.fixture(autouse=True)
def _temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_every_cell_has_the_same_name_and_stages_from_its_record_alone(store: ResultStore, tmp_path: Path) -> None:
    registry = load([TOY])
    for cell in store.names("toys"):
        assert_same(store, "toys", cell, registry, tmp_path)


def test_the_committed_cells_too(tmp_path: Path) -> None:
    store, registry = ResultStore(ROOT / "results"), load([])
    plan = store.plan("quickstart")
    assert plan is not None and len(plan.cells) > 20
    for cell in plan.cells:
        assert_same(store, "quickstart", cell, registry, tmp_path)


def assert_same(store: ResultStore, suite: str, cell: str, registry: Any, folder: Path) -> None:
    records = chain(store, suite, cell)
    (folder / "again.yaml").write_text(json.dumps(suite_of(records, registry)))
    graph = compile_graph(load_suite(folder / "again.yaml", registry).cells, registry)
    assert {planned.id: [stage.hash for stage in planned.stages] for planned in graph.cells} == {
        record.cell: record.stages for record in records
    }


@pytest.mark.parametrize(("part", "others"), [("blobs.matched.d0.25", 1), ("tasks.goes_on.d0.5", 1)])
def test_a_cell_comes_out_equal_to_the_last_bit(store: ResultStore, part: str, others: int) -> None:
    pack(store, "toys")
    code, said = reproduce(store, part)
    assert code == 0, said
    assert "Reproduced: everything that the record knows is equal, to the last bit." in said
    assert said.count("builds on") == others
    words = " ".join(said.split())
    assert all(text in words for text in ("equal: ", "masks", "curves", "stage hashes", "hash of the run")), said
    assert max(map(len, said.splitlines()[1 + others :])) <= 80
    assert not left(store), "nothing to look at"


def test_what_differs_is_named_and_the_folder_kept(store: ResultStore) -> None:
    def change(record: dict[str, Any]) -> None:
        record["metrics"]["accuracy"]["value"] += 1e-12
        first = next(iter(record["density"]["connections"].values()))
        first["kept"] -= 1

    edit(store, "blobs.magnitude.d0.5", change)
    code, said = reproduce(store, "blobs.magnitude.d0.5")
    assert code == 1
    assert "Not reproduced: on an equal machine these must be equal: test accuracy, kept in" in said
    assert "-1e-12" in said and "not equal" in said
    (folder,) = left(store)
    assert (ResultStore(store.root.parent / folder).names("toys")) == [named(store, "blobs.magnitude.d0.5")]


def test_another_machine_and_revision_are_named_and_judged_by_scores_alone(store: ResultStore) -> None:
    def change(record: dict[str, Any]) -> None:
        record["environment"] |= {"torch": "1.0", "git": "0123456789ab"}
        record["metrics"]["accuracy"]["value"] *= 1.001
        record["spent"]["steps"] += 1

    edit(store, "blobs.dense", change)
    code, said = reproduce(store, "blobs.dense")
    words = " ".join(said.split())
    assert code == 0, said
    assert "otherwise: torch was 1.0, is" in words and "otherwise: git was 0123456789ab, is" in words
    assert "Reproduced: all scores within 3 standard errors of the record" in words
    assert "not known to be an equal machine (torch)" in words and re.search(r"training: steps +21 +20 +-1", said)


def test_a_folder_of_ones_own_is_kept_and_gone_on_with(store: ResultStore, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    assert reproduce(store, "blobs.dense", "--output", str(folder))[0] == 0
    assert (
        "name: toys" in (folder / "reproduce.yaml").read_text() or '"toys"' in (folder / "reproduce.yaml").read_text()
    )
    code, said = reproduce(store, "blobs.dense", "--output", str(folder))
    assert code == 0 and ": 0 steps" in said
    with pytest.raises(UserError, match="is not empty"):
        reproduce(store, "tasks.dense", "--output", str(folder))


def put(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        for step in path[:-1]:
            record = record[step]
        record[path[-1]] = value

    return change


REFUSED: Mapping[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no training": (put("training", value=None), "lacks training: it is of a version"),
    "no plugin": (put("method", "plugin", value=None), "lacks method.plugin"),
    "no result": (put("status", value="failed"), "is recorded as failed"),
    "version": (put("benchmark", "version", value="0"), "the plugin of benchmark 'blobs' had version 0 and has 1"),
    "data": (put("training_data", "fingerprint", value="x"), "the data of benchmark 'blobs' had fingerprint x"),
    "code": (put("environment", "plugins", value={"toy_plugin": "0" * 64}), "toy_plugin.py) is another"),
    "weights": (put("architecture", "weights", value="0" * 64), "bring them in with 'harness import'"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_run_as_it_was_is_refused_with_the_reason(store: ResultStore, reason: str) -> None:
    change, text = REFUSED[reason]

    def other(record: dict[str, Any]) -> None:
        change(record)
        if reason in ("version", "data", "code"):  # then its name would be another, too
            record["cell"] = f"{record['cell'][:-1]}{'0' if record['cell'][-1] != '0' else '1'}"

    path = store.file("toys", "cells", named(store, "blobs.dense")).path
    edit(store, "blobs.dense", other)
    path.rename(path.with_name(f"{json.loads(path.read_bytes())['cell']}.json"))
    shutil.copy(store.root / "toys" / "suite.json", store.root / "plan.json")
    (store.root / "toys" / "suite.json").unlink()
    with pytest.raises(HarnessError) as caught:
        reproduce(store, "blobs.dense")
    assert text in " ".join(str(caught.value).split())
    assert not left(store)


def test_a_cell_that_it_builds_on_and_that_is_gone(store: ResultStore) -> None:
    store.file("toys", "cells", named(store, "blobs.magnitude.d0.5")).path.unlink()
    with pytest.raises(
        UserError, match=r"builds on main\.small\.blobs\.magnitude\.d0\.5\.s3\.\w+, which has no record"
    ):
        reproduce(store, "blobs.matched.d0.5")


def test_a_plugin_that_is_not_loaded(store: ResultStore) -> None:
    with pytest.raises(UserError, match="unknown architecture 'net'") as caught:
        reproduce(store, "blobs.dense", plugin=None)
    assert "--plugin FILE" in str(caught.value) and not left(store)


def test_training_data_that_an_old_record_only_names(store: ResultStore) -> None:
    edit(store, "tasks.dense", put("training_data", value=None))
    records = chain(store, "toys", named(store, "tasks.dense"))
    assert records[0].training_data is not None and records[0].training_data.label == "blobs"
    for cell in store.names("toys"):
        if ".blobs." in cell:
            store.file("toys", "cells", cell).path.unlink()
    with pytest.raises(UserError, match="lacks training_data: it names 'blobs'"):
        chain(store, "toys", named(store, "tasks.dense"))


def test_imported_weights_are_those_that_the_record_names_or_those_of_its_digest(
    store: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    source = bundle.Origin(importer="i", path="p", sha256="0")
    imported = bundle.write(bundle.models_directory() / "mine", bundle.Bundle(), source)
    (record,) = chain(store, "toys", named(store, "blobs.dense"))

    def weights(**found: str) -> str:
        architecture = record.architecture.model_copy(update=found)
        suite = suite_of([record.model_copy(update={"architecture": architecture})], load([TOY]))
        return str(suite["experiments"]["main"]["architectures"]["small"]["weights"])

    assert weights(weights=imported.digest) == "mine"
    assert weights(weights="0" * 64, weights_from="another") == "another"


@pytest.mark.parametrize(
    ("name", "scope"),
    [("maskable", "default"), ("maskable[all]", "all"), ("maskable[q]", ["q"]), ("maskable[q,ff1]", ["q", "ff1"])],
)
def test_the_scope_that_a_record_names(name: str, scope: str | list[str]) -> None:
    assert _scope(name) == scope
