"""``harness claims`` and CLAIMS.md."""

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from harness.claims.findings import KEYS, Finding
from harness.claims.schema import Paper, Section
from harness.claims.verdicts import VERDICTS, Judgement
from harness.cli import claims
from harness.errors import UserError
from harness.report.claims_page import summary
from harness.report.tables import print_tables

ROOT = Path(__file__).resolve().parents[3]
PAPER = """\
title: "A <script>alert(1)</script> paper"
reference: Someone | 2026.
sections:
  - title: Digits
    where: table 1
    protocol: One run of [a](http://example.org).
    traps: ["<img src=x>"]
    size: {network: wide, data: much, steps: many}
    tolerance: {value: 0.1, because: a point}
    needs: {gpu_hours: 2, estimate: a guess}
    claims:
      - id: made
        quantity: accuracy
        value: 0.81
        rounding: 0.01
        measure: [&cells {suite: small, experiment: main, architecture: mlp, benchmark: digits, method: grown,
                          metric: accuracy}]
      - {id: alone, quantity: accuracy, value: 0.5, measure: [{<<: *cells, method: lone}]}
      - {id: open, quantity: accuracy, value: 0.7, measure: [{<<: *cells, method: other}]}
      - id: toy
        quantity: accuracy
        value: 0.8123
        measure: [{<<: *cells, size: {network: narrow, data: much, steps: many}, differs: [half the rate]}]
      - {id: third, quantity: a third of it, count: 0.3, rounding: 0.1, measure: [{formula: made / 3}]}
      - {id: half, quantity: half of it, count: 0.3, rounding: 0.1, measure: [{formula: made / 2}]}
"""


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims/paper.yaml").write_text(PAPER)
    cells = tmp_path / "results/small/cells"
    cells.mkdir(parents=True)
    for method, seeds in (("grown", 3), ("lone", 1)):
        for seed in range(seeds):
            name = f"main.mlp.digits.{method}.s{seed}.abc"
            value = {"value": 0.8 + seed / 100, "direction": "max", "unit": "fraction", "primary": True}
            record = {"schema": 1, "status": "done", "cell": name, "suite": "small", "experiment": "main", "seed": seed}
            record |= {key: {"label": label} for key, label in (("architecture", "mlp"), ("benchmark", "digits"))}
            record |= {"method": {"label": method}, "density": {"mask": 1.0}, "metrics": {"accuracy": value}}
            (cells / f"{name}.json").write_text(json.dumps(record))
    return tmp_path


def invoke(folders, *arguments, width="80"):
    given = ["--claims", folders / "claims", "--results", folders / "results", "--suites", folders / "none"]
    options = {"env": {"COLUMNS": width}, "catch_exceptions": False}
    result = CliRunner().invoke(claims.command, [*map(str, [*arguments, *given])], **options)
    assert result.exit_code == 0
    return result


def test_table_and_page(folders):
    result = invoke(folders)
    lines = result.stdout.splitlines()
    assert any(line.split()[:2] == ["made", "0.81"] and line.endswith("reproduced") for line in lines)
    assert any(line.startswith("open") and "not run: 2 GPU-h" in line for line in lines)
    assert all(len(line) <= 80 for line in lines)
    page = (folders / "results/CLAIMS.md").read_text()
    assert "| made " in page and "small/main.mlp.digits.grown.s0 s1 s2" in page.replace("\\", "")
    assert "At another size" not in page and "Runs of made: small/" in page
    assert "one seed: no interval" in page and "not run: needs 2 GPU-hours" in page


def test_the_answer_comes_first_and_is_what_the_table_counts(folders):
    stdout = " ".join(invoke(folders).stdout.partition("A <script>")[0].split())
    assert stdout == (
        "Of 6 claims 2 are reproduced: 1 by runs (made), 1 by the paper's own numbers. "
        "1 is not reproduced: 1 by the paper's own numbers (half). "
        "1 is inconclusive. "
        "1 is not run at that size, only at another one, which says nothing about them. "
        "1 is not run at all. What was not run takes at most 2 GPU-hours."
    )
    page = (folders / "results/CLAIMS.md").read_text()
    first, table = page.index("Of 6 claims"), page.index("| paper ")
    assert first < table < page.index("## Not reproduced") < page.index("## A ")


def test_what_is_of_another_size_stands_apart(folders):
    invoke(folders)
    page = (folders / "results/CLAIMS.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| toy ")]
    beside, apart = rows
    assert "0.8123" in beside and "not run at that size: needs 2 GPU-hours" in beside and "0.81 " not in beside
    assert "0.8100" in apart and "0.8123" not in apart and "reproduced" not in apart
    assert "[small](small/leaderboard.md)" in page and "narrow instead of wide" in page
    assert page.index(beside) < page.index("Run at another size only") < page.index(apart)
    assert "Differs besides (toy): half the rate." in page


GENERAL = """\
  - title: Which is better
    where: abstract
    protocol: All of them.
    size: {network: wide, data: much, steps: many}
    general: '"of methods" <b>as such</b>'
    needs: {other: an hour}
    claims:
      - id: held
        quantity: grown is better than random
        order: better
        measure:
          - &order {suite: small, experiment: main, architecture: mlp, benchmark: digits, method: grown,
                    metric: accuracy, against: {method: random}, size: {network: narrow, data: much, steps: many},
                    differs: [half the rate]}
      - {id: failed, quantity: and the other way round, order: better,
         measure: [{<<: *order, method: random, against: {method: grown}}]}
      - {id: undecided, quantity: grown is better than lone, order: better,
         measure: [{<<: *order, against: {method: lone}}]}
      - {id: untried, quantity: grown is better than nothing, order: better,
         measure: [{<<: *order, against: {method: nothing}}]}
"""


def test_directions_stand_in_one_list(folders):
    cells = folders / "results/small/cells"
    for seed in range(3):
        text = (cells / f"main.mlp.digits.grown.s{seed}.abc.json").read_text().replace("grown", "random")
        value = f'"value": {0.8 + seed / 100}'
        assert value in text
        (cells / f"main.mlp.digits.random.s{seed}.abc.json").write_text(
            text.replace(value, f'"value": {0.6 + seed / 50}')
        )
    (folders / "claims/paper.yaml").write_text(PAPER + GENERAL)
    stdout = " ".join(invoke(folders).stdout.split())
    said = "Of 3 directions that papers state in general, as tried here, 1 holds, 1 does not (failed), 1 is undecided."
    assert said in stdout
    page = (folders / "results/CLAIMS.md").read_text()
    table = page.partition("## Published directions")[2].partition("\n## ")[0]
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("| ")}
    assert list(rows) == ["claim", "held", "failed", "undecided", "untried"]
    assert "+0.1900" in rows["held"] and "**holds here**" in rows["held"]  # 0.20, 0.19 and 0.18 better
    assert "-0.1900" in rows["failed"] and "**does not hold here**" in rows["failed"]
    assert " undecided here" in rows["undecided"] and "**" not in rows["undecided"]
    assert "not run" in rows["untried"]
    own = page.partition("### Which is better")[2]
    assert "- Stated in general: " in own and "<b>" not in own.replace("\\<b>", "")
    assert "Of another size (held, failed, undecided): narrow instead of wide." in own
    assert "Differs in protocol (held, failed, undecided): half the rate." in own
    assert "At another size" not in own and "Run at another size only" not in own
    rows = json.loads(invoke(folders, "--verdict", "holds", "--verdict", "fails", "--format", "json").stdout)
    assert [(row["claim"], row["other_size"]) for row in rows] == [
        ("held", "narrow instead of wide"),
        ("failed", "narrow instead of wide"),
    ]


def test_page_is_escaped_and_its_links_lead_somewhere(folders):
    invoke(folders)
    page = (folders / "results/CLAIMS.md").read_text()
    assert "<script" not in page.replace("\\<script", "") and "<img" not in page.replace("\\<img", "")
    assert "[a](http" not in page
    targets = [part.partition(")")[0] for part in page.split("](")[1:]]
    assert targets and all((folders / "results" / target).is_file() for target in targets if target.endswith("json"))


def test_same_bytes_twice(folders):
    invoke(folders)
    first = (folders / "results/CLAIMS.md").read_bytes()
    invoke(folders, width="160")
    assert (folders / "results/CLAIMS.md").read_bytes() == first


def test_formats_agree(folders):
    rows = json.loads(invoke(folders, "--format", "json").stdout)
    assert [row["claim"] for row in rows] == ["made", "alone", "open", "toy", "third", "half"] and tuple(
        rows[0]
    ) == KEYS
    assert rows[0]["measured"] == pytest.approx(0.81) and rows[0]["n"] == 3 and rows[0]["unit"] == "fraction"
    assert rows[1]["ci_low"] is None and rows[1]["verdict"] == "inconclusive"
    assert rows[2]["gpu_hours"] == 2 and rows[2]["measured"] is None
    table = list(csv.DictReader(io.StringIO(invoke(folders, "--format", "csv").stdout)))
    assert [row["verdict"] for row in table] == [row["verdict"] for row in rows]
    assert invoke(folders, "--format", "markdown").stdout == (folders / "results/CLAIMS.md").read_text()


@pytest.mark.parametrize(
    ("verdict", "ids"),
    [
        ("reproduced", ["made", "third"]),
        ("not-run", ["open"]),
        ("other-size", ["toy"]),
        ("not-reproduced", ["half"]),
        ("differs", []),
    ],
)
def test_filter_changes_what_is_printed_only(folders, verdict, ids):
    rows = json.loads(invoke(folders, "--verdict", verdict, "--format", "json").stdout)
    assert [row["claim"] for row in rows] == ids
    assert "| open " in (folders / "results/CLAIMS.md").read_text()


def test_named_papers_write_nothing(folders):
    invoke(folders, "paper")
    assert not (folders / "results/CLAIMS.md").exists()
    with pytest.raises(UserError, match="Did you mean 'paper'"):
        invoke(folders, "papr")


def test_no_results_at_all(folders):
    shutil.rmtree(folders / "results")
    rows = json.loads(invoke(folders, "--format", "json").stdout)
    assert {row["verdict"] for row in rows if row["n"] == 0} == {"not run"}


def test_torch_is_imported_only_where_a_network_is_built(folders):
    code = f"""
import sys
from harness.cli.claims import command
command.main(["paper", "--claims", {str(folders / "claims")!r}, "--results", {str(folders / "results")!r}],
             standalone_mode=False)
assert "torch" not in sys.modules and "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folders, capture_output=True)


def test_the_projects_own_table_fits_80_columns(tmp_path):
    arguments = ["--claims", ROOT / "claims", "--results", ROOT / "results", "--suites", ROOT / "suites"]
    papers = [path.stem for path in (ROOT / "claims").glob("*.yaml")]
    result = CliRunner().invoke(claims.command, [*papers, *map(str, arguments)], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    tables, title, summary = result.stdout.partition("Claims by verdict")
    assert title and "\u2026" not in tables and all(len(line) <= 80 for line in tables.splitlines())
    assert "\u2026" not in summary and all(len(line) <= 80 for line in summary.splitlines())


def test_the_summary_fits_80_columns_whatever_the_verdicts():
    """One of each, for papers with the longest name that there is."""
    section = Section.model_validate(
        {"title": "a", "where": "b", "protocol": "c", "needs": {"other": "d"}}
        | {"claims": [{"id": "e", "quantity": "f", "count": 1}]}
    )
    claim, name = section.claims[0], "model_connectomes"
    found = [Finding(name, section, claim, None, Judgement(verdict)) for verdict in VERDICTS for _ in range(12)]
    paper = Paper(title="t", reference="r", sections=[section])
    console = Console(file=io.StringIO(), width=80)
    print_tables([summary({name: paper, "b": paper}, found, short=True)], console, 80)
    lines = console.file.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines) and not any("\u2026" in line for line in lines)
    row = next(line for line in lines if line.startswith(name))
    assert row.split()[1:] == ["12"] * 9 + ["108"]
    page = summary({name: paper, "b": paper}, found[:13])
    assert [column.name for column in page.columns] == ["paper", "reproduced", "not reproduced", "all"]
    assert page.rows == [[name, "12", "1", "13"], ["b", "0", "0", "0"], ["all", "12", "1", "13"]] and not page.notes
