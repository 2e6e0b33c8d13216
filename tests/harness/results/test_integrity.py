"""What is said of a suite's files: that they agree, and what of them does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from result_files import write_plan, write_record, write_series

from harness.core.connections import Band, Connection
from harness.core.examples import Examples
from harness.core.masks import Masks
from harness.results import mask_pictures
from harness.results.integrity import integrity
from harness.results.packing import pack
from harness.results.store import ResultStore

CELL = "main.mlp.digits.random.s0.0123456789"
STAGE = "89abcdef"
METRIC = {"value": 0.5, "n": 10, "unit": "fraction", "direction": "max", "primary": True}
CONNECTION = Connection("up", "up.weight", "dense", Band("in", 4, 0), Band("out", 3, 1), (3, 4))


def write(store: ResultStore, **density: Any) -> None:
    """One cell that keeps 4 of 12 weights, with all its files."""
    samples = store.write_samples("small", CELL, [{"text": "a"}, {"text": "b"}])
    assert samples is not None
    record = {
        "schema": 2,
        "status": "done",
        "cell": CELL,
        "suite": "small",
        "architecture": {"label": "mlp"},
        "method": {"label": "random"},
        "benchmark": {"label": "digits"},
        "seed": 0,
        "density": {"mask": 1 / 3, "connections": {"up": {"size": 12, "kept": 4}}, **density},
        "stages": [STAGE],
        "metrics": {"accuracy": METRIC},
        "samples": samples.model_dump(mode="json"),
    }
    write_record(store, record)
    write_series(store, "small", CELL, {"cell": CELL, "loss": [[0, 1, 0.5, 0.1]]})
    mask = torch.arange(12).reshape(3, 4) % 3 == 0
    store.write_masks("small", STAGE, mask_pictures.packed(Masks({"up": mask}), [CONNECTION]))
    write_plan(store, "small", {"suite": "small", "cells": [CELL, "later"]})


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    store = ResultStore(tmp_path)
    write(store)
    return store


@pytest.mark.parametrize("packed", [False, True])
def test_files_that_agree(store: ResultStore, packed: bool) -> None:
    if packed:
        pack(store, "small")
    found = integrity(store, "small")
    assert (found.records, found.curves, found.masks, found.samples, found.missing, found.absent) == (1, 1, 1, 1, 1, 0)
    assert found.problems == []


def problem(store: ResultStore) -> str:
    (only,) = integrity(store, "small").problems
    return only


def test_a_mask_that_keeps_another_number(store: ResultStore) -> None:
    write(store, connections={"up": {"size": 12, "kept": 5}})
    assert "up keeps 5 of 12 weights in its record, and 4 of 12" in problem(store)
    write(store, connections={"down": {"size": 12, "kept": 4}})
    assert "of other connections" in problem(store)


def test_a_mask_whose_bits_are_others(store: ResultStore) -> None:
    path = store.file("small", "masks", STAGE).path
    content = bytearray(path.read_bytes())
    content[-1] ^= 0b0001_0000
    path.write_bytes(content)
    assert "is said to keep 4 weights, and" in problem(store) and "bits are set" in problem(store)
    path.write_bytes(b"nothing")
    assert "its masks cannot be read" in problem(store)


def test_samples_that_are_others(store: ResultStore) -> None:
    store.write_samples("small", CELL, [{"text": "a"}, {"text": "c"}])
    assert "another SHA-256" in problem(store)
    path = store.file("small", "samples", CELL).path
    path.write_bytes(path.read_bytes()[:-9])
    assert "its samples cannot be read" in problem(store)


def test_samples_that_are_not_here_are_counted_and_no_problem(store: ResultStore) -> None:
    store.file("small", "samples", CELL).path.unlink()
    found = integrity(store, "small")
    assert (found.samples, found.absent, found.problems) == (0, 1, [])


def test_a_record_that_is_none(store: ResultStore) -> None:
    store.file("small", "cells", CELL).path.write_text('{"schema": 2, "status": "done"}')
    assert "lacks" in problem(store)
    assert integrity(store, "small").missing == 2


def test_a_plan_that_is_damaged_or_missing(store: ResultStore) -> None:
    path = store.root / "small" / "suite.json"
    path.write_text("{")
    assert problem(store).startswith(f"{path} is not complete JSON: run the suite again")
    path.unlink()
    assert problem(store).startswith(f"{path} is missing: run the suite again")


def test_curves_that_are_none(store: ResultStore) -> None:
    store.file("small", "series", CELL).path.write_text("{")
    assert "its curves" in problem(store)


def test_a_cell_that_the_suite_no_longer_has_is_not_looked_at(store: ResultStore) -> None:
    store.file("small", "cells", "old").path.write_text("{")
    assert integrity(store, "small").problems == []


@pytest.mark.parametrize("name", ["records.jsonl.gz", "series.jsonl.gz", "masks_and_samples.zip"])
def test_one_changed_byte_of_an_archive(store: ResultStore, name: str) -> None:
    pack(store, "small")
    path = store.archive("small").folder / name
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    problems = integrity(ResultStore(store.root), "small").problems
    assert problems and any("damaged" in text or "cannot be read" in text for text in problems), problems
    assert len(set(problems)) == len(problems)


def test_examples_are_compared_with_the_scores(store: ResultStore) -> None:
    def problems(values: list[float], accuracy: float) -> list[str]:
        entry = store.write_examples("small", CELL, {"accuracy": Examples(np.array(values))})
        record = store.read("small", CELL)
        assert record is not None and entry is not None
        metrics = {"accuracy": record.metrics["accuracy"].model_copy(update={"value": accuracy})}
        store.write(record.model_copy(update={"examples": entry, "metrics": metrics}))
        return integrity(store, "small").problems

    assert problems([1.0, 0.0], 0.5) == [] and integrity(store, "small").examples == 1
    assert "its accuracy is 0.25, and 0.5 by its examples" in problems([1.0, 0.0], 0.25)[0]
    store.file("small", "examples", CELL).path.unlink()
    assert "results by example cannot be read" in integrity(store, "small").problems[0]


def test_another_network_of_the_same_stage_has_a_file_of_its_own(store: ResultStore) -> None:
    """A stage whose weights are gone is trained again for a new cell, elsewhere to other bits."""
    first = store.file("small", "masks", STAGE).read()
    other = mask_pictures.packed(Masks({"up": torch.ones(3, 4, dtype=torch.bool)}), [CONNECTION])
    assert store.write_masks("small", STAGE, first) is None
    name = store.write_masks("small", STAGE, other)
    assert name is not None and store.write_masks("small", STAGE, other) == name
    assert store.file("small", "masks", STAGE).read() == first
    pack(store, "small")  # also beside a packed one
    assert store.write_masks("small", STAGE, other) == name
    content = json.loads(store.file("small", "cells", CELL).read())
    content |= {
        "cell": "later",
        "masks": name,
        "density": {"mask": 1.0, "connections": {"up": {"size": 12, "kept": 12}}},
    }
    content["samples"] = None
    write_record(store, content)
    records = [store.read("small", cell) for cell in (CELL, "later")]
    assert [record.network for record in records if record is not None] == [STAGE, name]
    found = integrity(store, "small")
    assert (found.records, found.masks, found.problems) == (2, 2, [])
