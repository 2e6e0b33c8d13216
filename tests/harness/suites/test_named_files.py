"""Relative paths in a suite: beside its file first, then in the data directory, for all who run it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from harness.errors import DataMissing, UserError
from harness.executors.as_planned import require_as_planned
from harness.registry.plugins import load
from harness.stages.graph import compile_graph
from harness.suites.cell import Part
from harness.suites.named_files import NamedFiles
from harness.suites.suite import Suite, load_suite

SUITE = """\
name: texts
architectures: {gpt_rope: {n_layers: 1, heads: 1, width: 8}}
benchmarks: {text: {path: texts/words.txt, context: 8}}
methods: {dense: }
seeds: 1
training: {steps: 2, batch_size: 2, lr: 1e-3}
"""
WORDS = {
    "suite": "to be or not to be, that is the question " * 20,
    "data": "sing, o goddess, the anger of achilles " * 20,
}


@pytest.fixture(scope="module")
def registry():
    return load()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The folder of the suite, the data directory, and the one where everything happens."""
    found = {name: tmp_path / name for name in ("suite", "data", "elsewhere")}
    for folder in found.values():
        folder.mkdir()
    (found["suite"] / "s.yaml").write_text(SUITE)
    monkeypatch.setenv("HARNESS_DATA", str(found["data"]))
    monkeypatch.chdir(found["elsewhere"])
    return found


def put(folder: Path, text: str) -> Path:
    path = folder / "texts" / "words.txt"
    path.parent.mkdir()
    path.write_text(text)
    return path


def text_of(suite: Suite) -> Part:
    return suite.part("benchmark", "main", "text")


@pytest.mark.parametrize(("there", "meant"), [("suite", "suite"), ("data", "data"), ("suite data", "suite")])
@pytest.mark.parametrize("named", ["../suite/s.yaml", "absolute"])
def test_the_suites_own_folder_comes_first(places, registry, there: str, meant: str, named: str) -> None:
    for name in there.split():
        put(places[name], WORDS[name])
    path = places["suite"] / "s.yaml" if named == "absolute" else Path(named)
    suite = load_suite(path, registry)
    tokens = suite.benchmark(text_of(suite)).splits()["train"].tobytes().decode()
    assert WORDS[meant].startswith(tokens) and tokens


def test_the_working_folder_is_no_place(places, registry) -> None:
    put(places["elsewhere"], WORDS["suite"])
    with pytest.raises(DataMissing) as caught:
        load_suite(places["suite"] / "s.yaml", registry)
    for name in ("suite", "data"):
        assert str(places[name] / "texts" / "words.txt") in str(caught.value)
    assert str(places["elsewhere"]) not in str(caught.value)


def test_an_absolute_path_is_itself(places, registry) -> None:
    path = put(places["elsewhere"], WORDS["suite"])
    suite = load_suite(places["suite"] / "s.yaml", registry, [f"benchmarks.text.path={path}"])
    assert text_of(suite).options.path == path
    (path.parent / "words.txt").unlink()
    with pytest.raises(DataMissing) as caught:
        load_suite(places["suite"] / "s.yaml", registry, [f"benchmarks.text.path={path}"])
    assert "neither" not in str(caught.value)


def test_a_default_of_the_plugin_is_looked_for_in_the_data_directory_alone(places, registry) -> None:
    default = places["suite"] / "lambada" / "lambada_test.jsonl"
    default.parent.mkdir()
    default.write_text("")
    text = SUITE.replace("text: {path: texts/words.txt, context: 8}", "lambada: {tokenizer: bytes}")
    (places["suite"] / "s.yaml").write_text(text)
    part = Suite(places["suite"] / "s.yaml", registry).part("benchmark", "main", "lambada")
    assert not part.options.path.is_absolute()


def test_where_a_file_lies_is_in_no_hash_and_no_record(places, registry) -> None:
    found = []
    for name in ("data", "suite"):
        put(places[name], WORDS["suite"])
        suite = load_suite(places["suite"] / "s.yaml", registry)
        part = text_of(suite)
        found.append((compile_graph(suite.cells, registry).cells[0].id, part.identity, part.record()))
    assert part.options.path == places["suite"] / "texts" / "words.txt"
    assert found[0] == found[1]
    assert found[0][2]["options"]["path"] == "texts/words.txt"


def test_jobs_take_the_files_of_the_plan_along(places, registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to workers, and to jobs of a cluster, is a pickle that is read in another folder."""
    for name in ("suite", "data"):
        put(places[name], WORDS[name])
    (planned,) = compile_graph(load_suite(Path("../suite/s.yaml"), registry).cells, registry).cells
    again = pickle.loads(pickle.dumps(planned))
    monkeypatch.chdir(places["data"])
    assert again.cell.training_part.options.path == places["suite"] / "texts" / "words.txt"
    require_as_planned(again.cell, registry, scored=True)
    put(places["elsewhere"], "")
    (places["suite"] / "texts" / "words.txt").write_text(WORDS["data"])
    with pytest.raises(UserError, match="changed after this run was planned"):
        require_as_planned(again.cell, registry, scored=True)


def harness(*arguments: object, cwd: Path, data: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    environment = {**os.environ, "HARNESS_DATA": str(data), "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300)


def test_a_run_and_its_reproduction_read_the_file_beside_the_suite(places) -> None:
    for name in ("suite", "data"):
        put(places[name], WORDS[name])
    results, elsewhere, data = places["elsewhere"] / "results", places["elsewhere"], places["data"]
    done = harness("run", "../suite/s.yaml", "--results", results, cwd=elsewhere, data=data)
    assert done.returncode == 0, done.stderr
    (path,) = (results / "texts" / "cells").glob("*.json")
    record = json.loads(path.read_bytes())
    assert record["benchmark"]["options"]["path"] == "texts/words.txt"
    assert record["benchmark"]["source"]["path"] == str(places["suite"] / "texts" / "words.txt")
    again = harness("reproduce", record["cell"], "--results", results, cwd=elsewhere, data=data)
    assert again.returncode == 0, again.stdout + again.stderr
    (places["suite"] / "texts" / "words.txt").unlink()
    lost = harness("reproduce", record["cell"], "--results", results, cwd=elsewhere, data=data)
    assert lost.returncode == 2 and "the data of benchmark 'text' had fingerprint" in lost.stderr
    (data / "texts" / "words.txt").unlink()
    lost = harness("reproduce", record["cell"], "--results", results, cwd=elsewhere, data=data)
    assert f"'texts/words.txt' is neither {places['suite'] / 'texts' / 'words.txt'} nor {data}" in lost.stderr


def test_preparing_data_also_names_both_places(places) -> None:
    done = harness("data", "prepare", "../suite/s.yaml", cwd=places["elsewhere"], data=places["data"])
    assert done.returncode == 2
    for folder in (places["suite"], places["data"]):
        assert str(folder / "texts" / "words.txt") in done.stderr


class Inner(BaseModel):
    start: Path | None = None


class Options(BaseModel):
    path: Path = Path("a.txt")
    many: list[Path] = []
    name: str = "a.txt"
    coder: str = Field(default="bytes", json_schema_extra={"file": ".json"})
    parts: dict[str, str] = Field(default={}, json_schema_extra={"file": ""})
    inner: Inner = Inner()


def placed(folder: Path, **options: Any) -> dict[str, Any]:
    files = NamedFiles(folder)
    found = files.options(Options.model_validate(options))
    given = Options.model_validate(options).model_dump(mode="json")
    assert files.as_written(found.model_dump(mode="json")) == given
    return found.model_dump(exclude_unset=True)


def test_which_options_are_files(tmp_path: Path) -> None:
    for name in ("a.txt", "a.json", "test-0.jsonl", "bytes", "a[1].txt"):
        (tmp_path / name).touch()
    assert placed(tmp_path) == {}
    assert placed(tmp_path, path="a.txt") == {"path": tmp_path / "a.txt"}
    assert placed(tmp_path, path="b.txt") == {"path": Path("b.txt")}
    assert placed(tmp_path, path="*.json") == {"path": tmp_path / "*.json"}
    assert placed(tmp_path, path="a[1].txt") == {"path": tmp_path / "a[1].txt"}
    assert placed(tmp_path, many=["a.txt", "b.txt"]) == {"many": [tmp_path / "a.txt", Path("b.txt")]}
    assert placed(tmp_path, name="a.txt") == {"name": "a.txt"}
    assert placed(tmp_path, coder="bytes") == {"coder": "bytes"}
    assert placed(tmp_path, coder="a.json") == {"coder": str(tmp_path / "a.json")}
    assert placed(tmp_path, inner={"start": "a.txt"}) == {"inner": {"start": tmp_path / "a.txt"}}
    assert placed(tmp_path, parts={"test": "test-{n}.jsonl", "more": "more-{n}.jsonl"}) == {
        "parts": {"test": f"{tmp_path}/test-{{n}}.jsonl", "more": "more-{n}.jsonl"}
    }


def test_what_no_file_can_be_called_is_left_to_the_plugin(tmp_path: Path) -> None:
    assert placed(tmp_path, path="a" * 5000) == {"path": Path("a" * 5000)}


def test_of_two_names_the_longer_one_is_written_back_first(tmp_path: Path) -> None:
    for name in ("a", "a.txt"):
        (tmp_path / name).touch()
    placed(tmp_path, many=["a", "a.txt"], parts={"x": "a"})


STARTS = """\
name: starts
architectures: {mlp: {hidden: [4], weights: exported}}
benchmarks: digits
methods: {genome: {initial: genome.safetensors}}
seeds: 1
training: {steps: 2, batch_size: 2, lr: 1e-3}
"""


def test_a_folder_that_holds_something_else_is_not_said_to_be_missing(places, registry) -> None:
    (places["suite"] / "exported").mkdir()
    (places["suite"] / "s.yaml").write_text(STARTS)
    with pytest.raises(UserError, match="'harness export' writes it") as caught:
        load_suite(places["suite"] / "s.yaml", registry)
    assert f"{places['suite'] / 'exported'} is a folder without import.json." in str(caught.value)
    assert "No file" not in str(caught.value)


def test_weights_and_genomes_are_found_in_the_same_way(places, registry) -> None:
    import torch
    from safetensors.torch import save_file

    from harness.interchange import bundle
    from harness_genome.genome import Genome

    (places["suite"] / "s.yaml").write_text(STARTS)
    with pytest.raises(UserError) as caught:
        load_suite(places["suite"] / "s.yaml", registry)
    for name in ("suite", "data"):
        assert str(places[name] / "exported") in str(caught.value)
    origin = bundle.Origin(importer="test", path="", sha256="0" * 64)
    shapes = {"hidden1.weight": (4, 64), "hidden1.bias": (4,), "output.weight": (10, 4), "output.bias": (10,)}
    weights = {f"layers.{name}": torch.zeros(shape) for name, shape in shapes.items()}
    bundle.write(places["data"] / "exported", bundle.Bundle(weights=weights), origin)
    suite = load_suite(places["suite"] / "s.yaml", registry)
    before = suite.part("architecture", "main", "mlp")
    assert before.weights == "exported"
    with pytest.raises(UserError) as caught:
        compile_graph(suite.cells, registry)
    for name in ("suite", "data"):
        assert str(places[name] / "genome.safetensors") in str(caught.value)

    (places["suite"] / "exported").mkdir()  # holds nothing that could be meant
    assert load_suite(places["suite"] / "s.yaml", registry).part("architecture", "main", "mlp").weights == "exported"
    (places["suite"] / "exported").rmdir()
    (places["data"] / "exported").rename(places["suite"] / "exported")
    after = load_suite(places["suite"] / "s.yaml", registry).part("architecture", "main", "mlp")
    assert after.weights == str(places["suite"] / "exported")
    assert (after.identity, after.record()) == (before.identity, before.record())

    ids = set()
    for seed, name in enumerate(("data", "suite")):
        torch.manual_seed(seed)
        save_file(Genome(8, 8, 3).state_dict(), places[name] / "genome.safetensors")
        (planned,) = compile_graph(load_suite(places["suite"] / "s.yaml", registry).cells, registry).cells
        ids.add(planned.id)
    assert len(ids) == 2  # the suite's own, of other content, is taken as soon as it is there
