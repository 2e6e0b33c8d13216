"""What the tables beside the score table begin with: sentences that say no more than these tables hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.problems import Tally
from harness.report.answers import density, few, winner
from harness.report.places import label, lost
from harness.report.tables import BETTER, rough

BY_MEANS = "by their means alone, which are not tested"
PROBLEM = "one network on one benchmark, with rows of equal density and training budget"
"""What methods win, lose or are near the best on."""
_UNEQUAL = 1.01
"""From which ratio on amounts are called different."""


def pareto_answer(rows: Sequence[ComparisonRow], best: Sequence[bool], cost: str) -> str:
    """Of rows from the cheapest to the dearest, and which of them are efficient."""
    if rows[0].direction == "none":
        return f"Nothing is efficient: {BETTER['none']}."
    front = [at(row) for row, better in zip(rows, best, strict=True) if better]
    if not front:
        return "Nothing is efficient: no network works."
    if len(front) == len(rows) > 1:
        return f"Nothing is dominated, {BY_MEANS}: each of the {len(rows)} rows is better than all that cost less."
    if len(front) == 1:
        return f"{front[0]} dominates, {BY_MEANS}: no row has a lower {cost} or a mean that is better."
    return f"The front, {BY_MEANS}, is {few(front)}; {len(rows) - len(front)} of {len(rows)} rows are behind it."


def wins_answer(tallies: Mapping[tuple[str, str], Tally]) -> str:
    """Who is furthest ahead, of how many rivals, and how much cannot be told."""
    if not tallies:
        return "Nothing is counted: one seed tells nothing of others."
    against: dict[str, list[Tally]] = {}
    for (name, _), tally in tallies.items():
        against.setdefault(name, []).append(tally)
    net = {name: sum(t.wins - t.losses for t in found) for name, found in against.items()}
    ahead = sorted(name for name in net if net[name] == max(net.values()))
    decided = sum(tally.wins for tally in tallies.values())  # each is another one's loss
    pairs = decided + sum(tally.ties for tally in tallies.values()) // 2
    if not decided:
        return f"No method wins: none of {pairs} comparisons tells two apart."
    told = f"{decided} of {pairs} comparisons tell two methods apart."
    if len(ahead) > 1:
        return f"{few(ahead)} are furthest ahead, with {net[ahead[0]]:+d} each; {told}"
    mine = against[ahead[0]]
    better, worse = (sum(sign * (t.wins - t.losses) > 0 for t in mine) for sign in (1, -1))
    rivals = f"{better} of its {len(mine)} rivals" if len(mine) > 1 else "its one rival"
    behind = f"behind {worse}" if worse else "behind none"
    return f"{ahead[0]} is furthest ahead: it wins more than it loses against {rivals}, {behind}; {told}"


def missing_answer(steps: Mapping[str, Sequence[tuple[float, float]]], problems: int) -> list[str]:
    """Which methods are not on all problems of a performance profile, and how far up they can come at most."""
    shares = {name: found[-1][1] for name, found in steps.items() if found and found[-1][1] < 1}
    told = [f"{name} has {round(share * problems)} (at most {share:.2f})" for name, share in sorted(shares.items())]
    without = "A missing result, or one with failed seeds, counts as far from the best"
    return [f"{without}: of {problems} problems {few(told)}."] if told else []


def profile_answer(steps: Mapping[str, Sequence[tuple[float, float]]], problems: int) -> str:
    """Who has the best mean most often, and who is never far from it."""
    if not problems:
        return "Nothing is compared: no problem has means that are all positive."
    first = {name: max((share for ratio, share in found if ratio <= 1), default=0.0) for name, found in steps.items()}
    most = max(first.values())
    names = sorted(name for name in first if first[name] == most)
    often = round(most * problems)
    verb = "has" if len(names) == 1 else "each have"
    text = f"{few(names)} {verb} the best mean most often, on {often} of {problems} problems; no test is made."
    furthest = {name: found[-1][0] for name, found in steps.items() if found and found[-1][1] == 1}
    if not furthest:
        return f"{text} No method has a result on all of them."
    nearest = min(furthest, key=lambda name: (furthest[name], name))
    if furthest[nearest] <= 1:
        return text
    return f"{text} {nearest} is never further from the best than by a factor of {furthest[nearest]:.3g}."


def questions_answer(table: Sequence[ComparisonRow]) -> str:
    """How many are decided."""
    rows = {row.id: row for row in table}
    asked = [contrast for row in table for contrast in row.contrasts]
    decided = sum(winner(contrast, rows) is not None for contrast in asked)
    tested = sum(contrast.p is not None for contrast in asked)
    one = len(asked) == 1
    return (
        f"{decided} of {len(asked)} question{'' if one else 's'} {'is' if decided == 1 else 'are'} decided; "
        f"{tested} {'has' if tested == 1 else 'have'} a test."
    )


def noise_answer(table: Sequence[ComparisonRow]) -> str:
    """Where seeds scatter most, and whether test examples do more."""
    one = all(row.n == 1 for row in table)
    text = "One seed each" if one else "No row has seeds of one density"
    text += ": how seeds scatter is not known."
    if known := [row for row in table if row.std is not None]:
        most = max(known, key=lambda row: row.std or 0.0)
        text = f"Seeds scatter most in {at(most)}: {rough(most.std or 0.0)}."
    both = [row for row in known if row.stderr is not None]
    if both:
        more = sum((row.stderr or 0.0) > (row.std or 0.0) for row in both)
        text += f" Evaluation noise is larger than seed noise in {more} of {len(both)} rows."
    return text


def cost_answer(table: Sequence[ComparisonRow]) -> list[str]:
    """Where inference and training cost least and most, in theory."""
    found = []
    fast = [row for row in table if row.speedup_theoretical is not None]
    measured = [row for row in table if row.speedup_measured is not None]
    if fast:
        most = max(fast, key=lambda row: row.speedup_theoretical or 0.0)
        times = most.speedup_theoretical or 1.0
        found.append(
            f"In theory inference costs least in {at(most)}, a factor of {times:.3g} below dense"
            f"{'.' if measured else '; dense kernels save no time.'}"
            if times >= _UNEQUAL
            else "Not even in theory does inference cost less than dense."
        )
    if measured:
        most = max(measured, key=lambda row: row.speedup_measured or 0.0)
        found.append(f"Measured, {at(most)} is fastest: {most.speedup_measured:.3g} times as fast as dense.")
    found += _extremes(table, "Training", lambda row: row.flops, "FLOPs, dense-equivalent")
    return found or ["What it took is not recorded."]


def networks_answer(table: Sequence[ComparisonRow], tested: bool) -> str:
    """The best mean of each architecture; nothing about two of them. ``tested``: whether other sentences are."""
    judged = [row for row in table if not row.mixed and not lost(row) and row.direction != "none"]
    if not judged:
        return f"Nothing is compared: {BETTER['none']}, or no row has a mean of networks that work."
    sign = -1 if judged[0].direction == "max" else 1
    best: dict[str, ComparisonRow] = {}
    for row in sorted(judged, key=lambda row: (sign * row.mean, row.id)):
        best.setdefault(f"{row.experiment}: {row.architecture}".removeprefix(": "), row)
    parts = [f"{name} {row.mean:.4g} ({at(row)})" for name, row in best.items()]
    said = "" if tested else ", not tested against each other, for the suite asks nothing about them"
    return f"Best means{said}: {few(parts)}."


def _extremes(
    table: Sequence[ComparisonRow], what: str, of: Callable[[ComparisonRow], float | None], unit: str
) -> list[str]:
    known = {row.id: value for row in table if (value := of(row)) is not None}
    rows = [row for row in table if row.id in known]
    if not rows:
        return []
    least, most = (choose(rows, key=lambda row: known[row.id]) for choose in (min, max))
    if known[most.id] <= _UNEQUAL * known[least.id]:
        return [f"{what} took equally many {unit} in every row."]
    return [f"{what} took from {known[least.id]:.2e} {unit} in {at(least)} to {known[most.id]:.2e} in {at(most)}."]


def at(row: ComparisonRow) -> str:
    """``random at 0.0300``, and of what is not masked the name alone."""
    masked = row.density_mask < 1 or row.mixed
    return f"{label(row)} at {density(row)}" if masked else label(row)
