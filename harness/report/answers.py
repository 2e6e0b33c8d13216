"""The answer of a table in words: never more than its statistics support."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.contrast import Contrast
from harness.analysis.density_equivalent import DensityEquivalent
from harness.analysis.grouping import budget_ratio
from harness.analysis.result_row import asked as asked_density
from harness.analysis.statistics import CONFIDENCE
from harness.formatting import listed
from harness.report.curve_answers import pairs, sentence
from harness.report.places import place
from harness.report.tables import BETTER, NONE, count, decimals, difference, fraction, rough, rounded

_ONE_SEED = "one seed tells nothing of others"
_NOTHING = "Nothing is compared here: no row has a control of the same density and seeds."
Rows = Mapping[int, ComparisonRow]
MOST = 8
"""Rows that a sentence names."""


def answers(table: Sequence[ComparisonRow]) -> list[str]:
    """Sentences about the rows of one table; at least one.

    Density by density from the highest, or pair by pair where that is shorter: what is better than what, what cannot be
    told apart and what so many seeds could have shown. Then networks that do not work, or work without their hidden
    units, and how many weights controls would need.
    """
    rows = {row.id: row for row in table}
    places = _places([contrast for row in table for contrast in row.contrasts], rows)
    contrasts = sorted(places, key=lambda contrast: places[contrast])
    found: list[str] = []
    unanswered = list(_unanswered(table, contrasts))
    if contrasts and all(contrast.n == 1 for contrast in contrasts):
        found.append(f"Nothing is tested: {_ONE_SEED}. {_differences(contrasts, rows)}")
        contrasts = []
    found += _told(contrasts, places, rows)
    found += unanswered
    if not found and len(table) > 1 and not any(row.contrasts for row in table):
        found.append(_NOTHING)
    found += _absent(table)
    found += _broken(table)
    found += _bypassed(table)
    found += _factors(table)
    return found or [_NOTHING]


def _told(contrasts: Sequence[Contrast], places: Mapping[Contrast, tuple[int, str]], rows: Rows) -> list[str]:
    """What was asked; pairs of methods that are compared at several densities as a whole, where fewer sentences do."""

    def by_density(of: Sequence[Contrast]) -> list[str]:
        groups = groupby(of, key=lambda contrast: places[contrast])
        return [sentence for (_, where), group in groups for sentence in _of_density(where, list(group), rows)]

    curves = [pair for pair in pairs(contrasts, rows) if all(_budgets_equal(c, rows) for c in pair)]
    told: list[str] = []
    for pair in curves:
        winners = [winner(contrast, rows) for contrast in pair]
        apart = [c for c, row in zip(pair, winners, strict=True) if row is None]
        told.append(sentence(pair, winners, rows, _power(apart)))
    whole = {id(contrast) for pair in curves for contrast in pair}
    told += by_density([contrast for contrast in contrasts if id(contrast) not in whole])
    every = by_density(contrasts)
    return told if len(told) < len(every) else every


def _budgets_equal(contrast: Contrast, rows: Rows) -> bool:
    return not trained(rows[contrast.row], rows[contrast.other])


def _differences(contrasts: Sequence[Contrast], rows: Rows) -> str:
    widest = max(contrasts, key=lambda contrast: abs(contrast.difference))
    places = decimals([rows[widest.row].mean])
    other = trained(rows[widest.other], rows[widest.row])
    which = f"{widest.method} at {fraction(rows[widest.row].density_mask)} minus {widest.control}"
    which += f" ({other})" if other else ""
    return f"The largest difference is {which}: {difference(widest.difference, None, None, places)}."


def winner(contrast: Contrast, rows: Rows) -> ComparisonRow | None:
    """The row that is better, surely; None where nothing is claimed, as of one that fails in half of its seeds too."""
    row, other = rows[contrast.row], rows[contrast.other]
    if row.direction == "none":
        return None
    if contrast.broken:
        lost = [len(one.broken) == one.n for one in (row, other)]
        found = other if lost[0] else row
        return found if 2 * len(found.broken) < found.n else None
    if contrast.disputed or contrast.p_adjusted is None or contrast.p_adjusted >= 1 - CONFIDENCE:
        return None
    better, worse = (row, other) if (contrast.difference > 0) == (row.direction == "max") else (other, row)
    return better if len(better.broken) / better.n <= len(worse.broken) / worse.n else None


def density(row: ComparisonRow) -> str:
    """Of the network that was tested; a span where seeds differ."""
    low, high = fraction(row.density_low), fraction(row.density_high)
    return f"{low}{NONE}{high}" if row.mixed and not row.small else fraction(row.density_mask)


def placed(row: ComparisonRow, table: Sequence[ComparisonRow]) -> str:
    """Its density, of a smaller network the one that it stands for."""
    if not row.small or row.mixed:
        return density(row)
    return fraction(place(row, table) if row.density_asked is None else row.density_asked)


def broken(row: ComparisonRow) -> str:
    """``cut 2/5``: how many seeds tell nothing of their input, and why; "" if none."""
    reasons = sorted(set(row.broken.values()))
    return f"{' or '.join(reasons)} {len(row.broken)}/{row.n}" if reasons else ""


def _places(contrasts: Sequence[Contrast], rows: Rows) -> dict[Contrast, tuple[int, str]]:
    """Where questions belong in the answer: the group of the row with fewer weights, and that in words.

    Densities of one group are told as the lowest of them: 0.2000 and 0.2001 are one place.
    """
    found, lowest = dict[Contrast, tuple[int, str | float]](), dict[int, float]()
    for contrast in contrasts:
        row, other = rows[contrast.row], rows[contrast.other]
        group, where = min(row, other, key=lambda one: one.density_mask).group, _where(row, other)
        found[contrast] = group, where
        if isinstance(where, float):
            lowest[group] = min(where, lowest.get(group, 1.0))
    return {
        contrast: (group, where if isinstance(where, str) else f"At {fraction(lowest[group])}")
        for contrast, (group, where) in found.items()
    }


def _of_density(where: str, contrasts: Sequence[Contrast], rows: Rows) -> Iterator[str]:
    better: dict[int, list[ComparisonRow]] = {}
    undecided: list[Contrast] = []
    for contrast in contrasts:
        found = winner(contrast, rows)
        if found is None:
            undecided.append(contrast)
        else:
            better.setdefault(found.id, []).append(rows[contrast.row + contrast.other - found.id])
    by_losers: dict[tuple[str, ...], list[str]] = {}
    for first, worse in better.items():
        losers = tuple(_named(row, trained(row, rows[first])) for row in worse)
        by_losers.setdefault(losers, []).append(_named(rows[first]))
    for losers, winners in by_losers.items():
        yield f"{where}, {few(winners)} beat{'s' * (len(winners) == 1)} {few(losers)}."
    held = [c for c in undecided if not c.disputed and c.p_adjusted is not None and c.p_adjusted < 1 - CONFIDENCE]
    if held:
        apart = _apart(held, rows)
        yield f"{where}, nothing is claimed where the row ahead has more networks that do not work: {apart}."
    tested = [c for c in undecided if c.p is not None and not c.disputed and c not in held]
    if tested:
        yield f"{where}, not told apart: {_apart(tested, rows)}{_power(tested)}."
    if disputed := [c for c in undecided if c.disputed]:
        yield f"{where}, nothing is claimed where the sign depends on the scale: {_apart(disputed, rows)}."
    untested: dict[str, list[Contrast]] = {}
    for c in undecided:
        if c.p is None and not c.disputed and not c.broken:
            untested.setdefault(_why(c, rows), []).append(c)
    for why, alike in untested.items():
        yield f"{where}, not tested, because {why}: {_apart(alike, rows)}."


def _unanswered(table: Sequence[ComparisonRow], contrasts: Sequence[Contrast]) -> Iterator[str]:
    """Questions of the suite about rows that are here and may not be compared."""
    known = table[0].comparisons
    if known is None or not any(contrast.asked for contrast in contrasts):
        return
    here = {row.method for row in table}
    answered = {frozenset((contrast.method, contrast.control)) for contrast in contrasts}
    pairs = ((question, frozenset((question.method, question.control))) for question in known.questions)
    if left := [str(question) for question, pair in pairs if pair <= here and pair not in answered]:
        yield f"Not comparable, because densities, sizes or seeds differ: {listed(left)}."
    at: dict[tuple[str, float], ComparisonRow] = {}
    for row in table:
        if row.density_asked is not None:
            at.setdefault((row.method, row.density_asked), row)
    wanted = {row.id: row.density_asked for row in table}
    told = {(frozenset((c.method, c.control)), wanted[one]) for c in contrasts for one in (c.row, c.other)}
    for wish in sorted({one for _, one in at}, reverse=True):
        left = [
            f"{question.method} against {question.control} ({_unlike(at[question.method, wish], control)})"
            for question in known.questions
            if question.density in (None, wish)
            and (question.method, wish) in at
            and (control := at.get((question.control, wish)))
            and (pair := frozenset((question.method, question.control))) in answered
            and (pair, wish) not in told
        ]
        if left:
            yield f"At {wish:g}, not comparable: {listed(left)}."


def _unlike(row: ComparisonRow, control: ComparisonRow) -> str:
    """Why two rows that were asked for alike may not be compared."""
    if not set(row.seeds) & set(control.seeds):
        return "no common seed"
    if row.small or control.small:
        return f"{row.left:,.0f} and {control.left:,.0f} parameters"
    return f"densities {density(row)} and {density(control)}"


def _absent(table: Sequence[ComparisonRow]) -> Iterator[str]:
    """What has no row, because every seed of it failed, and which questions have no answer for that."""
    known = table[0].comparisons
    for method, reasons in table[0].absent.items():
        places = listed([f"at {place}" for place in sorted(reasons, key=float)]) if "" not in reasons else ""
        asked = [q for q in known.questions if method in (q.method, q.control)] if known and known.asked else []
        open_ = [str(q) for q in asked if q.density is None or asked_density(q.density) in reasons or not places]
        reason = next(iter(reasons.values())).removeprefix("failed: ").partition(". ")[0]
        yield (
            f"{method} has no result{places and f' {places}'} ({reason})"
            f"{f', which leaves {listed(open_)} open' + (' there' if places else '') if open_ else ''}."
        )


def _why(contrast: Contrast, rows: Rows) -> str:
    """What there is no test for."""
    if rows[contrast.row].direction == "none":
        return BETTER["none"]
    return _ONE_SEED if contrast.n == 1 else "the difference is the same in every seed"


def few(names: Sequence[str]) -> str:
    """Names as a list, of many the first ones and how many more there are."""
    more = len(names) - MOST
    return listed(names if more < 2 else [*names[:MOST], f"{more} others"])


def _apart(contrasts: Sequence[Contrast], rows: Rows) -> str:
    """``genome from random and shuffle; magnitude from random (trained on 2 times as many examples)``."""
    by_method: dict[str, list[str]] = {}
    for c in contrasts:
        other = trained(rows[c.other], rows[c.row])
        by_method.setdefault(c.method, []).append(f"{c.control} ({other})" if other else c.control)
    by_controls: dict[tuple[str, ...], list[str]] = {}
    for method, controls in by_method.items():
        by_controls.setdefault(tuple(dict.fromkeys(controls)), []).append(method)
    return "; ".join(f"{listed(methods)} from {listed(controls)}" for controls, methods in by_controls.items())


def _power(contrasts: Sequence[Contrast]) -> str:
    shown = [c.detectable for c in contrasts if c.detectable is not None]
    if not shown:
        return ""
    seeds = sorted({c.n for c in contrasts})
    some = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    least, most = rough(min(shown)), rough(max(shown))
    return f"; {some} seeds could have shown {least if least == most else f'{least} to {most}'}"


def _where(row: ComparisonRow, other: ComparisonRow) -> str | float:
    """In words, or the density."""
    for one in sorted((row, other), key=lambda one: one.small):
        if one.mask_mean is not None:
            return f"With the mean mask of {one.method} ({fraction(one.mask_mean, 3)})"
        if one.mixed and one.small:
            return f"At the sizes of {one.match.split(',')[0] or one.method}"
        if one.mixed:
            return f"At the densities of {one.match.split(',')[0] or one.method} ({density(one)})"
    masked = min(row.density_mask, other.density_mask)
    small = [one.density_asked for one in (row, other) if one.small and one.density_asked is not None and masked == 1]
    return "Unmasked" if masked == 1 and not small else float(min([masked, *small]))


def trained(row: ComparisonRow, other: ComparisonRow) -> str:
    """``trained on 2 times as many examples`` as another row; "" where training has cost the same."""
    found = budget_ratio(row, other)
    if found is None:
        return ""
    name, times = found
    if name == "flops":
        return "trained with other FLOPs" if times is None else f"trained with {times:.3g} times the FLOPs"
    return f"trained on other numbers of {name}" if times is None else f"trained on {times:.3g} times as many {name}"


def _named(row: ComparisonRow, more: str = "") -> str:
    """``random (0.948)``, ``genome (0.100, cut 5/5)``."""
    parts = [] if row.mixed else [rounded(row.mean, max(0, decimals([row.mean]) - 1))]
    if row.broken:
        parts.append(broken(row))
    parts += [more] if more else []
    return f"{row.method} ({', '.join(parts)})" if parts else row.method


def _broken(table: Sequence[ComparisonRow]) -> Iterator[str]:
    dead = [f"{row.method} at {placed(row, table)} ({broken(row)})" for row in table if row.broken]
    if dead:
        yield (
            f"Seeds with the same output for every input: {listed(dead)}. A row of such seeds alone loses to all "
            "others, and has no order among its like."
        )


def _bypassed(table: Sequence[ComparisonRow]) -> Iterator[str]:
    for units in sorted({row.units for row in table if row.bypassed and row.units is not None}):
        rows = [f"{row.method} at {placed(row, table)}" for row in table if row.bypassed and row.units == units]
        yield (
            f"All {count(units)} hidden units are dead in every seed of {few(rows)}: only direct connections, past "
            "these units, carry anything."
        )


def _factors(table: Sequence[ComparisonRow]) -> Iterator[str]:
    for row in table:
        if row.factors:
            needs = "; ".join(f"{control} {_times(found)}" for control, found in row.factors.items())
            yield f"Weights that others need for the score of {row.method}, as multiples of its own: {needs}."


def _times(found: DensityEquivalent) -> str:
    if found.mean is None:
        first, *others = sorted(found.factors, key=lambda factor: factor.value)
        return f"{first} to {others[-1]}, by seed" if others else str(first)
    if found.low is None or found.high is None:
        return rough(found.mean)
    return f"{rough(found.mean)} ({rough(found.low)} to {rough(found.high)})"
