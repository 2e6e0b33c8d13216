"""From one density to exact counts per connection, and from scores to masks with those counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from harness.core.connections import Connection
from harness.core.masks import Masks
from harness.errors import UserError

Distribution = Literal["global", "uniform", "erk"]
Granularity = Literal["weight", "kernel"]


@dataclass(frozen=True, slots=True)
class DensityBudget:
    """How many maskable weights a cell may keep.

    Attributes:
        keep: total number over all connections in scope.
        per_connection: fixed counts per connection, or None when only the total is given.
        requested: the density as asked for, in [0, 1], before rounding to whole weights.
        attention: open entries of attention masks, which are no weights, as the cell has them whose density is taken;
            None where it has none.
    """

    keep: int
    requested: float
    per_connection: Mapping[str, int] | None = None
    attention: Mapping[str, int] | None = None

    @classmethod
    def of(cls, density: float, connections: Sequence[Connection]) -> DensityBudget:
        """The budget for a fraction in [0, 1] of all weights, rounded to the nearest whole weight."""
        if not 0.0 <= density <= 1.0:
            raise UserError(f"density {density} is outside [0, 1]; it is the fraction of weights kept, not percent")
        return cls(keep=round(density * sum(c.size for c in connections)), requested=density)

    def share(self, member: int, members: int) -> DensityBudget:
        """What network ``member`` (from 0) of ``members`` may keep, so that they keep this budget together."""

        def part(count: int) -> int:
            return count // members + (member < count % members)

        if self.per_connection is None:
            return DensityBudget(part(self.keep), self.requested / members)
        counts = {name: part(count) for name, count in self.per_connection.items()}
        return DensityBudget(sum(counts.values()), self.requested / members, counts)


def allocate(
    keep: int, connections: Sequence[Connection], distribution: Distribution | Mapping[str, float]
) -> dict[str, int]:
    """Exact counts per connection that sum to ``keep``.

    A mapping of connections to numbers of at least 0 gives counts in proportion to these.
    ``uniform`` gives every connection the same density. ``erk`` (Erdos-Renyi kernel; Evci et al. 2020,
    "Rigging the Lottery", appendix) makes density proportional to sum(shape) / prod(shape); connections
    that would exceed density 1 are filled and the rest is redistributed until it fits. Fractions are
    resolved by largest remainder, ties by order.

    Raises:
        ValueError: for ``global``, which has no counts per connection, or a ``keep`` out of range.
    """
    total = sum(c.size for c in connections)
    if not 0 <= keep <= total:
        raise ValueError(f"cannot keep {keep} of {total} weights")
    if not isinstance(distribution, str):
        weights = {c.name: float(distribution[c.name]) for c in connections}
    elif distribution == "uniform":
        weights = {c.name: float(c.size) for c in connections}
    elif distribution == "erk":
        weights = {c.name: float(sum(c.shape)) for c in connections}
    else:
        raise ValueError(f"distribution '{distribution}' has no counts per connection")
    sizes = {c.name: c.size for c in connections}
    counts: dict[str, float] = {}
    free, left = dict(weights), float(keep)
    while free:
        scale = left / (sum(free.values()) or 1.0)
        over = [name for name, weight in free.items() if weight * scale > sizes[name]]
        if not over:
            counts.update({name: weight * scale for name, weight in free.items()})
            break
        for name in over:
            counts[name] = float(sizes[name])
            left -= sizes[name]
            del free[name]
    return _round_to_sum(counts, sizes, keep)


def _round_to_sum(counts: Mapping[str, float], sizes: Mapping[str, int], keep: int) -> dict[str, int]:
    """Largest-remainder rounding to whole numbers that sum to ``keep`` and fit their sizes."""
    whole = {name: min(sizes[name], floor(counts[name])) for name in sizes}
    missing = keep - sum(whole.values())
    by_remainder = sorted(sizes, key=lambda name: -(counts[name] - whole[name]))
    while missing > 0:
        for name in by_remainder:
            if missing and whole[name] < sizes[name]:
                whole[name] += 1
                missing -= 1
    assert sum(whole.values()) == keep
    return whole


def top_k(scores: Tensor, k: int) -> Tensor:
    """Mask of exactly the ``k`` largest scores; ties go to the lower index. NaN is an error.

    Args:
        scores: any shape; the mask has the same.
        k: in [0, scores.numel()].
    """
    flat = scores.detach().reshape(-1)
    if flat.numel() and torch.isnan(flat.max()):
        raise ValueError("scores hold NaN: the ranking would be meaningless")
    if not 0 <= k <= flat.numel():
        raise ValueError(f"cannot keep {k} of {flat.numel()} weights")
    if k == 0:
        return torch.zeros(scores.shape, dtype=torch.bool, device=flat.device)
    if flat.device.type == "cpu":
        return torch.from_numpy(_top_k(flat, k)).reshape(scores.shape)
    threshold = flat.kthvalue(flat.numel() - k + 1).values
    mask = flat >= threshold
    if surplus := int(mask.count_nonzero()) - k:
        mask[(flat == threshold).nonzero().reshape(-1)[-surplus:]] = False
    return mask.reshape(scores.shape)


def _top_k(flat: Tensor, k: int) -> np.ndarray:
    """On a CPU: NumPy's selection and its bools take a tenth of torch's time."""
    values: np.ndarray = (flat.float() if flat.dtype in (torch.bfloat16, torch.float16) else flat).numpy()
    place = len(values) - k
    threshold = np.partition(values, place)[place]
    mask: np.ndarray = values >= threshold
    if surplus := np.count_nonzero(mask) - k:
        mask[np.flatnonzero(values == threshold)[-surplus:]] = False
    return mask


def select(
    scores: Mapping[str, Tensor],
    budget: DensityBudget,
    connections: Sequence[Connection],
    distribution: Distribution,
    granularity: Granularity = "weight",
) -> Masks:
    """Masks that keep the highest scores, with exactly the budget's count of weights.

    Args:
        scores: connection name -> tensor of its region shape; ``-inf`` marks a weight that must go
            unless nothing else is left.
        budget: its ``per_connection`` counts, where given, override ``distribution``.
        distribution: how the total is spread when the counts are not given.
        granularity: ``kernel`` keeps or removes all weights of an (out, in) pair together; the count
            is then exact to one kernel per connection, or over all of them where they are ranked together.
    """
    missing = [c.name for c in connections if c.name not in scores]
    if missing:
        raise ValueError(f"no scores for connections {missing}")
    if granularity == "kernel":
        scores = {
            c.name: scores[c.name].flatten(2).mean(2) if len(c.shape) > 2 else scores[c.name] for c in connections
        }
    if budget.per_connection is not None:
        counts = dict(budget.per_connection)
    elif distribution == "global":
        flat = torch.cat([_per_weight(scores[c.name], c).reshape(-1) for c in connections])
        parts = torch.split(top_k(flat, budget.keep), [c.size for c in connections])
        kept = {c.name: part.reshape(c.shape) for c, part in zip(connections, parts, strict=True)}
        if granularity == "kernel":
            kept = {c.name: _per_weight(_mostly_kept(kept[c.name]), c) for c in connections}
        return Masks(kept)
    else:
        counts = allocate(budget.keep, connections, distribution)
    masks = {}
    for c in connections:
        per_score = c.size // scores[c.name].numel()
        masks[c.name] = _per_weight(top_k(scores[c.name], round(counts[c.name] / per_score)), c)
    return Masks(masks)


def _mostly_kept(mask: Tensor) -> Tensor:
    """Pairs (out, in) of which at least half is kept: a cut in the ranking falls within one kernel at most."""
    return mask.flatten(2).float().mean(2) >= 0.5 if mask.ndim > 2 else mask


def _per_weight(values: Tensor, connection: Connection) -> Tensor:
    """Broadcast per-pair values (out, in) over the kernel axes; per-weight values pass through."""
    if values.shape == connection.shape:
        return values
    extra = len(connection.shape) - values.ndim
    return values.reshape(*values.shape, *(1,) * extra).expand(connection.shape).contiguous()
