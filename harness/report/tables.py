"""Tables of text: made once, written as markdown or on a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import tabulate as tabulate_module
from rich.console import Console
from rich.text import Text
from tabulate import tabulate

from harness.errors import UserError, unknown_name
from harness.formatting import fitted

tabulate_module.WIDE_CHARS_MODE = False  # else pages differ where some other package has brought wcwidth
NONE = "\N{EN DASH}"
BETTER = {"max": "higher is better", "min": "lower is better", "none": "neither higher nor lower is better"}
"""What a metric's direction means."""
LOPSIDED = 0.1
"""How far the middle of an interval may be from its mean, in halves, to be written as one number."""
WARNING = "WARNING"
"""How notes begin that are said under each table, however often."""
HUGE, _TINY = 1e6, 1e-4
"""Numbers from the one on, and below the other, have three significant digits and an exponent."""
_GAP = "  "
_NAME = 12
"""Characters that a name keeps at least, where it is cut."""
_MATTERS = 3
"""Names and headings are cut before columns with at most this ``drop`` go."""


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; on a narrow terminal columns with the highest ``drop`` go first, those with 0 never.

    ``right`` aligns its numbers; ``strong`` columns are bold in the rows that the table has in bold; ``names`` columns
    hold names, whose middle may be cut as that of every heading; ``key`` columns say which row it is, and stand again
    where ``folded`` ones are a table of their own on a page. ``aside`` says what a cell of it is where that stands in
    no column, as papers have a row that is alone in its column; ``meaning`` what they print below for its heading.
    """

    name: str
    drop: int = 0
    right: bool = False
    strong: bool = False
    names: bool = False
    key: bool = False
    folded: bool = False
    aside: str = ""
    meaning: str = ""


@dataclass(slots=True)
class Table:
    """A title, columns, rows of one cell per column, and notes.

    ``bold`` holds numbers of rows, ``bold_cells`` those of rows and columns. ``answer`` are sentences that come before
    the table, ``detail`` is a table that comes after it. ``short`` are the same rows without their intervals, for
    terminals on which these do not fit; rows of which no column is left then go. ``caption`` is what a reader of a
    paper has to know, ``below`` its small print, ``label`` what the text refers to. Without caption or label the title
    is it.
    """

    title: str
    columns: Sequence[Column]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    bold: set[int] = field(default_factory=set)
    answer: list[str] = field(default_factory=list)
    detail: Table | None = None
    short: list[list[str]] = field(default_factory=list)
    bold_cells: set[tuple[int, int]] = field(default_factory=set)
    caption: str = ""
    below: str = ""
    label: str = ""

    def only(self, names: Sequence[str]) -> Table:
        """The same with some of its columns, in the order of the names.

        Raises:
            UserError: for a name that no column has.
        """
        known = [column.name for column in self.columns]
        for name in names:
            if name not in known:
                raise UserError(unknown_name("column", name, filter(None, known)))
        kept = [known.index(name) for name in names]
        return replace(
            self,
            columns=[replace(self.columns[i], drop=0, folded=False) for i in kept],
            rows=[[row[i] for i in kept] for row in self.rows],
            short=[[row[i] for i in kept] for row in self.short],
            bold_cells={(row, kept.index(column)) for row, column in self.bold_cells if column in kept},
        )

    def is_bold(self, row: int, column: int) -> bool:
        """Whether a cell is bold."""
        return (row in self.bold and self.columns[column].strong) or (row, column) in self.bold_cells


def markdown(table: Table) -> str:
    """The answer, the table and its notes as GitHub markdown, without its title; folded columns come last."""
    kept = [i for i, column in enumerate(table.columns) if not column.folded]
    more = [i for i, column in enumerate(table.columns) if column.folded or column.key]
    text = _pipes(table, kept)
    if table.columns[-1].name == "cells":
        text = re.sub(r"([ -])\1{3,}(:?\|)$", r"\1\1\1\2", text, flags=re.MULTILINE)  # no padding after long names
    answer = [*(f"- {escape(sentence)}" for sentence in table.answer), ""] if table.answer else []
    notes = [f"{escape(note)}  " for note in table.notes]
    detail = [f"\n{escape(table.detail.title)}:", "", markdown(table.detail)] if table.detail else []
    folded = ["", details("More columns", f"{_pipes(table, more)}\n")] if len(kept) < len(table.columns) else []
    return "\n".join([*answer, text, "", *notes, *detail, *folded]).rstrip() + "\n"


def details(title: str, text: str) -> str:
    """Markdown that a page shows on request."""
    return f"<details><summary>{escape(title)}</summary>\n\n{text}\n</details>\n"


def _pipes(table: Table, shown: Sequence[int]) -> str:
    cells = [[_written(row[i], table.is_bold(number, i)) for i in shown] for number, row in enumerate(table.rows)]
    return tabulate(
        cells,
        headers=[escape(table.columns[i].name) for i in shown],
        tablefmt="pipe",
        colalign=["right" if table.columns[i].right else "left" for i in shown],
        disable_numparse=True,
    )


def print_tables(tables: Iterable[Table], console: Console, width: int | None) -> None:
    """Print one after another; a note that was said before is not said again."""
    said: set[str] = set()
    for table in tables:
        print_table(table, console, width, said)


def print_table(table: Table, console: Console, width: int | None, said: set[str] | None = None) -> None:
    """Print on a console, then an empty line, with what fits into ``width``, and what ``--wide`` adds to it.

    ``width`` None prints every column in full. ``said`` are notes that need no repetition; those of this table are
    added. Columns are laid out here, because rich's own table takes about a millisecond a row.
    """
    if table.bold_cells:
        table = replace(
            table,
            rows=_starred(table.rows, table.bold_cells),
            short=_starred(table.short, table.bold_cells),
            notes=["*: not beaten, with an interval that meets the best one's.", *table.notes],
            bold_cells=set(),
        )
    shown, widths = _fit(table, width)
    if cut := bool(table.short) and len(shown) < len(table.columns):
        table = replace(table, rows=table.short)
        shown, widths = _fit(table, width)
        cells = [i for i in shown if not table.columns[i].key]
        table = replace(table, rows=[row for row in table.rows if any(row[i] != NONE for i in cells)])

    def line(cells: Sequence[str]) -> str:
        texts = {i: shortened(cells[i], widths[i]) for i in shown}
        aligned = (t.rjust(widths[i]) if table.columns[i].right else t.ljust(widths[i]) for i, t in texts.items())
        return _GAP.join(aligned).rstrip()

    def say(text: str, style: str = "") -> None:
        room = console.width if width is None and console.is_terminal else width
        console.print(Text(fitted(text, room), style), soft_wrap=True)

    names = [column.name for column in table.columns]
    rule = _GAP.join("\N{BOX DRAWINGS LIGHT HORIZONTAL}" * widths[i] for i in shown)
    body = [(line(row), "bold" if number in table.bold else "") for number, row in enumerate(table.rows)]
    dropped = [name for i, name in enumerate(names) if i not in shown]
    said = set() if said is None else said
    notes = [note for note in table.notes if note not in said or note.startswith(WARNING)]
    if len(notes) < len(table.notes):
        notes.append("Otherwise as above.")
    said.update(table.notes)
    if added := ["intervals"] * cut + dropped:
        notes.append(f"--wide adds: {', '.join(added)}.")
    say(table.title, "bold")
    for sentence in table.answer:
        say(sentence)
    if table.answer:
        console.print()
    lines = [(line(names), "bold"), (rule, "dim"), *body] if names else []
    for style, alike in groupby(lines, key=lambda one: one[1]):
        text = "\n".join(written for written, _ in alike)
        console.print(
            Text(text, style), no_wrap=True, overflow="ellipsis" if width else "ignore", crop=width is not None
        )
    for note in notes:
        say(note, "dim")
    console.print()
    if table.detail:
        print_table(table.detail, console, width, said)


def _starred(rows: Sequence[Sequence[str]], cells: Collection[tuple[int, int]]) -> list[list[str]]:
    return [[f"{cell} *" if (i, j) in cells else cell for j, cell in enumerate(row)] for i, row in enumerate(rows)]


def _fit(table: Table, width: int | None) -> tuple[list[int], list[int]]:
    """The columns that are shown, and how wide each column is."""
    columns = table.columns
    texts = [[column.name, *(row[i] for row in table.rows)] for i, column in enumerate(columns)]
    widths = [max(map(len, column)) for column in texts]
    shown = list(range(len(columns)))
    if width is None:
        return shown, widths
    least = [
        _least(names) if column.names else max(map(len, [*names[1:], names[0][:_NAME]]))
        for column, names in zip(columns, texts, strict=True)
    ]

    def over(sizes: Sequence[int]) -> int:
        return sum(sizes[i] + len(_GAP) for i in shown) - len(_GAP) - width

    while over(widths) > 0:
        last = max(shown, key=lambda i: (columns[i].drop, i))
        if not columns[last].drop or (columns[last].drop <= _MATTERS and over(least) <= 0):
            break
        shown.remove(last)
    while over(widths) > 0 and any(widths[i] > least[i] for i in shown):
        widths[max((i for i in shown if widths[i] > least[i]), key=lambda i: widths[i])] -= 1
    return shown, widths


def _least(names: Sequence[str]) -> int:
    """The width from which on different names look different when they are cut."""
    different, wide = len(set(names)), max(map(len, names))
    fits = (room for room in range(wide - 1, _NAME - 1, -1) if len({shortened(n, room) for n in names}) < different)
    return min(wide, next(fits, _NAME - 1) + 1)


def shortened(name: str, room: int) -> str:
    """A name without its middle, because ends tell names apart."""
    tail = max(0, room // 2 - 1)
    return name if len(name) <= room else f"{name[: room - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{name[len(name) - tail :]}"


def escape(text: str) -> str:
    """Text that markdown shows as it is: on one line, without HTML, links, emphasis or cell borders."""
    return re.sub(r"([\\|`*\[\]<>&])", r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """Text as markdown code, between enough backquotes."""
    text = " ".join(text.split())
    quotes = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    gap = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{quotes}{gap}{text}{gap}{quotes}"


def decimals(values: Sequence[float | None]) -> int:
    """Decimals that show four significant digits of the largest value that has any, and at least four below 10."""
    largest = max((abs(v) for v in values if v is not None and abs(v) < HUGE), default=0.0)
    if largest == 0:
        return 4
    exponent = math.floor(math.log10(largest))
    return max(0, 4 - max(exponent, 0)) if exponent >= -1 else 3 - exponent


def rounded(value: float, places: int) -> str:
    """``0.9701``; ``3.68e+11`` where it is very large, ``3.2e-05`` where it is very small."""
    return f"{value:{_form([value], places)}}"


def interval(mean: float, low: float | None, high: float | None, places: int) -> str:
    """``0.9701 ± 0.0012``: a mean and half its interval; ``0.98 (0.91 to 0.99)`` where the halves differ.

    ``0.9701 in every seed`` where the interval has no width; all of it in the form of the largest.
    """
    return _estimate(mean, low, high, _form([mean, low, high], places), "")


def difference(mean: float | None, low: float | None, high: float | None, places: int) -> str:
    """``-0.0120 ± 0.0030``: a difference with its interval, as :func:`interval`, with its sign."""
    return NONE if mean is None else _estimate(mean, low, high, _form([mean, low, high], places), "+")


def _form(values: Iterable[float | None], places: int) -> str:
    """How numbers are written together; what is nothing at so many places is no small number, but noise."""
    size = max(abs(value) for value in values if value is not None)
    return ".3g" if size >= HUGE or 10.0 ** -(places + 4) <= size < _TINY else f".{places}f"


def _estimate(mean: float, low: float | None, high: float | None, form: str, sign: str) -> str:
    text = f"{mean:{sign}{form}}"
    if low is None or high is None:
        return text
    if high - low < 1e-9 * max(1.0, abs(mean)):
        return f"{text} in every seed"
    half = (high - low) / 2
    even = abs((high + low) / 2 - mean) <= LOPSIDED * half
    if even and (low < 0 < high) == (mean - half < 0 < mean + half):
        return f"{text} ± {half:{form}}"
    return f"{text} ({low:{sign}{form}} to {high:{sign}{form}})"


def fraction(value: float | None, places: int = 4) -> str:
    """A density, never rounded to nothing: three significant digits below 0.01."""
    if value is None:
        return NONE
    return f"{value:.{places}f}" if value >= 0.01 or value == 0 else f"{value:.3g}"


def rough(value: float) -> str:
    """Two significant digits, with an exponent from a million on: 0.034, 5.5, 1,300, 3.6e+12."""
    return f"{float(f'{value:.2g}'):,.0f}" if 99.5 <= abs(value) < HUGE else f"{value:.2g}"


def probability(p: float | None) -> str:
    """A p-value with three decimals."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def count(value: float | None) -> str:
    """``1,234`` up to a million, ``1.23M`` and so on above."""
    if value is None:
        return NONE
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{round(value):,}"


def _written(cell: str, bold: bool) -> str:
    text = re.sub(rf"(?<=\d){NONE}(?=\d)", f"{NONE}\N{WORD JOINER}", escape(cell))  # no line break within a range
    return f"**{text}**" if bold and text and cell != NONE else text
