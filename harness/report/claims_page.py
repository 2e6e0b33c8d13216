"""What papers claim beside what was measured: markdown and tables, a pure function of claims and results."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from urllib.parse import quote

from harness.claims.findings import Finding, mean_interval, needs_text
from harness.claims.measuring import Measured
from harness.claims.schema import Claim, Needs, Paper
from harness.claims.verdicts import HERE, VERDICTS, Verdict
from harness.report.cell_names import cell_names
from harness.report.tables import NONE, Column, Table, decimals, escape, interval, markdown

_BY = {"runs": "runs", "building": "building the network", "arithmetic": "the paper's own numbers"}
_N = {"building": "built", "arithmetic": "own table"}
_PLACES = 4  # decimals of what was measured, at most
_SHORT: Mapping[Verdict, str] = {
    "reproduced": "yes",
    "not reproduced": "no",
    "inconclusive": "open",
    "holds here": "holds",
    "does not hold here": "fails",
    "undecided here": "unsure",
    "differs in protocol": "differs",
    "not run at that size": "size",
    "not run": "none",
}
"""Headings for a terminal."""

READING = """## How to read the tables

- **claimed** is what the paper prints, in fractions and not in percent; **measured** is the mean over our n seeds \
± half of its 95 % t interval. Of an order (better, not worse) it is the difference paired by seed, positive where \
the claim's side is better.
- **minus claimed** is the 95 % interval of the difference to the published number. It carries the seed noise of \
both sides, the paper's too (mostly one run, taken to vary as ours do), and the rounding of what is printed.
- **reproduced**: that interval lies within the tolerance. **not reproduced**: it lies outside. **inconclusive**: \
neither, or one seed only, or a planned seed is missing; where the published run's own noise is wider than the \
tolerance, it says that no number of seeds would do. Of an order: the interval of the difference lies on the \
claimed side, on the other side, or on both. Numbers that no seed changes (counts) must agree up to rounding.
- **holds here**, **does not hold here**, **undecided here**: the same of an order that a paper states of methods as \
such, and not of one network. It was tried here on another network, or by another protocol, than the paper's, and \
beside it stands in what: that reproduces nothing, and says how far the statement carries.
- No seed changes n = **built** (the network is built and counted, nothing is trained) and **own table** (computed \
from other numbers that the same paper prints).
- **differs in protocol**: what was measured is not what the paper measured; it is shown and never judged. \
**not run**: nothing was measured; what it takes is said. **not run at that size**: only a smaller network, or one \
with less data or fewer steps, was run; that does not measure the claim, so its numbers stand apart, below the table.
- Tolerances and selections of runs stand in the claims' files, with reasons; the rules are in docs/claims.md. \
Verdicts are not adjusted for their number: of claims that are exactly at the border of the tolerance, about one in \
twenty gets a wrong verdict.
"""


DIRECTIONS = """\
Which of two methods is better, as papers state it of the methods and not of one network. Measured is the difference \
on what was run here, paired by seed and positive where the side that is claimed is the better one, with its 95 % t \
interval. What was run, and in what it is not the paper's, stands in the tables of the papers below.
"""


def claims_page(papers: Mapping[str, Paper], found: Sequence[Finding]) -> str:
    """CLAIMS.md; links are relative to the results folder."""
    parts = ["# Claims\n", "What the papers report, and what was measured here.\n"]
    parts.append("\n".join(f"- {escape(line)}" for line in answer(found)) + "\n")
    parts.append(markdown(summary(papers, found)))
    if refuted := [finding for finding in found if finding.judgement.verdict == "not reproduced"]:
        parts += ["## Not reproduced\n", markdown(_refuted(refuted))]
    if stated := [finding for finding in found if finding.section.general is not None]:
        parts += ["## Published directions\n", DIRECTIONS, markdown(_directions(papers, stated))]
    for name, paper in papers.items():
        parts.append(f"## {escape(paper.title)}\n\n{escape(paper.reference)}\n")
        own = [finding for finding in found if finding.paper == name]
        for title, group in groupby(own, key=lambda finding: finding.section.title):
            parts.append(_section(title, list(group)))
    written = "Written by `harness claims`; `harness show RUN` shows the record of a run that is named here.\n"
    return "\n".join([*parts, READING, written])


def answer(found: Sequence[Finding]) -> list[str]:
    """What came of the claims, in sentences: how many have each verdict, and which where that is news."""
    of: dict[str, list[Finding]] = {verdict: [] for verdict in VERDICTS}
    for finding in found:
        of[finding.judgement.verdict].append(finding)
    lines = [f"Of {len(found)} claims {_are(of['reproduced'])} reproduced{_how(of['reproduced'], ('runs',))}."]
    if wrong := of["not reproduced"]:
        lines.append(f"{_are(wrong)} not reproduced{_how(wrong, tuple(_BY))}.")
    if any(of[verdict] for verdict in HERE.values()):
        lines.append(_tried_here(*(of[verdict] for verdict in HERE.values())))
    if open_ := of["inconclusive"]:
        hopeless = [finding for finding in open_ if finding.judgement.undecidable]
        more = f"; no number of seeds would decide {_ids(hopeless)}" if hopeless else ""
        lines.append(f"{_are(open_)} inconclusive{more}.")
    if differing := of["differs in protocol"]:
        lines.append(f"{_are(differing)} measured by another protocol, and not judged: {_ids(differing)}.")
    if smaller := of["not run at that size"]:
        lines.append(f"{_are(smaller)} not run at that size, only at another one, which says nothing about them.")
    if missing := of["not run"]:
        hours = {finding.needs.estimate: finding.needs.gpu_hours or 0.0 for finding in [*missing, *smaller]}
        cost = f" What was not run takes at most {sum(hours.values()):,.0f} GPU-hours." if any(hours.values()) else ""
        lines.append(f"{_are(missing)} not run at all.{cost}")
    return lines


def _tried_here(holds: Sequence[Finding], fails: Sequence[Finding], undecided: Sequence[Finding]) -> str:
    kinds = [f"{len(holds) or 'none'} hold{'s' * (len(holds) < 2)}"]
    if fails:
        kinds.append(f"{len(fails)} do{'es' * (len(fails) == 1)} not{_in_brackets(fails)}")
    if undecided:
        kinds.append(f"{_are(undecided)} undecided")
    count = len(holds) + len(fails) + len(undecided)
    return f"Of {count} directions that papers state in general, as tried here, {', '.join(kinds)}."


def _are(found: Sequence[Finding]) -> str:
    return f"{len(found) or 'none'} {'is' if len(found) < 2 else 'are'}"


def _ids(found: Sequence[Finding]) -> str:
    return ", ".join(finding.claim.id for finding in found)


def _in_brackets(found: Sequence[Finding]) -> str:
    return f" ({_ids(found)})"


def _how(found: Sequence[Finding], named: Sequence[str]) -> str:
    """``: 2 by runs (a, b), 16 by building the network``; ids for the ways in ``named``."""
    parts = []
    for by, text in _BY.items():
        own = [finding for finding in found if finding.measured and finding.measured.by == by]
        parts += [f"{len(own)} by {text}{_in_brackets(own) if by in named else ''}"] if own else []
    return ": " * bool(parts) + ", ".join(parts)


def _refuted(found: Sequence[Finding]) -> Table:
    made: list[tuple[Column, list[str]]] = [
        (Column("claim"), [finding.claim.id for finding in found]),
        (Column("quantity"), [_quantity(finding) for finding in found]),
        (Column("claimed", 0, True), [claimed(finding.claim) for finding in found]),
        (Column("measured"), [measured(finding) for finding in found]),
        (Column("by"), [_BY[finding.measured.by] for finding in found if finding.measured]),
    ]
    return Table("Not reproduced", [column for column, _ in made], _transposed([cells for _, cells in made]))


def _directions(papers: Mapping[str, Paper], found: Sequence[Finding]) -> Table:
    made: list[tuple[Column, list[str]]] = [
        (Column("claim"), [finding.claim.id for finding in found]),
        (Column("direction"), [finding.claim.quantity for finding in found]),
        (Column("paper"), [papers[finding.paper].title for finding in found]),
        (Column("measured"), [measured(finding) for finding in found]),
        (Column("n", 0, True), [_seeds(finding) for finding in found]),
        (Column("may be worse by", 0, True), [_tolerance(finding) for finding in found]),
        (Column("verdict", strong=True), [finding.judgement.verdict for finding in found]),
    ]
    bold = {i for i, finding in enumerate(found) if finding.decided}
    return Table(
        "Published directions", [column for column, _ in made], _transposed([cells for _, cells in made]), [], bold
    )


def summary(papers: Mapping[str, Paper], found: Sequence[Finding], short: bool = False) -> Table:
    """How many claims of each paper got which verdict; verdicts that none has are left out.

    Args:
        short: headings of a word for a terminal, explained below.
    """
    counts = Counter((finding.paper, finding.judgement.verdict) for finding in found)
    total = Counter(finding.judgement.verdict for finding in found)
    given = [verdict for verdict in VERDICTS if total[verdict]]
    headings = [_SHORT[verdict] if short else verdict for verdict in given]
    numbers = {name: [counts[name, verdict] for verdict in given] for name in papers}
    numbers["all"] = [total[verdict] for verdict in given]
    notes = [", ".join(f"{_SHORT[verdict]}: {verdict}" for verdict in given) + "."] if short and given else []
    return Table(
        "Claims by verdict",
        [Column("paper"), *(Column(heading, right=True) for heading in [*headings, "all"])],
        [[name, *map(str, row), str(sum(row))] for name, row in numbers.items()],
        notes,
    )


def table(title: str, found: Sequence[Finding], said: Sequence[str] = ()) -> Table:
    """The claims for a terminal, below what is ``said`` of them: the least important columns are dropped first."""
    made: list[tuple[Column, list[str]]] = [
        (Column("claim"), [finding.claim.id for finding in found]),
        (Column("claimed", 0, True), [claimed(finding.claim) for finding in found]),
        (Column("measured"), [measured(finding) for finding in found]),
        (Column("n", 2, True), [_seeds(finding) for finding in found]),
        (Column("verdict"), [_short(finding) for finding in found]),
        (Column("minus claimed", 4), [_difference(finding) for finding in found]),
        (Column("tolerance", 5, True), [_tolerance(finding) for finding in found]),
        (Column("because", 3), [_because(finding) for finding in found]),
        (Column("quantity", 6), [finding.claim.quantity for finding in found]),
    ]
    notes = ["GPU-h +: and data, an architecture or something else."] if any(_more(f.needs) for f in found) else []
    columns, cells = zip(*made, strict=True)
    return Table(title, columns, _transposed(cells), notes, answer=list(said))


def claimed(claim: Claim) -> str:
    """The published number as it is printed, with its bound, or the order."""
    if claim.order is not None:
        return claim.order.replace("_", " ")
    number = claim.number
    assert number is not None
    bound = {None: "", "at_least": "≥ ", "at_most": "≤ "}[claim.bound]
    if claim.rounding == 0 and number != int(number):
        return f"{bound}{number:g}"
    places = max(0, -math.floor(math.log10(claim.rounding) + 1e-9)) if claim.rounding else 0
    return f"{bound}{number:,.{places}f}"


def measured(finding: Finding) -> str:
    """Mean and interval, at the claim's own size; of an order with its sign."""
    return _number(finding.claim, finding.interval())


def _number(claim: Claim, found: tuple[float, float | None, float | None] | None) -> str:
    if found is None:
        return NONE
    mean, low, high = found
    if claim.count is not None and abs(mean) >= 1:
        return f"{mean:,.{0 if mean == int(mean) else 2}f}"
    places = min(_PLACES, decimals([mean, low, high]))
    sign = "+" if claim.order is not None and round(mean, places) > 0 else ""
    if low == high:  # the column beside it says in how many seeds
        low = high = None
    return sign + interval(round(mean, places) + 0.0, low, high, places)


def _section(title: str, found: Sequence[Finding]) -> str:
    section = found[0].section
    lines = [f"### {escape(title)}\n", f"Where: {escape(section.where)}. {escape(section.protocol)}\n"]
    made: list[tuple[Column, list[str]]] = [
        (Column("claim"), [finding.claim.id for finding in found]),
        (Column("quantity"), [_quantity(finding) for finding in found]),
        (Column("claimed", 0, True), [claimed(finding.claim) for finding in found]),
        (Column("measured"), [measured(finding) for finding in found]),
        (Column("n", 0, True), [_seeds(finding) for finding in found]),
        (Column("minus claimed"), [_difference(finding) for finding in found]),
        (Column("tolerance", 0, True), [_tolerance(finding) for finding in found]),
        (Column("verdict", strong=True), [_verdict(finding) for finding in found]),
    ]
    bold = {i for i, finding in enumerate(found) if finding.decided}
    kept = [(column, cells) for column, cells in made if any(cell not in (NONE, "") for cell in cells)]
    page = Table(title, [column for column, _ in kept], _transposed([cells for _, cells in kept]), [], bold)
    lines.append(markdown(page))
    lines += [f"- {escape(line)}" for line in _notes(found)]
    return "\n".join([*lines, *_elsewhere(found)]) + "\n"


def _elsewhere(found: Sequence[Finding]) -> Iterator[str]:
    """What was run at another size, apart from the claims."""
    other = [(finding, finding.elsewhere) for finding in found if finding.elsewhere]
    for size, _ in _together((finding.size, "") for finding, _ in other):
        own = [(finding, smaller) for finding, smaller in other if finding.size == size]
        rows = [[f.claim.id, _number(f.claim, mean_interval(m)), str(len(m.values)), _cells(m)] for f, m in own]
        columns = [Column("of"), Column("at that size"), Column("n", 0, True), Column("cells")]
        suites = sorted({suite for _, smaller in own for suite, _, _ in smaller.cells})
        links = ", ".join(f"[{escape(suite)}]({quote(suite)}/leaderboard.md)" for suite in suites)
        yield f"\nRun at another size only, which does not measure these claims (all rows: {links}): {escape(size)}.\n"
        yield markdown(Table("At another size", columns, rows))
        for text, names in _together(("; ".join(smaller.differs), finding.claim.id) for finding, smaller in own):
            yield f"- Differs besides ({names}): {escape(text)}."


def _notes(found: Sequence[Finding]) -> Iterator[str]:
    """What a reader must know, each said once with the claims that it is about."""
    section = found[0].section
    if section.general is not None:
        yield f"Stated in general: {section.general}"
    yield from section.traps
    for text, names in _together((f.claim.note or "", f.claim.id) for f in found):
        yield f"{names}: {text}"
    sizes = ((f.size, f.claim.id) for f in found if f.measured)
    for text, names in _together(sizes):
        yield f"Of another size ({names}): {text}."
    differences = (("; ".join(f.measured.differs), f.claim.id) for f in found if f.measured)
    for text, names in _together(differences):
        yield f"Differs in protocol ({names}): {text}."
    # What the section says for all of its claims needs no names.
    tolerances = ((f.tolerance.because, f.claim.id if f.claim.tolerance else "") for f in found if f.tolerance)
    for text, names in _together(tolerances):
        yield f"Tolerance{' of ' * bool(names)}{names}: {text}."
    for text, names in _together((_cells(f.measured), f.claim.id) for f in found if f.measured):
        yield f"Runs of {names}: {text}."
    unmeasured = (
        f for f in found if not f.decided and not f.judgement.verdict.startswith(("inconclusive", "undecided"))
    )
    for text, names in _together((_needs(f), f.claim.id if f.claim.needs else "") for f in unmeasured):
        yield f"Needed{' for ' * bool(names)}{names}: {text}."


def _together(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Equal texts once, with the names of all that have it; empty ones left out."""
    names: dict[str, list[str]] = {}
    for text, name in pairs:
        if text:
            names.setdefault(text, []).append(name)
    for text, having in names.items():
        yield text, ", ".join(filter(None, having))


def _needs(finding: Finding) -> str:
    needs = finding.needs
    return needs_text(needs) + (f" ({needs.estimate})" if needs.estimate else "")


def _quantity(finding: Finding) -> str:
    quantity, unit = finding.claim.quantity, finding.unit
    return quantity + (f" ({unit})" if unit and unit not in quantity else "")


def _seeds(finding: Finding) -> str:
    if finding.measured is None:
        return NONE
    return _N.get(finding.measured.by) or str(len(finding.measured.values))


def _difference(finding: Finding) -> str:
    judged = finding.judgement
    if finding.claim.value is None or judged.low is None or judged.high is None:
        return NONE
    places = decimals([finding.claim.value])
    return f"{judged.low:+.{places}f} to {judged.high:+.{places}f}"


def _tolerance(finding: Finding) -> str:
    return f"{finding.tolerance.value:,.10g}" if finding.tolerance else NONE


def _verdict(finding: Finding) -> str:
    judged = finding.judgement
    reason = f"needs {_brief(finding.needs)}" if judged.verdict.startswith("not run") else judged.reason
    return judged.verdict + (f": {reason}" if reason else "")


def _brief(needs: Needs) -> str:
    """Hours, and the kinds of what else is needed; the notes say more."""
    hours = needs_text(needs.model_copy(update={"architecture": None, "data": None, "other": None}))
    kinds = [hours, *(kind for kind in ("architecture", "data") if getattr(needs, kind))]
    parts = ", ".join(filter(None, kinds))
    return " and ".join(filter(None, [parts, needs.other and ("more" if parts else needs.other)]))


def _short(finding: Finding) -> str:
    """The verdict in 20 characters."""
    if finding.judgement.verdict != "not run" or not finding.needs.gpu_hours:
        return finding.judgement.verdict
    return f"not run: {finding.needs.gpu_hours:,g} GPU-h" + (" +" if _more(finding.needs) else "")


def _more(needs: Needs) -> bool:
    """Whether a faithful run takes more than time on a GPU."""
    return bool(needs.gpu_hours and (needs.architecture or needs.data or needs.other))


def _because(finding: Finding) -> str:
    judged = finding.judgement
    if judged.verdict == "differs in protocol":
        return f"a faithful run needs {needs_text(finding.needs)}"
    return judged.reason


def _cells(found: Measured) -> str:
    """The cells that were measured, by suite; those of one suite come together."""
    names: dict[str, list[str]] = {}
    for suite, _, cell in found.cells:
        names.setdefault(suite, []).append(cell)
    return ", ".join(f"{suite}/{cell_names(cells)}" for suite, cells in names.items())


def _transposed(columns: Sequence[Sequence[str]]) -> list[list[str]]:
    return [list(row) for row in zip(*columns, strict=True)]
