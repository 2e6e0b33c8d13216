"""Results in Python: frames, comparisons, figures, and what is said where there are none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from result_files import small_record, write_record

import harness
from harness import UserError
from harness.report.results import Results
from harness.results.store import ResultStore


def fill(root: Path, suite: str) -> None:
    store = ResultStore(root)
    for method, mask, value in (("dense", 1.0, 0.9), ("random", 0.1, 0.7), ("genome", 0.1, 0.8)):
        for seed in range(3):
            density = {"scope": "maskable", "mask": mask, "nonzero": mask}
            record = small_record(suite, f"{suite}-{method}-{seed}", method, seed, value + seed / 100, density=density)
            loss = {"value": 0.5, "n": 10, "unit": "nats", "direction": "min", "primary": False}
            record["metrics"]["loss"] = loss
            write_record(store, record)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    fill(tmp_path / "a", "one")
    return harness.load(tmp_path / "a")


def test_a_frame_has_a_row_for_each_metric_of_each_seed_and_types(results: Results) -> None:
    frame = results.frame
    assert len(frame) == 2 * 3 * 3
    assert isinstance(frame["method"].dtype, pd.CategoricalDtype)
    assert frame["seed"].dtype == int
    assert frame["value"].dtype == float
    assert frame["primary"].dtype == bool
    means = frame[frame["primary"]].groupby("method", observed=True)["value"].mean()
    assert means.to_dict() == pytest.approx({"dense": 0.91, "random": 0.71, "genome": 0.81})


def test_a_comparison_is_that_of_the_command(results: Results) -> None:
    rows = results.compare(["genome"], suite="one").frame
    assert rows["method"].tolist() == ["dense", "genome"]
    assert rows["mean"].tolist() == pytest.approx([0.9102038, 0.8101002])  # on the logit scale
    assert "| genome" in repr(results.compare(["genome"]))
    assert r"\toprule" in results.compare().latex()
    assert "genome at 0.1000 & " in results.compare().latex(across="benchmark")
    assert r"method & density & accuracy \\" in results.compare().latex(columns=["method", "density", "accuracy"])
    with pytest.raises(UserError, match="Did you mean 'density'"):
        results.compare().latex(columns=["densty"])


def test_leaderboards_and_figures_show_themselves(results: Results, tmp_path: Path) -> None:
    board = results.leaderboard("one")
    assert "**main: mlp on digits**" in board._repr_markdown_()
    figure = results.figure(suite="one")
    ElementTree.fromstring(figure._repr_svg_())
    figure.save(tmp_path / "f.svg")
    assert "<style" not in (tmp_path / "f.svg").read_text()
    with pytest.raises(UserError, match=r"\.svg, \.pdf or \.png"):
        figure.save(tmp_path / "f.jpg")
    assert "<table" in results._repr_html_()
    assert "one" in repr(results)


def test_a_leaderboard_takes_what_a_comparison_takes(results: Results) -> None:
    chosen = {
        "methods": ["genome"],
        "architecture": "mlp",
        "benchmark": "digits",
        "metric": "loss",
        "baseline": "random",
    }
    for options in ({}, *({name: value} for name, value in chosen.items()), chosen, {"at_density": 0.1}):
        assert results.leaderboard("one", **options).frame.equals(results.compare(suite="one", **options).frame)
    assert len(results.leaderboard(methods=["genome"]).frame) == 2
    for wrong, said in (
        ({"benchmark": "digit"}, "Did you mean 'digits'"),
        ({"density": 0.1}, "unknown option 'density'"),
        ({"methods": ["genom"]}, "Did you mean 'genome'"),
    ):
        with pytest.raises(UserError, match=said):
            results.leaderboard(**wrong)
        with pytest.raises(UserError, match=said):
            results.compare(**wrong)


def test_a_pattern_takes_many_folders_and_no_suite_twice(tmp_path: Path) -> None:
    for folder, suite in (("a", "one"), ("b", "two"), ("c", "one")):
        fill(tmp_path / folder, suite)
    assert harness.load(tmp_path / "[ab]").suites == ["one", "two"]
    assert len(harness.load(tmp_path / "[ab]").frame) == 2 * 18
    assert harness.load(tmp_path / "b" / "two").suites == ["two"]
    with pytest.raises(UserError, match=r"suite 'one' is in .*a and in .*c"):
        harness.load(tmp_path / "*")


def test_names_and_options_that_are_not_there(results: Results, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no results in .*nowhere"):
        harness.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="Did you mean 'genome'"):
        results.compare(["genom"])
    with pytest.raises(UserError, match=r"unknown option 'sute'\. Did you mean 'suite'"):
        results.compare(sute="one")
    with pytest.raises(UserError, match="no finished run matches"):
        results.compare(["genome"], at_density=0.5, baseline="genome")
    fill(tmp_path / "a", "more")
    with pytest.raises(UserError, match="these are 2"):
        harness.load(tmp_path / "a").figure()


def test_one_text_is_one_method_and_one_column(results: Results) -> None:
    assert results.compare("genome").frame.equals(results.compare(["genome"]).frame)
    assert results.compare().latex(columns="method") == results.compare().latex(columns=["method"])


def test_figures_take_widths_and_costs_by_name(results: Results) -> None:
    def width(**options: str | float) -> float:
        return float(ElementTree.fromstring(results.figure(**options)._repr_svg_()).attrib["width"]) * 25.4 / 96

    for given, millimetres in (("column", 85), ("text", 140), ("70mm", 70), (60, 60), (400.0, 400)):
        assert width(width=given) == pytest.approx(millimetres, abs=0.2)
    assert "mask density, lower is better" in results.figure(cost="density").svg
    assert "lower is better" not in results.figure().svg


def test_a_figure_takes_methods_first_as_a_comparison_does_and_is_short_in_words(results: Results) -> None:
    for chosen in (("genome", "random"), "genome"):
        assert results.figure(chosen, cost="density", suite="one").svg == results.compare(chosen).figure("density").svg
    assert len(repr(results.figure())) < 50


@pytest.mark.parametrize(
    ("call", "said"),
    [
        *[
            (lambda r, width=width: r.compare().figure(width=width), "give column or text, or 60mm to 400mm")
            for width in ("colum", "60", "59mm", 59, 401, float("nan"), None, True, [85])
        ],
        (lambda r: r.figure(cost="flop"), "unknown cost 'flop'. Did you mean 'flops'"),
        (lambda r: r.figure(cost=1), "cost=1: give one of density, flops, training-flops, or True"),
        (lambda r: r.figure(["genom"], cost=True), "unknown method 'genom'. Did you mean 'genome'"),
        (lambda r: r.figure(experiment="mian"), "unknown experiment 'mian'. Did you mean 'main'"),
        (lambda r: r.compare(at_density="0.06"), "at_density='0.06': give a number"),
        (lambda r: r.compare(at_density=True), "at_density=True: give a number"),
        (lambda r: r.compare(suite=1), "suite=1: give one name, a text"),
        (lambda r: r.leaderboard(1), "suite=1: give one name, a text"),
        (lambda r: r.compare(benchmark=["digits"]), r"benchmark=['digits']: give one name, a text"),
        (lambda r: r.compare("genom"), "unknown method 'genom'. Did you mean 'genome'"),
        (lambda r: r.compare([1]), "methods: 1 is no name"),
        (lambda r: r.compare(1), "methods: 1 is no name"),
        (lambda r: r.compare().latex(columns="accurac"), "unknown column 'accurac'. Did you mean 'accuracy'"),
        (lambda r: r.compare().latex(across="densty"), "unknown across 'densty'. Did you mean 'density'"),
        (lambda _: harness.load(["a", "b"]), "is no folder: give one path, or a pattern"),
        (lambda _: harness.load(None), "is no folder: give one path, or a pattern"),
    ],
)
def test_arguments_of_a_wrong_kind_are_told_what_is_allowed(results: Results, call: Any, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        call(results)
