"""What a clock said of networks stands beside their other scores."""

from __future__ import annotations

from math import nan

import pytest
from synthetic import named, over_seeds

from harness.analysis.comparison import rows
from harness.analysis.result_row import ResultRow, as_frame
from harness.report.boards import boards

CLOCK = {"metric": "speedup", "unit": "times as fast", "timed": True, "n_examples": nan, "protocol": "by the clock"}


def trained(benchmark: str, **changes: object) -> list[ResultRow]:
    """Dense and two densities of one method, as one benchmark scores them."""
    scores = {"dense": (None, [0.9, 0.92]), "thin": (0.1, [0.8, 0.82]), "thinner": (0.05, [0.7, 0.72])}
    speeds = {"dense": [1.0, 1.0], "thin": [1.9, 2.1], "thinner": [4.0, 4.4]}
    common = {"benchmark": benchmark, "trained_on": "digits", **changes}
    return [
        row
        for label, (density, values) in scores.items()
        for row in over_seeds(
            label.replace("thinner", "thin"),
            speeds[label] if changes.get("timed") else values,
            density,
            **common,  # type: ignore[arg-type]
        )
    ]


def test_a_row_knows_how_fast_its_networks_are() -> None:
    found = rows(as_frame([*trained("digits"), *trained("speed", **CLOCK)]))
    scored = named(row for row in found if row.benchmark == "digits")
    assert {name: row.speedup_measured for name, row in scored.items()} == pytest.approx(
        {"dense": 1.0, "thin 0.1": 2.0, "thin 0.05": 4.2}
    )
    assert {row.measured_by for row in scored.values()} == {"by the clock"}
    assert all(row.speedup_measured is None for row in found if row.benchmark == "speed")


def test_only_the_same_networks_count() -> None:
    others = trained("speed", **{**CLOCK, "architecture": "another"})
    found = rows(as_frame([*trained("digits"), *others, *trained("lost", **{**CLOCK, "unit": "ms"})]))
    assert all(row.speedup_measured is None for row in found)


def test_the_table_of_costs_has_theory_beside_the_clock() -> None:
    frame = as_frame([*trained("digits"), *trained("speed", **CLOCK)])
    frame["inference_flops"], frame["inference_flops_sparse"] = 100.0, 20.0
    board, speed = (next(b for b in boards(frame) if b.rows[0].benchmark == name) for name in ("digits", "speed"))
    names = [column.name for column in board.cost.columns]
    assert names.index("speed-up, measured") == names.index("speed-up in theory") + 1
    place = names.index("speed-up, measured")
    assert sorted(row[place] for row in board.cost.rows) == ["1.00", "2.00", "4.20"]
    assert "Speed-up, measured: by the clock." in board.cost.notes
    assert "Measured, thin at 0.0500 is fastest: 4.2 times as fast as dense." in board.cost.answer
    assert "speed-up, measured" not in [column.name for column in speed.cost.columns]
