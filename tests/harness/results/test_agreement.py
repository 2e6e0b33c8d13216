"""What must be equal between two runs of a cell: to the last bit on one machine, within errors on another."""

from __future__ import annotations

from typing import Any

import pytest

from harness.results.agreement import agreements, environments, exact, failing, other_machine
from harness.results.cell_record import CellRecord

MACHINE = {
    "device": "cpu", "device_name": "A 1", "machine": "x86_64", "cpu_capability": "AVX2", "torch": "2.0", "threads": 1,
    "processes": 1, "git": "abc", "harness": "0.1.0", "python": "3.11.1", "plugins": {"dist": "1"},
}  # fmt: skip


def record(environment: dict[str, Any] | None = None, **changes: Any) -> CellRecord:
    """A cell that keeps 4 of 12 weights; ``changes`` by path: ``metrics__accuracy__value``."""
    metric = {"value": 0.5, "n": 100, "stderr": 0.05, "direction": "max"}
    content: dict[str, Any] = {
        "schema": 2,
        "status": "done",
        "cell": "c",
        "suite": "s",
        "architecture": {"label": "a", "parameters": 20},
        "method": {"label": "m"},
        "benchmark": {"label": "b"},
        "seed": 0,
        "density": {"mask": 1 / 3, "kept": 4, "size": 12, "total": 0.5, "connections": {"up": {"size": 12, "kept": 4}}},
        "metrics": {"accuracy": dict(metric), "perplexity": {**metric, "value": 20.0, "stderr": None}},
        "spent": {"steps": 10, "examples": 80, "flops": {"training": 100}},
        "environment": {**MACHINE, **(environment or {})},
    }
    for path, value in changes.items():
        *outer, last = path.split("__")
        inner: Any = content
        for step in outer:
            inner = inner[step]
        inner[last] = value
    return CellRecord.model_validate(content)


def wrong(was: CellRecord, now: CellRecord) -> list[str]:
    return [one.name for one in failing(agreements(was, now), was, now, environments(was, now))]


def test_equal_records() -> None:
    assert exact(record(), environments(record(), record())) and not environments(record(), record())
    assert wrong(record(), record()) == []
    assert all(one.equal for one in agreements(record(), record()) if one.was is not None)


@pytest.mark.parametrize(
    ("path", "value", "name"),
    [
        ("metrics__accuracy__value", 0.5 + 2**-53, "test accuracy"),
        ("metrics__perplexity__value", 20.0 + 2**-48, "test perplexity"),
        ("metrics__accuracy__n", 99, "test accuracy: n"),
        ("density__kept", 5, "density: kept"),
        ("density__connections", {"up": {"size": 12, "kept": 5}}, "kept in each connection"),
        ("spent__steps", 11, "training: steps"),
        ("spent__flops", {"training": 101}, "FLOPs: training"),
        ("architecture__parameters", 21, "parameters"),
        ("not_finite", {"loss": "inf"}, "scores that are not finite"),
    ],
)
def test_everything_counts_on_an_equal_machine(path: str, value: Any, name: str) -> None:
    assert value != 0.5
    assert wrong(record(**{path: value}), record()) == [name]
    assert wrong(record(), record(**{path: value})) == [name]


def test_a_score_that_is_gone() -> None:
    gone = record(metrics={"perplexity": {"value": 20.0, "direction": "max"}})
    assert wrong(record(), gone) == ["test accuracy"]
    assert wrong(gone, record()) == [], "what the record does not know is no difference"
    assert wrong(record({"torch": "1.0"}), gone) == ["test accuracy"]


@pytest.mark.parametrize(
    ("metric", "value", "fails"),
    [
        ("accuracy", 0.5 + 2.99 * 0.05, False),
        ("accuracy", 0.5 - 3.01 * 0.05, True),
        ("perplexity", 20.0 * 1.049, False),
        ("perplexity", 20.0 * 0.949, True),
    ],
)
@pytest.mark.parametrize("environment", [{"torch": "1.0"}, {"device_name": "cpu"}, {"cpu_capability": None}])
def test_scores_alone_count_on_another_machine_or_one_that_is_not_known(
    environment: dict[str, Any], metric: str, value: float, fails: bool
) -> None:
    was, now = record(environment), record(density__kept=5, spent__steps=7, **{f"metrics__{metric}__value": value})
    assert other_machine(environments(was, now)) == list(environment)
    assert wrong(was, now) == ([f"test {metric}"] if fails else [])


def test_a_gpu_does_not_repeat_its_sums() -> None:
    gpu = {"device": "cuda", "device_name": "G"}
    assert not exact(record(gpu), environments(record(gpu), record(gpu)))
    assert wrong(record(gpu), record(gpu, metrics__accuracy__value=0.51)) == []


def test_what_another_revision_counts_may_differ_but_not_its_results() -> None:
    was = record({"git": "abd", "python": "3.10.1"})
    assert wrong(was, record(spent__flops={"training": 101})) == []
    assert wrong(was, record(density__kept=5)) == ["density: kept"]
    changed = record({"git": "abc+"}), record({"git": "abc+"}, spent__flops={"training": 101})
    assert wrong(*changed) == [], "uncommitted changes may be others"
    assert environments(was, record()) == {"git": ("abd", "abc"), "python": ("3.10.1", "3.11.1")}


def test_where_weights_came_about_counts_too() -> None:
    was = record(trained_by=[{**MACHINE, "torch": "1.0"}])
    assert environments(was, record()) == {"torch": ("1.0", "2.0")}


def test_a_record_of_before_processes_were_counted_had_one() -> None:
    old = {name: value for name, value in MACHINE.items() if name != "processes"}
    assert environments(record(environment=None).model_copy(update={"environment": None}), record())
    was = record().model_copy(update={"environment": type(record().environment)(**old)})
    assert environments(was, record()) == {}


def test_what_trained_in_company_is_no_equal_run_alone() -> None:
    """Sums over stacked weights are formed in another order; a record that says nothing trained alone."""
    packed = record(trained_by=[{**MACHINE, "packed": 4}])
    alone = record(trained_by=[MACHINE], metrics__accuracy__value=0.5 + 2**-53)
    assert other_machine(environments(packed, alone)) == ["packed"]
    assert wrong(packed, alone) == []
    assert wrong(alone, record(trained_by=[MACHINE])) == ["test accuracy"]
