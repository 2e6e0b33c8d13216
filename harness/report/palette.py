"""One look for each method, the same in every figure: colour, shape of points, dashes of lines."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from harness.report.svg import MARKERS

if TYPE_CHECKING:
    import pandas as pd

INK, PAPER = ("#1f2328", "#e6edf3"), ("#ffffff", "#0d1117")
NEUTRAL = {
    "ink": INK,
    "soft": ("#59636e", "#9198a1"),
    "grid": ("#e3e7eb", "#262c36"),
    "paper": PAPER,
}
"""Custom property: its colour on a light and on a dark page."""

# Found by a random search at twelve hues, of CIELAB lightness 40 to 72 on paper and a chroma of at least 30, so that
# none is read as black. The smallest distance between any two of them, and between them and the ink, is 30 on light and
# 36 on dark pages for normal eyes, and for protan, deutan and tritan ones 18 and 20.
COLOURS = (
    ("#e7296a", "#bd5a5a"),  # rose
    ("#dc0020", "#ff0022"),  # red
    ("#d97e00", "#fea10c"),  # orange
    ("#b08e50", "#dab35f"),  # sand
    ("#4e6b15", "#59841d"),  # olive
    ("#006c4e", "#0df0a9"),  # deep or pale green
    ("#18a1be", "#01b0bb"),  # cyan
    ("#086cd6", "#4e78be"),  # blue
    ("#5f2dfb", "#bd26ff"),  # violet
    ("#784aa0", "#ebc0ff"),  # plum or lilac
    ("#f200ff", "#f66dfb"),  # magenta
    ("#b9478b", "#d83385"),  # mulberry or pink
)
_SALT = 2360089  # found by search: the usual methods of the committed suites differ, and the rest share colours little
_SHAPES = tuple(MARKERS)
_DASHES = ("", "7 3", "2 3", "9 3 2 3")


@dataclass(frozen=True, slots=True)
class Style:
    """How a method looks; ``key`` is safe as a CSS class."""

    key: str
    light: str
    dark: str
    marker: str


REFERENCE = Style("ref", *INK, "circle")


def palette(
    names: Iterable[str], reference: str | None = None, suites: Iterable[Collection[str]] = ()
) -> Mapping[str, Style]:
    """A style for each of all the method names of a report, whatever their order.

    A name's colour is the same in every report, for it depends on the name alone, with two exceptions: the reference,
    the baseline of the tables, has the ink of the text; and where there are no more names than colours, each has one
    of its own, so that a name whose colour belongs to an earlier one takes a free one, as far in hue from those taken
    as there is. Of more names some share a colour: up to seven of these differ in shape.

    ``suites``: names that stand in one figure; those that never do may look alike. Default: all stand together.
    """
    others = sorted(set(names) - {reference})
    sharing: list[list[str]] = [[] for _ in COLOURS]
    moved: list[str] = []
    for name in others:
        its = sharing[_colour(name)]
        (moved if its and len(others) <= len(COLOURS) else its).append(name)
    for name in moved:
        sharing[_furthest([place for place, its in enumerate(sharing) if its])].append(name)
    groups = [set(group) for group in suites] or [set(others)]
    styles: dict[str, Style] = {}
    for colour, its in enumerate(sharing):
        shapes: dict[str, int] = {}
        for name in its:
            beside = set().union(*(group for group in groups if name in group))
            taken = {shapes[other] for other in beside & shapes.keys()}
            shapes[name] = next(i for i in count() if i not in taken)
            key = f"m{colour}-{shapes[name]}"
            styles[name] = Style(key, *COLOURS[colour], _SHAPES[(colour + shapes[name]) % len(_SHAPES)])
    return styles if reference is None else {reference: REFERENCE, **styles}


def palette_of(frame: pd.DataFrame) -> Mapping[str, Style]:
    """The palette of results as :func:`harness.analysis.frame.load` reads them; the most usual baseline has the ink."""
    suites = frame.groupby("suite")["method"].unique()
    return palette(frame["method"].unique(), next(iter(frame["baseline"].mode()), None), suites)


def apart(styles: Mapping[str, Style], drawn: Iterable[str]) -> Mapping[str, Style]:
    """The styles of the methods of one figure: where there are no more than colours, no two have the same one.

    The first of a colour by name keeps it, the others take free ones as in :func:`palette`.
    """
    looks = {name: styles[name] for name in sorted(set(drawn))}
    if len({name for name in looks if looks[name] != REFERENCE}) > len(COLOURS):
        return looks
    taken: dict[tuple[str, str], str] = {}
    for name, style in looks.items():
        taken.setdefault((style.light, style.dark), name)
    for name, style in looks.items():
        if taken[style.light, style.dark] != name:
            place = _furthest([i for i, colours in enumerate(COLOURS) if colours in taken])
            taken[COLOURS[place]] = name
            looks[name] = Style(f"m{place}-0", *COLOURS[place], style.marker)
    return looks


def dashes(styles: Iterable[Style]) -> Mapping[str, str]:
    """Key of a style -> dashes of its lines, "" for solid ones: those of one colour in a figure differ."""
    found: dict[str, str] = {}
    shared: Counter[str] = Counter()
    for style in sorted(set(styles), key=lambda style: style.key):
        found[style.key] = _DASHES[shared[style.light] % len(_DASHES)]
        shared[style.light] += 1
    return found


def _furthest(taken: Collection[int]) -> int:
    """The place in ``COLOURS`` that is the most steps on the circle of hues away from all taken ones."""

    def apart(place: int) -> int:
        return min(min(abs(place - other), len(COLOURS) - abs(place - other)) for other in taken)

    return max(range(len(COLOURS)), key=apart)


def _colour(name: str) -> int:
    """The place of a name in ``COLOURS``."""
    digest = hashlib.blake2b(name.encode("utf8", "surrogatepass"), digest_size=4, salt=_SALT.to_bytes(4, "big"))
    return int.from_bytes(digest.digest(), "big") % len(COLOURS)
