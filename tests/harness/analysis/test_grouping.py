"""Which rows stand together, may be compared and ranked: soft, mixed, smaller, of other budgets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from result_files import write_record
from synthetic import named, over_seeds, table

from harness.analysis.comparison import Selection, selected
from harness.analysis.frame import load
from harness.analysis.grouping import comparable, mixed
from harness.analysis.result_row import ResultRow, program_text
from harness.report.comparisons import pareto
from harness.report.score_table import score_table
from harness.results.record_parts import ProgramPhase
from harness.results.store import ResultStore

FIVE = [0.90, 0.91, 0.92, 0.93, 0.905]
VARIED = [0.004, 0.045, 0.009, 0.026, 0.045]
SMALL = {"parameters": 100.0, "mask": 1.0, "density_total": 1.0}
"""A dense network of a tenth of the parameters."""
LARGE = {"parameters": 1000.0, "density_total": 0.1}


def lower(by: float) -> list[float]:
    return [value - by - 0.001 * i for i, value in enumerate(FIVE)]


# --- soft masks ---------------------------------------------------------------------------------


def soft_results() -> list[ResultRow]:
    return [
        *over_seeds("dense", FIVE),
        *over_seeds("genome", lower(0.01), mask=1.0, mask_mean=[0.29, 0.30, 0.31, 0.32, 0.33]),
        *over_seeds("random", lower(0.1), match="genome, soft", mask=[0.291, 0.301, 0.309, 0.321, 0.329]),
        *over_seeds("random_hard", lower(0.3), match="genome, hard", mask=0.04),
        *over_seeds("other", lower(0.2), 0.31),
    ]


def test_a_record_of_soft_masks_stands_at_density_one(tmp_path: Any) -> None:
    store = ResultStore(tmp_path)
    for seed in range(2):
        for name, masks in (("genome", "soft"), ("hard", "hard")):
            density = {"mask": 0.05, "nonzero": 1.0 if masks == "soft" else 0.05, "total": 1.0, "soft": 0.3}
            record = {
                **{"schema": 2, "status": "done", "cell": f"{name}-{seed}", "suite": "s", "seed": seed},
                **{part: {"label": part} for part in ("architecture", "benchmark")},
                **{"method": {"label": name}, "density": density, "evaluation": {"masks": masks}},
                "metrics": {"accuracy": {"value": 0.5 + seed / 10, "direction": "max", "primary": True}},
            }
            write_record(store, record)
    (rows,) = selected(load(store)[0])
    found = named(rows)
    assert (found["genome"].density_mask, found["genome"].mask_mean) == (1.0, pytest.approx(0.3))
    assert (found["hard"].density_mask, found["hard"].mask_mean) == (0.05, None)
    assert found["genome"].group != found["hard"].group
    assert {row.rank for row in rows} == {None}


def test_soft_rows_have_no_rank_and_a_column_for_their_mean_mask() -> None:
    rows = table(soft_results())
    genome = named(rows)["genome"]
    assert genome.rank is None and not genome.rival and not genome.mixed
    shown = score_table(rows)
    headings = [column.name for column in shown.columns]
    cells = {line[headings.index("method")]: dict(zip(headings, line, strict=True)) for line in shown.rows}
    assert cells["genome"]["density"] == "1.0000" and cells["genome"]["mean mask"] == "0.3100"
    assert cells["dense"]["mean mask"] == cells["other"]["mean mask"] == "\N{EN DASH}"


def test_a_soft_row_is_the_dearest_of_a_pareto_front() -> None:
    soft = [row for row in soft_results() if row.method != "dense"]
    (front,) = pareto([table(soft)], "density")
    assert [(line[1], line[2]) for line in front.rows][-1] == ("genome (soft masks, mean 0.31)", "1.0000")


def test_a_soft_row_is_compared_with_what_has_its_mean_mask_only() -> None:
    rows = named(table(soft_results(), ["genome against random", "genome against random_hard", "genome against other"]))
    (contrast,) = rows["genome"].contrasts
    assert contrast.control == "random" and contrast.p is not None
    assert not comparable(rows["genome"], rows["other"])  # 0.31 is their mean, and no seed's but one
    turned = named(table(soft_results(), ["random against genome", "random_hard against genome"]))
    assert [c.control for c in turned["random"].contrasts] == ["genome"] and not turned["random_hard"].contrasts


def test_two_soft_rows_and_a_whole_network_are_comparable() -> None:
    results = soft_results() + over_seeds("annealed", lower(0.05), mask=1.0, mask_mean=0.7)
    rows = named(table(results, ["genome against annealed", "genome against dense"]))
    assert [contrast.control for contrast in rows["genome"].contrasts] == ["annealed", "dense"]


# --- mixed densities ----------------------------------------------------------------------------


def test_what_counts_as_mixed() -> None:
    assert mixed([0.1, 0.094]) and not mixed([0.1, 0.095]) and not mixed([0.3]) and not mixed([0.0, 0.0])


def mixed_results(control: list[float] | float = VARIED) -> list[ResultRow]:
    return [
        *over_seeds("dense", FIVE),
        *over_seeds("genome", lower(0.1), mask=VARIED),
        *over_seeds("random", lower(0.2), match="genome, hard", mask=control),
        *over_seeds("fixed", lower(0.2), 0.0258),
    ]


QUESTIONS = ["genome against random", "genome against fixed", "genome against dense"]


def test_mixed_rows_have_no_mean_no_interval_and_no_rank() -> None:
    genome = named(table(mixed_results()))["genome"]
    told = genome.told()
    for key in ("mean", "std", "ci_low", "ci_high", "rank", "difference", "control_difference", "p_value"):
        assert told[key] is None, key
    assert told["mixed"] and (told["density_low"], told["density_high"]) == (0.004, 0.045)


def test_a_mixed_row_is_compared_seed_by_seed_at_equal_densities_only() -> None:
    rows = named(table(mixed_results(), QUESTIONS))
    (contrast,) = rows["genome"].contrasts
    assert (contrast.control, contrast.n) == ("random", 5) and contrast.p is not None
    apart = [0.004, 0.045, 0.0095, 0.026, 0.045]  # one seed by more than 5 %
    assert not named(table(mixed_results(apart), QUESTIONS))["genome"].contrasts


def test_a_baseline_of_equal_densities_serves_a_mixed_row_and_no_other() -> None:
    rows = named(table(mixed_results(), chosen=Selection(baseline="random")))
    assert [row.method for row in rows.values() if row.difference is not None] == ["genome"]
    assert rows["genome"].contrast is not None and rows["genome"].contrast.control == "random"
    assert rows["fixed"].baseline is None  # its density is the mean of the baseline's, and none of them


def test_the_table_shows_mixed_rows_seed_by_seed() -> None:
    shown = score_table(table(mixed_results()))
    assert shown.detail is not None
    assert shown.detail.rows[:3] == [
        ["density", "0.004", "0.0450", "0.009", "0.0260", "0.0450"],
        ["genome", "0.8000", "0.8090", "0.8180", "0.8270", "0.8010"],
        ["random", "0.7000", "0.7090", "0.7180", "0.7270", "0.7010"],
    ]
    headings = [column.name for column in shown.columns]
    (line,) = (line for line in shown.rows if line[headings.index("method")] == "genome")
    assert line[headings.index("score")] == "0.800 to 0.827"
    assert line[headings.index("density")] == "0.004\N{EN DASH}0.0450"


def test_exactly_five_percent_is_equal() -> None:
    results = [*over_seeds("a", FIVE, 0.1), *over_seeds("b", lower(0.2), 0.095), *over_seeds("c", FIVE, 0.0949)]
    rows = named(table(results))
    assert rows["a"].group == rows["b"].group != rows["c"].group
    assert comparable(rows["a"], rows["b"]) and not comparable(rows["a"], rows["c"])


# --- factors ------------------------------------------------------------------------------------

CURVE = [0.005, 0.0125, 0.03, 0.08, 0.2]


def curve_results(densities: list[float], score: float, **changes: Any) -> list[ResultRow]:
    """Scores of no scale that are log2 of density, and another method's own density of 1/64."""
    unit = {"unit": "points", "direction": "max"}
    found = over_seeds("genome", [score, score + 1, score], mask=1 / 64, **unit, **changes)
    for density in densities:
        found += over_seeds("random", [float(np.log2(density))] * 3, density, **unit)
    return found


def test_a_factor_is_read_from_a_curve_of_five_densities() -> None:
    """-5, -4, -5 are reached at 1/32, 1/16, 1/32: 2, 4, 2 times 1/64."""
    factor = named(table(curve_results(CURVE, -5.0)))["genome"].factors["random"]
    assert [found.value for found in factor.factors] == pytest.approx([2, 4, 2])
    assert factor.mean == pytest.approx((2 * 4 * 2) ** (1 / 3))


def test_outside_the_curve_there_is_a_bound_and_no_mean() -> None:
    factor = named(table(curve_results(CURVE, -3.0)))["genome"].factors["random"]  # -2 is above log2(0.2)
    assert [str(found) for found in factor.factors] == ["8", "> 12.8", "8"]
    assert factor.mean is None and factor.low is None


@pytest.mark.parametrize(
    ("densities", "changes"),
    [
        (CURVE[:4], {}),
        (CURVE, {"examples": 200.0}),
        (CURVE, {"density_scope": "maskable[attn]"}),
        ([0.0, *CURVE[:4]], {}),
    ],
    ids=["four densities", "another budget", "another scope", "four and zero"],
)
def test_without_a_curve_there_is_no_factor(densities: list[float], changes: dict[str, Any]) -> None:
    if densities[0] == 0:
        results = [replace(row, density_mask=0.0, value=-9.0) for row in curve_results([0.001], -5.0) if row.seed < 3]
        results = [row for row in results if row.method == "random"] + curve_results(densities[1:], -5.0)
    else:
        results = curve_results(densities, -5.0, **changes)
    assert named(table(results))["genome"].factors == {}


# --- smaller networks ---------------------------------------------------------------------------


def small_results(left: float = 100.0, **changes: Any) -> list[ResultRow]:
    small = {**SMALL, "parameters": left, **changes}
    return [
        *over_seeds("dense", FIVE, parameters=1000.0, density_total=1.0),
        *over_seeds("random", lower(0.2), 0.1, **LARGE, flops=2.0),
        *over_seeds("magnitude", lower(0.1), 0.1, **LARGE, flops=2.0),
        *over_seeds("small_dense", lower(0.3), 0.1, **small, flops=0.2),
    ]


@pytest.mark.parametrize("left", [96.0, 100.0, 104.0])
def test_a_smaller_network_is_ranked_with_rows_of_as_many_parameters(left: float) -> None:
    rows = named(table(small_results(left)))
    assert {name: row.rank for name, row in rows.items()} == {
        "dense": None,
        "magnitude": 1,
        "random": 2,
        "small_dense": 3,
    }
    assert rows["small_dense"].group == rows["random"].group and rows["small_dense"].density_mask == 1
    assert rows["small_dense"].flops == 0.2


@pytest.mark.parametrize("changes", [{"left": 94.0}, {"left": 106.0}, {"examples": 200.0}])
def test_a_smaller_network_of_other_parameters_or_training_is_not(changes: dict[str, float]) -> None:
    rows = named(table(small_results(**changes), ["random against small_dense"]))
    assert rows["small_dense"].rank is None and rows["random"].rank == 2
    assert not rows["random"].contrasts


def test_a_smaller_network_is_no_control_of_other_sizes() -> None:
    results = small_results() + over_seeds("random", lower(0.25), 0.02, parameters=1000.0, density_total=0.02)
    rows = named(table(results, ["random against small_dense", "small_dense against dense"]))
    assert [c.control for c in rows["random 0.1"].contrasts] == ["small_dense"]
    assert not rows["random 0.02"].contrasts
    assert [c.control for c in rows["small_dense"].contrasts] == ["dense"]
    baseline = named(table(results, chosen=Selection(baseline="small_dense")))
    assert baseline["random 0.1"].difference is not None
    assert baseline["random 0.02"].difference is None and baseline["dense"].difference is None


def small_and_mixed(sizes: list[float]) -> list[ResultRow]:
    """A row of mixed densities of 1,000 weights, all of them maskable, and networks of as many parameters."""
    return [
        *over_seeds("dense", FIVE, parameters=1000.0, density_total=1.0),
        *over_seeds("genome", lower(0.1), mask=VARIED, parameters=1000.0, density_total=VARIED),
        *over_seeds(
            "small_dense", lower(0.3), 0.1, match="genome, hard", mask=1.0, parameters=sizes, density_total=1.0
        ),
    ]


def test_smaller_networks_of_several_sizes_have_no_mean_either() -> None:
    sizes = [4.0, 45.0, 9.0, 26.0, 45.0]
    found = table(small_and_mixed(sizes), ["genome against small_dense", "small_dense against dense"])
    rows = named(found)
    small = rows["small_dense"]
    told = small.told()
    assert small.small and small.mixed and not small.rival
    for key in ("mean", "std", "ci_low", "ci_high", "rank", "difference"):
        assert told[key] is None, key
    assert [(c.control, c.n) for c in rows["genome"].contrasts] == [("small_dense", 5)], "seed by seed"
    assert not small.contrasts, "with a whole network there is nothing in common"
    shown = score_table(found)
    headings = [column.name for column in shown.columns]
    (line,) = (line for line in shown.rows if line[headings.index("method")] == "small_dense")
    cells = dict(zip(headings, line, strict=True))
    assert (cells["density"], cells["parameters left / all"]) == ("1.0000", "4\N{EN DASH}45")
    assert cells["score"] == "0.600 to 0.627"
    assert shown.detail is not None and ["parameters", "4", "45", "9", "26", "45"] in shown.detail.rows
    assert shown.answer[0].startswith("At the densities of genome (0.004\N{EN DASH}0.0450), genome beats small_dense")


def test_a_smaller_network_is_as_large_seed_by_seed() -> None:
    apart = [4.0, 45.0, 9.0, 26.0, 42.0]  # one seed by more than 5 %
    rows = named(table(small_and_mixed(apart), ["genome against small_dense"]))
    assert not rows["genome"].contrasts
    assert not named(table(small_and_mixed([24.0, 25.0, 24.0, 25.0, 24.0])))["small_dense"].mixed


# --- other things that must be equal ------------------------------------------------------------


def test_another_scope_is_another_density() -> None:
    results = over_seeds("a", lower(0.1), 0.1) + over_seeds("b", lower(0.2), 0.1, density_scope="maskable[skip]")
    assert not any(row.contrasts for row in table(results, ["a against b"]))


@pytest.mark.parametrize(("density", "expected"), [(0.095, True), (0.0949, False), (0.108, False)])
def test_a_masked_baseline_is_as_near_as_a_control_of_a_question(density: float, expected: bool) -> None:
    results = over_seeds("a", lower(0.1), 0.1) + over_seeds("b", lower(0.2), density)
    row = named(table(results, chosen=Selection(baseline="b")))["a"]
    assert (row.difference is not None, row.baseline is not None, bool(row.contrasts)) == (expected,) * 3
    asked = named(table(results, ["a against b"]))["a"]
    assert bool(asked.contrasts) == expected


def test_a_control_of_the_same_budget_goes_before_one_of_another() -> None:
    results = over_seeds("a", lower(0.1), 0.1, examples=100.0)
    results += over_seeds("b", lower(0.2), 0.1, examples=200.0)
    assert [c.control for row in table(results, ["a against b"]) for c in row.contrasts] == ["b"]  # better than none
    results += over_seeds("b", lower(0.3), 0.098, examples=100.0)
    (contrast,) = (c for row in table(results, ["a against b"]) for c in row.contrasts)
    assert contrast.difference == pytest.approx(0.2, abs=0.03)


def test_a_table_shows_how_a_program_spends_its_steps() -> None:
    phases = [ProgramPhase.model_validate({"type": "Train", "steps": steps}) for steps in (5372, 5371)]
    assert program_text(phases) == "5,372 + 5,371"
    assert program_text(5 * phases[:1]) == "5 x 5,372" and program_text([]) == ""
    same = over_seeds("a", FIVE, 0.1, steps=10_743.0, program="5,372 + 5,371")
    assert any("5,372 + 5,371 steps" in note for note in score_table(table(same)).notes)
    shown = score_table(table(same + over_seeds("b", FIVE, 0.1, steps=10_743.0, program="10,743")))
    assert {"5,372 + 5,371", "10,743"} <= {cell.removesuffix(" steps") for line in shown.rows for cell in line}
