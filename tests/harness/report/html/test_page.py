import base64
import hashlib
import json
import re
import shlex
import shutil
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from result_files import write_record

from harness.errors import UserError
from harness.report.html.page import page
from harness.report.record_view import record_view
from harness.results.parsing import parse_record
from harness.results.store import ResultStore

RESULTS = Path(__file__).parents[4] / "results"


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text in each script and style."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self.texts.append([self.found[-1], ""])
            self.inside = True
        else:
            self.inside = False

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.texts and self.inside:
            self.texts[-1][1] += data

    def data(self, name):
        """The value in the script element ``data-NAME``, unpacked if it is packed."""
        value = next(json.loads(text) for (_, a), text in self.texts if a.get("id") == f"data-{name}")
        return json.loads(zlib.decompress(base64.b64decode(value)))


@pytest.fixture(scope="module")
def quickstart():
    return page(ResultStore(RESULTS), ["quickstart"])


@pytest.fixture(scope="module")
def hostile(hostile_results):
    return page(ResultStore(hostile_results.root))


def test_equal_results_give_an_equal_page_wherever_they_are(quickstart, tmp_path):
    shutil.copytree(RESULTS, tmp_path / "elsewhere", ignore=shutil.ignore_patterns(".work", "samples"))
    assert page(ResultStore(tmp_path / "elsewhere"), ["quickstart"]) == quickstart


def test_the_quickstart_is_small(quickstart):
    assert len(quickstart.encode()) < 1_500_000


@pytest.mark.parametrize("name", ["quickstart", "hostile"])
def test_the_policy_allows_this_script_and_these_styles_and_nothing_else(name, request):
    elements = Elements(request.getfixturevalue(name))
    policy = next(a["content"] for tag, a in elements.found if tag == "meta" and "http-equiv" in a)
    rules = {rule.split()[0]: set(rule.split()[1:]) for rule in policy.split("; ")}

    def digest(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    run = [text for (tag, a), text in elements.texts if tag == "script" and "type" not in a]
    styles = {text for (tag, _), text in elements.texts if tag == "style"}
    assert len(run) == 1
    assert rules == {
        "default-src": {"'none'"},
        "img-src": {"data:"},
        "script-src": {digest(run[0])},
        "style-src": {digest(style) for style in styles},
        "base-uri": {"'none'"},
        "form-action": {"'none'"},
    }


@pytest.mark.parametrize("name", ["quickstart", "hostile"])
def test_nothing_is_loaded_and_no_attribute_runs_or_styles(name, request):
    for tag, attributes in Elements(request.getfixturevalue(name)).found:
        assert tag not in ("iframe", "object", "embed", "img", "base", "foreignobject")
        for key, value in attributes.items():
            assert not key.startswith("on") and key not in ("style", "srcset", "action", "xlink:href")
            if key in ("src", "href"):
                assert value.startswith("#") or value == "data:,"


def test_what_files_say_stands_in_the_page_as_data_only(hostile, hostile_results):
    assert hostile_results.evil not in hostile
    assert "__pwned=1" not in re.sub(r"<script type=.*?</script>|<template.*?</template>", "", hostile, flags=re.DOTALL)
    assert not re.search(r"<(img|b)\b", hostile)


def test_sound_cells_are_ranked_and_every_other_file_is_listed_with_its_reason(hostile, hostile_results):
    elements = Elements(hostile)
    (suite,) = elements.data("index")["suites"]
    (board,) = elements.data("boards")
    assert suite["counted"] == hostile_results.counted
    assert suite["missing"] == [hostile_results.missing]
    assert shlex.split(suite["command"]) == ["harness", "run", f"suites/{hostile_results.evil}.yaml"]
    listed = {name: why for name, why, _ in suite["left"]}
    for file, why in hostile_results.left.items():
        assert why in listed.pop(f"{hostile_results.suite}/cells/{file}")
    assert {name.rpartition("/")[2] for name in listed} == set(hostile_results.damaged)
    assert not any(str(hostile_results.root) in why for _, why, _ in suite["left"])
    score = next(at for at, column in enumerate(board["columns"]) if column["help"].startswith("mean over seeds"))
    means = sorted(row["cells"][score][1] for row in board["rows"])
    assert means == pytest.approx([0.605, 0.705, 0.805, 0.905])
    assert [seed for row in board["rows"] for seed, _ in row["seeds"]] == [0, 1] * 4


def test_records_are_embedded_as_they_are_on_disk(quickstart):
    elements = Elements(quickstart)
    names = elements.data("index")["records"]
    pairs = [pair for chunk in range(3) for pair in elements.data(f"records-{chunk}")]
    texts = [text for text, _ in pairs]
    assert len(names) == len(pairs) == 150
    for (suite, name, where), (text, view) in zip(names, pairs, strict=True):
        file = ResultStore(RESULTS).file(suite, "cells", name)
        assert text == file.read().decode()
        assert RESULTS / where == file.where and file.where.exists()
        shown = [
            [part.title, part.facts, part.columns, part.rows] for part in record_view(parse_record(file.read(), name))
        ]
        assert view == json.loads(json.dumps(shown))
    for board in elements.data("boards"):
        for row in board["rows"]:
            for seed, number in row["seeds"]:
                record = json.loads(texts[number])
                assert (record["seed"], record["method"]["label"]) == (seed, row["method"])


def test_cells_hold_values_to_sort_by_beside_their_texts(quickstart):
    board = next(b for b in Elements(quickstart).data("boards") if b["benchmark"] == "digits")
    names = [column["name"] for column in board["columns"]]
    score = names.index("accuracy (fraction)")
    for row in board["rows"]:
        text, value = row["cells"][score]
        if " to " not in text or "(" in text:  # densities differ: the scores' span
            assert float(text.split()[0]) == pytest.approx(value, abs=5e-4)
        assert isinstance(row["cells"][names.index("density")][1], float)
    loss = names.index("loss (nats)")
    assert board["columns"][loss]["more"] and not board["columns"][score]["more"]


def test_the_score_is_among_the_first_columns_and_the_control_is_named(quickstart):
    for board in Elements(quickstart).data("boards"):
        shown = [column["name"] for column in board["columns"] if not column["more"]]
        several = len({row["method"] for row in board["rows"]}) < len(board["rows"])
        assert shown[: 2 + several] == ["rank", "method", "density"][: 2 + several]
        assert shown[2 + several].startswith(board["metric"])
        assert "asked" not in shown and shown.count("minus dense") == 1
        if board["title"].startswith("digits"):  # two controls: which one is meant, the row says
            assert shown[4:7] == ["minus control", "p", "minus dense"]
        elif several:  # every row is compared with the dense one, and tested
            assert shown[4:6] == ["minus dense", "p"] and "minus control" not in shown


def test_rows_of_mixed_densities_are_told_seed_by_seed(quickstart):
    boards = {board["title"]: board for board in Elements(quickstart).data("boards")}
    assert [title for title, board in boards.items() if board["detail"]] == ["digits: skip_mlp on digits"]
    board = boards["digits: skip_mlp on digits"]
    assert board["detail"]["columns"] == [["", False], *([f"seed {seed}", True] for seed in range(5))]
    told = {name: texts for name, *texts in board["detail"]["rows"]}
    densities = sorted(map(float, told.pop("density")))
    assert set(told) == {"genome", "random_as_genome"}
    span = f"{densities[0]:.4f}\N{EN DASH}{densities[-1]:.4f}"
    assert [title.split(",")[0] for title in board["groups"].values()][:3] == [
        "Density 1",
        f"Density {span}",
        "Density 0.5000",
    ]


def test_what_is_said_of_a_group_holds_for_each_of_its_rows(quickstart):
    told = set()
    for board in Elements(quickstart).data("boards"):
        budget = [column["name"] for column in board["columns"]].index("budget")
        for row in board["rows"]:
            parts = row["cells"][budget][0].split(", ")
            _, *shared = board["groups"][str(row["group"])].split(", ")
            assert set(shared) <= set(parts), (board["title"], row["method"])
            told |= {len(shared)}
    assert told == {0, 1}


def test_a_folder_with_failed_cells_only_gives_a_page(tmp_path):
    store = ResultStore(RESULTS)
    record = json.loads(store.file("quickstart", "cells", store.names("quickstart")[0]).read())
    record |= {"status": "failed", "metrics": {}, "failure": {"type": "X", "message": "y"}, "cell": "x", "suite": "s"}
    write_record(ResultStore(tmp_path), record)
    elements = Elements(page(ResultStore(tmp_path)))
    assert elements.data("boards") == []
    assert elements.data("index")["suites"][0]["left"] == [["s/cells/x.json", "failed: X: y", 0]]


def test_an_unknown_suite_is_named():
    with pytest.raises(UserError, match="quickstrat"):
        page(ResultStore(RESULTS), ["quickstrat"])


def test_files_are_named_where_they_are_packed_or_loose_and_whatever_the_suite_is_called(tmp_path):
    packed, loose = tmp_path / "elsewhere" / "small-cpu", tmp_path / "elsewhere" / "loose"
    shutil.copytree(RESULTS / "sanity", packed)
    store = ResultStore(RESULTS)
    for name in store.names("sanity")[:2]:
        write_record(
            ResultStore(tmp_path / "elsewhere"),
            json.loads(store.file("sanity", "cells", name).read()) | {"suite": loose.name},
        )
    names = Elements(page(ResultStore(tmp_path / "elsewhere"))).data("index")["records"]
    files = {suite: {where for other, _, where in names if other == suite} for suite in ("loose", "small-cpu")}
    assert files["small-cpu"] == {"small-cpu/archive/records.jsonl.gz"}
    assert files["loose"] == {f"loose/cells/{name}.json" for name in store.names("sanity")[:2]}
    assert all((tmp_path / "elsewhere" / file).is_file() for some in files.values() for file in some)


def test_points_of_the_plot_are_the_rows_on_every_axis_they_have(quickstart):
    boards = Elements(quickstart).data("boards")
    board = next(board for board in boards if board["benchmark"] == "digits")
    plot = board["plot"]
    keys = [axis["key"] for axis in plot["axes"]]
    assert keys[:2] == ["density_mask", "density_total"] and "inference_flops_sparse" in keys
    assert "flops" not in keys  # the same in every row: no axis
    assert [metric["name"] for metric in plot["metrics"]] == ["accuracy", "loss"]
    score = next(at for at, column in enumerate(board["columns"]) if column["name"].startswith("accuracy"))
    for row, point in zip(board["rows"], plot["points"], strict=True):
        mean, low, high, text, seeds = point["y"][0]
        assert len(seeds) == len(row["seeds"])
        if point["densities"] is not None:
            assert mean is None and len(point["densities"]) == len(seeds)
            continue
        assert mean == pytest.approx(row["cells"][score][1]) == pytest.approx(sum(seeds) / len(seeds), abs=0.01)
        assert low < mean < high and f"n = {len(seeds)}" in text
        assert point["x"][0] == pytest.approx(row["density"], rel=1e-5)
    assert [row["method"] for row, point in zip(board["rows"], plot["points"], strict=True) if point["level"]] == [
        "dense"
    ]
    assert board["told"] > 0 and all(
        other["told"] == 0 for other in boards if other["benchmark"] != "digits"
    )  # one seed


def test_points_say_which_seeds_tell_nothing_of_their_input():
    boards = Elements(page(ResultStore(RESULTS), ["sanity"])).data("boards")
    found = {}
    for board in boards:
        for row, point in zip(board["rows"], board["plot"]["points"], strict=True):
            if point["cut"] is not None:
                assert len(point["cut"]) == len(row["seeds"]) and point["lost"] == all(point["cut"])
                found[row["method"], f"{row['density']:.2f}"] = [bool(reason) for reason in point["cut"]]
    assert found["synflow_inverted", "0.02"] == [True] * 5
    assert sum(found["magnitude_at_init_inverted", "0.02"]) == 1
    assert "dense" not in {method for method, _ in found}


def test_a_network_whose_speed_was_measured_has_that_as_an_axis():
    boards = Elements(page(ResultStore(RESULTS), ["methods_mnist"])).data("boards")
    board = next(board for board in boards if board["title"] == "speed: mlp on mnist")
    assert {"speedup_measured", "throughput"} <= {axis["key"] for axis in board["plot"]["axes"]}
