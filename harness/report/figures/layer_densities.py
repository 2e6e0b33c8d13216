"""Which connections a method keeps: mask density of each at the end of training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.analysis.grouping import mixed
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
_SEED = 2.0  # least width of the bar of one seed


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

    The thin line on a bar goes from the lowest to the highest seed. Where these are more than 5 % apart there is no
    mean: a bar a seed stands side by side, or, where there is no room, one from the lowest to the highest seed.
    Methods that keep everything are left out. Beyond ``columns`` connections, runs of neighbours share a bar: their
    mean. None if nothing is masked.
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
    if any(mixed(_by_seed([seeds])) for by in shown.values() for seeds in by.values()):
        foot += 14
        apart = "Seeds more than 5 % apart have no mean: a bar each, or one from the lowest to the highest."
        marks.append(element("text", apart, x=8.0, y=foot, class_="s"))
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
        values = _by_seed([by[name] for name in group if name in by])
        if not values:
            continue
        mean, low, high = sum(values) / len(values), min(values), max(values)
        text = brief(group[0]) + (f" to {brief(group[-1])}" if len(group) > 1 else "")
        x, width = left + slot * (i + 0.12), 0.76 * slot
        bars = [(x, width, 0.0, mean)]
        if mixed(values):
            text += f": {', '.join(f'{value:.3g}' for value in values)} by seed, no mean"
            each = width / len(values)
            wide = each >= _SEED
            bars = [(x + k * each, 0.9 * each, 0.0, value) for k, value in enumerate(values)]
            bars = bars if wide else [(x, width, low, high)]
        else:
            text += f": {mean:.3g}" + (f" ({low:.3g} to {high:.3g})" if high > low else "")
            if high > low and slot > 5:
                middle = x + width / 2
                spans += line([(middle, floor - _BAR * low), (middle, floor - _BAR * high)])
        title = element("title", escape(f"{brief(method)}, {text}"))
        made.append(element("path", title, d="".join(_bar(*bar, floor) for bar in bars), class_="f"))
    if spans:
        made.append(element("path", d=spans, class_="w"))
    return element("g", *made, class_=style.key)


def _by_seed(densities: Sequence[Sequence[float]]) -> list[float]:
    """Of each seed the mean over connections, within [0, 1]; of all at once where seeds lack some."""
    if len({len(seeds) for seeds in densities}) > 1:
        densities = [[density for seeds in densities for density in seeds]]
    found = [[density for density in seed if drawable(density)] for seed in zip(*densities, strict=True)]
    return [min(max(sum(seed) / len(seed), 0.0), 1.0) for seed in found if seed]


def _bar(x: float, width: float, low: float, high: float, floor: float) -> str:
    """From one density to another, never too low to be seen."""
    bottom = floor - _BAR * low
    top = min(floor - _BAR * high, bottom - 0.6)
    return line([(x, bottom), (x, top), (x + width, top), (x + width, bottom)], close=True)


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
        seeds = [(value, brief(name)) for name, values in by.items() for value in values]
        means = [(sum(values) / len(values), brief(name)) for name, values in by.items() if values]
        ends = seeds if any(mixed(values) for values in by.values()) else means
        low, high = min(ends), max(ends)
        parts.append(f"{brief(method)}: from {low[0]:.3g} in {low[1]} to {high[0]:.3g} in {high[1]}")
    return " ".join(map(sentence, parts))
