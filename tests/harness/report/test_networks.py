"""Networks side by side, and what a suite asks about two of them."""

from __future__ import annotations

import io
import re

import pytest
from result_files import write_plan
from rich.console import Console
from scipy import special, stats
from score_records import write

import harness
from harness.analysis.frame import load
from harness.report.leaderboard import terminal_tables, write_leaderboards
from harness.report.tables import escape, probability
from harness.results.store import ResultStore


def network(label):
    return {"label": label, "plugin": "mlp", "version": "1", "options": {}, "parameters": 90_000}


@pytest.fixture
def store(tmp_path):
    """Three seeds of two methods on one network."""
    store = ResultStore(tmp_path)
    cells = []
    for seed in range(3):
        cells.append(write(store, "dense", seed, 0.90 + 0.01 * seed)["cell"])
        cells.append(write(store, "random", seed, 0.70 + 0.02 * seed)["cell"])
    write_plan(store, "small", {"suite": "small", "cells": cells})
    return store


def test_architectures_on_one_benchmark_stand_side_by_side_without_ranks(store):
    write_leaderboards(store)
    assert "All architectures" not in (store.root / "small" / "leaderboard.md").read_text()
    for seed in range(3):
        write(store, "dense", seed, 0.75, cell=f"wide-{seed}", architecture=network("wide"))
    plan = store.plan("small")
    write_plan(store, "small", {"cells": [*plan.cells, "wide-0", "wide-1", "wide-2"]})
    write_leaderboards(store)
    page = (store.root / "small" / "leaderboard.md").read_text()
    section = page.partition("## All architectures on digits")[2].partition("<details>")[0]
    found = re.findall(r"^\| ([\w.]+) +\| ", section, re.MULTILINE)
    assert found == ["network", "mlp.dense", "wide.dense", "mlp.random"]
    assert "rank" not in section.partition("Not ranked")[0] and "90,000 / 90,000" in section


def test_networks_that_a_suite_asks_about_are_tested_by_seed(store):
    scores = {"dense": (0.60, 0.62, 0.61), "random": (0.40, 0.43, 0.41)}
    cells = [
        write(store, method, seed, value + 0.01 * seed**2, cell=f"wide-{method}-{seed}", architecture=network("wide"))
        for method, values in scores.items()
        for seed, value in enumerate(values)
    ]
    for seed in range(3):
        write(store, "random", seed, 0.3, mask=0.13, cell=f"deep-{seed}", architecture=network("deep"))
    names = [f"wide-{method}-{seed}" for method in scores for seed in range(3)] + [f"deep-{seed}" for seed in range(3)]
    plan = store.plan("small")

    def row(architecture, method):
        return {"experiment": "main", "architecture": architecture, "method": method}

    asked = [(row("mlp", "dense"), row("wide", "dense")), (row("mlp", "random"), row("wide", "random"))]
    asked.append((row("deep", "random"), row("wide", "random")))
    pairs = [{"first": first, "second": second} for first, second in asked]
    write_plan(store, "small", {"cells": [*plan.cells, *names], "networks": pairs})
    write_leaderboards(store)
    page = (store.root / "small" / "leaderboard.md").read_text()
    section = page.partition("## All architectures on digits")[2].partition("## ")[0]
    frame = load(store, ["small"])[0].query("primary")
    values = frame.pivot_table(index="seed", columns=["architecture", "method"], values="value")
    logits = special.logit((values * 100 + 0.5) / 101)
    p = [stats.ttest_rel(logits["mlp", method], logits["wide", method]).pvalue for method in ("dense", "random")]
    holm = [min(1, 2 * min(p)), max(2 * min(p), max(p))]
    assert len(cells) == 6 and holm[1] < 0.05
    assert re.search(r"Unmasked, mlp\.dense \(0\.\d+\) beats wide\.dense \(0\.6\d+\)\.", section)
    assert re.search(r"At 0\.1000, mlp\.random \(0\.\d+\) beats wide\.random \(0\.4\d+\)\.", section)
    assert "Best means: " in section and "not tested" not in section.partition("|")[0]
    assert "the suite's questions, 2 tests" in section
    for value in p:
        assert escape(probability(value)) in section
    assert "densities or seeds differ: deep.random from wide.random (0.1300 and 0.1000)." in section
    assert "- They differ in size: deep has 90,000 parameters, mlp has 1,000 parameters and wide has" in section
    console = Console(file=io.StringIO(), width=80)
    terminal_tables(store, "small", console, 80)
    assert "mlp.dense" in console.file.getvalue()
    loaded = harness.load(store.root)
    told = loaded.compare(suite="small").questions.set_index("method").loc[["mlp.dense", "mlp.random"]]
    assert told["p_value"].tolist() == pytest.approx(p) and sorted(told["p_adjusted"]) == pytest.approx(holm)
    assert told["control"].tolist() == ["wide.dense", "wide.random"] and set(told["control_architecture"]) == {"wide"}
    assert set(told["family"]) == {2} and told["density_mask"].tolist() == [1.0, 0.1]
    assert "Networks on digits" in [table.title for table in loaded.leaderboard("small").question_tables()]
    chosen = loaded.compare(suite="small", architecture="mlp")
    assert not chosen.questions["method"].str.startswith("mlp.").any(), "what is chosen is of one network"
