"""Where rows stand among densities."""

from typing import Any

import pytest

from harness.analysis.comparison_row import ComparisonRow
from harness.report.places import label, lost, place


def row(number: int, density: float, parameters: float | None, total: float | None, **others: Any) -> ComparisonRow:
    names = ("suite", "experiment", "architecture", "benchmark", "trained_on", "protocol", "unit", "metric")
    made: dict[str, Any] = {
        **dict.fromkeys(names, "x"),
        "direction": "max",
        "method": f"m{number}",
        "id": number,
        "density_mask": density,
        "density_low": density,
        "density_high": density,
        "density_total": total,
        "parameters": parameters,
        "mean": 0.5,
        "n": 3,
    }
    return ComparisonRow(**made | others)


def small(parameters: float) -> ComparisonRow:
    return row(9, 1.0, parameters, 1.0, density_asked=0.1, small=True)


WHOLE = row(0, 1.0, 1000.0, 1.0)
MASKED = [row(1, 0.5, 1000.0, 0.6), row(2, 0.1, 1000.0, 0.28)]  # 800 of 1,000 are maskable


def test_a_mask_decides_where_there_is_one() -> None:
    table = [WHOLE, *MASKED]
    assert [place(one, table) for one in table] == [1.0, 0.5, 0.1]


@pytest.mark.parametrize(
    ("parameters", "density"), [(280.0, 0.1), (600.0, 0.5), (400.0, 0.25), (200.0, 0.0), (50.0, 0.0), (999.0, 0.99875)]
)
def test_a_smaller_network_has_the_density_that_leaves_as_many_parameters(parameters: float, density: float) -> None:
    table = [WHOLE, *MASKED, small(parameters)]
    assert place(table[-1], table) == pytest.approx(density)


def test_without_a_masked_row_it_is_the_share_of_parameters() -> None:
    assert place(small(250.0), [WHOLE, small(250.0)]) == 0.25


def test_a_network_of_unknown_size_is_not_smaller() -> None:
    unknown = row(9, 1.0, None, None, density_asked=0.1)
    assert place(unknown, [WHOLE, unknown]) == 1.0


def test_names_say_what_the_density_does_not() -> None:
    soft = row(3, 1.0, 1000.0, 1.0, mask_mean=0.0476)
    table = [WHOLE, *MASKED, soft, small(280.0)]
    assert [label(one) for one in table] == [*("m0", "m1", "m2", "m3 (soft masks, mean 0.05)", "m9 (smaller network)")]


def test_a_row_is_lost_where_no_seed_works() -> None:
    assert [lost(row(0, 1.0, 1.0, 1.0, broken=dict.fromkeys(range(n), "cut"))) for n in range(4)] == [False] * 3 + [
        True
    ]
