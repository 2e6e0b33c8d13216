"""What gpu.py found, as JSON and as a page of text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import fill
from typing import Any, Literal

import checkout  # noqa: F401

from harness.storage.atomic_files import write_text

Status = Literal["passed", "failed", "measured", "error", "left out"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one section found.

    Attributes:
        says: it in a few words, which end up in the page's first sentence.
        rows: a table, column -> value.
        passed: None where there is nothing to pass.
        how: what was done, or the command that does it alone.
    """

    says: str
    rows: Sequence[Mapping[str, Any]] = ()
    passed: bool | None = None
    how: str = ""

    @property
    def status(self) -> Status:
        """For the record."""
        return "measured" if self.passed is None else "passed" if self.passed else "failed"


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the record: a finding, or why there is none."""

    name: str
    status: Status
    says: str
    seconds: float = 0.0
    rows: Sequence[Mapping[str, Any]] = ()
    how: str = ""


@dataclass(slots=True)
class Record:
    """Everything that a run found so far.

    Attributes:
        device: its name.
        setting: versions, precision, data, command.
    """

    device: str
    setting: Mapping[str, Any]
    sections: list[Section] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing failed."""
        return not self._of("failed", "error")

    def write(self, stem: Path) -> None:
        """``stem``.json and ``stem``.md; called after each section, so that a kill keeps what is there."""
        write_text(stem.with_suffix(".json"), json.dumps(asdict(self), indent=1) + "\n")
        write_text(stem.with_suffix(".md"), self.page())

    def page(self) -> str:
        """Markdown; its first sentence is the result."""
        parts = [_filled(self._sentence())]
        facts = (f"- {name}: {_shown(value)}" for name, value in self.setting.items())
        parts.append("\n".join(_filled(fact, subsequent_indent="  ") for fact in facts))
        for section in self.sections:
            head = f"## {section.name}: {section.status}"
            parts += [head, _filled(f"{section.says} ({section.seconds:.0f} s).")]
            parts += [_table(section.rows)] if section.rows else []
            parts += [_filled(section.how)] if section.how else []
        return "\n\n".join(parts) + "\n"

    def _of(self, *statuses: Status) -> list[Section]:
        return [section for section in self.sections if section.status in statuses]

    def _sentence(self) -> str:
        passed, failed, missing = self._of("passed"), self._of("failed", "error"), self._of("left out")
        what = f"All {len(passed)} correctness checks passed on {self.device}" if passed else f"On {self.device}"
        if failed:
            what = f"FAILED on {self.device}: {', '.join(section.name for section in failed)}; {len(passed)} passed"
        measured = [section.says for section in self._of("measured")]
        left = [f"left out: {', '.join(section.name for section in missing)}"] if missing else []
        return "; ".join([what, *measured, *left]) + "."


def _filled(text: str, **options: Any) -> str:
    """Lines of 80, in which commands can still be copied."""
    return fill(text, 80, break_long_words=False, break_on_hyphens=False, **options)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
