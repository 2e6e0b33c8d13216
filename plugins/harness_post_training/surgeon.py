"""Prunes a matrix column after column; later columns make up for what went."""

from __future__ import annotations

import torch
from torch import Tensor

from harness import HarnessError, NOfM, top_k


def surgeon(
    weights: Tensor, hessian: Tensor, keep: int, pattern: NOfM | None, block: int, damping: float
) -> tuple[Tensor, Tensor]:
    """Mask and new weights W' of a matrix W that keep (W' - W) H (W' - W)^T small.

    Blocks of columns from left to right: those weights of a block go for which w^2 / [H_F^-1]_jj is smallest, F being
    column j and all after it, and the others after j take over what w gave: they change by -w / [H_F^-1]_jj times row j
    of H_F^-1. These rows, over their roots, are those of the upper Cholesky factor of H^-1. A column that is 0 in H, an
    input that never is anything else, gets weights 0.

    Source: Frantar, Alistarh 2023, "SparseGPT", arXiv:2301.00774, algorithm 1. The count is exact over all blocks: the
    released code, which cuts at a threshold, removes one weight a block more.

    Args:
        weights: (out, in), float64.
        hessian: (in, in), float64, positive semidefinite; its scale does not matter.
        keep: weights to keep.
        pattern: n of every m columns instead, chosen when their first column is reached.
        block: columns of a block; a whole number of a pattern's groups is taken of it.
        damping: added to the diagonal, as a fraction of its mean.

    Raises:
        HarnessError: if the damped Hessian is not positive definite to rounding.
    """
    new, h = weights.clone(), hessian.clone()
    columns = weights.shape[1]
    dead = h.diagonal() == 0
    h.diagonal()[dead] = 1
    new[:, dead] = 0
    h.diagonal().add_(damping * h.diagonal().mean())
    factor, failed = torch.linalg.cholesky_ex(h)
    if bool(failed):
        raise HarnessError(
            f"sparsegpt: second moments of {columns} inputs are not positive definite with damping {damping:g}: give a "
            "larger damping, or more samples"
        )
    root = torch.linalg.cholesky(torch.cholesky_inverse(factor), upper=True)
    mask = torch.ones_like(weights, dtype=torch.bool)
    width = block if pattern is None else max(1, block // pattern.m) * pattern.m
    for begin in range(0, columns, width):
        end = min(begin + width, columns)
        part, own, kept = new[:, begin:end], root[begin:end, begin:end], mask[:, begin:end]
        if pattern is None:
            kept[:] = top_k((part / own.diagonal()).square(), keep * end // columns - keep * begin // columns)
        errors = torch.zeros_like(part)
        for j in range(end - begin):
            if pattern is not None and j % pattern.m == 0:
                group = slice(j, j + pattern.m)
                kept[:, group] = pattern.mask((part[:, group] / own.diagonal()[group]).square())
            errors[:, j] = part[:, j].masked_fill(kept[:, j], 0) / own[j, j]
            part[:, j:] -= errors[:, j : j + 1] * own[j, j:]
        new[:, end:] -= errors @ root[begin:end, end:]
    return mask, new.masked_fill(~mask, 0)
