"""What is asked of an estimate: of this machine or of a cluster, and only a dry run has time to try."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.cli import plan_summary
from harness.cli.plan_summary import cost_of


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
