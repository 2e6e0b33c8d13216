"""One update of dynamic sparse training: drop some weights of a mask, open as many others."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.core.densities import top_k


def drop_grow(mask: Tensor, drop_scores: Tensor, grow_scores: Tensor, n: int, *, regrow: bool = True) -> Tensor:
    """The mask after ``n`` kept weights were dropped and ``n`` masked ones grown; its count never changes.

    Dropped are the kept weights with the lowest ``drop_scores``, grown the masked ones with the highest
    ``grow_scores``; ties are kept, and grown, at the lower index, as in :func:`top_k`. With ``regrow`` a weight that
    was just dropped is a candidate for growth like any other. The papers and their code have it so: RigL grows from
    all but the survivors (Evci et al. 2020, "Rigging the Lottery", algorithm 1), SET from all that is zero (Mocanu et
    al. 2018). A weight dropped and grown at once stays open, so that it keeps its value and its optimizer state, as in
    RigL's code. Without ``regrow`` exactly ``n`` weights close and ``n`` others open.

    Args:
        mask: bool, any shape; True means kept. A new tensor is returned, on the same device.
        drop_scores: of the mask's shape; only those of kept weights are looked at. RigL and SET: |weight|.
        grow_scores: of the mask's shape; only those of candidates are looked at. RigL: |gradient|; SET: random.
        n: how many weights to drop and grow, from 0 to the number kept, without ``regrow`` also at most the number
            masked.
        regrow: whether what was just dropped may grow again.

    Raises:
        ValueError: for a mask that is not bool, scores of another shape, NaN among the scores that are looked at, or
            an ``n`` out of range.
    """
    if mask.dtype != torch.bool:
        raise ValueError(f"mask is {mask.dtype}, must be torch.bool")
    for what, scores in (("drop_scores", drop_scores), ("grow_scores", grow_scores)):
        if scores.shape != mask.shape:
            raise ValueError(f"{what} have shape {tuple(scores.shape)}, must have the mask's {tuple(mask.shape)}")
    flat = mask.reshape(-1)
    kept = flat.nonzero().squeeze(1)
    masked = flat.numel() - len(kept)
    if not 0 <= n <= (len(kept) if regrow else min(len(kept), masked)):
        repair = "" if regrow or n < 0 or n > len(kept) else ": give fewer, or regrow=True to grow dropped ones again"
        raise ValueError(f"cannot drop and grow {n} weights: {len(kept)} are kept, {masked} masked{repair}")
    after = torch.zeros_like(flat)
    after[kept[top_k(drop_scores.reshape(-1)[kept], len(kept) - n)]] = True
    candidates = (~(after if regrow else flat)).nonzero().squeeze(1)
    after[candidates[top_k(grow_scores.reshape(-1)[candidates], n)]] = True
    return after.reshape(mask.shape)
