"""Standalone figures: nothing is left to a style sheet, and files are what their suffix says, of the size on paper."""

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image

from harness.analysis.comparison_row import ComparisonRow
from harness.errors import UserError
from harness.report.figures import pruning_curve, training_curves
from harness.report.figures.picture import write_picture
from harness.report.figures.series import RowCurves
from harness.report.figures.standalone import standalone
from harness.report.palette import COLOURS, INK, NEUTRAL, PAPER, palette

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ["dense", "a", "b", 'c"<&']
STYLES = palette(NAMES, "dense")


def row(method: str, density: float, mean: float) -> ComparisonRow:
    densities = dict.fromkeys(("density_mask", "density_low", "density_high", "density_total"), density)
    around = {"mean": mean, "ci_low": mean - 0.02, "ci_high": mean + 0.02, "n": 1 if method == "b" else 3}
    return ComparisonRow(
        suite="s", experiment="main", trained_on="digits", protocol="test", method=method, density_scope="maskable",
        parameters=1e6, metric="accuracy", unit="fraction", direction="max", architecture="mlp", benchmark="digits",
        baseline="dense", cells=[], **densities, **around,
    )  # fmt: skip


def figure(width: float = 720.0) -> str:
    table = [row("dense", 1.0, 0.95), *(row(name, d, 0.6 + 0.5 * d) for name in NAMES[1:] for d in (0.5, 0.2, 0.05))]
    svg = pruning_curve(table, STYLES, width=width)
    assert svg is not None
    return svg


def words(svg: str) -> list[str]:
    return [e.text or "" for e in ET.fromstring(svg).iter() if e.tag.removeprefix(SVG) in ("text", "title", "desc")]


@pytest.mark.parametrize("dark", [False, True])
def test_every_mark_says_its_colours_itself(dark: bool) -> None:
    svg = figure()
    made = standalone(svg, STYLES.values(), dark)
    assert words(made) == words(svg)
    assert not re.search(r"var\(|<style|class=|style=|currentColor|@", made)
    root = ET.fromstring(made)
    page, *marks = (e for e in root.iter() if e.tag.removeprefix(SVG) in ("rect", "path", "text", "circle"))
    assert (page.get("fill"), page.get("width"), page.get("height")) == (
        PAPER[dark],
        *root.attrib["viewBox"].split()[2:],
    )
    allowed = {*(both[dark] for both in (*COLOURS, INK, *NEUTRAL.values())), "none"}
    for mark in marks:
        assert mark.get("fill") in allowed
        assert mark.get("stroke", "none") in allowed
        assert mark.get("fill") != "none" or mark.get("stroke")
        if mark.tag == SVG + "text":
            assert (mark.get("font-family"), mark.get("font-size")) in (("sans-serif", "12px"), ("sans-serif", "11px"))


def test_marks_look_as_their_classes_say() -> None:
    before, after = (list(ET.fromstring(svg).iter()) for svg in (figure(), standalone(figure(), STYLES.values())))
    colour = ""
    kinds = set()
    for old, new in zip(before, after, strict=True):
        kind = old.get("class", "")
        colour = next((style.light for style in STYLES.values() if style.key == kind), colour)
        wanted = {
            "l": {"fill": "none", "stroke": colour, "stroke-width": "1.8"},
            "p": {"fill": colour, "stroke": "#ffffff", "stroke-width": ".8"},
            "h": {"fill": "#ffffff", "stroke": colour, "stroke-width": "1.4"},
            "a": {"fill": colour, "opacity": ".08"},
            "g": {"fill": "none", "stroke": NEUTRAL["grid"][0]},
        }.get(kind, {})
        kinds.add(kind)
        assert {key: new.get(key) for key in wanted} == wanted
    assert kinds >= {"l", "p", "h", "a", "g", "s", "e"}


def test_lines_of_one_colour_are_dashed_and_others_are_not() -> None:
    names = [f"m{i}" for i in range(20)]
    styles = palette(names)
    svg = training_curves({name: RowCurves(name, [[(1, 2.0), (2, 1.0)]]) for name in names}, styles)
    assert svg is not None
    root = ET.fromstring(standalone(svg, styles.values()))
    lines = [e for e in root.iter(SVG + "path") if e.get("stroke-width") == "1.8"]
    looks = [(line.get("stroke"), line.get("stroke-dasharray")) for line in lines]
    assert len(set(looks)) == len(looks) == 20
    assert sum(dash is None for _, dash in looks) == len({colour for colour, _ in looks}) < 20


@pytest.mark.parametrize(("pixels", "size"), [(720.0, 190.5), (85 / 25.4 * 96, 85.0), (140 / 25.4 * 96, 140.0)])
def test_sizes_are_in_millimetres(pixels: float, size: float) -> None:
    root = ET.fromstring(standalone(figure(pixels), STYLES.values()))
    width, height = (float(root.attrib[side].removesuffix("mm")) for side in ("width", "height"))
    assert width == pytest.approx(size, abs=0.02)
    left, top, across, down = map(float, root.attrib["viewBox"].split())
    assert (left, top) == (0, 0)
    assert width / height == pytest.approx(across / down, rel=1e-3)
    assert across * 25.4 / 96 == pytest.approx(width, abs=0.02)  # so 12px are 9 points on paper


def cairo() -> None:
    try:
        import cairosvg  # noqa: F401
    except (ImportError, OSError) as error:
        pytest.skip(f"no CairoSVG: {error}")


def test_a_png_has_300_dots_per_inch_and_the_colours(tmp_path: Path) -> None:
    cairo()
    for dark in (False, True):
        write_picture(tmp_path / "a.PNG", standalone(figure(85 / 25.4 * 96), STYLES.values(), dark))
        with Image.open(tmp_path / "a.PNG") as picture:
            assert picture.format == "PNG"
            assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
            assert picture.width == pytest.approx(85 / 25.4 * 300, abs=2)
            found = {f"#{r:02x}{g:02x}{b:02x}" for _, (r, g, b, _) in picture.convert("RGBA").getcolors(1 << 20)}
            assert picture.convert("RGB").getpixel((1, 1)) == tuple(bytes.fromhex(PAPER[dark][1:]))
        used = [style.dark if dark else style.light for style in STYLES.values()]
        assert {*used, NEUTRAL["grid"][dark]} <= found


def test_a_pdf_has_its_size_on_paper(tmp_path: Path) -> None:
    cairo()
    write_picture(tmp_path / "a.pdf", standalone(figure(85 / 25.4 * 96), STYLES.values()))
    written = (tmp_path / "a.pdf").read_bytes()
    assert written.startswith(b"%PDF")
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", written)
    assert box is not None
    assert float(box[1]) == pytest.approx(85 / 25.4 * 72, abs=0.5)


@pytest.mark.parametrize(
    ("module", "repair"),
    [
        (None, "sparsity-harness[figures]"),
        ("raise OSError('no cairo')", "libcairo2"),
    ],
)
def test_what_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str | None, repair: str
) -> None:
    if module is None:
        monkeypatch.setitem(sys.modules, "cairosvg", None)
    else:
        (tmp_path / "cairosvg.py").write_text(module)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "cairosvg", raising=False)
    with pytest.raises(UserError, match=re.escape(repair)):
        write_picture(tmp_path / "a.pdf", standalone(figure(), STYLES.values()))
    write_picture(tmp_path / "a.svg", standalone(figure(), STYLES.values()))
    assert [path.name for path in tmp_path.glob("a.*")] == ["a.svg"]


def test_no_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no folder .*no: make it, or write a.svg elsewhere"):
        write_picture(tmp_path / "no" / "a.svg", standalone(figure(), STYLES.values()))
    assert not list(tmp_path.iterdir())
