"""Numbers on an axis of densities."""

import pytest

from harness.report.figures.scale import alike


@pytest.mark.parametrize(
    ("densities", "ticks"),
    [
        ([0.5, 0.1999, 0.0501], ["0.500", "0.200", "0.0501"]),
        ([0.5, 0.2, 0.05], ["0.5", "0.2", "0.05"]),
        ([1.0, 0.25, 0.1], ["1.0", "0.25", "0.10"]),
        ([0.5, 0.0], ["0.5", "0"]),
        ([0.5, 2e-6], ["0.5", "2e-6"]),
    ],
)
def test_densities_on_an_axis_have_equal_significant_digits(densities: list[float], ticks: list[str]) -> None:
    assert [text.replace("\N{MINUS SIGN}", "-") for text in alike(densities)] == ticks
