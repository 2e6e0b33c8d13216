"""``harness compare``: which method wins at equal density, and is the difference real?"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from harness.cli.figure_options import FigureFile, FigureWidth
from harness.cli.fitting import terminal_width, wide_option
from harness.cli.not_counted import tell
from harness.cli.parameters import Choice, DensityOption

if TYPE_CHECKING:
    import pandas as pd

    from harness.report.pivot_table import Across
    from harness.report.results import Comparison, Figure
    from harness.report.tables import Table
    from harness.results.store import ResultStore

FORMATS = ("table", "markdown", "latex", "csv", "json", "parquet")
DATA = ("csv", "json", "parquet")
COSTS = ("density", "flops", "training-flops")
ACROSS = ("density", "benchmark")


class ManyValues(click.Command):
    """A command whose ``--methods`` takes every value up to the next option, as one expects from a list."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each further value: click's own options take a fixed number."""
        repeated: list[str] = []
        listing = first = False
        for argument in args:
            if argument.startswith("-"):
                listing = argument.partition("=")[0] == "--methods"
                first = argument == "--methods"
            elif listing and not first:
                repeated.append("--methods")
            else:
                first = False
            repeated.append(argument)
        return super().parse_args(ctx, repeated)


@click.command(
    cls=ManyValues,
    short_help="Compare methods on equal terms, with confidence intervals.",
    epilog="""\b
Examples:
  harness compare --methods genome random magnitude
  harness compare --methods genome random --suite quickstart --at-density 0.1
  harness compare --metric loss --format markdown
  harness compare --format json > rows.json
  harness compare --format parquet > rows.parquet
  harness compare --suite quickstart --questions
  harness compare --suite quickstart --pareto flops
  harness compare --suite gpt2_wiki_cpu --wins
  harness compare --suite gpt2_wiki_cpu --profile --figure profile.svg
  harness compare --suite quickstart --across density --latex > table.tex
  harness compare --suite quickstart --benchmark digits --figure digits.pdf --figure-width column
  harness compare HEAD~3 HEAD --suite quickstart
  harness compare v0.9 results
""",
)
@click.argument("sources", nargs=-1, metavar="[A B]")
@click.option(
    "--methods",
    multiple=True,
    metavar="NAME...",
    help="Labels to compare, that of a sweep for all of its rows. Default: all. Where no question of the suite is \
about two of them, each two are compared, the later with the earlier.",
)
@click.option("--suite", help="Only this suite (its name, or its file).")
@click.option("--baseline", help="Label to compare with. Default: what the suite names, or dense.")
@click.option("--metric", help="Default: each benchmark's primary metric.")
@click.option("--experiment", help="Only this experiment of a suite that has several.")
@click.option("--benchmark", help="Only this benchmark.")
@click.option("--architecture", help="Only this architecture.")
@click.option(
    "--at-density", type=DensityOption(), metavar="D", help="Only densities within 10 % of D (and the baseline)."
)
@click.option(
    "--pareto",
    type=Choice(COSTS),
    metavar="COST",
    help=f"Which rows no other one beats in both the \
metric and a cost: {', '.join(COSTS)}.",
)
@click.option(
    "--questions",
    is_flag=True,
    help="Every question with its difference, p before and after Holm's correction, and what could have been found.",
)
@click.option("--wins", is_flag=True, help="Won, tied and lost problems of each method against each other one.")
@click.option(
    "--profile", is_flag=True, help="Performance profile: how often a method is within a ratio of the best one."
)
@click.option(
    "--figure",
    type=FigureFile(),
    metavar="FILE",
    help="Draw --pareto, --profile or, without them, metric against density: .svg, or .pdf and .png (300 dpi) \
with sparsity-harness[figures].",
)
@click.option(
    "--across",
    type=Choice(ACROSS),
    help="A row for each method, a column for each density or benchmark, as papers print it.",
)
@click.option(
    "--columns",
    metavar="NAME,...",
    help="Only these columns of the table. LaTeX has \
methods by densities or benchmarks without it.",
)
@click.option(
    "--figure-width",
    type=FigureWidth(),
    metavar="WIDTH",
    help="On paper: column (85 mm), text (140 mm) or NNmm.  [default: 190.5mm]",
)
@click.option("--dark", is_flag=True, help="The figure for dark pages.")
@click.option("--format", "form", type=Choice(FORMATS), default="table", show_default=True)
@wide_option
@click.option("--latex", is_flag=True, help="The same as --format latex.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def command(
    sources: Sequence[str],
    methods: Sequence[str],
    pareto: str | None,
    questions: bool,
    wins: bool,
    profile: bool,
    figure: Path | None,
    across: Across | None,
    columns: str | None,
    figure_width: float | None,
    dark: bool,
    form: str,
    latex: bool,
    wide: bool,
    results: Path,
    **where: Any,
) -> None:
    """Compare methods over seeds: mean, 95 % interval, paired difference to the baseline, Holm-adjusted p.

    With A and B, what changed between the two, run by run, by how much, and whether beyond noise. Each is a results
    folder, the folder of one suite, or a git revision of the folder --results; a folder goes before a revision.

    The comparison goes to stdout, notes on files that are not counted go to stderr.
    """
    if latex and form not in ("table", "latex"):
        raise click.UsageError(f"--latex is --format latex, and --format {form} is given too: give one of them")
    form = "latex" if latex else form
    if sources:
        _compare_two(sources, methods, form, wide, results, where)
        return
    from harness.analysis.comparison import Selection, selected
    from harness.analysis.comparison_row import KEYS
    from harness.analysis.frame import load
    from harness.analysis.questions import KEYS as QUESTION_KEYS
    from harness.cli.find import find_suite
    from harness.errors import UserError
    from harness.report.networks import asked_of_networks
    from harness.report.palette import palette_of
    from harness.report.pivot_table import for_paper
    from harness.report.results import Comparison
    from harness.results.store import ResultStore

    if figure is None and (dark or figure_width):
        raise click.UsageError("--dark and --figure-width say how a figure is drawn: give --figure FILE too")
    views = [name for name, asked in (("--pareto", pareto), ("--wins", wins), ("--profile", profile)) if asked]
    views += ["--across"] if across else []
    if form in DATA and (found := [*views, *(["--columns"] if columns else [])]):
        raise click.UsageError(f"{found[0]} has no --format {form}: give table, markdown or latex")
    views += ["--questions"] if questions else []
    if len(views) > 1:
        raise click.UsageError(f"{' and '.join(views)} are different views: give one of them")
    store = ResultStore(results)
    if where["suite"] is not None:
        where |= {"suite": find_suite(store, where["suite"])}
    frame, left = load(store, None if where["suite"] is None else [where["suite"]])
    tell(left)
    if frame.empty:
        raise UserError(f"no finished run in {results}: run a suite first, or name its folder with --results")
    names = [name for value in methods for name in value.split(",") if name]
    chosen = Selection(methods=names, **where)
    tables = selected(frame, chosen, left)
    rows = [row for table in tables for row in table]
    if lone := sum(row.baseline is None and not row.mixed for row in rows):
        click.echo(f"{lone} of {len(rows)} rows have no baseline of the same protocol and seeds", err=True)
    asking = {} if chosen.narrow else dict.fromkeys(sorted(frame["suite"].unique()), store)
    compared = Comparison(tables, palette_of(frame), lambda: asked_of_networks(frame, asking))
    if form in DATA and questions:
        _write_data(compared.questions_told(), QUESTION_KEYS, form)
    elif form in DATA:
        _write_data([row.told() for row in rows], KEYS, form)
    else:
        paper = form == "latex" and not (views or columns)
        shown = for_paper(tables) if paper else _tables(compared, questions, pareto, wins, profile, across)
        if not (paper or views or columns or chosen.narrow):
            shown += [replace(table, detail=None) for table in _between_networks(store, frame)]
        if columns:
            shown = [table.only(columns.split(",")) for table in shown]
        _write(shown, form, terminal_width(wide))
    if figure is not None:
        _draw(compared, figure_width, profile, pareto).save(figure, dark)
        click.echo(f"written: {figure}", err=True)


def _between_networks(store: ResultStore, frame: pd.DataFrame) -> Iterator[Table]:
    """What suites ask about networks, which is of no single table."""
    from harness.report.networks import network_tables

    for suite in sorted(frame["suite"].unique()):
        yield from network_tables(store, suite, frame[frame["suite"] == suite], asked_only=True)


def _compare_two(
    sources: Sequence[str],
    methods: Sequence[str],
    form: str,
    wide: bool,
    results: Path,
    where: Mapping[str, Any],
) -> None:
    from harness.cli.compare_two import OPTIONS, Wanted, compare_two
    from harness.cli.find import is_file, names_of_file

    context = click.get_current_context()
    given = {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if isinstance(parameter, click.Option)
        and context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    }
    if useless := [option for name, option in given.items() if name not in OPTIONS]:
        raise click.UsageError(f"{useless[0]} does not go with two sources: compare one results folder with it")
    if form == "parquet":
        raise click.UsageError("two sources have no --format parquet: give table, markdown, latex, csv or json")
    names = [name for value in methods for name in value.split(",") if name]
    if where["suite"] is not None and is_file(where["suite"]):
        where = {**where, "suite": names_of_file(Path(where["suite"]))[0]}
    wanted = Wanted(names, *(where[key] for key in ("suite", "experiment", "benchmark", "architecture", "metric")))
    found = compare_two(sources, results if "results" in given else None, wanted)
    if form == "json":
        click.echo(json.dumps(found.told(), indent=2, allow_nan=False))
    elif form == "csv":
        from harness.analysis.changes import KEYS

        writer = csv.DictWriter(sys.stdout, KEYS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found.rows_told())
    else:
        _write(found.tables(), form, terminal_width(wide))


def _tables(
    compared: Comparison, questions: bool, pareto: str | None, wins: bool, profile: bool, across: Across | None
) -> list[Table]:
    from harness.analysis import problems
    from harness.errors import UserError
    from harness.report import comparisons
    from harness.report.pivot_table import pivot_tables

    tables = compared.tables
    if questions:
        if found := compared.question_tables():
            return found
        raise UserError("nothing is asked: no row has a control of equal density, or another one to be compared with")
    if across:
        return pivot_tables(tables, across)
    if pareto:
        return list(comparisons.pareto(tables, pareto))
    if not (wins or profile):
        return compared.texts()
    if not any(problems.problems(tables)):
        raise UserError("no two methods have results of equal density and training budget: there is nothing to count")
    suites = "-".join(dict.fromkeys(table[0].suite for table in tables))
    if wins:
        return [replace(comparisons.wins(problems.tallies(tables)), label=f"{suites}-wins")]
    profiles = comparisons.performance_profile(*problems.performance_profile(tables))
    return [replace(profiles, label=f"{suites}-profile")]


def _draw(compared: Comparison, width: float | None, profile: bool, cost: str | None) -> Figure:
    """One figure; of several tables only a performance profile can be drawn."""
    from harness.analysis.problems import performance_profile as steps
    from harness.report.figures import performance_profile
    from harness.report.figures.document import MM, WIDTH
    from harness.report.palette import apart
    from harness.report.results import Figure

    width = width or WIDTH * MM
    if not profile:
        return compared.figure(cost or False, width)
    profiles, problems, _ = steps(compared.tables)
    styles = apart(compared.styles, profiles)
    return Figure.of(performance_profile(profiles, styles, problems, width=width / MM), styles)


def _write(tables: Sequence[Table], form: str, width: int | None) -> None:
    """Tables as text: for a terminal, markdown or LaTeX."""
    from harness.cli.console import plain_console
    from harness.report.latex import latex
    from harness.report.tables import escape, markdown, print_tables

    if form == "markdown":
        click.echo("\n".join(f"{escape(table.title)}\n\n{markdown(table)}" for table in tables), nl=False)
    elif form == "latex":
        click.echo(latex(tables), nl=False)
    else:
        print_tables(tables, plain_console(), width)


def _write_data(rows: Sequence[Mapping[str, Any]], keys: Sequence[str], form: str) -> None:
    if form == "json":
        click.echo(json.dumps(rows, indent=2, allow_nan=False))
    elif form == "parquet":
        import pandas as pd

        from harness.extras import require

        require("pyarrow", what="--format parquet")
        if sys.stdout.isatty():
            raise click.UsageError("--format parquet writes bytes, which no terminal shows: > rows.parquet")
        texts = ({k: json.dumps(v) if isinstance(v, Mapping) else v for k, v in row.items()} for row in rows)
        file = io.BytesIO()
        pd.DataFrame(list(texts), columns=list(keys)).to_parquet(file)
        sys.stdout.buffer.write(file.getvalue())
    else:
        writer = csv.DictWriter(sys.stdout, keys, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            lists = {key: " ".join(map(str, value)) for key, value in row.items() if isinstance(value, list)}
            writer.writerow({**row, **lists})
