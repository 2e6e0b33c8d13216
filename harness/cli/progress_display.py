"""How far a suite is, and how that looks: the same for the run itself and for who watches it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.formatting import duration

WIDE = 140
"""Columns from which a stage takes one line instead of two."""
ROOMY = 100
"""Columns from which a bar says where it is from."""
SPARK = 8
BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
"""Heights of a curve's points, and the same for terminals without Unicode."""


@dataclass(frozen=True, slots=True)
class Bar:
    """How many ``what`` (results) are there, seconds ``left``, a word about it.

    ``part`` of the work is done, in [0, 1], where more is known of it than whole results.
    """

    what: str
    total: int
    done: int
    failed: int
    left: float | None = None
    at_least: bool = False
    note: str = ""
    part: float | None = None

    def __str__(self) -> str:
        return ", ".join([f"{self.what}: {self.counts}", *filter(None, (self.time, self.note))])

    @property
    def counts(self) -> str:
        """``12/29 done, 1 failed, 16 to do``."""
        failed = f", {self.failed} failed" if self.failed else ""
        rest = self.total - self.done - self.failed
        return f"{self.done}/{self.total} done{failed}" + (f", {rest} to do" if rest else "")

    @property
    def filled(self) -> float:
        """Fraction of the bar's length, in [0, 1]."""
        return (self.done + self.failed) / max(1, self.total) if self.part is None else self.part

    @property
    def time(self) -> str:
        """``about 3 min 20 s left``, or "" where that is not known."""
        if self.left is None:
            return ""
        return f"{'at least' if self.at_least else 'about'} {duration(self.left)} left"


@dataclass(slots=True)
class Standing:
    """How far a suite is; a rich renderable as wide and as high as the console.

    Attributes:
        bars: from the widest view to the narrowest.
        stages: rows of :class:`harness.executors.progress.Progress`, of what runs.
        notes: what else there is to say.
        title: a line above, or "".
        height: most lines that it may take, or None for the console's.
    """

    bars: Sequence[Bar]
    stages: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    title: str = ""
    height: int | None = field(default=None)

    def lines(self, unicode: bool = True) -> Iterator[str]:
        """As plain text."""
        yield from filter(None, [self.title])
        yield from map(str, self.bars)
        for row in self.stages:
            yield f"  {stage_line(row, unicode)}"
        yield from self.notes

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.title:
            yield Text(self.title, style="bold", no_wrap=True, overflow="ellipsis")
        yield self._bars(notes=options.max_width >= ROOMY)
        training = [row for row in self.stages if row["steps"]]
        others = [row["label"] for row in self.stages if not row["steps"]]
        wide = options.max_width >= WIDE
        height = self.height or console.height
        room = height - len(self.bars) - len(self.notes) - bool(self.title) - bool(others) - 2
        fit = max(1, room // (1 if wide else 2))
        shown = training[:fit]
        unicode = not options.ascii_only
        if shown and wide:
            yield _grid([_wide(row, unicode) for row in shown], indent=2, whole=8)
        elif shown:
            texts = [_narrow(row, unicode) for row in shown]
            widths = [max(len(line[i]) for _, line in texts) for i in range(len(texts[0][1]))]
            for row, (head, line) in zip(shown, texts, strict=True):
                yield Text("  " + "  ".join(filter(None, head)), no_wrap=True, overflow="ellipsis")
                padded = [text.ljust(width) for text, width in zip(line, widths, strict=True) if width]
                yield _grid([[_progress(row), *padded]], indent=2, whole=3)
        if len(training) > len(shown):
            yield Text(f"  and {len(training) - len(shown)} more", style="dim")
        if others:
            yield Text("  running: " + "; ".join(others), style="dim", no_wrap=True, overflow="ellipsis")
        for note in self.notes:
            yield Text(note, no_wrap=True, overflow="ellipsis")

    def _bars(self, notes: bool) -> Table:
        rows: list[list[Any]] = []
        for bar in self.bars:
            rest = bar.total - bar.done - bar.failed
            rows.append(
                [
                    Text(bar.what, style="bold"),
                    ProgressBar(total=1.0, completed=bar.filled),
                    Text(f"{bar.done}/{bar.total} done"),
                    Text(f"{bar.failed} failed" if bar.failed else "", style="red"),
                    Text(f"{rest} to do" if rest else ""),
                    Text(" ".join(filter(None, (bar.time.removeprefix("about "), bar.note * notes))), style="cyan"),
                ]
            )
        return _grid(rows, indent=0, whole=5)


def stage_line(row: Mapping[str, Any], unicode: bool = True) -> str:
    """One running job in one line of plain text."""
    if not row["steps"]:
        return str(row["label"])
    texts = [f"step {row['step']:,} of {row['steps']:,}", *_numbers(row, unicode), *_findings(row, "validation")]
    return f"{' '.join(filter(None, (row['label'], _phase(row))))}: " + ", ".join(filter(None, texts))


def _wide(row: Mapping[str, Any], unicode: bool) -> list[Any]:
    label = Text(row["label"], no_wrap=True, overflow="ellipsis")
    steps = f"{row['step']:,}/{row['steps']:,}"
    return [label, _phase(row), _progress(row), steps, *_numbers(row, unicode), *_findings(row)]


def _narrow(row: Mapping[str, Any], unicode: bool) -> tuple[list[str], list[str]]:
    """What stands above a stage's bar, and beside it."""
    return [row["label"], _phase(row), *_findings(row)], [f"{row['step']:,}/{row['steps']:,}", *_numbers(row, unicode)]


def _progress(row: Mapping[str, Any]) -> ProgressBar:
    return ProgressBar(total=max(1, row["steps"]), completed=row["step"])


def _grid(rows: Sequence[Sequence[Any]], indent: int, whole: int) -> Table:
    """Rows in columns; the bar's takes what the others leave; those from ``whole`` on may be cut."""
    table = Table.grid(expand=True, padding=(0, 2, 0, 0))
    if indent:
        table.add_column(width=indent - 2)
    for index, cells in enumerate(zip(*rows, strict=True)):
        if isinstance(cells[0], ProgressBar):
            table.add_column(ratio=1, min_width=8)
        else:
            table.add_column(no_wrap=True, min_width=max(map(len, cells)) if index < whole else None)
    for row in rows:
        table.add_row(*([""] if indent else []), *row)
    return table


def _phase(row: Mapping[str, Any]) -> str:
    """``finetune``: what this part of the program does."""
    phase = row.get("phase")
    return str(phase[1]).lower() if phase else ""


def _numbers(row: Mapping[str, Any], unicode: bool) -> list[str]:
    """Loss with its curve, learning rate, speed, time left; "" for what is not known."""
    loss, rate, lr, left = (row.get(name) for name in ("loss", "rate", "lr", "left"))
    return [
        "" if loss is None else f"loss {_short(loss)} {spark(row.get('losses') or (), unicode)}".rstrip(),
        "" if lr is None else f"lr {lr:.2g}",
        "" if not rate else f"{rate:,.0f} steps/s" if rate >= 10 else f"{rate:.2g} steps/s",
        "" if left is None else f"{duration(left)} left",
    ]


def _findings(row: Mapping[str, Any], split: str = "val") -> list[str]:
    """The density and the first of the newest validation scores, "" for what is not known."""
    scores = row.get("validation") or {}
    first = next((f"{split} {name} {_short(value)}" for name, value in scores.items()), "")
    density = row.get("density")
    return ["" if density is None else f"density {_short(density)}", first]


def _short(value: float) -> str:
    return f"{value:.4f}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.3g}"


def spark(values: Sequence[float], unicode: bool = True) -> str:
    """A curve as ``SPARK`` characters at most, from its lowest to its highest value; "" for fewer than two points.

    Logarithmic where all values are positive, or the first steps of a loss would hide all that follow.
    """
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    count = min(SPARK, len(finite))
    points = [finite[round(i * (len(finite) - 1) / (count - 1))] for i in range(count)]
    if min(points) > 0:
        points = [math.log(value) for value in points]
    blocks, low, high = BLOCKS[not unicode], min(points), max(points)
    scale = (len(blocks) - 1) / (high - low) if high > low else 0.0
    return "".join(blocks[round((value - low) * scale)] for value in points)
