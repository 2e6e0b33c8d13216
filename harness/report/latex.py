"""Tables for papers: LaTeX with the package booktabs, as narrow as it can be read."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

from harness.report.tables import NONE, WARNING, Column, Table

COLUMN, PAGE = 84.0, 178.0
"""Widths of a column and of a page in two columns, in mm."""
_CHARACTER, _GAP = 1.42, 2.1
"""Of footnotesize in mm: a character, raised or not, and what is between columns."""
_HEIGHT, _BETWEEN, _LINE, _CAPTION = 190.0, 16.0, 3.35, 1.75
"""In mm: of the text of a page, of rules, heads and gaps, of a line of footnotesize, and a character of a caption."""
_PM = "\N{PLUS-MINUS SIGN}"
_TEX = {c: rf"\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    _PM: r"$\pm$",
    "\N{UPWARDS ARROW}": r"$\uparrow$",
    "\N{DOWNWARDS ARROW}": r"$\downarrow$",
    NONE: "--",
}
_SCORE = re.compile(r"([+-]?[\d.]+)(?: \xb1 ([\d.]+)| \(([+-]?[\d.]+) to ([+-]?[\d.]+)\))?(?![^ ])")
"""A number, with its interval as :func:`harness.report.tables.interval` writes it."""

_POWER = re.compile(r"(?<![\w.])([\d.]+)e([+-]\d+)(?![\w.])")


def latex(tables: Iterable[Table]) -> str:
    """Floats for a paper, each with a caption and a label of its own; what else is to be said stands in comments.

    One that is wider than a column of a paper in two columns goes over both (``table*``); one that is higher than a
    page is continued in others, each with a label of its own.
    """
    labels: Counter[str] = Counter()
    return "\n".join(_floats(table, labels) for table in tables)


def _label(words: str, labels: Counter[str]) -> str:
    """The same for the same words whenever it is written; of equal ones in one file the later have a number."""
    label = re.sub("[^a-z0-9.]+", "-", words.lower()).strip("-.")
    labels[label] += 1
    return label if labels[label] == 1 else f"{label}-{labels[label]}"


def _floats(table: Table, labels: Counter[str]) -> str:
    """One float, or as many as pages are needed, the first with the caption, the last with what stands below."""
    label = _label(table.label or table.title, labels)
    alone, columns, grid = _parts(table)
    apart = [(n, i) for n, row in enumerate(table.rows) for i in alone if row[i] != NONE]
    across = [_across(table, n, i, len(columns) - 1) for n, i in apart]
    heads = [_heading(table.columns[i]) for i in columns]
    lines = [" & ".join(_cell(table, n, i) for i in columns) for n in grid]
    warnings = [note.removeprefix(f"{WARNING}: ") for note in table.notes if note.startswith(WARNING)]
    meant = [f"{column.name}: {column.meaning}." for column in table.columns if column.meaning]
    below = " ".join(filter(None, [table.below, *meant, *(warning[0].upper() + warning[1:] for warning in warnings)]))
    told = [table.title, *table.answer, *(note for note in table.notes if not note.startswith(WARNING))]
    wide = width(table)
    if wide > PAGE:
        told.append("Wider than a page: choose columns with --columns.")
    caption = table.caption or f"{table.title}."
    stretch = 1.4 if any("}_{-" in line for line in [*across, *lines]) else 1.1
    room = _HEIGHT - _BETWEEN - _set(caption, _CAPTION, wide) - _set(below, _CHARACTER, wide)
    most = max(int(room / (_LINE * stretch)), 10)
    body = [*(rf"{line} \\" for line in across), *([r"\midrule"] if across else []), *(rf"{line} \\" for line in lines)]
    even = math.ceil(len(body) / math.ceil(len(body) / most)) if body else 1
    pages = [body[i : i + even] for i in range(0, len(body), even)] or [[]]
    name = "table" if wide <= COLUMN else "table*"
    parts = [f"% {' '.join(sentence.split())}" for sentence in told if sentence]
    for i, page in enumerate(pages):
        own = _label(f"{label}-continued", labels) if i else label
        titled = rf"Table~\ref{{tab:{label}}}, continued." if i else _tex(caption)
        parts += [
            rf"\begin{{{name}}}",
            r"\centering",
            rf"\caption{{{titled}}}",
            rf"\label{{tab:{own}}}",
            r"\smallskip",
            r"\footnotesize",
            r"\setlength{\tabcolsep}{3pt}",
            rf"\renewcommand{{\arraystretch}}{{{stretch}}}",
            rf"\begin{{tabular}}{{@{{}}{''.join('r' if table.columns[i].right else 'l' for i in columns)}@{{}}}}",
            r"\toprule",
            rf"{' & '.join(heads)} \\",
            r"\midrule",
            *page,
            r"\bottomrule",
            r"\end{tabular}",
        ]
        if below and i == len(pages) - 1:
            parts.append(rf"\par\smallskip\parbox{{\linewidth}}{{\raggedright {_tex(below)}}}")
        parts += [rf"\end{{{name}}}", ""]
    return "\n".join(parts)


def _set(text: str, character: float, wide: float) -> float:
    """About how high a text is below or above a table, in mm."""
    return _LINE * 1.25 * math.ceil(len(text) * character / (COLUMN if wide <= COLUMN else PAGE))


def _parts(table: Table) -> tuple[list[int], list[int], list[int]]:
    """Columns whose cells stand aside, the other columns, and the rows that stand in these; empty ones do nowhere.

    Aside stands what is alone in its row, in a column where all are, as long as another column is left.
    """
    filled = [[i for i in range(1, len(table.columns)) if row[i] != NONE] for row in table.rows]
    asides = [i for i, column in enumerate(table.columns) if column.aside]
    alone = [i for i in asides if all(row == [i] for row in filled if i in row)]
    if alone and len(alone) + 1 == len(table.columns):
        alone.pop()
    columns = [i for i in range(len(table.columns)) if i not in alone]
    return alone, columns, [n for n, row in enumerate(filled) if {*row} & {*columns} or len(table.columns) == 1]


def _across(table: Table, row: int, column: int, span: int) -> str:
    """A row that stands in no column."""
    text = f"{_cell(table, row, column)} {_tex(table.columns[column].aside)}"
    return rf"{_cell(table, row, 0)} & \multicolumn{{{span}}}{{l@{{}}}}{{{text}}}"


def _heading(column: Column) -> str:
    """``benchmark, metric`` in two lines."""
    lines = [_tex(line) for line in column.name.split(", ")]
    return r"\shortstack[l]{" + r"\\".join(lines) + "}" if len(lines) > 1 else lines[0]


def _cell(table: Table, row: int, column: int) -> str:
    """An interval stands raised and lowered behind its number, which needs two thirds of the width."""
    text, bold = table.rows[row][column], table.is_bold(row, column)
    found = _SCORE.match(text)
    if found is None or not _ends(found):
        return rf"\textbf{{{_tex(text)}}}" if bold and text != NONE else _tex(text)
    number = rf"\mathbf{{{found[1]}}}" if bold else found[1]
    ends = _ends(found)
    scripts = "".join(f"{at}{{{end}}}" for at, end in zip("^_" if len(ends) > 1 else "_", ends, strict=False))
    scripts = scripts.replace(_PM, r"\pm ")
    return f"${number}{scripts}$ {_tex(text[found.end() :])}".rstrip()


def _ends(found: re.Match[str]) -> list[str]:
    """``+.013`` and ``-.020``, or one with both signs: how far the ends of an interval are from its number."""
    if found[2]:
        return [_PM + _short(found[2])]
    if not found[3]:
        return []
    number, low, high = (Decimal(found[i]) for i in (1, 3, 4))
    return [f"+{_short(str(high - number))}", f"-{_short(str(number - low))}"]


def _short(number: str) -> str:
    return re.sub(r"^0(?=\.)", "", number)


def width(table: Table) -> float:
    """About how wide the table will be, in mm; what stands across columns is left out."""
    _, columns, rows = _parts(table)

    def long(text: str) -> int:
        found = _SCORE.match(text)
        ends = _ends(found) if found else []
        return len(text) if found is None or not ends else len(found[1] + max(ends, key=len) + text[found.end() :])

    widest = [
        max(*(len(line) for line in table.columns[i].name.split(", ")), *(long(table.rows[n][i]) for n in rows), 0)
        for i in columns
    ]
    return _CHARACTER * sum(widest) + _GAP * (len(widest) - 1)


def _tex(text: str) -> str:
    """Text that LaTeX sets as it is."""
    escaped = re.sub("|".join(map(re.escape, _TEX)), lambda found: _TEX[found[0]], " ".join(text.split()))
    escaped = _POWER.sub(lambda found: rf"{found[1]}$\cdot10^{{{int(found[2])}}}$", escaped)
    return re.sub(r"(?<![^ (])-(?=\d)", "$-$", escaped).replace(r" \%", r"~\%")
