"""From the density that a method has learned to the one that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from harness import Bake, Masks, MethodContext, Phase, Prune, Train, TrainingBudget, select

Ranking = Literal["global", "uniform"]


def then_exact(budget: TrainingBudget, recovery: float, ranking: Ranking = "global") -> list[Phase]:
    """One training; where a density is asked for, its last part comes after a pruning to exactly that.

    Both parts together are one training of ``budget.steps``: its learning-rate schedule, its examples, no step more.

    Args:
        budget: what the suite grants.
        recovery: fraction of the steps after the pruning, in [0, 1).
        ranking: whether the method's order holds between connections, or in each of them, which then keep the same
            share.
    """
    n = budget.steps
    if budget.density is None and not budget.matched:
        return [Train(n)]
    rest = min(round(recovery * n), n - 1)
    if not rest:
        return [Train(n), Bake(), Prune(distribution=ranking)]
    again = Train(rest, begin=n - rest, of=n, hooks=False)
    return [Train(n - rest, of=n), Bake(), Prune(distribution=ranking), again]


def at_least_asked(
    learned: Mapping[str, Tensor],
    order: Mapping[str, Tensor],
    context: MethodContext,
    ranking: Ranking = "global",
) -> Masks:
    """What was learned, and where that is less than is asked for, the next in ``order`` with it.

    A pruning to the exact count then never has to open weights that nobody has ranked.

    Args:
        learned: connection -> bool, True where the method keeps the weight.
        order: connection -> importance, of equal shapes; all that is learned ranks above all that is not.
        context: of the hook, with the cell's budget, if there is one.
        ranking: as above.
    """
    if context.budget is None:
        return Masks(learned)
    asked = select(order, context.budget, context.connections, ranking)
    return Masks({name: mask | asked[name] for name, mask in learned.items()})
