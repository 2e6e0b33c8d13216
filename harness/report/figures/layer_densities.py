"""Which connections a method keeps: mask density of each at the end of training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.report.figures.document import WIDTH, document
from harness.report.figures.plot import sentence
from harness.report.palette import Style
from harness.report.svg import brief, clean, drawable, element, escape, line, shorten, text_width
from harness.results.cell_record import CellRecord

_TITLE = "mask density of each connection"
Densities = Mapping[str, Mapping[str, Sequence[float]]]
_ROW, _BAR = 40.0, 26.0  # pixels between methods; height of a bar of density 1
_NAME, _LABEL = 230.0, 140.0  # widest name of a method, of a connection
_TOP, _EVERY = 34.0, 14.0


def connection_densities(records: Iterable[tuple[str, CellRecord]]) -> dict[str, dict[str, list[float]]]:
    """By row, by connection in the order of the records: the mask density of each seed, kept / size.

    ``records`` are pairs of a row's name and a cell's record.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for row, record in records:
        for name, counts in record.density.connections.items():
            if counts.size > 0:
                found.setdefault(row, {}).setdefault(name, []).append(counts.kept / counts.size)
    return found


def layer_densities(
    densities: Densities, palette: Mapping[str, Style], prefix: str = "layers", columns: int = 160
) -> str | None:
    """A row a method, in it a bar a connection from input to output: the mean density over seeds.

    The thin line on a bar goes from the lowest to the highest seed. Methods that keep everything are left
    out. Beyond ``columns`` connections, runs of neighbours share a bar: their mean. None if nothing is masked.
    """
    shown = {method: by for method, by in densities.items() if any(d < 1 for each in by.values() for d in each)}
    names = list(dict.fromkeys(name for by in shown.values() for name in by))
    if not names:
        return None
    run = -(-len(names) // columns)
    groups = [names[i : i + run] for i in range(0, len(names), run)]
    left = 20 + max(text_width(shorten(method, _NAME, 12), 12) for method in shown)
    slot = min(56.0, (WIDTH - 24 - left) / len(groups))
    height = _TOP + _ROW * len(shown)
    marks = [element("text", _TITLE, x=8.0, y=16.0)]
    for i, (method, by) in enumerate(sorted(shown.items())):
        marks.append(_row(palette[method], method, by, groups, left, slot, _TOP + _ROW * (i + 1) - 8))
    for density, y in (("0", height - 8), ("1", height - 8 - _BAR)):
        marks.append(element("text", density, x=left + slot * len(groups) + 4, y=y + 4, class_="s"))
    marks += _labels(groups, left, slot, height)
    foot = height + min(_LABEL, max(text_width(clean(name), 11) for name in names)) * 0.72 + 24
    note = "From input to output. Bars: mean over seeds; thin lines: lowest to highest seed."
    marks.append(element("text", note, x=8.0, y=foot, class_="s"))
    styles = [palette[method] for method in shown]
    return document(prefix, _TITLE, _description(shown, names), styles, marks, foot + 12)


def _row(
    style: Style,
    method: str,
    by: Mapping[str, Sequence[float]],
    groups: Sequence[Sequence[str]],
    left: float,
    slot: float,
    floor: float,
) -> str:
    """The name of a method, its bars, and light lines at densities 0 and 1."""
    right = left + slot * len(groups)
    made = [element("text", escape(shorten(method, _NAME, 12)), x=left - 8, y=floor - 8, text_anchor="end")]
    made += [element("path", d=line([(left, y), (right, y)]), class_="g") for y in (floor, floor - _BAR)]
    spans = ""
    for i, group in enumerate(groups):
        values = [d for name in group for d in by.get(name, ()) if drawable(d)]
        if not values:
            continue
        mean, low, high = (min(max(d, 0.0), 1.0) for d in (sum(values) / len(values), min(values), max(values)))
        text = brief(group[0]) + (f" to {brief(group[-1])}" if len(group) > 1 else "") + f": {mean:.3g}"
        if high > low:
            text += f" ({low:.3g} to {high:.3g})"
        x, width, height = left + slot * (i + 0.12), 0.76 * slot, max(_BAR * mean, 0.6)
        corners = [(x, floor), (x, floor - height), (x + width, floor - height), (x + width, floor)]
        title = element("title", escape(f"{brief(method)}, {text}"))
        made.append(element("path", title, d=line(corners, close=True), class_="f"))
        if high > low and slot > 5:
            middle = x + width / 2
            spans += line([(middle, floor - _BAR * low), (middle, floor - _BAR * high)])
    if spans:
        made.append(element("path", d=spans, class_="w"))
    return element("g", *made, class_=style.key)


def _labels(groups: Sequence[Sequence[str]], left: float, slot: float, top: float) -> list[str]:
    """Names of connections below their bars, turned; as many as there is room for."""
    every = max(1, -(-int(_EVERY) // max(int(slot), 1)))
    made = []
    for i in range(0, len(groups), every):
        x, y = left + slot * (i + 0.5) + 3, top + 10
        text = escape(shorten(groups[i][0], _LABEL, 11))
        made.append(
            element("text", text, text_anchor="end", class_="s", transform=f"translate({x:.1f} {y:.1f})rotate(-45)")
        )
    return made


def _description(shown: Densities, names: Sequence[str]) -> str:
    parts = [f"Mask density of {len(names)} connections for {len(shown)} methods"]
    for method, by in sorted(shown.items())[:8]:
        means = [(sum(values) / len(values), brief(name)) for name, values in by.items() if values]
        low, high = min(means), max(means)
        parts.append(f"{brief(method)}: from {low[0]:.3g} in {low[1]} to {high[0]:.3g} in {high[1]}")
    return " ".join(map(sentence, parts))
