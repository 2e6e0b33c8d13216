"""The notes below a score table: what is the same in every row, and what to beware of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

from harness.analysis.comparison_row import ComparisonRow
from harness.analysis.result_row import BEFORE, alike
from harness.formatting import count as counted
from harness.formatting import listed
from harness.report.answers import few, winner
from harness.report.cell_texts import examples, meaning, steps, tokens
from harness.report.tables import count, fraction

COMMON: tuple[tuple[str, bool, Callable[[ComparisonRow], str]], ...] = (
    ("seeds", True, lambda row: str(row.n)),
    ("steps", True, steps),
    ("examples", True, examples),
    ("tokens", True, tokens),
    ("scope", False, lambda row: row.density_scope),
)
"""Columns that are a note where they are the same in every row: name, aligned right, text."""


def varying(rows: Sequence[ComparisonRow]) -> set[str]:
    """The names of those of ``COMMON`` that are not."""
    return {name for name, _, text in COMMON if len({text(row) for row in rows}) > 1}


def notes(rows: Sequence[ComparisonRow]) -> list[str]:
    """Caption first, then warnings and the like."""
    return [*_caption(rows), *_warnings(rows)]


def _weights(scope: str) -> str:
    """``the maskable weights``, or ``the maskable weights (attn_out, ffn_up)`` where a suite says of which roles."""
    kind, _, roles = scope.removesuffix("]").partition("[")
    return f"the {kind} weights" + (f" ({roles.replace(',', ', ')})" if roles else "")


def _caption(rows: Sequence[ComparisonRow]) -> list[str]:
    first, differing = rows[0], varying(rows)
    trained = "" if first.trained_on == first.benchmark else f" Trained on {first.trained_on}."
    same = [
        text(first)
        for name, text in (("steps", steps), ("examples", examples), ("tokens", tokens))
        if name not in differing
    ]
    if "seeds" not in differing:
        same.append(f"{first.n} seed{'' if first.n == 1 else 's'}")
    same = list(filter(None, same))
    scope = "" if "scope" in differing else f" Density is of {_weights(first.density_scope)}."
    every = f" Every row: {', '.join(same)}." if same else ""
    over = sorted({row.over for row in rows if row.ci_low is not None})
    scale = "" if first.scale.name == "identity" else f", on the {first.scale.name} scale"
    how = f" \N{PLUS-MINUS SIGN}: 95 % over {' or '.join(over)}{scale}." if over else ""
    return [f"{meaning(first)} Protocol: {first.protocol or 'not stated'}.{trained}", f"{every}{scope}{how}".strip()]


def _warnings(rows: Sequence[ComparisonRow]) -> Iterator[str]:
    if any(row.mask_mean is not None for row in rows):
        yield (
            "Rows with a mean mask were tested with soft masks: all of their weights take part, so their density is 1 "
            "and they have no rank among sparse ones."
        )
    if found := {row.references for row in rows if row.references}:
        yield f"Without a network: {'; '.join(sorted(found))}."
    if fresh := sorted({row.method for row in rows if row.norms_estimated}):
        batches = max(row.norms_estimated for row in rows)
        yield (
            f"No training followed the last change of the weights of {listed(fresh)}: running statistics of batch "
            f"norms were estimated anew over {count(batches)} training batches before the test."
        )
    if any(len(row.contrasts) > 1 for row in rows):
        yield "Differences to a control, and p, are of the first question about a row; the answer has all of them."
    shown = max((contrast.family for row in rows for contrast in row.contrasts), default=0)
    if 0 < shown < rows[0].all_tests:
        family = f"the {counted(shown, 'test')} shown, in the suite's leaderboard over {rows[0].all_tests}"
        yield f"p is adjusted over {family}."
    if apart := list(ranked_apart(rows)):
        yield (
            "Ranks tell apart what the answer does not, since they are corrected over another family, all pairs of a "
            f"group: {few(apart)}."
        )
    if small := sorted({row.method for row in rows if row.rival and row.density_mask == 1}):
        yield f"Ranked with rows that have as many parameters left, at fewer FLOPs: {listed(small)}."
    if len({row.examples for row in rows}) > 1:
        examples = [row.examples for row in rows if row.examples is not None]
        if examples and max(examples) > 1.01 * min(examples):
            span = f"{count(min(examples))} to {count(max(examples))}"
            yield f"WARNING: training budgets differ, from {span} examples: rows are ranked within equal ones only."
    # Tuned rows are at the rates that their own trials chose.
    rates = {row.recovery_lr for row in rows if row.recovery_lr is not None and not row.settings}
    if len(rates) > 1:
        methods = {rate: sorted({row.method for row in rows if row.recovery_lr == rate}) for rate in sorted(rates)}
        parts = "; ".join(f"{rate:g}: {', '.join(names)}" for rate, names in methods.items())
        yield f"WARNING: rows recover from pruning at different learning rates, which may decide between them. {parts}."
    if static := [row for row in rows if row.mask_updates is not None and row.mask_updates <= 1]:
        where = few([f"{row.method} at {fraction(row.density_mask)} ({steps(row)})" for row in static])
        yield (
            f"WARNING: masks that may change while a network trains did so once at most: {where}. Shorter intervals "
            "would let them."
        )
    yield from mixed(rows)
    baselines = sorted({row.baseline for row in rows if row.baseline})
    if len(baselines) > 1:
        yield f"The baseline of a row is that of its own settings: {listed(baselines)}."
    if not baselines:
        name = _could_be_baseline(rows)
        hint = f" In the suite, baseline: {name} would name one." if name else ""
        yield f"No finished baseline of this protocol: there are no differences to one.{hint}"
    for row in rows:
        if row.failed:
            seeds = ", ".join(f"seed {seed} ({reason})" for seed, reason in sorted(row.failed.items()))
            yield f"WARNING: {row.method} at density {fraction(row.density_mask, 4)} has no rank: {seeds}."
    if any(row.n == 1 for row in rows):
        yield "Rows with one seed have no interval over seeds, no test, no rank."


def _could_be_baseline(rows: Sequence[ComparisonRow]) -> str:
    """An unmasked row, trained as long as most rows, by itself; "" if there is none, or nothing beside it."""
    usual = Counter(row.steps for row in rows).most_common(1)[0][0]
    whole = [row for row in rows if row.whole]
    fit = (row.method for row in whole if row.steps == usual and BEFORE not in row.program)
    return next(fit, "") if len(whole) < len(rows) else ""


def ranked_apart(rows: Sequence[ComparisonRow]) -> Iterator[str]:
    """Questions that are not decided although the ranges of ranks of their two rows have no rank in common."""
    of = {row.id: row for row in rows}
    for contrast in (contrast for row in rows for contrast in row.contrasts):
        pair = of[contrast.row], of[contrast.other]
        ranges = sorted(
            (one.rank, one.rank_worst) for one in pair if one.rank is not None and one.rank_worst is not None
        )
        apart = len(ranges) == 2 and ranges[0][1] < ranges[1][0]
        if apart and pair[0].group == pair[1].group and winner(contrast, of) is None:
            on = f" on {pair[0].benchmark}" if len({row.benchmark for row in rows}) > 1 else ""
            yield f"{contrast.method} from {contrast.control} at {fraction(min(one.density_mask for one in pair))}{on}"


def mixed(rows: Sequence[ComparisonRow]) -> Iterator[str]:
    """A warning where versions or devices differ within a table; plugins have versions where they took part."""
    made = sorted({text for row in rows for text in row.made_with})
    if not all(alike(one, other) for one, other in combinations(made, 2)):
        methods = {text: sorted({row.method for row in rows if text in row.made_with}) for text in made}
        parts = "; ".join(f"{text or 'not recorded'}: {', '.join(names)}" for text, names in methods.items())
        yield f"WARNING: the networks were not all made with the same versions and devices. {parts}."
