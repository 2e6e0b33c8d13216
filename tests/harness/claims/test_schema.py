"""Files of claims: what they may say, and where errors point."""

from pathlib import Path

import pytest

from harness.claims.loading import choose, load_papers
from harness.errors import UserError

HEAD = """\
title: A paper
reference: Someone 2026.
sections:
  - title: Digits
    where: table 1
    protocol: One run.
    tolerance: {value: 0.01, because: a point}
    needs: {gpu_hours: 2, estimate: a guess}
    claims:
"""
CELLS = "{suite: small, experiment: main, architecture: mlp, benchmark: digits, method: dense, metric: accuracy}"
SUITE = """\
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
training: {steps: 10}
methods: {dense: , random: {density: [0.5, 0.1]}, shuffle: {source: random}, again: {use: reinit, source: shuffle}}
"""


@pytest.fixture
def load(tmp_path: Path):
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites/small.yaml").write_text(SUITE)

    def read(claims: str, head: str = HEAD):
        (tmp_path / "paper.yaml").write_text(head + claims)
        return load_papers(tmp_path, tmp_path / "suites")

    return read


def claim(text: str = "value: 0.9", measure: str = CELLS) -> str:
    return f"      - {{id: one, quantity: accuracy, {text}, measure: [{measure}]}}\n"


def test_reads_a_claim(load):
    paper = load(claim())["paper"]
    found = next(paper.claims())
    assert (found.id, found.value, found.runs) == ("one", 0.9, 1)
    assert paper.sections[0].tolerance_of(found).value == 0.01


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        (claim().replace("value:", "valeu:"), "paper.yaml:10:39: unknown key 'valeu'. Did you mean 'value'?"),
        (claim("value: 0.9, count: 3"), "give exactly one of value, count and order"),
        (claim("order: better"), "an order is measured by runs with 'against'"),
        (claim("value: 0.9", CELLS.replace("small", "smal")), "unknown suite 'smal'. Did you mean 'small'?"),
        (claim("value: 0.9", CELLS.replace("main", "mian")), "unknown experiment 'mian' of suite 'small'"),
        (claim("value: 0.9", CELLS.replace("dense", "densee")), "Did you mean 'dense'?"),
        (claim("value: 0.9", CELLS.replace("metric:", "metrik:")), "Did you mean 'metric'?"),
        (claim("value: 0.9", CELLS.replace("dense", "random")), "has the densities [0.5, 0.1]: give density"),
        (
            claim("value: 0.9", CELLS.replace("dense", "random, density: 0.3")),
            "'random' is not asked for density 0.3 but for [0.5, 0.1]",
        ),
        (claim("value: 0.9", CELLS.replace("dense", "again")), "'again' has the densities [0.5, 0.1]: give density"),
        (
            claim("value: 0.9", CELLS.replace("dense", "again, density: 0.3")),
            "'again' is not asked for density 0.3 but for [0.5, 0.1]",
        ),
        (
            claim("value: 0.9", CELLS.replace("dense", "dense, density: 0.5")),
            "'dense' is not asked for density 0.5 but for none",
        ),
        (claim("value: 0.9", CELLS.replace("metric: accuracy", "record: soft")), "paper.yaml:10:"),
        (claim("value: 0.9", CELLS.replace("}", ", record: hard_density}")), "give either metric or record"),
        (claim("value: 0.9", CELLS.replace("}", ", step: 5}")), "step goes with record"),
        (claim() + claim(), "the id 'one' is taken already"),
        (
            claim("order: better", CELLS.replace("}", ", against: {method: dens}}")),
            "unknown method 'dens' of ",
        ),
        (claim("value: 0.9", "{count: own_parameters, architecture: {use: mlp}, data: {kind: language}}"), "inputs"),
        (claim("order: better, tolerance: {value: 1, because: x}", ""), "'better' has no tolerance"),
        (claim("value: .nan"), "value"),
        (claim("value: 0.9", "{formula: 1 + 1}"), "it measures a count"),
        (claim("count: 2", "{formula: one +}"), "'one +' is no formula"),
        (claim("count: 2", "{formula: oen + 1}"), "unknown claim with a number 'oen'. Did you mean 'one'?"),
        (claim("count: 2", "{formula: __import__('os')}"), "may not stand in a formula"),
        (claim("order: better, bound: at_most", ""), "a bound goes with value or count"),
        (
            claim("value: 0.9", CELLS.replace("}", ", size: {network: a, data: b, steps: c}}")),
            "claim 'one' is measured at a size: say in its section",
        ),
        (claim("value: 0.9", CELLS.replace("}", ", size: {network: a, data: b}}")), "steps"),
    ],
)
def test_errors_say_where_and_what(load, claims, expected):
    with pytest.raises(UserError) as error:
        load(claims)
    assert expected in str(error.value) and "paper.yaml:" in str(error.value)


def test_hours_come_with_an_estimate(load):
    with pytest.raises(UserError, match="gpu_hours and estimate go together"):
        load(claim(), HEAD.replace(", estimate: a guess", ""))
    with pytest.raises(UserError, match="needs a tolerance"):
        load(claim(), HEAD.replace("    tolerance: {value: 0.01, because: a point}\n", ""))


def test_names_are_not_looked_up_without_suites(tmp_path, load):
    (tmp_path / "paper.yaml").write_text(HEAD + claim("value: 0.9", CELLS.replace("small", "elsewhere")))
    assert load_papers(tmp_path, tmp_path / "nothing")


def test_suites_with_old_names_of_keys_are_read(tmp_path, load):
    (tmp_path / "suites/small.yaml").write_text(SUITE + "budgets: {short: {training.steps: 5}}\n")
    assert load(claim())


def test_rows_of_a_sweep_are_methods_of_their_suite(tmp_path, load):
    sweep = SUITE.replace("steps: 10", "steps: 10, lr: [1e-3, 3e-3]") + "experiments: {main: {training: {steps: 20}}}\n"
    (tmp_path / "suites/small.yaml").write_text(sweep)
    assert load(claim(measure=CELLS.replace("dense", "dense-lr-3e-3")))
    with pytest.raises(UserError, match="unknown method 'dense' of experiment 'main'"):
        load(claim())


def test_folder_and_paper_names(tmp_path, load):
    with pytest.raises(UserError, match="no claims in"):
        load_papers(tmp_path / "suites" / "none")
    papers = load(claim())
    assert list(choose(papers, [])) == list(choose(papers, ["paper"])) == ["paper"]
    with pytest.raises(UserError, match="Did you mean 'paper'"):
        choose(papers, ["papre"])


def test_a_measurement_is_of_the_claims_size_unless_it_says_another(load):
    size, other = "{network: wide, data: much, steps: many}", "{network: narrow, data: much, steps: many}"
    sized = HEAD.replace("    protocol", f"    size: {size}\n    protocol")
    measures = [CELLS, CELLS.replace("}", f", size: {size}}}"), CELLS.replace("}", f", size: {other}}}")]
    section = load(claim("value: 0.9", ", ".join(measures)), sized)["paper"].sections[0]
    measured = section.claims[0].measure
    assert [section.at_its_size(m) for m in measured] == [True, True, False]
    assert measured[2].size.instead_of(section.size) == "narrow instead of wide"
    assert measured[1].size.instead_of(section.size) == ""


def test_a_side_without_a_density_says_so(load):
    """What ``against`` does not name is the same; a dense network has no density that could be."""
    own = CELLS.replace("dense", "again, density: 0.5")
    paper = load(claim("order: better", own.replace("}", ", against: {method: dense, density: null}}")))["paper"]
    measure = next(paper.claims()).measure[0]
    assert (measure.density, measure.other().method, measure.other().density) == (0.5, "dense", None)
    with pytest.raises(UserError, match="'dense' is not asked for density"):
        load(claim("order: better", own.replace("}", ", against: {method: dense}}")))


def test_what_holds_in_general_is_an_order(load):
    general = HEAD.replace("    protocol", "    general: abstract\n    protocol")
    order = CELLS.replace("}", ", against: {benchmark: digits}}")
    assert load(claim("order: better", order), general)["paper"].sections[0].general == "abstract"
    with pytest.raises(UserError, match="claim 'one': general sections hold orders only"):
        load(claim(), general)


def test_published_numbers_are_those_of_values_and_counts(load):
    paper = load(claim("value: 0.9") + claim("order: better", "").replace("one", "two"))["paper"]
    assert paper.published() == {"one": 0.9}


def test_profiles_of_a_suite_are_suites_of_their_own(tmp_path, load):
    few = SUITE + "profiles: {few: {training.steps: 5, methods.random.density: [0.2]}, all: {}}\n"
    (tmp_path / "suites/small.yaml").write_text(few)
    for suite in ("small", "small-all", "small-few"):
        assert load(claim(measure=CELLS.replace("small", suite)))
    assert load(claim(measure=CELLS.replace("small", "small-few").replace("dense", "random, density: 0.2")))
    with pytest.raises(UserError, match=r"'random' is not asked for density 0\.5 but for"):
        load(claim(measure=CELLS.replace("small", "small-few").replace("dense", "random, density: 0.5")))
    (tmp_path / "suites/small.yaml").write_text(few + "profile: few\n")  # one is always taken: `small` never runs
    with pytest.raises(UserError, match="unknown suite 'small'"):
        load(claim())
