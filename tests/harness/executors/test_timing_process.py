"""Steps are tried in a process of their own: one that dies, or never ends, is not waited for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.executors import timing_process
from harness.executors.step_kind import StepKind, StepKinds
from harness.executors.timing_process import short_timings
from harness.registry.plugins import load
from harness.stages.graph import compile_graph
from harness.suites.suite import load_suite

PLUGIN = """
import os, time
from harness import Entry, SparsityMethod, hookimpl

class Deadly(SparsityMethod):
    takes_density = "never"

    def on_gradients(self, context):
        DOES

@hookimpl
def harness_register_methods():
    return [Entry("deadly", Deadly)]
"""
SUITE = """
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
training: {steps: 10, batch_size: 32}
methods: {dense: , deadly: , genome: }
"""


@pytest.mark.parametrize("does", ["os._exit(7)", "time.sleep(1e6)", "raise OSError"])
def test_what_ends_it_or_never_ends_leaves_what_was_found(tmp_path: Path, monkeypatch, does: str) -> None:
    plugin, path = tmp_path / "deadly.py", tmp_path / "s.yaml"
    plugin.write_text(PLUGIN.replace("DOES", does))
    path.write_text(SUITE)
    suite = load_suite(path, load([plugin]))
    of = StepKinds(suite).of
    stages = {of(planned.stages[0]): planned.stages[0] for planned in compile_graph(suite.cells, suite.registry).cells}
    if "sleep" in does:  # the time is up when the first result is there, and not before
        clock = iter([0.0, 0.0, 1e9])
        monkeypatch.setattr(timing_process, "monotonic", lambda: next(clock))
        monkeypatch.setattr(timing_process, "GRACE", 1e6)
    found = short_timings(stages, suite, torch.device("cpu"))
    known = {"", "genome"} if "raise" in does else {""}
    assert {kind.method for kind in found} == known and min(found.values()) > 0


def test_where_nothing_is_to_be_tried_no_process_starts(monkeypatch) -> None:
    monkeypatch.setattr(timing_process, "workers_context", None)
    nothing: dict[StepKind, object] = {}
    assert short_timings(nothing, None, torch.device("cpu")) == {}  # type: ignore[arg-type]
