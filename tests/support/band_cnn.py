"""Neural DNA's convolutional network from its description: plain, slow, and of nothing but sums."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def convolved(x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
    """Sums written out over the places of a kernel."""
    side = (x.shape[-1] + 2 * padding - weight.shape[-1]) // stride + 1
    x = F.pad(x, (padding,) * 4)
    total = torch.zeros(len(x), len(weight), side, side, dtype=x.dtype)
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            seen = x[:, :, i : i + (side - 1) * stride + 1 : stride, j : j + (side - 1) * stride + 1 : stride]
            total += torch.einsum("bsyx,ts->btyx", seen, weight[:, :, i, j])
    return total


def normed(x: torch.Tensor, state: dict[str, torch.Tensor], name: str, training: bool) -> torch.Tensor:
    if training:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    else:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    shaped = [t.view(-1, 1, 1) for t in (mean, var, state[f"{name}.weight"], state[f"{name}.bias"])]
    return (x - shaped[0]) / (shaped[1] + 1e-5).sqrt() * shaped[2] + shaped[3]


def reference(
    state: dict[str, torch.Tensor], x: torch.Tensor, strides: list[int], training: bool, skips: bool = True
) -> torch.Tensor:
    names = ["input", *(f"band{i}" for i in range(1, len(strides) + 1))]
    bands, sides = [x], [x.shape[-1]]
    for t, stride in enumerate(strides, start=1):
        sides.append(sides[-1] // stride)
        total = convolved(bands[t - 1], state[f"convs.{names[t]}.weight"], stride, 1)
        for s in range(t - 1) if skips else ():
            blocks = bands[s].unflatten(3, (sides[t], -1)).unflatten(2, (sides[t], -1)).mean((3, 5))
            skip = f"{names[t]}_from_{names[s]}"
            total = total + normed(
                convolved(blocks, state[f"skip_convs.{skip}.weight"], 1, 0), state, f"skip_norms.{skip}", training
            )
        bands.append(normed(total, state, f"norms.{names[t]}", training).clamp_min(0))
    return bands[-1].mean((2, 3)) @ state["classifier.weight"].T + state["classifier.bias"]
