import json
import math

import numpy as np
import pytest
import synthetic
from result_files import write_plan, write_record
from scipy import special, stats
from score_records import write
from synthetic import over_seeds

from harness.analysis.comparison import Selection, compare, rows, selected
from harness.analysis.comparison_row import KEYS
from harness.analysis.frame import load
from harness.analysis.result_row import COLUMNS
from harness.errors import UserError
from harness.report.score_notes import notes
from harness.results.store import ResultStore


@pytest.fixture
def store(tmp_path):
    return ResultStore(tmp_path)


def logits(values, n=100):
    """Accuracies on the scale on which they are tested."""
    shares = (np.array(values) * n + 0.5) / (n + 1)
    return np.log(shares / (1 - shares))


def share(logit, n=100):
    """The inverse of :func:`logits`."""
    return (special.expit(logit) * (n + 1) - 0.5) / n


def fill(store):
    for seed, (dense, random, magnitude) in enumerate([(0.90, 0.70, 0.80), (0.92, 0.75, 0.81), (0.91, 0.68, 0.85)]):
        write(store, "dense", seed, dense)
        write(store, "random", seed, random)
        write(store, "magnitude", seed, magnitude)


def test_rows_have_exactly_the_keys_and_the_right_numbers(store):
    fill(store)
    frame, left = load(store)
    assert not left and tuple(frame.columns) == COLUMNS
    found = compare(frame)
    assert [row.method for row in found] == ["dense", "magnitude", "random"]
    assert all(tuple(row.told()) == KEYS for row in found)
    json.dumps([row.told() for row in found], allow_nan=False)
    dense, magnitude, random = found
    assert dense.baseline == "dense" and dense.difference is None and not dense.contrasts
    mine, others = logits([0.70, 0.75, 0.68]), logits([0.90, 0.92, 0.91])
    test = stats.ttest_rel(mine, others)
    assert random.mean == pytest.approx(share(mine.mean()))
    reference = share(others.mean())
    assert random.difference == pytest.approx(random.mean - reference) == pytest.approx(random.contrast.difference)
    assert random.contrast.p == pytest.approx(test.pvalue)
    low, high = share(others.mean() + np.array(test.confidence_interval(0.95))) - reference
    assert (random.difference_ci_low, random.difference_ci_high) == pytest.approx((low, high))
    smaller, larger = sorted([magnitude.contrast.p, random.contrast.p])
    adjusted = sorted([magnitude.contrast.p_adjusted, random.contrast.p_adjusted])
    assert adjusted == pytest.approx([2 * smaller, max(2 * smaller, larger)])
    assert random.told()["p_adjusted"] == random.contrast.p_adjusted and random.contrast.family == 2
    assert random.seeds == [0, 1, 2]
    assert random.cells == [f"main-random-0.1-{seed}" for seed in range(3)]


def test_what_some_seeds_do_not_know_they_have_spent_is_not_the_mean_of_the_others(store):
    for seed in range(3):
        flops = {"training": 1.0, "training_sparse": None if seed == 2 else 0.5}
        spent = {"steps": 10, "examples": 100, "tokens": 100, "seconds": 1.0, "flops": flops}
        write(store, "random", seed, 0.7, spent=spent)
    row = rows(load(store)[0])[0]
    assert row.flops_sparse is None and row.flops == 1.0 and row.steps == 10


def test_chosen_methods_keep_the_baseline_and_form_the_family(store):
    fill(store)
    found = compare(load(store)[0], Selection(methods=["random"]))
    assert [row.method for row in found] == ["dense", "random"]
    assert found[1].contrast.p_adjusted == found[1].contrast.p
    told = "p is adjusted over the 1 test shown, in the suite's leaderboard over 2."
    assert told in notes(found) and notes(compare(load(store)[0])) == [note for note in notes(found) if note != told]
    against = compare(load(store)[0], Selection(methods=["random"], baseline="magnitude"))
    assert not any(note.startswith("p is adjusted") for note in notes(against)), "no leaderboard asks that"


def test_the_label_of_a_sweep_means_all_of_its_rows(store):
    fill(store)
    for name in ("set-lr-1e-3", "set-fraction-3e-1-lr-1e-2", "set-lr", "reset-lr-1e-3"):
        write(store, name, 0, 0.5)
    frame = load(store)[0]
    chosen = compare(frame, Selection(methods=["set", "set-lr"]))
    names = {row.method for row in chosen}
    assert names == {"dense", "set-lr-1e-3", "set-fraction-3e-1-lr-1e-2", "set-lr"}
    write(store, "set", 0, 0.5)
    assert {row.method for row in compare(load(store)[0], Selection(methods=["set"]))} == {"dense", "set"}


def test_names_are_those_of_the_suite_that_is_asked_and_failed_ones_say_why(store):
    fill(store)
    write(store, "elsewhere", 0, 0.5, suite="other")
    write(store, "snip", 0, 0.5, status="failed", metrics={}, failure={"type": "E", "message": "too small"})
    frame, left = load(store)
    with pytest.raises(UserError, match=r"Known: dense, magnitude, random\. These"):
        selected(frame, Selection(methods=["elsewhere"], suite="small"), left)
    with pytest.raises(UserError, match="no run of 'snip' has a result: failed: E: too small"):
        selected(frame, Selection(methods=["snip"], suite="small"), left)


def test_secondary_metric_reverses_the_order(store):
    fill(store)
    found = compare(load(store)[0], Selection(metric="loss"))
    assert [(row.method, row.direction) for row in found] == [
        ("dense", "min"),
        ("magnitude", "min"),
        ("random", "min"),
    ]
    dense, random = (share(logits(losses).mean()) for losses in ([0.10, 0.08, 0.09], [0.30, 0.25, 0.32]))
    assert found[2].difference == pytest.approx(random - dense)


def test_one_seed_has_neither_interval_nor_p(store):
    write(store, "dense", 0, 0.9)
    write(store, "random", 0, 0.7)
    row = compare(load(store)[0])[1]
    assert row.difference == pytest.approx(share(logits(0.7)) - share(logits(0.9)))
    for key in ("std", "ci_low", "ci_high", "difference_ci_low", "difference_ci_high", "p_value", "p_adjusted"):
        assert row.told()[key] is None


def test_failed_and_damaged_cells_are_listed_not_averaged(store):
    fill(store)
    write(store, "random", 3, 0.0, status="diverged", failure={"type": "Diverged", "message": "nan", "step": 7})
    record = write(store, "random", 4, 0.0)
    del record["metrics"]["accuracy"]["value"]
    write_record(store, record)
    record = write(store, "random", 5, 0.5)
    del record["density"]["mask"]
    write_record(store, record)
    store.file("small", "cells", "half").path.write_text('{"schema": 1, ')
    frame, left = load(store)
    assert compare(frame, Selection(methods=["random"]))[1].n == 3
    reasons = {item.path.stem: item.reason for item in left}
    assert reasons["main-random-0.1-3"] == "diverged: nan"
    assert "value" in reasons["main-random-0.1-4"]
    assert "mask" in reasons["main-random-0.1-5"]
    assert "JSON" in reasons["half"]


def test_another_protocol_or_experiment_is_not_compared(store):
    write(store, "dense", 0, 0.9)
    other = {"label": "digits", "plugin": "digits", "version": "1", "options": {}, "protocol": "test, soft masks"}
    write(store, "genome", 0, 0.8, benchmark=other)
    write(store, "random", 0, 0.7, experiment="second")
    found = {row.method: row for row in compare(load(store)[0])}
    assert len(found) == 3
    for method in ("genome", "random"):
        assert found[method].baseline is None and found[method].difference is None


def test_the_plan_names_the_baseline_and_an_option_overrides_it(store):
    fill(store)
    cells = [f"main-{m}-{d}-{s}" for m, d in (("dense", None), ("random", 0.1), ("magnitude", 0.1)) for s in range(3)]
    write_plan(store, "small", {"suite": "small", "cells": cells, "baselines": {"main": "random"}})
    frame, _ = load(store)
    found = {row.method: row for row in compare(frame)}
    assert found["magnitude"].baseline == "random"
    assert found["magnitude"].difference == pytest.approx(found["magnitude"].mean - found["random"].mean)
    assert [contrast.control for contrast in found["magnitude"].contrasts] == ["random"]
    assert found["dense"].baseline is None  # a sparse baseline is compared at its own density only
    assert {row.baseline for row in compare(frame, Selection(baseline="dense"))} == {"dense"}


def test_a_sparse_baseline_is_taken_at_the_same_density(store):
    for density, value in ((0.1, 0.7), (0.5, 0.8)):
        for seed in range(2):
            write(store, "random", seed, value + seed / 100, density)
            write(store, "magnitude", seed, value + 0.05 + seed / 50, density)
    found = [row for row in compare(load(store)[0], Selection(baseline="random")) if row.method == "magnitude"]
    assert [row.density_mask for row in found] == [0.5, 0.1]
    means = {(row.method, row.density_mask): row.mean for row in rows(load(store)[0].query("primary"))}
    wanted = [means["magnitude", d] - means["random", d] for d in (0.5, 0.1)]
    assert [row.difference for row in found] == pytest.approx(wanted)


@pytest.mark.parametrize("nearest, other", [(0.101, 0.095), (0.097, 0.106)])
def test_the_nearest_density_of_a_sparse_baseline_is_taken(store, nearest, other):
    for density, value in ((nearest, 0.2), (other, 0.3)):
        write(store, "random", 0, value, density)
    write(store, "magnitude", 0, 0.6, 0.1)
    (row,) = (row for row in compare(load(store)[0], Selection(baseline="random")) if row.method == "magnitude")
    assert row.difference == pytest.approx(share(logits(0.6)) - share(logits(0.2)))


def test_a_sparse_baseline_that_was_asked_for_the_same_goes_before_a_nearer_one(store):
    write(store, "random", 0, 0.2, 0.1)
    write(store, "random", 0, 0.3, 0.11, mask=0.103)
    write(store, "magnitude", 0, 0.6, 0.1, mask=0.103)
    (row,) = (row for row in compare(load(store)[0], Selection(baseline="random")) if row.method == "magnitude")
    assert row.difference == pytest.approx(share(logits(0.6)) - share(logits(0.2)))


def test_only_what_is_selected_is_compared(store):
    for label in ("first", "second"):
        part = {"label": label, "plugin": "x", "version": "1", "options": {}}
        write(store, "dense", 0, 0.9, architecture={**part, "parameters": 1}, cell=f"architecture-{label}")
        write(store, "dense", 0, 0.9, benchmark={**part, "protocol": "test"}, cell=f"benchmark-{label}")
        write(store, "dense", 0, 0.9, suite=f"{label} suite", cell=f"suite-{label}")
    frame, _ = load(store)
    for chosen in ({"architecture": "first"}, {"benchmark": "second"}, {"suite": "first suite"}):
        (row,) = compare(frame, Selection(**chosen))
        assert {name: getattr(row, name) for name in chosen} == chosen


def test_at_density_goes_by_the_mask(store):
    write(store, "dense", 0, 0.9)
    for density, mask in ((0.1, 0.1), (0.11, 0.1101), (0.12, 0.095), (0.5, 0.5)):
        write(store, "genome", 0, 0.8, density, mask=mask)
    found = compare(load(store)[0], Selection(at_density=0.1))
    assert sorted(row.density_mask for row in found) == [0.095, 0.1, 1.0]
    with pytest.raises(UserError, match="fraction"):
        compare(load(store)[0], Selection(at_density=10))


def test_at_density_keeps_the_smaller_networks_that_stand_for_it():
    results = over_seeds("dense", [0.9, 0.91], parameters=1000.0, density_total=1.0)
    for density in (0.2, 0.1):
        results += over_seeds("magnitude", [0.8, 0.81], density, parameters=1000.0, density_total=density)
        size = {"mask": 1.0, "parameters": 1000 * density, "density_total": 1.0}
        for method, match in (("asked", ""), ("matched", f"magnitude {density:g}, hard"), (f"own {density}", "genome")):
            results += over_seeds(method, [0.85, 0.86], density, match=match, **size)
    for density in (0.2, 0.1):
        found = synthetic.table(results, chosen=Selection(at_density=density))
        assert sorted((row.method, row.left) for row in found if row.method != "dense") == [
            (name, 1000 * density) for name in ("asked", "magnitude", "matched", f"own {density}")
        ]
    assert [row.method for row in synthetic.table(results, chosen=Selection(at_density=1.0))] == ["dense"]


def test_a_density_that_no_row_has_is_an_error_that_names_those_there_are(store):
    for density in (None, 0.5, 0.1, 0.02):
        write(store, "genome", 0, 0.8, density, mask=density or 1.0)
    with pytest.raises(UserError, match=r"within 10 % of 0\.2, there are 1, 0\.5, 0\.1 and 0\.02$"):
        compare(load(store)[0], Selection(at_density=0.2))
    for density in np.linspace(0.3, 0.4, 11).tolist():
        write(store, "genome", 0, 0.8, density, mask=density)
    with pytest.raises(UserError, match=r"the nearest are 0\.36, 0\.35, .*, 0\.3 and 0\.1$"):
        compare(load(store)[0], Selection(at_density=0.2))


def test_densities_matched_to_other_cells_stay_apart_and_join_over_seeds(store):
    for seed in range(2):
        for source, mask in (("genome", 0.2), ("rigl", 0.3)):
            record = write(store, source, seed, 0.8, density=mask)
            match = {"cell": record["cell"], "by": "hard"}
            own = mask + seed / 1000  # a genome's density differs between seeds
            write(store, "random", seed, 0.7, own, cell=f"random-as-{source}-{seed}", match=match)
    found = [row for row in rows(load(store)[0].query("primary")) if row.method == "random"]
    assert [(row.match, row.n) for row in found] == [("rigl 0.3, hard", 2), ("genome 0.2, hard", 2)]
    assert [row.density_requested for row in found] == pytest.approx([0.3005, 0.2005])
    assert [row.density_asked for row in found] == [0.3, 0.2]


def test_what_is_asked_for_of_a_matched_row_is_that_of_what_it_is_matched_to_in_the_end(store):
    def as_other(method, other, **how):
        return write(store, method, 0, 0.7, 0.1999, match={"cell": other, "by": "hard"}, **how)["cell"]

    first = write(store, "magnitude", 0, 0.8, 0.2)["cell"]
    as_other("reinit", as_other("random", first))
    as_other("gone", "main.mlp.digits.set.d0.2.s0.0123456789")
    own = write(store, "genome", 0, 0.8, None, mask=0.2)["cell"]
    as_other("wiring", own)
    as_other("round", as_other("about", "b", cell="a"), cell="b")  # no plan can make this
    found = {row.method: row.density_asked for row in load(store)[0].query("primary").itertuples()}
    asked = {method: density for method, density in found.items() if not math.isnan(density)}
    assert asked == {"magnitude": 0.2, "random": 0.2, "reinit": 0.2}


def test_what_is_matched_to_a_matched_row_has_a_row_for_each_of_its_densities(store):
    for density in (0.2, 0.1):
        first = write(store, "magnitude", 0, 0.8, density)["cell"]
        for method in ("random", "again"):
            match = {"cell": first, "by": "hard"}
            first = write(store, method, 0, 0.7, density, cell=f"{method}-{density}", match=match)["cell"]
    frame, left = load(store)
    found = [(row.match, row.density_asked) for row in rows(frame.query("primary")) if row.method == "again"]
    assert found == [("random 0.2, hard", 0.2), ("random 0.1, hard", 0.1)] and not left


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"methods": ["randon"]}, "Did you mean 'random'"),
        ({"baseline": "dens"}, "Did you mean 'dense'"),
        ({"metric": "acuracy"}, "Did you mean 'accuracy'"),
        ({"benchmark": "digit"}, "Did you mean 'digits'"),
        ({"architecture": "mpl"}, "Did you mean 'mlp'"),
        ({"suite": "smal"}, "Did you mean 'small'"),
    ],
)
def test_unknown_names_are_errors(store, option, text):
    fill(store)
    with pytest.raises(UserError, match=text):
        compare(load(store)[0], Selection(**option))


def test_unknown_suite_and_empty_folder(store):
    frame, left = load(store)
    assert frame.empty and not left
    with pytest.raises(UserError, match="no finished run matches"):
        compare(frame)
    with pytest.raises(UserError, match="unknown suite"):
        load(store, ["nothing"])


def test_the_baseline_of_the_same_budget_is_taken(store):
    double = {"steps": 20, "examples": 200, "tokens": 200, "seconds": 2.0, "flops": {"training": 2.0}}
    for seed in range(2):
        write(store, "dense", seed, 0.5, match={"cell": "a", "by": "hard"}, cell=f"short-{seed}")
        write(store, "dense", seed, 0.9, match={"cell": "a", "by": "soft"}, cell=f"long-{seed}", spent=double)
        write(store, "random", seed, 0.6 + seed / 10, spent=double)
    (row,) = (row for row in compare(load(store)[0]) if row.method == "random")
    reference = share(logits(0.9))
    assert row.difference == pytest.approx(share(logits([0.6, 0.7]).mean()) - reference)


def test_evaluation_noise_is_averaged_not_divided_by_seeds(store):
    for seed, stderr in enumerate((0.03, 0.04)):
        unit = {"n": 100, "stderr": stderr, "unit": "fraction", "split": "test"}
        write(store, "a", seed, 0.5, metrics={"accuracy": {"value": 0.5, "direction": "max", "primary": True, **unit}})
    assert rows(load(store)[0])[0].stderr == pytest.approx(((0.03**2 + 0.04**2) / 2) ** 0.5)


def test_no_seed_counts_twice(store):
    fill(store)
    write(store, "random", 1, 0.99, cell="zz-random-again")
    write_plan(store, "small", {"suite": "small", "cells": store.names("small")})
    frame, left = load(store)
    assert [(item.path.stem, item.reason) for item in left] == [
        ("zz-random-again", "is of the same row and seed as another run, counted already")
    ]
    (row,) = (row for row in compare(frame) if row.method == "random")
    assert (row.n, row.mean) == (3, pytest.approx(share(logits([0.70, 0.75, 0.68]).mean())))


@pytest.mark.parametrize(
    "damage",
    [
        {"seed": 1.5},
        {"seed": True},
        {"seed": 2**70},
        {"method": {"label": ["a"]}},
        {"architecture": {"label": None}},
        {"benchmark": {"label": 5}},
        {"experiment": [1]},
        {"density": {"mask": 2.0}},
        {"density": {"mask": -0.1}},
        {"density": {"mask": None}},
        {"density": {"mask": 10**400}},
        {"density": {"mask": 0.1, "scope": [1]}},
        {"density": {"mask": 0.1, "match": {"cell": [1]}}},
        {"spent": [1]},
        {"metrics": [1]},
        {"metrics": {"accuracy": {"value": 0.5, "direction": ["max"]}}},
        {"cell": "another"},
        {"method": {"label": "\ud800"}},
    ],
    ids=str,
)
def test_damaged_records_are_left_out_with_a_reason(store, damage):
    fill(store)
    record = write(store, "bad", 0, 0.5)
    path = store.file("small", "cells", record["cell"]).path
    path.write_text(json.dumps(record | damage))
    frame, left = load(store)
    assert [item.path.stem for item in left] == [path.stem] and left[0].reason
    assert "bad" not in set(frame["method"])


def test_json_that_is_too_deep_is_left_out(store):
    fill(store)
    store.file("small", "cells", "deep").path.write_text("[" * 200_000)
    assert [item.path.stem for item in load(store)[1]] == ["deep"]
