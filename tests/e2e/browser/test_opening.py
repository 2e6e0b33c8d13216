"""What the report opens on, what its filters do, and how one result and two are read, at three widths."""

import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from result_files import small_record, write_record

from harness.analysis.frame import load
from harness.report.answers import winner
from harness.report.boards import boards
from harness.report.html.page import page
from harness.report.palette import palette_of
from harness.report.record_view import record_view
from harness.results.cell_record import CellRecord
from harness.results.store import ResultStore

Select = pytest.importorskip("selenium.webdriver.support.select").Select

RESULTS = Path(__file__).parents[3] / "results"
SUITES = ("llm_pruning_cpu", "quickstart", "ndna_mnist")
WIDTHS = (380, 800, 1280)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("opening") / "kept_elsewhere"
    root.mkdir()
    for suite in SUITES:
        (root / suite).symlink_to(RESULTS / suite)
    return ResultStore(root)


@pytest.fixture(scope="module")
def report(results):
    path = results.root.parent / "report.html"
    path.write_text(page(results), encoding="utf8")
    return path


@pytest.fixture(scope="module")
def tables(results):
    frame, left = load(results)
    return list(boards(frame, left))


def named(part, suite="quickstart"):
    return next(cell for cell in ResultStore(RESULTS).names(suite) if part in cell)


def chosen(browser, name):
    return Select(browser.one(f"#plot-{name}")).first_selected_option.text


def choose(browser, name, text):
    Select(browser.one(f"#plot-{name}")).select_by_visible_text(text)


def box(browser, selector):
    found = browser.get(
        "(({left, right, top, bottom}) => [left, right, top + scrollY, bottom + scrollY])"
        "(document.querySelector(arguments[0]).getBoundingClientRect())",
        selector,
    )
    return dict(zip(("left", "right", "top", "bottom"), found, strict=True))


def told(browser, kind="point"):
    return browser.get(f"[...document.querySelectorAll('#plot-host a.{kind}')].map(a => a.getAttribute('aria-label'))")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_opens_on_the_answers_and_a_large_plot_and_not_on_filters(browser, report, tables, width):
    browser.open(report, width=width)
    decided = {}
    for board in tables:
        rows = {row.id: row for row in board.rows}
        decided[board.primary.title] = sum(winner(c, rows) is not None for row in board.rows for c in row.contrasts)
    best = next(board for board in tables if decided[board.primary.title] == max(decided.values()))
    assert chosen(browser, "suite") == best.rows[0].suite and chosen(browser, "table") == best.primary.title
    assert browser.one("#question").text == ResultStore(RESULTS).plan(best.rows[0].suite).description
    sentences = [item.text for item in browser.all("#answer li") if item.is_displayed()]
    assert sentences == best.primary.answer[: len(sentences)] and len(sentences) >= 3
    assert not browser.one("#filters").is_displayed() and not browser.one("#active").is_displayed()
    assert browser.get("document.documentElement.scrollWidth") <= width
    plot, side = box(browser, "#plot-host svg"), box(browser, ".side")
    assert plot["left"] >= 0 and plot["right"] <= width
    if width == 1280:  # beside each other, on the first screen, no margin is left empty, no column cut
        assert browser.get("document.querySelector('#chosen table').scrollWidth") <= width - 40
        assert side["right"] <= plot["left"] and abs(side["top"] - box(browser, ".main-plot")["top"]) < 5
        assert plot["right"] - plot["left"] > 0.6 * width and plot["bottom"] < 900 and width - plot["right"] < 40
        assert side["left"] < 40
    else:
        assert side["bottom"] <= plot["top"] and plot["right"] - plot["left"] > 0.85 * width
    for name in ("suite", "table", "x", "y"):
        select = box(browser, f"#plot-{name}")
        assert select["left"] >= 0 and select["right"] <= width and select["bottom"] <= plot["top"]
    browser.emulate()


def test_all_sentences_are_one_click_away(browser, report, tables):
    browser.open(report, width=380)
    browser.one("#answer-all").click()
    board = next(b for b in tables if b.primary.title == chosen(browser, "table"))
    assert [item.text for item in browser.all("#answer li") if item.is_displayed()] == board.primary.answer
    assert not browser.one("#answer-all").is_displayed()
    browser.emulate()


def test_points_stand_at_their_values_with_intervals_and_seeds_and_lead_to_rows_and_results(browser, report, tables):
    browser.open(report)
    choose(browser, "suite", "quickstart")
    board = next(b for b in tables if b.primary.title == "digits: skip_mlp on digits")
    drawn = [row for row in board.rows if not row.mixed and not row.whole]
    labels = told(browser)
    assert len(labels) == len(drawn)
    for row in drawn:
        texts = [text for text in labels if text.startswith(f"{row.method}, density ") and f" {row.mean:.4f} " in text]
        assert texts, (row.method, row.mean)
    seeds = told(browser, "seed")
    assert len(seeds) > 2 * len(drawn)
    # On one axis places go as the values do: of random masks the y of means falls with density.
    own = sorted((row.density_mask, row.mean) for row in drawn if row.method == "random")
    spots = {}
    for text, x, y in browser.get(
        "[...document.querySelectorAll('#plot-host a.point')].map(a => { const b = a.querySelector('.hit');"
        " return [a.getAttribute('aria-label'), Number(b.getAttribute('cx')), Number(b.getAttribute('cy'))] })"
    ):
        if text.startswith("random, "):
            spots[float(re.search(r"density ([\d.]+)", text)[1])] = (x, y)
    assert len(spots) == len(own)
    places = [spots[at] for at in sorted(spots)]
    assert [x for x, _ in places] == sorted((x for x, _ in places), reverse=True)  # density falls to the right
    assert (
        [y for _, y in places]
        == [y for _, y in sorted(places, key=lambda p: -p[1])]
        == sorted((y for _, y in places), reverse=True)
    )
    assert len(browser.all("#plot-host .bar")) > len(drawn) / 2
    link = browser.one("#plot-host a.point")
    number = link.get_dom_attribute("href").partition("#")[2]
    browser.get("arguments[0].dispatchEvent(new Event('focus'))", link)
    assert browser.one("#plot-told").text == link.get_attribute("aria-label")
    browser.get("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", link)
    browser.until(f"location.hash === '#{number}'")
    method = link.get_attribute("aria-label").partition(",")[0]
    assert browser.get("document.querySelector('tr:target th').textContent") == method
    seed = browser.one("#plot-host a.seed")
    browser.get("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", seed)
    browser.until("document.getElementById('record').open")


def test_single_seeds_whose_network_is_broken_are_crossed_and_said_to_be(browser, tmp_path):
    store, density = ResultStore(tmp_path), {"requested": 0.1, "scope": "maskable", "mask": 0.1, "nonzero": 0.1}
    for method in ("snip", "random"):
        for seed in range(3):
            broken = {"connectivity": {"size": 900, "depends_on_input": (method, seed) != ("snip", 1)}}
            value = 0.5 + seed / 20
            write_record(store, small_record("s", f"{method}-{seed}", method, seed, value, density=density, **broken))
    path = tmp_path / "report.html"
    path.write_text(page(store), encoding="utf8")
    browser.open(path)
    assert told(browser, "seed:has(.lost)") == ["snip, seed 1: 0.55 (cut: its output does not depend on the input)"]
    assert len(told(browser, "seed")) == 6
    assert "Small crosses: single seeds" in browser.one("#plot-signs").text


def test_axes_are_chosen_among_those_that_the_rows_have(browser, report, tables):
    browser.open(report)
    choose(browser, "suite", "quickstart")
    across = [option.text for option in Select(browser.one("#plot-x")).options]
    assert across[:2] == ["density", "total density"] and "inference FLOPs, sparse" in across
    before = told(browser)
    choose(browser, "x", "inference FLOPs, sparse")
    after = told(browser)
    assert len(after) == len(before) + 1  # the baseline has a cost, and stands there too
    assert all("inference FLOPs, sparse" in text for text in after)
    choose(browser, "y", "loss (nats), lower is better")
    assert all(": loss " in text for text in told(browser))
    choose(browser, "x", "a line for each row")
    board = next(b for b in tables if b.primary.title == "digits: skip_mlp on digits")
    assert len(told(browser)) == sum(not row.mixed for row in board.rows)
    names = browser.get("[...document.querySelectorAll('#plot-host .method text')].map(t => t.lastChild.textContent)")
    assert len(names) == len(board.rows)


def test_a_method_has_its_colour_of_the_palette_in_both_themes(browser, report, results):
    frame, _ = load(results)
    style = palette_of(frame)["magnitude"]
    for dark in (False, True):
        browser.open(report, dark=dark)
        found = browser.get(
            "getComputedStyle([...document.querySelectorAll('#plot-host a.point')].find("
            "a => a.getAttribute('aria-label').startsWith('magnitude,')).querySelector('.solid')).fill"
        )
        wanted = (style.dark if dark else style.light).lstrip("#")
        assert found == f"rgb({', '.join(str(int(wanted[i : i + 2], 16)) for i in (0, 2, 4))})"


def test_the_grey_band_is_drawn_and_explained_where_there_is_one(browser, report):
    browser.open(report)
    choose(browser, "suite", "quickstart")
    signs = browser.one("#plot-signs").text
    assert browser.all("#plot-host .band.level") and "Grey line and band: the mean of dense" in signs
    assert "95 % interval over seeds" in signs
    choose(browser, "table", "python: gpt2 on python_stdlib")  # one seed: a line without a band
    assert not browser.all("#plot-host .band.level")
    assert "Hollow: one seed" in browser.one("#plot-signs").text


def filter_by(browser, **values):
    if not browser.one("#filters").is_displayed():
        browser.one("#filter-open").click()
    for name, value in values.items():
        if name == "method":
            browser.one(f"#filter-methods input[value='{value}']").click()
        elif name in ("low", "high", "text"):
            browser.one(f"#filter-{name}").send_keys(value)
        else:
            Select(browser.one(f"#filter-{name}")).select_by_value(value)


def option_texts(browser, selector):
    return [option.text for option in Select(browser.one(selector)).options]


@pytest.mark.parametrize("width", WIDTHS)
def test_filters_act_on_the_whole_page_are_told_and_cleared_by_one_click(browser, report, width):
    browser.open(report, width=width)
    everything = {
        name: option_texts(browser, f"#{name}") for name in ("plot-suite", "curves-run", "training-run", "masks-run")
    }
    filter_by(browser, suite="ndna_mnist", method="genome")
    browser.one("#filter-open").click()
    assert browser.get("document.documentElement.scrollWidth") <= width
    assert option_texts(browser, "#plot-suite") == ["ndna_mnist"]
    labels = [*told(browser), *told(browser, "seed")]
    assert labels and all(text.startswith("genome") for text in labels)
    methods = browser.get(
        "[...document.querySelectorAll('#chosen .body > .scroll tbody th[scope=row]')].map(t => t.textContent)"
    )
    assert methods and set(methods) == {"genome"}
    for name in ("curves-run", "training-run", "masks-run"):
        left = option_texts(browser, f"#{name}")
        assert left and all(text.startswith("ndna_mnist:") for text in left), name
        assert len(left) < len(everything[name]), name
    assert all(", genome" in text for text in option_texts(browser, "#masks-run"))
    assert browser.get(
        "[...document.querySelectorAll('#curves-body .legend span')].every(s => s.textContent.startsWith('genome'))"
    )
    assert [one.text for one in browser.all(".suite h3") if one.is_displayed()] == ["ndna_mnist"]
    active = browser.one("#active")
    assert "suite ndna_mnist; method genome" in active.text
    browser.get("document.getElementById('masks').scrollIntoView({behavior: 'instant'})")
    place = browser.get("arguments[0].getBoundingClientRect().top", active)
    assert 0 <= place < 120  # it is seen wherever the reader is
    assert browser.one("#filter-open").text == "Filters (2)"
    browser.one("#active-clear").click()
    assert not browser.one("#active").is_displayed() and browser.one("#filter-open").text == "Filters"
    for name, options in everything.items():
        assert option_texts(browser, f"#{name}") == options
    browser.emulate()


def test_a_method_of_the_legend_is_shown_alone_and_beside_others(browser, report):
    browser.open(report)
    choose(browser, "suite", "quickstart")
    for expected in (["rigl"], ["random", "rigl"]):
        name = next(one for one in expected if one != "rigl") if len(expected) > 1 else "rigl"
        button = next(one for one in browser.all("#plot-legend button") if one.text == name)
        button.click()
        assert browser.get("document.activeElement.textContent") == name  # focus stays though the legend is drawn anew
        assert browser.get("document.activeElement.ariaPressed") == "true"
        assert sorted({text.partition(",")[0] for text in told(browser)}) == expected
    assert browser.one("#answer-part").is_displayed()  # the answer is about the whole table
    filter_by(browser, low="0.15", high="0.6")
    assert {re.search(r"density ([\d.]+)", text)[1] for text in told(browser)} == {"0.5", "0.2"}
    filter_by(browser, text="nowhere")
    assert browser.one("#answer").text == "Nothing fits all of these filters."
    assert not browser.all("#plot-host svg")
    browser.one("#active-clear").click()
    assert not browser.one("#answer-part").is_displayed()
    assert chosen(browser, "suite") in SUITES and browser.all("#plot-host svg")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_result_opens_as_show_prints_it_and_is_inside_the_screen(browser, report, results, width):
    cell = named(".genome.s0.")
    browser.open(report, width=width, fragment=f"#cell={quote(f'quickstart/{cell}')}")
    browser.until("document.getElementById('record-view')")
    record = results.record("quickstart", cell)
    assert isinstance(record, CellRecord)
    sections = list(record_view(record))
    shown = browser.get(
        "[...document.querySelectorAll('#record-view > section')].map(s => [s.querySelector('h3')?.textContent || '',"
        " [...s.querySelectorAll('dt')].map(t => [t.textContent, t.nextSibling.textContent])])"
    )
    assert shown == [[part.title, [list(fact) for fact in part.facts]] for part in sections]
    rows = browser.get(
        "[...document.querySelectorAll('#record-view tbody tr')].map(r => [...r.children].map(c => c.textContent))"
    )
    assert rows == [list(row) for part in sections for row in part.rows]
    dialog = box(browser, "#record")
    assert dialog["left"] >= 0 and dialog["right"] <= width
    assert browser.get("document.getElementById('record').scrollWidth <= document.getElementById('record').clientWidth")
    browser.emulate()


def flat(value, path=""):
    if isinstance(value, dict):
        return {
            key: one for name, inner in value.items() for key, one in flat(inner, f"{path}.{name}".lstrip(".")).items()
        }
    if isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        return flat({str(at): one for at, one in enumerate(value)}, path)
    return {path: value}


@pytest.mark.parametrize("width", WIDTHS)
def test_two_results_are_chosen_by_hand_and_shown_as_what_differs(browser, report, results, width):
    first, second = named(".magnitude.d0.1.s1."), named(".rigl.d0.2.s0.")
    browser.open(report, width=width, fragment=f"#cell={quote(f'quickstart/{first}')}")
    browser.until("document.getElementById('record-view')")
    browser.one("#record-compare").click()
    assert first in browser.one("#second").text
    place = box(browser, "#second")
    assert place["left"] >= 0 and place["right"] <= width
    choose(browser, "suite", "quickstart")
    link = next(one for one in browser.all("#chosen td.seeds a") if second in one.get_attribute("href"))
    browser.get("arguments[0].click()", link)
    browser.until("document.getElementById('difference-settings')")
    assert f"against=quickstart%2F{second}" in browser.get("location.hash")
    assert not browser.one("#second").is_displayed()
    a, b = (json.loads(results.file("quickstart", "cells", cell).read()) for cell in (first, second))
    settings = {row[0]: row[1:] for row in table(browser, "#difference-settings")}
    one, other = (
        flat({**{name: content[name] for name in ("method", "seed", "training", "program")}}) for content in (a, b)
    )
    differ = {key for key in one.keys() | other.keys() if (one.get(key) or "") != (other.get(key) or "")}
    assert differ and differ <= settings.keys()
    assert not {key for key in one.keys() & other.keys() if one[key] == other[key]} & settings.keys()
    assert settings["seed"] == ["1", "0"] and settings["method.label"] == ["magnitude", "rigl"]
    assert settings["density.requested"] == ["0.1", "0.2"]
    assert "training.lr" not in settings and "architecture.label" not in settings
    scores = {row[0]: row[1:] for row in table(browser, "#difference-scores")}
    values = [content["metrics"]["accuracy"]["value"] for content in (a, b)]
    assert [float(text) for text in scores["accuracy, test"]] == pytest.approx(
        [*values, values[1] - values[0]], rel=1e-5
    )
    assert browser.get("document.documentElement.scrollWidth") <= width
    assert box(browser, "#record")["right"] <= width
    browser.open(report, fragment=f"#cell={quote(f'quickstart/{first}')}&against=quickstart%2Fnothing")
    assert "does not have" in browser.one("#trouble").text
    browser.emulate()


def table(browser, selector):
    return browser.get(
        "[...document.querySelectorAll(arguments[0] + ' tbody tr')].map(r => [...r.children].map(c => c.textContent))",
        selector,
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_curves_of_validation_scores_stand_beside_the_loss(browser, report, width):
    browser.open(report, width=width)
    Select(browser.one("#curves-run")).select_by_visible_text("quickstart: digits, skip_mlp on digits")
    browser.until("document.querySelectorAll('.curves figcaption').length === 3")
    heads = [head.text for head in browser.all(".curves figcaption")]
    assert heads == ["training loss", "accuracy on validation data", "loss on validation data"]
    for figure in browser.all(".curves figure"):
        left, right = browser.get("(b => [b.left, b.right])(arguments[0].getBoundingClientRect())", figure)
        assert left >= 0 and right <= width
        assert len(figure.find_elements("css selector", ".line")) > 10
    tops = browser.get("[...document.querySelectorAll('.curves svg.plot')].map(s => s.getBoundingClientRect().top)")
    assert (tops[0] == tops[1]) == (width > 380)
    filter_by(browser, method="rigl")
    browser.until("document.querySelectorAll('.curves .line').length === 3 * 5")
    assert len(browser.all(".curves .band")) == 3 * 5  # few lines have room for the range of their seeds
    browser.emulate()


def test_files_are_named_where_they_are(browser, report, results):
    cell = named(".genome.s0.")
    browser.open(report, fragment=f"#cell={quote(f'quickstart/{cell}')}")
    browser.until("document.getElementById('record-file')")
    file = browser.one("#record-file").text
    assert (results.root / file).is_file() and file == "quickstart/archive/records.jsonl.gz"
    browser.one("#record-close").click()
    folders = {dd.text for dd in browser.all(".suite dd code") if dd.text.endswith("/")}
    assert folders == {f"{suite}/" for suite in SUITES} and all((results.root / name).is_dir() for name in folders)
    text = browser.get("document.body.innerText")
    assert "results/" not in text and str(results.root) not in browser.get("document.documentElement.outerHTML")


def test_words_that_need_it_are_explained_one_click_away(browser, report):
    browser.open(report)
    asked = {link.get_attribute("href").partition("#")[2] for link in browser.all("main a[href^='#word-']")}
    assert asked >= {"word-density", "word-hard", "word-soft", "word-interval"}
    explained = set(browser.get("[...document.querySelectorAll('.words dt')].map(t => t.id)"))
    assert asked | {"word-scope", "word-baseline", "word-control"} <= explained
    browser.one("a[href='#word-density']").click()
    assert browser.one("#word-density").is_displayed()
    # What the page itself says has no word of the harness's inside; names of fields of a record are its own.
    own = browser.get(
        "(() => { const main = document.body.cloneNode(true); main.querySelectorAll('script, template, #boards, code,"
        " svg, #chosen, #answer, .notes, .answer, .reading').forEach(one => one.remove()); return main.textContent })()"
    )
    assert not re.findall(r"\b(?:cells?|jobs?)\b", own)
