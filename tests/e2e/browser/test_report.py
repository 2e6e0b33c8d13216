"""The report in a real browser, opened from a file, without any network."""

import json
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.report.html.page import page
from harness.report.tuning import tuning_tables
from harness.results.store import ResultStore

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
ActionChains, Keys = webdriver.ActionChains, webdriver.Keys
Select = pytest.importorskip("selenium.webdriver.support.select").Select
NoAlert = pytest.importorskip("selenium.common.exceptions").NoAlertPresentException

RESULTS = Path(__file__).parents[3] / "results"
STORE = ResultStore(RESULTS)


def named(part: str) -> str:
    """The first cell of the quickstart whose name has this part."""
    return next(cell for cell in STORE.names("quickstart") if part in cell)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The committed suites, and a copy of some cells with masks."""
    root = tmp_path_factory.mktemp("report")
    results = root / "results"
    results.mkdir()
    for suite in ("quickstart", "gpt2_wiki_cpu", "ndna_mnist"):
        (results / suite).symlink_to(RESULTS / suite)
    masked, unmasked = results / "masked", results / "before_masks_were_kept"
    for folder in (masked / "cells", masked / "masks", unmasked / "cells"):
        folder.mkdir(parents=True)
    for cell in [name for name in STORE.names("quickstart") if ".random.d0.1.s" in name][:3]:
        record = json.loads(STORE.file("quickstart", "cells", cell).read())
        for suite in (masked, unmasked):
            (suite / "cells" / f"{cell}.json").write_text(json.dumps(record | {"suite": suite.name}))
        bits = np.random.RandomState(record["seed"]).rand(48 * 64) < 0.25
        same = {"shape": [48, 64], "kept": int(bits.sum())}
        about = {
            "frames.time": {**same, "kind": "attention", "role": "temporal_attention"},
            "patches.spatial": {**same, "kind": "attention"},
            "ffn.up": {**same, "kind": "weight"},
        }
        tensors = {f"{name}/bits": np.packbits(bits) for name in about}
        file = masked / "masks" / f"{record['stages'][-1]}.safetensors"
        save_file(tensors, file, metadata={"connections": json.dumps(about)})
    path = root / "report.html"
    path.write_text(page(ResultStore(results)), encoding="utf8")
    return path


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """The one committed suite whose methods were tuned."""
    root = tmp_path_factory.mktemp("tuned")
    (root / "methods_mnist").symlink_to(RESULTS / "methods_mnist")
    path = root / "report.html"
    path.write_text(page(ResultStore(root)), encoding="utf8")
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, hostile_results):
    path = tmp_path_factory.mktemp("hostile-report") / "report.html"
    path.write_text(page(ResultStore(hostile_results.root)), encoding="utf8")
    return path


def use_everything(browser):
    """Open, unfold, choose and press all that the page has."""
    browser.one("#filter-open").click()
    browser.get("document.getElementById('open-all').click()")
    browser.one("#more-columns").click()
    for number, _ in enumerate(browser.all("main select")):
        select = Select(browser.all("main select")[number])
        if select._el.is_displayed():
            select.select_by_index(len(select.options) - 1)
            browser.get("new Promise(done => setTimeout(done, 100))")
    browser.get("document.querySelectorAll('details').forEach(one => { one.open = true })")
    if links := browser.all("td a[href^='#cell=']"):
        browser.get("arguments[0].click()", links[0])
        browser.until("document.getElementById('record-text')?.textContent.length > 100")
        browser.one("#record-compare").click()
        browser.get("arguments[0].click()", links[-1])
        browser.until("document.getElementById('difference-scores')")
        browser.one("#record-close").click()
    if legend := browser.all("#plot-legend button"):
        browser.get("arguments[0].click()", legend[-1])
        browser.one("#active-clear").click()


@pytest.mark.parametrize("name", ["report", "hostile"])
def test_nothing_is_requested_nothing_fails_and_nothing_from_files_is_run(browser, name, request):
    path = request.getfixturevalue(name)
    browser.open(path)
    use_everything(browser)
    said, asked = browser.logs()
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    assert not browser.one("#trouble").is_displayed()
    assert browser.get("window.__pwned") is None
    with pytest.raises(NoAlert):
        browser.driver.switch_to.alert.dismiss()


def test_hostile_strings_are_shown_as_they_are(browser, hostile, hostile_results):
    browser.open(hostile)
    evil = " ".join(hostile_results.evil.split())
    assert evil in browser.one("#leaderboard").text
    left = browser.one("#left-out-body").text
    for file in (*hostile_results.left, *hostile_results.damaged, hostile_results.missing):
        assert file in left
    assert browser.get("[...document.querySelectorAll('script')].filter(s => !s.type).length") == 1
    assert not browser.all("main b, main script, main img[src='x']")


FIRST = "#chosen .body > .scroll table"


def column(browser, name):
    """Texts of one column of the table beneath the plot."""
    heads = [head.text.strip() for head in browser.all(f"{FIRST} thead th")]
    rows = browser.all(f"{FIRST} tbody tr:not(:has(.group))")
    return [row.find_elements("css selector", "th, td")[heads.index(name)].text for row in rows]


def choose(browser, field, value):
    if not browser.one("#filters").is_displayed():
        browser.one("#filter-open").click()
    if field == "method":
        browser.one(f"#filter-methods input[value='{value}']").click()
    else:
        Select(browser.one(f"#filter-{field}")).select_by_value(value)


def press_heading(browser, name):
    """Sort by a column with the keyboard; what its heading then says to a screen reader."""
    for head in browser.all(f"{FIRST} thead th"):
        if head.text.strip() == name:
            head.find_element("css selector", "button").send_keys(Keys.ENTER)
            break
    return browser.get("document.activeElement.closest('th').getAttribute('aria-sort')")


def test_sorting_goes_by_value_and_back_to_the_ranks(browser, report):
    browser.open(report)
    choose(browser, "suite", "quickstart")
    choose(browser, "architecture", "biogpt")
    assert browser.one("#chosen-title").text == "python: biogpt on python_stdlib (quickstart)"
    ranked = column(browser, "density")
    assert press_heading(browser, "density") == "ascending"
    assert column(browser, "density") == ["0.1000", "0.3000", "0.5500", "0.7500", "1.0000"]
    assert press_heading(browser, "density") == "descending"
    assert column(browser, "density") == ["1.0000", "0.7500", "0.5500", "0.3000", "0.1000"]
    assert press_heading(browser, "density") == "none"
    assert column(browser, "density") == ranked
    # What the others are compared with has no difference: it comes last, however it is sorted.
    for direction in ("ascending", "descending"):
        assert press_heading(browser, "minus dense") == direction
        *differences, last = column(browser, "minus dense")
        assert last == "\N{EN DASH}"
        values = [float(text.split()[0]) for text in differences]
        assert values == sorted(values, reverse=direction == "descending")


def test_filters_work_together_and_are_cleared(browser, report):
    browser.open(report)
    total = browser.one("#found").text
    choose(browser, "suite", "quickstart")
    assert browser.one("#found").text == "38 rows in 3 tables"
    choose(browser, "method", "magnitude")
    assert browser.one("#found").text == "13 rows in 3 tables"
    browser.one("#filter-low").send_keys("0.3")
    browser.one("#filter-high").send_keys("0.6")
    assert browser.one("#found").text == "5 rows in 3 tables"
    browser.one("#filter-text").send_keys("BIOGPT 0.3000")
    assert browser.one("#found").text == "1 row in 1 table"
    browser.one("#filter-text").send_keys(" nowhere")
    assert browser.one("#found").text == "Nothing fits all of these filters."
    assert not [panel for panel in browser.all("details.board, #chosen table") if panel.is_displayed()]
    browser.one("#filters button[type=reset]").click()
    browser.until(f"document.getElementById('found').textContent === {json.dumps(total)}")


def bars(browser):
    return browser.get("[...document.querySelectorAll('.bars .fill')].map(bar => bar.style.width)")


def test_the_slider_moves_by_key_by_pointer_and_by_itself(browser, report):
    browser.open(report)
    run = Select(browser.one("#training-run"))
    run.select_by_visible_text("quickstart: digits, skip_mlp on digits, genome")
    browser.until("document.querySelectorAll('#training-body .panel').length === 5")
    series = json.loads(STORE.file("quickstart", "series", named(".genome.s0.")).read())["densities"]
    slider = browser.one("#time")
    last = len(series) - 1
    assert slider.get_attribute("max") == slider.get_attribute("value") == str(last)
    for at, keys in ((0, Keys.HOME), (1, Keys.ARROW_RIGHT), (2, Keys.ARROW_UP), (1, Keys.ARROW_LEFT), (last, Keys.END)):
        slider.send_keys(keys)
        assert slider.get_attribute("value") == str(at)
        _, step, found = series[at]
        assert f"step {step:,}" in browser.one(".player output").text
        assert slider.get_attribute("aria-valuetext") == browser.one(".player output").text
        widths = bars(browser)[: len(found)]
        assert [float(width.rstrip("%")) for width in widths] == pytest.approx(
            [100 * h for h, _ in found.values()], abs=0.01
        )
    browser.get("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", slider)
    width = slider.size["width"]
    ActionChains(browser.driver).move_to_element_with_offset(slider, width // 2 - 8, 0).click_and_hold().move_by_offset(
        -width // 2, 0
    ).release().perform()
    dragged = int(slider.get_attribute("value"))
    assert 0 < dragged < last
    slider.send_keys(Keys.HOME)
    browser.one(".player button").click()
    assert browser.one(".player button").text == "Pause"
    browser.until("Number(document.getElementById('time').value) >= 3")
    browser.one(".player button").click()
    paused = slider.get_attribute("value")
    assert browser.one(".player button").text == "Play"
    browser.driver.execute_async_script("setTimeout(arguments[0], 400)")
    assert slider.get_attribute("value") == paused
    slider.send_keys(Keys.END)
    browser.one(".player button").click()  # from the end it starts again
    browser.until(f"Number(document.getElementById('time').value) < {last}")
    browser.until("document.querySelector('.player button').textContent === 'Play'")
    assert slider.get_attribute("value") == str(last)


def test_masks_have_pictures_with_texts_and_overlap_beside_chance(browser, report):
    browser.open(report)
    runs = Select(browser.one("#masks-run"))
    runs.select_by_visible_text(next(one.text for one in runs.options if one.text.startswith("masked")))
    browser.until("document.querySelectorAll('.pictures img').length === 3")
    heads = [head.text for head in browser.all("#masks-body h4")]
    assert heads == ["Connections: temporal attention", "Connections: attention", "Connections: weights"]
    image = browser.one(".pictures img")
    assert image.get_attribute("alt").startswith("Mask of frames.time: 48 \u00d7 64 weights, density 0.2")
    browser.get("arguments[0].scrollIntoView()", image)
    browser.until("document.querySelector('.pictures img').complete")
    assert browser.get("[arguments[0].naturalWidth, arguments[0].naturalHeight]", image) == [64, 48]
    assert browser.get("getComputedStyle(arguments[0]).imageRendering", image) == "pixelated"
    browser.get("document.querySelectorAll('#masks-body details').forEach(one => { one.open = true })")
    rows = [line.find_elements("css selector", "th, td") for line in browser.all("#masks-body tbody tr")]
    row = next([cell.text for cell in cells] for cells in rows if cells[0].text.startswith("masked"))
    bits = [np.random.RandomState(seed).rand(48 * 64) < 0.25 for seed in range(3)]
    overlaps = [(a & b).sum() / (a | b).sum() for a, b in ((bits[0], bits[1]), (bits[0], bits[2]), (bits[1], bits[2]))]
    assert row[2:6] == ["3", f"{np.mean(overlaps):.3f}", f"{min(overlaps):.3f}", f"{max(overlaps):.3f}"]
    assert "harness run suites/before_masks_were_kept.yaml" in browser.one("#masks-body").text


def test_texts_stand_side_by_side_for_each_prompt(browser, report):
    browser.open(report)
    browser.until("document.querySelectorAll('#samples-body article').length === 8")
    before = browser.one("#samples-body article p").text
    Select(browser.one("#samples-prompt")).select_by_index(3)
    assert browser.one(".prompt").text.startswith(
        Select(browser.one("#samples-prompt")).first_selected_option.text[:20]
    )
    assert browser.one("#samples-body article p").text != before
    shown = [float(meta.text.split()[-1]) for meta in browser.all("#samples-body .meta")]
    assert shown == sorted(shown, reverse=True)


def test_a_record_opens_from_its_address_and_closes_by_key(browser, report):
    cell = named(".magnitude.d0.1.s1.")
    browser.open(report, fragment=f"#cell={quote(f'quickstart/{cell}')}")
    browser.until("document.getElementById('record-text')?.textContent.length > 100")
    assert (
        browser.get("document.getElementById('record-text').textContent")
        == STORE.file("quickstart", "cells", cell).read().decode()
    )
    assert browser.one("#record-title").text == cell
    assert not browser.one("#record-text").is_displayed()  # behind a fold
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    browser.until("!document.getElementById('record').open && !location.hash.startsWith('#cell')")
    browser.open(report, fragment="#cell=quickstart%2Fnothing")
    assert "does not have" in browser.one("#trouble").text


CONTRASTS = """
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour.length < 4 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const low = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest("script,style,option")) continue;
  const style = getComputedStyle(node);
  const [a, b] = [luminance(parse(node.closest("svg") ? style.fill : style.color)), luminance(behind(node))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) low.push([contrast.toFixed(2), node.tagName, walker.currentNode.data.slice(0, 40)]);
}
return low;
"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("pressed", [False, True])
def test_every_text_has_enough_contrast_in_both_themes(browser, report, dark, pressed):
    browser.open(report, dark=dark)
    if pressed:
        browser.one("#theme").click()
    browser.one("#open-all").click()
    choose(browser, "method", "magnitude")
    browser.until("document.querySelectorAll('.pictures img').length")
    assert browser.driver.execute_script(CONTRASTS) == []
    cell = named(".magnitude.d0.1.s1.")
    browser.get("location.hash = arguments[0]", f"#cell={quote(f'quickstart/{cell}')}")
    browser.until("document.getElementById('record-view')")
    assert browser.driver.execute_script(CONTRASTS) == []
    background = browser.get("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(13, 17, 23)" if dark != pressed else "rgb(255, 255, 255)")


@pytest.mark.parametrize("name", ["report", "hostile"])
def test_at_320_pixels_only_tables_scroll_sideways(browser, name, request):
    browser.open(request.getfixturevalue(name), width=320)
    use_everything(browser)
    assert browser.get("document.documentElement.scrollWidth") <= 320
    browser.emulate()


RIGHT_EDGE = """(function () {
  const range = new Range();
  range.selectNodeContents(arguments[0]);
  return range.getBoundingClientRect().right;
}).apply(null, arguments)"""


def test_the_answer_comes_first_and_the_first_score_is_seen_on_a_telephone(browser, report):
    for width in (1280, 800, 380):
        browser.open(report, width=width)
        browser.one("#open-all").click()
        assert browser.get("document.documentElement.scrollWidth") <= width
        shown = [panel for panel in browser.all("#chosen, details.board[open]") if panel.is_displayed()]
        assert len(shown) > 5
        for board in shown:
            table = board.find_element("css selector", ".scroll table")
            heads = [head.text.split()[0] for head in table.find_elements("css selector", "thead th")]
            score = next(heads.index(name) for name in ("method", "network") if name in heads) + 1
            score += heads[score] == "density"  # which says which row it is, where a method has several
            first = table.find_elements("css selector", "tbody tr:not(:has(.group))")[0]
            cells = first.find_elements("css selector", "th, td")
            assert browser.get(RIGHT_EDGE, cells[score]) <= width and cells[score].text.lstrip("-")[:1].isdigit()
            if width == 380:
                assert heads[0] in ("method", "network") and score == 1
    browser.emulate()


def test_a_narrow_table_shows_the_rest_on_demand(browser, report):
    browser.open(report, width=380)
    before = [head.text for head in browser.all(f"{FIRST} thead th")]
    browser.one("#more-columns").click()
    after = [head.text for head in browser.all(f"{FIRST} thead th")]
    assert after[:2] == before[:2] and len(after) > len(before) + 5
    browser.emulate()
    assert [head.text for head in browser.all(f"{FIRST} thead th")][:2] == ["rank", "method"]


def test_rows_without_a_mean_are_shown_seed_by_seed(browser, report):
    browser.open(report)
    choose(browser, "suite", "quickstart")
    choose(browser, "architecture", "skip_mlp")
    detail = next(one for one in browser.all(".detail") if one.is_displayed())
    seeds = [head.text for head in detail.find_elements("css selector", "thead th")][1:]
    assert seeds == [f"seed {seed}" for seed in range(5)]
    rows = [row.text.split() for row in detail.find_elements("css selector", "tbody tr")]
    assert [len(row) for row in rows] == [6] * len(rows)
    assert rows[0][0] == "density" and "genome" in [row[0] for row in rows]


def test_tuning_has_its_section_only_where_something_was_tuned(browser, report, tuned):
    browser.open(report)
    assert not browser.one("#tuning").is_displayed() and not browser.one("#to-tuning").is_displayed()
    table, equal = tuning_tables(STORE, "methods_mnist")
    for width in (380, 1280):
        browser.open(tuned, width=width)
        assert browser.one("#to-tuning").is_displayed()
        board, other = browser.all("#tuning-body > details")
        assert table.title in board.text and equal.title in other.text
        board.find_element("css selector", "summary").click()
        assert [item.text for item in board.find_elements("css selector", ".answer li")] == table.answer
        assert browser.get("document.documentElement.scrollWidth") <= width
    chosen, trials = board.find_elements("css selector", "table")
    shown = [
        [cell.text for cell in row.find_elements("css selector", "th, td")]
        for row in chosen.find_elements("css selector", "tbody tr")
    ]
    assert shown == table.rows and len(shown) > 20
    assert not trials.is_displayed()
    board.find_element("css selector", ".reading summary").click()
    rows = trials.find_elements("css selector", "tbody tr")
    assert trials.is_displayed() and len(rows) == len(table.detail.rows) == 6 * len(shown)
    assert browser.get("[...arguments].filter(e => e.textContent.includes('chosen')).length", *rows) == len(shown)
    browser.emulate()


def test_headings_landmarks_and_names_are_in_order(browser, report):
    browser.open(report)
    browser.one("#open-all").click()
    levels = browser.get(
        "[...document.querySelectorAll('main h1, main h2, main h3, main h4')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert [len(browser.all(tag)) for tag in ("header", "nav", "main", "footer")] == [1, 1, 1, 1]
    unnamed = """[...document.querySelectorAll('button, select, input, a, img, svg[role=img], [role=region]')]
        .filter(one => !(one.textContent.trim() || one.labels?.length || one.ariaLabel || one.alt))
        .map(one => one.outerHTML.slice(0, 80))"""
    assert browser.get(unnamed) == []
    assert (
        browser.get(
            "[...document.querySelectorAll('[id]')].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i)"
        )
        == []
    )


def test_the_first_tab_skips_to_the_leaderboard_and_focus_can_be_seen(browser, report):
    browser.open(report)
    ActionChains(browser.driver).send_keys(Keys.TAB).perform()
    skip = browser.driver.switch_to.active_element
    assert skip.text == "Skip to the table"
    assert browser.get("getComputedStyle(arguments[0]).outlineStyle", skip) == "solid"
    skip.send_keys(Keys.ENTER)
    browser.until("location.hash === '#leaderboard'")


def test_motion_is_only_for_those_who_want_it(browser, report):
    browser.open(report)
    browser.until("document.querySelectorAll('.bars .fill').length")
    duration = "getComputedStyle(document.querySelector('.bars .fill')).transitionDuration"
    assert browser.get(duration) == "0s"
    browser.emulate(prefers_reduced_motion="no-preference")
    assert browser.get(duration) != "0s"
    browser.emulate()


CUT = """[...document.querySelectorAll(".scroll")].filter((box) => box.clientWidth).flatMap((box) => {
  const [left, right] = [box.getBoundingClientRect().left, box.getBoundingClientRect().left + box.clientWidth];
  return [...box.querySelectorAll("td")].flatMap((cell) => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return [...range.getClientRects()].filter((part) => part.left < right - 1 && part.right > right + 1)
      .map(() => `${box.getAttribute("aria-label")}: ${cell.textContent}`);
  });
})"""


@pytest.mark.parametrize("more", [False, True])
def test_no_number_is_cut_by_the_edge_of_a_table(report, browser, more):
    """The text of no cell lies across the edge of its box, which scrolls, at any width."""
    browser.open(report)
    browser.get("document.getElementById('open-all').click()")
    if more:
        browser.get("document.getElementById('more-columns').click()")
    for width in range(320, 1601, 40):
        browser.emulate(width)
        browser.get("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert browser.get(CUT) == [], width
    assert browser.get("document.querySelectorAll('.scroll td').length") > 100
