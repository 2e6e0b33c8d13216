"""One type for a record: what is no record says which key is wrong, and what is old is read as what is new."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import CorruptFile
from harness.results.cell_record import SCHEMA, CellRecord
from harness.results.parsing import parse_record
from harness.results.store import ResultStore
from harness.results.upgrading import upgrade

RESULTS = Path(__file__).parents[3] / "results"
STORE = ResultStore(RESULTS)
COMMITTED = sorted((suite, cell) for suite in STORE.suites() for cell in STORE.names(suite))


def content(**changes: Any) -> dict[str, Any]:
    """A record of schema 2; changes replace the values of its keys."""
    return {
        "schema": 2,
        "status": "done",
        "cell": "c",
        "suite": "s",
        "architecture": {"label": "a", "parameters": 12},
        "method": {"label": "m"},
        "benchmark": {"label": "b"},
        "seed": 0,
        "density": {"mask": 0.5, "connections": {"up": {"size": 10, "kept": 5, "nonzero": 4}}},
        "metrics": {"accuracy": {"value": 0.9, "direction": "max"}},
        **changes,
    }


def parsed(**changes: Any) -> CellRecord:
    return parse_record(json.dumps(content(**changes)).encode(), "c")


def with_metric(**changes: Any) -> dict[str, Any]:
    return {"metrics": {"accuracy": {"value": 0.9, "direction": "max", **changes}}}


def with_connection(**changes: Any) -> dict[str, Any]:
    return {"density": {"mask": 0.5, "connections": {"up": {"size": 10, "kept": 5, **changes}}}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "unknown"}, "has status 'unknown': input should be 'done', 'failed' or 'diverged'"),
        (with_metric(value=1.5, unit="fraction"), "has a wrong metrics.accuracy: 1.5 is no fraction: these lie in"),
        ({"seed": True}, "has seed True: input should be a valid integer"),
        ({"seed": 1.5}, "has seed 1.5"),
        ({"seed": 2**63}, "has seed 9223372036854775808: input should be less than"),
        ({"seed": -(2**63) - 1}, "has seed -9223372036854775809"),
        ({"seed": "0"}, "has seed '0'"),
        ({"method": {"label": None}}, "has method.label None: input should be a valid string"),
        ({"method": None}, "has method None"),
        ({"architecture": {"label": "a", "parameters": 10**400}}, "has architecture.parameters 1000"),
        ({"density": {"mask": 1.01}}, "has density.mask 1.01: input should be less than or equal to 1"),
        ({"density": {"mask": -0.01}}, "has density.mask -0.01: input should be greater than or equal to 0"),
        ({"density": {"mask": 10**400}}, "has density.mask 1000"),
        ({"density": {"mask": True}}, "has density.mask True: input should be a valid number"),
        ({"density": {"mask": float("nan")}}, "has density.mask nan: input should be a finite number"),
        ({"density": {"mask": 0.5, "nonzero": 1.5}}, "has density.nonzero 1.5"),
        ({"density": {"mask": 0.5, "requested": 10}}, "has density.requested 10"),
        ({"density": {}}, "is done and lacks density.mask"),
        (with_connection(kept=11), "has a wrong density: connection 'up' keeps more weights than it has"),
        (with_connection(nonzero=11), "has a wrong density: connection 'up'"),
        (with_connection(size=-1), "has density.connections.up.size -1"),
        (with_connection(soft=float("inf")), "has density.connections.up.soft inf"),
        ({"metrics": {}}, "is done and has no metric"),
        ({"metrics": [1]}, "has metrics [1]"),
        ({"metrics": {"accuracy": {"direction": "max"}}}, "lacks metrics.accuracy.value"),
        ({"metrics": {"accuracy": {}}}, "lacks metrics.accuracy.direction, metrics.accuracy.value"),
        (with_metric(value=True), "has metrics.accuracy.value True"),
        (with_metric(value=float("-inf")), "has metrics.accuracy.value -inf"),
        (with_metric(direction="up"), "has metrics.accuracy.direction 'up': input should be 'max', 'min' or 'none'"),
        (with_metric(n=True), "has metrics.accuracy.n True"),
        (with_metric(stderr=-1), "has metrics.accuracy.stderr -1"),
        (with_metric(primary=1), "has metrics.accuracy.primary 1: input should be a valid boolean"),
        ({"stages": ["../../etc"]}, "has stages.0 '../../etc'"),
        ({"stages": ["0123456789\n"]}, "has stages.0 '0123456789\\n'"),
        ({"spent": {"flops": {"training": 10**400}}}, "has spent.flops.training 1000"),
        ({"spent": {"flops": {"training": False}}}, "has spent.flops.training False"),
        ({"not_finite": {"loss": 7}}, "has not_finite.loss 7"),
        ({"trained_by": "me"}, "has trained_by 'me'"),
        ({"method": {"label": "m", "options": {"a": float("nan")}}}, "has method.options.a nan"),
        ({"cell": "another"}, "holds another cell's record: 'another'"),
        ({"suite": None, "seed": None}, "has suite None"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(CorruptFile) as error:
        parsed(**changes)
    told = str(error.value)
    assert told.startswith(reason) and "\n" not in told and len(told) < 300


@pytest.mark.parametrize(
    "text", ['{"schema": 2, "cell": "\\ud800"}', "[" * 200_000, "1" * 5000, '{"a": "\\ud', "\ufeff{}"]
)
def test_what_is_no_json_says_so(text: str) -> None:
    with pytest.raises(CorruptFile, match="is not complete JSON"):
        parse_record(text.encode(), "c")


def test_keys_that_are_missing_are_named_together() -> None:
    with pytest.raises(CorruptFile, match=r"^lacks architecture, benchmark, density, method, metrics$"):
        parse_record(b'{"schema": 2, "cell": "c", "suite": "s", "status": "done", "seed": 0}', "c")


def test_unknown_keys_are_kept_and_mean_nothing() -> None:
    record = parsed(future={"a": [1]}, **with_connection(colour="red"))
    assert record.content()["future"] == {"a": [1]}
    assert record.content()["density"]["connections"]["up"]["colour"] == "red"
    assert parse_record(json.dumps(record.content()).encode(), "c") == record


def test_a_failed_cell_needs_no_numbers() -> None:
    record = parsed(status="failed", metrics={}, density={}, failure={"type": "X", "message": "y"})
    assert record.failure is not None and record.failure.message == "y" and record.density.mask is None


def test_zeros_of_schema_1_become_what_is_not_zero() -> None:
    """By hand: 30 of 80 weights are zero, 10 of the first connection's 50 and 20 of the other's 30."""
    connections = {"up": {"size": 50, "kept": 45, "zeros": 10}, "down": {"size": 30, "kept": 12, "zeros": 20}}
    old = content(schema=1, density={"mask": 57 / 80, "true_zeros": 30 / 80, "connections": connections})
    record = parse_record(json.dumps(old).encode(), "c")
    assert record.density.nonzero == 50 / 80
    assert {name: c.nonzero for name, c in record.density.connections.items()} == {"up": 40, "down": 10}
    written = record.content()
    assert written["schema"] == 2 and "true_zeros" not in written["density"]
    assert "zeros" not in written["density"]["connections"]["up"]


def test_what_schema_1_did_not_know_is_none() -> None:
    old = content(schema=1, status="failed", metrics={}, spent={}, environment={}, density={"requested": 0.5})
    record = parse_record(json.dumps(old).encode(), "c")
    assert record.spent is None and record.environment is None and record.trained_by is None and record.samples is None
    assert record.density.nonzero is None and record.density.connections == {}


@pytest.mark.parametrize("zeros", [2.0, -0.5, True, "x", 10**400, float("nan"), [0]])
def test_fractions_of_zeros_that_are_none_are_named(zeros: Any) -> None:
    old = content(schema=1, density={"mask": 0.5, "true_zeros": zeros})
    with pytest.raises(CorruptFile, match=r"^has density\.nonzero "):
        parse_record(json.dumps(old).encode(), "c")


def test_the_present_schema_needs_no_upgrade() -> None:
    found = content()
    assert upgrade(found) is found


def test_a_record_that_schema_1_wrote_is_read() -> None:
    text = Path(__file__).with_name("record_of_schema_1.json").read_bytes()
    old = json.loads(text)
    record = parse_record(text, old["cell"])
    assert old["schema"] == 1 and old["density"]["connections"]
    assert record.density.nonzero == 1 - old["density"]["true_zeros"]
    assert not record.density.model_extra and not record.model_extra
    for name, counts in old["density"]["connections"].items():
        assert record.density.connections[name].nonzero == counts["size"] - counts["zeros"]
    assert parse_record(json.dumps(record.content()).encode(), record.cell) == record


def test_every_committed_record_is_of_the_present_schema() -> None:
    """None is read through an upgrade: each can be reproduced from what it says itself."""
    schemas = {json.loads(STORE.file(suite, "cells", cell).read())["schema"] for suite, cell in COMMITTED}
    assert schemas == {SCHEMA}


def fields(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(model, key, what the schema says of it) of every model."""
    for name, model in {"CellRecord": schema, **schema["$defs"]}.items():
        for key, found in model.get("properties", {}).items():
            yield name, key, found


def test_every_number_says_what_it_is() -> None:
    plain = {"label", "suite", "seed", "status", "message", "traceback"}
    for name, key, found in fields(CellRecord.model_json_schema()):
        described = "description" in found or "$ref" in json.dumps(found) or key in plain
        assert described, f"{name}.{key}"


def test_reading_takes_neither_torch_nor_a_plugin() -> None:
    suite, cell = COMMITTED[0]
    code = (
        "import sys; from pathlib import Path; from harness.results.store import ResultStore;"
        f"print(ResultStore(Path({str(RESULTS)!r})).record({suite!r}, {cell!r}).cell);"
        "print(sorted(name for name in sys.modules if name.startswith(('torch', 'numpy', 'harness_'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [cell, "[]"]
