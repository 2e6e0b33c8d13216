"""Curves of the page against the series that they are made of."""

import pytest
from result_files import small_record, write_record, write_series

from harness.analysis.comparison import rows
from harness.analysis.frame import load
from harness.report.html.curves import curves
from harness.results.store import ResultStore


@pytest.fixture
def store(tmp_path):
    return ResultStore(tmp_path)


def written(store, method, seed, evaluations, phases=1):
    cell = f"{method}.s{seed}"
    write_record(store, small_record("s", cell, method, seed, 0.5 + 0.1 * seed))
    loss = [[phase, step, 2.0 - phase - 0.1 * seed - 0.01 * step, 0.1] for phase in range(phases) for step in (10, 20)]
    write_series(store, "s", cell, {"loss": loss, "evaluations": evaluations})


def panels(store):
    frame, left = load(store, ["s"])
    assert not left
    return {panel["what"]: panel["lines"] for panel in curves(store, rows(frame[frame["primary"].astype(bool)]))}


def test_validation_scores_stand_beside_the_loss_as_means_with_the_range_of_seeds(store):
    for seed in (0, 1):
        scores = [
            [0, 10, "validation", {"accuracy": 0.2 + 0.2 * seed}],
            [0, 20, "validation", {"accuracy": 0.6 + 0.1 * seed}],
        ]
        tested = [[0, 20, "test", {"accuracy": 0.99, "spread": 1.0}]]
        written(store, "m", seed, scores + tested)
    found = panels(store)
    assert list(found) == ["training loss", "accuracy on validation data"]
    (line,) = found["accuracy on validation data"]
    assert (line["row"], line["method"], line["seeds"]) == ("m", "m", 2)
    ((points, band),) = line["parts"]
    assert points == [[10, pytest.approx(0.3)], [20, pytest.approx(0.65)]]
    assert band == [[10, 0.2, 0.4], [20, 0.6, 0.7]]
    ((points, band),) = found["training loss"][0]["parts"]
    assert points == [[10, pytest.approx(1.85)], [20, pytest.approx(1.75)]] and band[0] == [10, 1.8, 1.9]


def test_phases_are_parts_whose_steps_go_on(store):
    written(store, "m", 0, [[1, 20, "test", {"accuracy": 0.9}]], phases=2)
    found = panels(store)
    assert list(found) == ["training loss"]  # scores on test data are no validation curve
    parts = found["training loss"][0]["parts"]
    assert [[step for step, _ in points] for points, _ in parts] == [[10, 20], [30, 40]]
    assert [band for _, band in parts] == [[], []]  # one seed has no range
