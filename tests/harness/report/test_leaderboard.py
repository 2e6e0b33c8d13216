import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from result_files import write_plan, write_record
from rich.console import Console
from scipy import optimize, special, stats

from harness.analysis.comparison import Selection, selected
from harness.analysis.frame import load
from harness.errors import UserError
from harness.report.leaderboard import terminal_tables, write_leaderboards
from harness.report.score_table import score_table
from harness.report.tables import NONE, Column, Table, decimals, escape, markdown, print_table
from harness.results.store import ResultStore

METRIC = {"n": 100, "stderr": None, "split": "test"}


def write(store, method, seed, value, density=0.1, **changes):
    mask = 1.0 if method == "dense" else changes.pop("mask", density)
    cell = f"{method}-{mask}-{seed}"
    record = {
        "schema": 1,
        "status": "done",
        "cell": cell,
        "suite": "small",
        "experiment": "main",
        "architecture": {"label": "mlp", "plugin": "mlp", "version": "1", "options": {}, "parameters": 50_000},
        "method": {"label": method, "plugin": method, "version": "1", "options": {}},
        "benchmark": {"label": "digits", "plugin": "digits", "version": "1", "options": {}, "protocol": "test|split"},
        "trained_on": "digits",
        "seed": seed,
        "density": {
            "requested": None if method == "dense" else density,
            "match": None,
            "scope": "maskable",
            "mask": mask,
            "true_zeros": 1 - mask,
            "total": mask,
        },
        "metrics": {
            "accuracy": {"value": value, "unit": "fraction", "direction": "max", "primary": True, **METRIC},
            "loss": {"value": 2 - value, "unit": "nats", "direction": "min", "primary": False, **METRIC},
        },
        "published": None,
        "spent": {"steps": 10, "examples": 32_000, "tokens": 32_000, "seconds": 1.0},
        "environment": {"harness": "0.1.0", "torch": "2.6.0", "python": "3.11.4", "git": "abc123", "device": "cpu"},
        **changes,
    }
    write_record(store, record)
    return cell


@pytest.fixture
def store(tmp_path):
    store = ResultStore(tmp_path / "results")
    cells = []
    for seed in range(3):
        cells.append(write(store, "dense", seed, 0.90 + 0.01 * seed, published=0.983))
        cells.append(write(store, "random", seed, 0.70 + 0.02 * seed))
        cells.append(write(store, "magnitude", seed, 0.80 + 0.015 * seed))
    cells.append(write(store, "rigl", 0, 0.85))
    failure = {"type": "ValueError", "message": "<b>bad</b> | shape", "step": None}
    cells.append(write(store, "snip", 0, 0.0, status="failed", metrics={}, failure=failure))
    cells.append("genome-0.1-0")
    write_plan(
        store,
        "small",
        {"suite": "small", "description": "A *small* suite.", "cells": cells, "baselines": {"main": "dense"}},
    )
    write(store, "random", 9, 0.1)  # not in the plan
    return store


def lines(path, start):
    return [line for line in path.read_text().splitlines() if line.startswith("|") and start in line]


def test_suite_page(store):
    page, overview = write_leaderboards(store)
    assert page == store.root / "small" / "leaderboard.md" and overview == store.root / "LEADERBOARD.md"
    text = page.read_text()
    dense = lines(page, "| dense ")[0]
    assert re.search(rf"\|\s+{NONE} \| dense\s+\| 0.910 \(0.882 to 0.932\) +\| {NONE}", dense)
    assert "0.983" in dense and "50,000 / 50,000" in lines(page, "| dense ")[1] and "cells/" not in text
    magnitude = lines(page, "magnitude")[0]
    # Half of the t interval of the logits of (k + 1/2) / 101, k = 80, 81.5, 83, taken back: 0.0372.
    assert re.search(r"\|\s+1 \| \*\*magnitude\*\*\s+\| \*\*0.815 ± 0.037\*\*", magnitude)
    assert "-0.095 ± 0.007" in magnitude and "|    0.1000 |" in magnitude
    random = lines(page, "random")[0]
    assert re.search(r"\|\s+2 \| random", random)
    rigl = lines(page, "rigl")[0]
    assert re.search(rf"\|\s+{NONE} \| rigl\s+\| 0.850  ", rigl)
    assert "- At 0.1000, dense (0.910) beats magnitude (0.815) and random (0.720)." in text
    assert "one seed have no interval over seeds, no test, no rank" in text
    assert "Every row: 10 steps, 32,000 examples." in text
    assert "accuracy (fraction): higher is better. Protocol: test\\|split." in text
    assert "Density is of the maskable weights" in text
    assert "harness run suites/small.yaml" in text and "torch 2.6.0" in text and "abc123" in text
    assert "loss (nats)" in text
    assert "A \\*small\\* suite." in text


def test_answers_join_what_beats_the_same_and_name_no_crowd(store):
    cells, others = list(store.plan("small").cells), [f"other{i}" for i in range(10)]
    for seed in range(3):
        cells += [write(store, "worst", seed, 0.1 + 0.01 * seed), write(store, "best", seed, 0.99)]
        cells += [write(store, name, seed, 0.5 + 0.01 * seed) for name in others]
    asked = [("worst", "random"), ("worst", "magnitude"), *((name, "best") for name in others)]
    questions = [{"method": method, "control": control} for method, control in asked]
    comparisons = {"main": {"questions": questions, "asked": True}}
    plan = {"suite": "small", "cells": cells, "baselines": {"main": "dense"}, "comparisons": comparisons}
    plan["cells"].append("snip-0.05-0")
    write_plan(store, "small", plan)
    text = write_leaderboards(store)[0].read_text()
    assert re.search(
        r"^- At 0.1000, (random|magnitude) \([\d.]+\) and \w+ \([\d.]+\) beat worst \(0.110\)\.$", text, re.M
    )
    (crowd,) = re.findall(r"^- At 0.1000, best \([\d.]+\) beats (.*)\.$", text, re.M)
    assert crowd.count("other") == 8 + 1 and crowd.endswith(" and 2 others")


def test_what_is_not_counted_is_listed(store):
    text = write_leaderboards(store)[0].read_text()
    assert "- snip-0.1-0: failed: ValueError: \\<b\\>bad\\</b\\> \\| shape" in text
    assert "- genome-0.1-0: not finished yet" in text
    assert "1 further files" in text
    assert "10 counted, 1 failed, 1 not finished" in text
    assert "random-0.1-9" not in text
    (store.root / "small/suite.json").write_text("{")
    text = write_leaderboards(store)[0].read_text()
    assert "- suite.json: is not complete JSON: run the suite again" in text and "- Runs: 0 counted, 0 failed," in text


def test_every_link_leads_to_a_file(store):
    for path in write_leaderboards(store):
        targets = re.findall(r"\]\(([^)]+)\)", path.read_text())
        assert targets
        assert all((path.parent / target).is_file() for target in targets)


def test_another_suite_leaves_the_figures_of_a_page_as_they_are(store):
    def written():
        write_leaderboards(store)
        return {path.name: path.read_bytes() for path in (store.root / "small" / "figures").iterdir()}

    alone = written()
    for number in range(40):  # some of these take a colour or a shape that is taken
        write(store, f"other{number}", 0, 0.5, suite="more")
        write(store, "random", 0, 0.5, suite="more")
    assert alone and written() == alone


def test_same_results_same_bytes(store, tmp_path):
    first = [path.read_bytes() for path in write_leaderboards(store)]
    other = ResultStore(tmp_path / "other")
    for path in sorted((store.root / "small" / "cells").iterdir(), reverse=True):
        copy = other.file("small", "cells", path.stem).path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (other.root / "small" / "suite.json").write_bytes((store.root / "small" / "suite.json").read_bytes())
    assert [path.read_bytes() for path in write_leaderboards(other, ["small"])] == first
    assert [path.read_bytes() for path in write_leaderboards(store)] == first


def test_steps_of_what_goes_on_from_another_training_add_up_to_its_examples(store):
    program = [{"type": "Inherit", "hooks": True}, {"type": "Train", "steps": 100}, {"type": "Finetune", "steps": 20}]
    for seed in range(3):
        write(store, "magnitude", seed, 0.8, program=program, spent={"steps": 1370, "examples": 137_000})
    head, row = (
        [cell.strip() for cell in lines(write_leaderboards(store)[0], start)[0].split("|")]
        for start in (" steps ", "magnitude")
    )
    assert row[head.index("steps")].strip("*") == "1,250 before + 100 + 20"


def test_unequal_budgets_are_warned_of(store):
    for seed in range(3):
        write(store, "magnitude", seed, 0.8, spent={"steps": 20, "examples": 64_000, "tokens": 2_560_000})
    page = write_leaderboards(store)[0]
    assert "WARNING: training budgets differ, from 32,000 to 64,000 examples" in page.read_text()
    head, row = ([cell.strip() for cell in lines(page, start)[0].split("|")] for start in (" steps ", " magnitude "))
    assert head[-4:-1] == ["steps", "examples", "tokens"] and row[-4:-1] == ["20", "64,000", "2.56M"]


def test_without_baseline_and_without_results(store):
    for seed in range(3):
        store.file("small", "cells", f"dense-1.0-{seed}").path.unlink()
    page = write_leaderboards(store)[0]
    assert "there are no differences to one" in page.read_text()
    assert "minus" not in lines(page, "rank")[0]
    with pytest.raises(UserError, match="Did you mean 'small'"):
        write_leaderboards(store, ["smal"])


def test_a_suite_where_everything_failed_has_a_page(tmp_path):
    store = ResultStore(tmp_path)
    write(store, "snip", 0, 0.0, status="failed", metrics={}, failure={"type": "E", "message": "m"})
    page, _ = write_leaderboards(store)
    assert "failed: E: m" in page.read_text() and not lines(page, "rank")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_terminal_tables_fit(store, width):
    console = Console(file=io.StringIO(), width=width)
    terminal_tables(store, "small", console, width)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "magnitude" in text and "0.815 ± 0.037" in text
    assert ("--wide adds" in text) == (width < 200)
    assert "\x1b" not in text


def test_a_terminal_without_width_shows_everything():
    table = Table("t" * 200, [Column("a"), Column("b", 1)], [["x" * 100, "0"]], ["note " * 40])
    console = Console(file=io.StringIO(), width=80)
    print_table(table, console, None)
    written = console.file.getvalue().splitlines()
    assert written[0] == "t" * 200 and written[3] == "x" * 100 + "  0" and len(written) == 6


def test_markdown_cells_cannot_break_the_table():
    cells = [["a|b\n[c](d) <img>", "*e*"]]
    text = markdown(Table("", [Column("x", strong=True), Column("y")], cells, bold={0}))
    row = text.splitlines()[2]
    assert row == r"| **a\|b \[c\](d) \<img\>** | \*e\* |"
    assert escape("a\\|b") == r"a\\\|b"


@pytest.mark.parametrize(
    ("values", "places"), [([0.97], 4), ([3.04], 4), ([36.0], 3), ([1084.0], 1), ([0.0012], 6), ([None, 0.0], 4)]
)
def test_decimals(values, places):
    assert decimals(values) == places


def test_nothing_but_pages_and_their_figures_is_written(store):
    before = {path for path in Path(store.root).rglob("*") if path.is_file()}
    written = set(write_leaderboards(store))
    figures = set(Path(store.root).glob("small/figures/*.svg"))
    assert {path.name for path in figures} == {f"main-mlp-on-digits-{kind}.svg" for kind in ("pruning", "frontier")}
    assert {path for path in Path(store.root).rglob("*") if path.is_file()} == before | written | figures


def test_figures_that_no_page_shows_are_deleted_and_equal_ones_left_alone(store):
    (page, _) = write_leaderboards(store)
    figures = page.parent / "figures"
    (figures / "of-a-table-that-was.svg").write_text("<svg/>")
    (figures / "main-mlp-on-digits-frontier.svg").write_text("half")
    kept = (figures / "main-mlp-on-digits-pruning.svg").stat().st_mtime_ns
    write_leaderboards(store)
    assert not (figures / "of-a-table-that-was.svg").exists()
    assert (figures / "main-mlp-on-digits-pruning.svg").stat().st_mtime_ns == kept
    assert (figures / "main-mlp-on-digits-frontier.svg").read_text().startswith("<svg")


def test_a_row_whose_seeds_have_failed_has_no_rank_and_says_so(store):
    failure = {"type": "Diverged", "message": "loss is nan", "step": 7}
    write(store, "magnitude", 2, 0.0, status="diverged", metrics={}, failure=failure)
    page = write_leaderboards(store)[0]
    assert re.match(r"\| +method ", lines(page, "method")[0]), "no row has a rank"
    told = "WARNING: magnitude at density 0.1000 has no rank: seed 2 (diverged: loss is nan)."
    assert told in page.read_text()


def test_what_has_failed_in_every_seed_stands_in_the_answer(store):
    failure = {"type": "Unsupported", "message": "Mlp cannot be so small. Ask for more", "step": None}
    plan = json.loads((store.root / "small" / "suite.json").read_text())
    questions = [{"method": "snip", "control": "random"}, {"method": "snip", "control": "magnitude", "density": 0.5}]
    plan["comparisons"] = {
        "main": {"questions": [*questions, {"method": "magnitude", "control": "random"}], "asked": True}
    }
    plan["cells"].append("snip-0.05-0")
    write_plan(store, "small", plan)
    for density in (0.1, 0.05):
        write(store, "snip", 0, 0.0, density, status="failed", metrics={}, failure=failure)
    text = write_leaderboards(store)[0].read_text()
    told = (
        "snip has no result at 0.05 and at 0.1 (Unsupported: Mlp cannot be so small), which leaves snip against random"
    )
    assert f"- {told} open there.\n" in text
    (table,) = selected(*load(store, ["small"])[:1], Selection(methods=["magnitude"]), load(store, ["small"])[1])
    assert table[0].absent == {}, "nobody has asked for it"


def test_noise_power_and_cost(store):
    flops = {"training": 9e9, "training_sparse": 3e9, "inference": 1e6, "inference_sparse": 2.5e5}
    spent = {"steps": 10, "examples": 32_000, "tokens": 32_000, "peak_memory_bytes": 3 * 2**20, "flops": flops}
    metric = {"unit": "fraction", "direction": "max", "primary": True, **METRIC, "stderr": 0.02}
    for seed, value in enumerate([0.70, 0.73, 0.79]):
        metrics = {"accuracy": {"value": value, **metric}}
        write(store, "random", seed, value, metrics=metrics, spent={**spent, "seconds": 120.0})
        write(
            store, "dense", seed, 0.90, metrics={"accuracy": {"value": 0.9, **metric}}, spent={**spent, "seconds": 90.0}
        )
    page = write_leaderboards(store)[0]
    questions, others, noise, cost = (re.split(r"\s*\|\s*", line.strip("| ")) for line in lines(page, "random ")[-4:])
    del others
    random, dense = (special.logit((np.array(k) + 0.5) / 101) for k in ([70, 73, 79], [90, 90, 90]))
    error = (random - dense).std(ddof=1) / 3**0.5
    critical = stats.t.ppf(1 - 0.05 / 4, 2)  # the family has two tests: magnitude's is the other
    noncentrality = optimize.brentq(lambda x: stats.nct.sf(critical, 2, x) - 0.8, 0, 50)
    low, high = (special.expit(x) * 101 / 100 for x in (dense[0] - noncentrality * error, dense[0]))
    reach = high - low
    assert questions[6] == f"{reach:.3f}"
    assert noise[2:5] == ["3", "0.0458", "0.0200"]
    assert cost[2:] == ["9.00e+09", "3.00e+09", "1.00e+06", "2.50e+05", "4.00", "2 min 0 s", "3 MiB"]
    # Times of runs beside others are no speed: 90 s against 120 s appears as no ratio anywhere.
    assert "0.75" not in page.read_text()
    assert "speed-up measured" not in page.read_text()


def test_operations_that_are_not_known_are_shown_as_absent(store):
    flops = {"training": 9e9, "training_sparse": 3e9, "inference": 1e6, "inference_sparse": 2.5e5}
    for method, own in (("dense", {}), ("random", {"training_sparse": None, "inference_sparse": None})):
        for seed in range(3):
            write(store, method, seed, 0.7 + 0.1 * seed, spent={"steps": 10, "examples": 100, "flops": flops | own})
    page = write_leaderboards(store)[0]
    known, unknown = (re.split(r"\s*\|\s*", lines(page, f" {name} ")[-1].strip("| ")) for name in ("dense", "random"))
    assert known[2:7] == ["9.00e+09", "3.00e+09", "1.00e+06", "2.50e+05", "4.00"]
    assert unknown[2:7] == ["9.00e+09", NONE, "1.00e+06", NONE, NONE]


def test_rows_that_are_not_beaten_are_bold(store):
    cells = store.plan("small").cells
    for seed in range(3):  # as good as magnitude, the other way round
        cells.append(write(store, "twin", seed, 0.815 + 0.015 * (1 - seed)))
    write_plan(store, "small", {"cells": cells})
    page = write_leaderboards(store)[0]
    bold = {method for method in ("magnitude", "twin", "random") if f"**{method}**" in lines(page, method)[0]}
    assert bold == {"magnitude", "twin"}
    to = f"{NONE}\N{WORD JOINER}"
    ranks = {method: lines(page, method)[0].split("|")[1].strip() for method in ("magnitude", "twin", "random")}
    assert ranks == {"magnitude": f"1{to}2", "twin": f"1{to}3", "random": f"2{to}3"}  # twin and random: p > 0.05


def made(**changes):
    return {"harness": "0.1.0", "torch": "2.6.0", "python": "3.11.4", "device": "cpu", **changes}


@pytest.mark.parametrize(
    ("trained", "told"),
    [
        ([made()], None),
        ([made(git="other", host_cores=64, device_name="another processor")], None),
        (
            [made(torch="2.15.0")],
            "harness 0.1.0, torch 2.15.0, python 3.11.4, on cpu, tested with harness 0.1.0, torch 2.6",
        ),
        (
            [made(), made(device="cuda", device_name="H100")],
            "python 3.11.4, on cpu, then .* python 3.11.4, on H100, tested with",
        ),
        ([made(plugins={"sparsity-harness": "0.2.0", "rigl": "1.2"})], None),  # others had no need of it
        ([made(plugins={"rigl": "1.2"}), made(plugins={"rigl": "1.3"})], None),
        ([made(plugins={"dense": "1.2"})], "dense 1.2, on cpu, tested with"),
        ([made(plugins={"dense": None})], "dense None, on cpu, tested with"),
    ],
)
def test_a_table_says_when_versions_or_devices_are_mixed(tmp_path, trained, told):
    store = ResultStore(tmp_path)
    for seed in range(2):
        write(store, "dense", seed, 0.9, trained_by=[made(plugins={"dense": "1.1"})])
        write(store, "random", seed, 0.7, trained_by=trained if seed else [made()])
        write(store, "magnitude", seed, 0.8)  # of before: only the test's environment is known
    write_leaderboards(store)
    (compared,) = [score_table(table) for table in selected(load(store)[0])]
    for text in ((tmp_path / "small" / "leaderboard.md").read_text(), "\n".join(compared.notes)):
        if told is None:
            assert "not all made with the same versions" not in text
        else:
            assert re.search(rf"WARNING: the networks were not all made with the same .*{told}.*: random", text)
            assert re.search(r"python 3.11.4, on cpu: magnitude, random", text)


@pytest.mark.parametrize("changes", [{"not_finite": "inf"}, {"trained_by": "me"}, {"trained_by": [{"plugins": "x"}]}])
def test_a_record_that_says_nonsense_of_these_counts_nowhere(tmp_path, changes):
    store = ResultStore(tmp_path)
    write(store, "dense", 0, 0.9)
    write(store, "random", 0, 0.7, **changes)
    frame, left = load(store)
    assert set(frame["method"]) == {"dense"} and len(left) == 1 and next(iter(changes)) in left[0].reason


def test_a_primary_score_that_is_no_number_takes_the_rank_and_not_the_other_scores(tmp_path):
    store = ResultStore(tmp_path)
    for seed in range(3):
        write(store, "dense", seed, 0.9)
        write(store, "magnitude", seed, 0.8 + 0.001 * seed)
        metrics = {"loss": {"value": 1.0, "unit": "nats", "direction": "min", "primary": False, **METRIC}}
        beyond = {"metrics": metrics, "not_finite": {"accuracy": "inf"}} if seed == 2 else {}
        write(store, "random", seed, 0.7 + 0.002 * seed, **beyond)
    write_leaderboards(store)
    text = (tmp_path / "small" / "leaderboard.md").read_text()
    reason = "accuracy is inf (too large to write down); its other scores are counted"
    assert f"WARNING: random at density 0.1000 has no rank: seed 2 ({reason})" in text
    assert f"- random-0.1-2: {reason}" in text
    assert "Runs: 9 counted, 0 failed, 0 not finished" in text
    console = Console(file=io.StringIO(), width=200)
    terminal_tables(store, "small", console, 200)
    shown = console.file.getvalue()
    assert f"{reason})." in " ".join(shown.split()) and f"random-0.1-2: {reason}" not in shown, "said once"
    with pytest.raises(UserError, match=r"no density is within 10 % of 0\.5"):  # that one lacks a score is not why
        selected(load(store)[0], Selection(at_density=0.5), load(store)[1])


def test_recovery_at_different_rates_is_warned_about(store):
    def recovering(lr):
        return [
            {"type": "Train", "steps": 10, "lr": None},
            {"type": "Prune"},
            {"type": "Finetune", "steps": 5, "lr": lr},
        ]

    cells = list(store.plan("small").cells)
    for method, lr in (("wanda", 1e-3), ("own", None)):  # None: the suite's
        cells += [write(store, method, seed, 0.8, training={"lr": 1e-3}, program=recovering(lr)) for seed in range(3)]
    write_plan(store, "small", {"suite": "small", "cells": cells})
    assert "recover" not in suite_page(store)
    cells += [write(store, "slow", seed, 0.8, training={"lr": 1e-3}, program=recovering(1e-4)) for seed in range(3)]
    write_plan(store, "small", {"suite": "small", "cells": cells})
    assert "rows recover from pruning at different learning rates" in suite_page(store)
    assert "0.0001: slow; 0.001: own, wanda." in suite_page(store)


def suite_page(store):
    write_leaderboards(store)
    return (store.root / "small" / "leaderboard.md").read_text(encoding="utf8")
