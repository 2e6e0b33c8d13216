"""What papers claim beside what was measured: markdown and tables, a pure function of claims and results."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from harness.claims.findings import Finding, needs_text
from harness.claims.schema import Claim, Needs, Paper
from harness.claims.verdicts import VERDICTS
from harness.report.cell_names import cell_names
from harness.report.tables import NONE, Column, Table, decimals, escape, interval, markdown

_PLACES = 4  # decimals of what was measured, at most

READING = """## How to read the tables

- **claimed** is what the paper prints, in fractions and not in percent; **measured** is the mean over our n seeds \
± half of its 95 % t interval. Of an order (better, not worse) it is the difference paired by seed, positive where \
the claim's side is better.
- **minus claimed** is the 95 % interval of the difference to the published number. It carries the seed noise of \
both sides, the paper's too (mostly one run, taken to vary as ours do), and the rounding of what is printed.
- **reproduced**: that interval lies within the tolerance. **not reproduced**: it lies outside. **inconclusive**: \
neither, or one seed only, or a planned seed is missing. Of an order: the interval of the difference lies on the \
claimed side, on the other side, or on both. Numbers that no seed changes (counts) must agree up to rounding.
- **differs in protocol**: what was measured is not what the paper measured; it is shown and never judged. \
**not run**: nothing was measured; what it takes is said.
- Tolerances and selections of cells stand in the claims' files, with reasons; the rules are in docs/claims.md. \
Verdicts are not adjusted for their number: of claims that are exactly at the border of the tolerance, about one in \
twenty gets a wrong verdict.
"""


def claims_page(papers: Mapping[str, Paper], found: Sequence[Finding]) -> str:
    """CLAIMS.md; links are relative to the results folder."""
    text = "What the papers report, and what was measured here. Written by `harness claims`; "
    parts = [f"# Claims\n\n{text}`harness show CELL` shows a cell's record.\n"]
    parts.append(markdown(summary(papers, found)))
    for name, paper in papers.items():
        parts.append(f"## {escape(paper.title)}\n\n{escape(paper.reference)}\n")
        own = [finding for finding in found if finding.paper == name]
        for title, group in groupby(own, key=lambda finding: finding.section.title):
            parts.append(_section(title, list(group)))
    return "\n".join([*parts, READING])


def summary(papers: Mapping[str, Paper], found: Sequence[Finding]) -> Table:
    """How many claims of each paper got which verdict."""
    counts = Counter((finding.paper, finding.judgement.verdict) for finding in found)
    columns = [Column("verdict"), *(Column(name, right=True) for name in papers), Column("all", right=True)]
    rows: list[list[str]] = []
    for verdict in VERDICTS:
        numbers = [counts[name, verdict] for name in papers]
        rows.append([verdict, *map(str, numbers), str(sum(numbers))])
    totals = [sum(counts[name, verdict] for verdict in VERDICTS) for name in papers]
    return Table("Claims by verdict", columns, [*rows, ["all", *map(str, totals), str(sum(totals))]])


def table(title: str, found: Sequence[Finding]) -> Table:
    """The claims for a terminal: the least important columns are dropped first."""
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
    return Table(title, [column for column, _ in made], _transposed([cells for _, cells in made]), notes)


def claimed(claim: Claim) -> str:
    """The published number as it is printed, or the order."""
    if claim.order is not None:
        return claim.order.replace("_", " ")
    number = claim.value if claim.value is not None else claim.count
    assert number is not None
    if claim.rounding == 0 and number != int(number):
        return f"{number:g}"
    places = max(0, -math.floor(math.log10(claim.rounding) + 1e-9)) if claim.rounding else 0
    return f"{number:,.{places}f}"


def measured(finding: Finding) -> str:
    """Mean and interval; of an order with its sign."""
    found = finding.interval()
    if found is None:
        return NONE
    mean, low, high = found
    if finding.claim.count is not None and abs(mean) >= 1:
        return f"{mean:,.{0 if mean == int(mean) else 2}f}"
    places = min(_PLACES, decimals([mean, low, high]))
    sign = "+" if finding.claim.order is not None and round(mean, places) > 0 else ""
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
        (Column("cells"), [_cells(finding) for finding in found]),
    ]
    bold = {i for i, finding in enumerate(found) if finding.judgement.verdict in ("reproduced", "not reproduced")}
    kept = [(column, cells) for column, cells in made if any(cell not in (NONE, "") for cell in cells)]
    page = Table(title, [column for column, _ in kept], _transposed([cells for _, cells in kept]), [], bold)
    lines.append(markdown(page))
    lines += [f"- {escape(line)}" for line in _notes(found)]
    return "\n".join(lines) + "\n"


def _notes(found: Sequence[Finding]) -> Iterator[str]:
    """What a reader must know, each said once with the claims that it is about."""
    yield from found[0].section.traps
    for text, names in _together((f.claim.note or "", f.claim.id) for f in found):
        yield f"{names}: {text}"
    differences = (("; ".join(f.measured.differs), f.claim.id) for f in found if f.measured)
    for text, names in _together(differences):
        yield f"Differs in protocol ({names}): {text}."
    # What the section says for all of its claims needs no names.
    tolerances = ((f.tolerance.because, f.claim.id if f.claim.tolerance else "") for f in found if f.tolerance)
    for text, names in _together(tolerances):
        yield f"Tolerance{' of ' * bool(names)}{names}: {text}."
    unmeasured = (f for f in found if f.judgement.verdict in ("not run", "differs in protocol"))
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
    claim = finding.claim
    unit = claim.unit or (finding.measured.unit if finding.measured else "")
    return claim.quantity + (f" ({unit})" if unit and unit not in claim.quantity else "")


def _seeds(finding: Finding) -> str:
    if finding.measured is None:
        return NONE
    return "built" if finding.built else str(len(finding.measured.values))


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
    reason = f"needs {_brief(finding.needs)}" if judged.verdict == "not run" else judged.reason
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


def _cells(finding: Finding) -> str:
    """The cells that were measured, by suite; those of one suite come together."""
    names: dict[str, list[str]] = {}
    for suite, _, cell in finding.measured.cells if finding.measured else ():
        names.setdefault(suite, []).append(cell)
    return ", ".join(f"{suite}/{cell_names(cells)}" for suite, cells in names.items())


def _transposed(columns: Sequence[Sequence[str]]) -> list[list[str]]:
    return [list(row) for row in zip(*columns, strict=True)]
