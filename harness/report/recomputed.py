"""Whether the pages of a results folder are what its result files give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import takewhile, zip_longest
from pathlib import Path

from harness.claims.counts import Counts
from harness.claims.findings import find
from harness.claims.loading import load_papers
from harness.report.claims_page import claims_page
from harness.report.leaderboard import write_leaderboards
from harness.results.archive import SUFFIX
from harness.results.store import ResultStore
from harness.storage.atomic_files import write_text

_DATA = ("suite.json", "archive", *SUFFIX)
_LINES, _WIDTH, _BEFORE = 6, 68, 20
"""Of a difference: lines that are shown, characters of each, and how many of these come before it."""


@dataclass(slots=True)
class Recomputed:
    """The pages of one folder, figures included, beside what its results give.

    Attributes:
        equal: paths below the results folder of those that are the same, byte for byte.
        differences: path of another one -> in what it differs, in a few lines.
    """

    equal: list[str] = field(default_factory=list)
    differences: dict[str, list[str]] = field(default_factory=dict)


def recomputed(store: ResultStore, claims: Path, suites: Path, folder: Path) -> dict[str, Recomputed]:
    """Write every page anew into ``folder``, an empty one, and compare: suite -> its pages; "" -> those of all.

    Claims are judged where the results have a page of them.

    Args:
        claims: folder of the papers' claims.
        suites: folder of the suites, against which the names in claims are checked.

    Raises:
        UserError: if a claim is not valid.
        StorageError: if a file cannot be written.
    """
    again = ResultStore(folder)
    for suite in store.suites():
        (folder / suite).mkdir()
        for name in _DATA:
            if (data := store.root / suite / name).exists():
                (folder / suite / name).symlink_to(data.resolve())
    if (store.root / "CLAIMS.md").is_file():
        papers = load_papers(claims, suites)
        write_text(folder / "CLAIMS.md", claims_page(papers, find(papers, again, Counts(claims))))
    write_leaderboards(again)
    found = {suite: Recomputed() for suite in ("", *store.suites())}
    for name in sorted({*_pages(folder, folder), *_pages(folder, store.root)}):
        of = found[name.partition("/")[0] if "/" in name else ""]
        if difference := _difference(store.root / name, folder / name):
            of.differences[name] = difference
        else:
            of.equal.append(name)
    return found


def _pages(made: Path, root: Path) -> Iterator[str]:
    """Names of the files below ``root`` in those folders that hold nothing but pages in ``made``; there all files."""
    for path in made.rglob("*"):  # does not follow links
        if path.is_symlink():
            continue
        if path.is_file():
            yield path.relative_to(made).as_posix()
        elif path.parent != made:
            for other in (root / path.relative_to(made)).glob("*"):
                yield other.relative_to(root).as_posix()


def _difference(there: Path, made: Path) -> list[str]:
    """In what a file differs from the one that was made; nothing if it does not."""
    if not there.is_file():
        return ["it is missing"]
    if not made.is_file():
        return ["these results give no such file"]
    old, new = there.read_bytes(), made.read_bytes()
    if old == new:
        return []
    lines = list(_changes(*(content.decode("utf8", "replace").splitlines() for content in (old, new))))
    more = len(lines) - _LINES
    return [*(lines[:_LINES] or ["in ends of lines alone"]), *([f"and {more} more lines"] if more > 0 else [])]


def _changes(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """Lines of ``old`` with - and of ``new`` with +, each from shortly before the place where two of them differ."""
    for kind, first, last, begin, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        for was, is_now in zip_longest(old[first:last], new[begin:end]):
            same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(was or "", is_now or "", strict=False))))
            skip = max(0, same - _BEFORE)
            for sign, line in (("-", was), ("+", is_now)):
                if line is not None:
                    cut = skip + _WIDTH < len(line)
                    yield f"{sign} {'...' if skip else ''}{line[skip : skip + _WIDTH]}{'...' if cut else ''}"
