"""Results in Python and notebooks: frames, comparisons, leaderboards and figures of one or many results folders."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from glob import glob
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pandas as pd

from harness.analysis.comparison import CHOICES, Selection, selected
from harness.analysis.comparison_row import KEYS, ComparisonRow
from harness.analysis.frame import load as load_store
from harness.analysis.questions import KEYS as QUESTION_KEYS
from harness.analysis.questions import questions
from harness.errors import UserError, unknown_name
from harness.formatting import listed
from harness.report.boards import questions_table
from harness.report.cell_texts import titled
from harness.report.costs import COSTS
from harness.report.figures import frontier, pruning_curve
from harness.report.figures.document import MM, WIDTH
from harness.report.figures.paper_width import paper_width
from harness.report.figures.picture import write_picture
from harness.report.figures.standalone import standalone
from harness.report.latex import latex
from harness.report.networks import asked_of_networks
from harness.report.palette import apart, palette_of
from harness.report.pivot_table import Across, for_paper, pivot_tables
from harness.report.score_table import score_table
from harness.report.tables import Table, markdown
from harness.results.store import LeftOut, ResultStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.report.palette import Style


@dataclass(frozen=True)
class Figure:
    """A picture that a notebook shows by itself.

    Attributes:
        svg: its text.
        styles: the looks of its methods.
    """

    svg: str
    styles: Collection[Style]

    def __repr__(self) -> str:
        return f"Figure({len(self.svg):,} characters of SVG)"

    @classmethod
    def of(cls, drawn: str | None, styles: Mapping[str, Style]) -> Figure:
        """The picture that a function of :mod:`harness.report.figures` has drawn.

        Raises:
            UserError: if it drew none.
        """
        if drawn is None:
            raise UserError("there is nothing to draw: it takes two rows that differ")
        return cls(drawn, styles.values())

    def save(self, path: str | Path, dark: bool = False) -> None:
        """Write it to a file that every program shows: .svg, or .pdf and .png with the extra ``figures``.

        Raises:
            UserError: for another suffix, or where the extra is missing.
        """
        write_picture(Path(path), standalone(self.svg, self.styles, dark))

    def _repr_svg_(self) -> str:
        return self.svg


class Comparison:
    """Methods on equal terms: what ``harness compare`` shows.

    Attributes:
        tables: lists of :class:`~harness.analysis.comparison_row.ComparisonRow`, a list for each table.
        styles: the looks of methods in figures.
    """

    def __init__(
        self,
        tables: Sequence[Sequence[ComparisonRow]],
        styles: Mapping[str, Style],
        networks: Callable[[], Sequence[Sequence[ComparisonRow]]] = tuple,
    ) -> None:
        self.tables = tables
        self.styles = styles
        self._asked_of_networks = networks  # their rows are averaged once more, which only questions need

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each method and density of each table: the mean over seeds, its interval, rank, p and control.

        The columns are those of ``harness compare --format json``; docs/statistics.md says what each is.
        """
        return pd.DataFrame([row.told() for table in self.tables for row in table], columns=list(KEYS))

    @cached_property
    def questions(self) -> pd.DataFrame:
        """A row for each question, also about networks where nothing but a suite is chosen: difference, interval, p.

        The columns are those of ``harness compare --questions --format json``; docs/statistics.md says what each is.
        """
        return pd.DataFrame(self.questions_told(), columns=list(QUESTION_KEYS))

    def questions_told(self) -> list[dict[str, Any]]:
        """The same as plain values."""
        return [told for table in (*self.tables, *self._networks) for told in questions(table)]

    def question_tables(self) -> list[Table]:
        """The same for people: the answer in words and a row for each question, for each table that has any."""
        titles = [self._titled(table, titled(table)) for table in self.tables]
        titles += [self._titled(rows, f"Networks on {rows[0].benchmark}") for rows in self._networks]
        found = zip(titles, map(questions_table, [*self.tables, *self._networks]), strict=True)
        return [replace(table, title=title) for title, table in found if table]

    @cached_property
    def _networks(self) -> Sequence[Sequence[ComparisonRow]]:
        return self._asked_of_networks()

    def figure(self, cost: bool | str = False, width: float | str = WIDTH * MM) -> Figure:
        """The metric against density or, with its efficient rows joined, against a ``cost``.

        Args:
            cost: ``density``, ``flops`` or ``training-flops``, as for ``--pareto``; True: the FLOPs of inference where
                all rows have them, else the parameters that are left.
            width: on paper, ``column`` (85 mm), ``text`` (140 mm) or 60 to 400 millimetres.

        Raises:
            UserError: for another cost or width; where the comparison is more than one table, or there is nothing to
                draw.
        """
        if isinstance(cost, str) and cost not in COSTS:
            raise UserError(unknown_name("cost", cost, COSTS))
        if not isinstance(cost, bool | str):
            raise UserError(f"cost={cost!r}: give one of {', '.join(COSTS)}, or True")
        pixels = paper_width(width) / MM
        if len(self.tables) != 1:
            raise UserError(
                f"one figure shows one table, and these are {len(self.tables)}: choose {_telling_apart(self.tables)}"
            )
        styles = apart(self.styles, (row.method for row in self.tables[0]))
        if not cost:
            return Figure.of(pruning_curve(self.tables[0], styles, width=pixels), styles)
        asked = COSTS[cost] if isinstance(cost, str) else None
        return Figure.of(frontier(self.tables[0], styles, cost=asked, width=pixels), styles)

    def latex(self, across: Across | None = None, columns: str | Sequence[str] = ()) -> str:
        """For a paper, with the package booktabs.

        Args:
            across: a column for each density or each benchmark; by default for what there are several of.
            columns: of the table that has a row for each method and density, instead; several, or a single one.

        Raises:
            UserError: for a column that the table does not have, or another ``across``.
        """
        if across is not None and across not in get_args(Across):
            raise UserError(unknown_name("across", across, get_args(Across)))
        columns = _texts("columns", columns)
        tables = pivot_tables(self.tables, across) if across else self.texts() if columns else for_paper(self.tables)
        return latex(table.only(columns) if columns else table for table in tables)

    def texts(self) -> list[Table]:
        """The answer in words and a row for each method and density, for each table."""
        return [score_table(table, self._titled(table, titled(table))) for table in self.tables]

    def _titled(self, table: Sequence[ComparisonRow], title: str) -> str:
        several = len({row.suite for table in self.tables for row in table}) > 1
        return f"{table[0].suite}, {title}" if several else title

    def _repr_markdown_(self) -> str:
        return "\n".join(f"**{table.title}**\n\n{markdown(table)}" for table in self.texts())

    def __repr__(self) -> str:
        return self._repr_markdown_()


class Results:
    """What has been measured, over all suites of one or many results folders.

    Attributes:
        stores: the folders.
        left_out: files that are not counted, with the reason: failed cells, damaged files, superseded ones.
    """

    def __init__(self, stores: Mapping[Path, Sequence[str]]) -> None:
        self.stores = [ResultStore(path) for path in stores]
        self._suites = {suite: ResultStore(path) for path, suites in stores.items() for suite in suites}
        found = [load_store(ResultStore(path), suites) for path, suites in stores.items()]
        self._rows = pd.concat([frame for frame, _ in found], ignore_index=True)
        self.left_out: list[LeftOut] = [item for _, left in found for item in left]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row for each metric of each finished cell, so one a seed.

        docs/python.md says what each column is: labels are categories, ``seed`` is an integer, numbers are floats (nan:
        unknown), ``primary`` and ``timed`` are bool.
        """
        kept = self._rows.drop(columns=["comparisons", "per_example"])
        names = [name for name in kept.columns if all(isinstance(value, str) for value in kept[name])]
        return kept.astype(dict.fromkeys(names, "category"))

    @property
    def suites(self) -> list[str]:
        """Names, sorted."""
        return sorted(self._suites)

    def compare(self, methods: str | Sequence[str] = (), **chosen: Any) -> Comparison:
        """Methods at equal density, data, compute and seeds: means, 95 % intervals, ranks, paired differences.

        Args:
            methods: labels, or a single one; all by default; the baseline stays beside them. Where no question is about
                two of them, each two are compared, the later with the earlier.
            chosen: ``suite``, ``experiment``, ``benchmark``, ``architecture``, ``metric``, ``baseline``, each one name,
                and ``at_density``, a number: as the options of ``harness compare``.

        Raises:
            UserError: for a name that no result has, for what is no name or number, or if nothing is left.
        """
        known = [name for name in Selection.__dataclass_fields__ if name != "methods"]
        for name, value in chosen.items():
            if name not in known:
                raise UserError(unknown_name("option", name, ["methods", *known]))
            kind, wanted = (Real, "a number") if name == "at_density" else (str, "one name, a text")
            if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
                raise UserError(f"{name}={value!r}: give {wanted}")
        selection = Selection(methods=_texts("methods", methods), **chosen)
        tables = selected(self._rows, selection, self.left_out)
        if selection.narrow:
            return Comparison(tables, self._styles)
        of = {name: store for name, store in self._suites.items() if selection.suite in (None, name)}
        return Comparison(tables, self._styles, lambda: asked_of_networks(self._rows, of))

    def leaderboard(self, suite: str | None = None, **chosen: Any) -> Comparison:
        """All rows of a suite, by default of all suites, by their primary metrics, or those that are ``chosen``.

        It takes what :meth:`compare` takes, and raises the same.
        """
        return self.compare(suite=suite, **chosen)

    def figure(
        self,
        methods: str | Sequence[str] = (),
        cost: bool | str = False,
        width: float | str = WIDTH * MM,
        **chosen: Any,
    ) -> Figure:
        """The :meth:`Comparison.figure` of what :meth:`compare` gives for the same methods and options."""
        return self.compare(methods, **chosen).figure(cost, width)

    @property
    def _styles(self) -> Mapping[str, Style]:
        return palette_of(self._rows)

    def _overview(self) -> pd.DataFrame:
        primary = self._rows[self._rows["primary"].astype(bool)]
        found = primary.groupby("suite").agg(
            cells=("cell", "nunique"),
            methods=("method", "nunique"),
            seeds=("seed", "nunique"),
            benchmarks=("benchmark", lambda names: ", ".join(sorted(set(names)))),
        )
        return found.reset_index()

    def _repr_html_(self) -> str:
        where = html.escape(", ".join(str(store.root) for store in self.stores))
        left = f"; {len(self.left_out)} files not counted, see .left_out" if self.left_out else ""
        return f"<p>Results of {where}{left}</p>{self._overview().to_html(index=False)}"

    def __repr__(self) -> str:
        return self._overview().to_string(index=False)


def load(where: str | Path = "results") -> Results:
    """The results below a folder, or those of all folders that a pattern matches.

    Args:
        where: a results folder, the folder of one suite in one, or a pattern such as ``runs/*`` or ``runs/[ab]``.

    Raises:
        UserError: if there are none, a suite is in two of the folders, or it is no path.
    """
    if not isinstance(where, str | Path):
        raise UserError(f"{where!r} is no folder: give one path, or a pattern that matches several, such as 'runs/*'")
    paths = sorted(map(Path, glob(str(where)))) or [Path(where)]  # noqa: PTH207 - also absolute patterns
    stores: dict[Path, list[str]] = {}
    for path in paths:
        if suites := ResultStore(path).suites():
            stores.setdefault(path, []).extend(suites)
        elif path.name in ResultStore(path.parent).suites():
            stores.setdefault(path.parent, []).append(path.name)
    seen: dict[str, Path] = {}
    for path, suites in stores.items():
        for suite in suites:
            if suite in seen:
                raise UserError(f"suite '{suite}' is in {seen[suite]} and in {path}: load one of them")
            seen[suite] = path
    if not stores:
        raise UserError(f"no results in {where}: run a suite first, or name its results folder")
    return Results(stores)


def _telling_apart(tables: Sequence[Sequence[ComparisonRow]]) -> str:
    """What to choose to be left with one of several tables: ``one experiment (mnist, speed)``."""
    found = {name: sorted({getattr(table[0], name) for table in tables}) for name in CHOICES}
    apart = [f"one {name} ({', '.join(values)})" for name, values in found.items() if len(values) > 1]
    return listed(apart) or "methods of one protocol"


def _texts(what: str, given: object) -> list[str]:
    """What an argument names: texts, or a single one."""
    several = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    if wrong := [one for one in several if not isinstance(one, str)]:
        raise UserError(f"{what}: {wrong[0]!r} is no name: give texts, such as {what}=['a', 'b']")
    return [str(one) for one in several]
