"""What is asked of an estimate: of this machine or of a cluster, and only a dry run has time to try."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.cli import plan_summary
from harness.cli.console import plain_console
from harness.cli.plan_summary import cost_of, show_plan
from harness.executors.cost import Cost


@pytest.mark.parametrize(("here", "timed", "device"), [(True, False, "cpu"), (True, True, "cpu"), (False, True, None)])
def test_a_cluster_is_not_this_machine(monkeypatch, here: bool, timed: bool, device: str | None) -> None:
    asked: list[Any] = []
    monkeypatch.setenv("HARNESS_DEVICE", "cpu")
    monkeypatch.setattr(plan_summary, "estimate", lambda *given: asked.extend(given) or "a cost")
    suite, plan, store = object(), SimpleNamespace(steps=1), object()
    assert cost_of(suite, plan, store, here, timed) == "a cost"  # type: ignore[arg-type]
    assert asked == [plan, suite, store, device and torch.device(device), timed]


def test_where_nothing_is_trained_nothing_is_asked(monkeypatch) -> None:
    monkeypatch.setattr(plan_summary, "estimate", None)
    assert cost_of(object(), SimpleNamespace(steps=0), object(), here=True) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("workers", "guessed", "said"),
    [
        (1, False, "about 9 s on 1 worker here (from b)"),
        (2, False, "about 6 s on 2 workers here (from b)"),
        (2, True, "how long it takes is not known yet: no such network was timed here"),
    ],
)
def test_the_time_is_told_where_it_is_known(monkeypatch, capsys, workers: int, guessed: bool, said: str) -> None:
    monkeypatch.setattr(plan_summary, "summary", lambda *_: ["2 runs"])
    monkeypatch.setattr(plan_summary, "shortage_of_disk", lambda *_: [])
    monkeypatch.setattr(plan_summary, "shortage_of_memory", lambda *_: [])
    suite, plan = SimpleNamespace(name="s", pending=[]), SimpleNamespace(graph=None, damaged=[])
    cost = Cost(1, 1.0, {"a": 2.0, "b": 3.0}, 1.0, "b", guessed=guessed)
    show_plan(plain_console(stderr=True), suite, plan, SimpleNamespace(work="w"), cost, workers, None)  # type: ignore[arg-type]
    assert f"  {said}\n" in capsys.readouterr().err
