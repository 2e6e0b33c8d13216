"""Neural DNA's video transformer from its description: plain, slow, one head at a time."""

from __future__ import annotations

import math

import torch


def normed(x: torch.Tensor, state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    mean = x.mean(-1, keepdim=True)
    spread = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / (spread + 1e-5).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]


def attended(
    x: torch.Tensor, state: dict[str, torch.Tensor], name: str, heads: int, bias: torch.Tensor
) -> torch.Tensor:
    """Of tokens (n, width)."""
    width = x.shape[1]
    weight, shift = state[f"{name}.qkv.weight"], state[f"{name}.qkv.bias"]
    q, k, v = (x @ weight[i * width : (i + 1) * width].T + shift[i * width : (i + 1) * width] for i in range(3))
    size, parts = width // heads, []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        shares = (q[:, own] @ k[:, own].T / math.sqrt(size) + bias).exp()
        parts.append(shares / shares.sum(1, keepdim=True) @ v[:, own])
    return torch.cat(parts, 1) @ state[f"{name}.out.weight"].T


def reference(
    state: dict[str, torch.Tensor],
    frames: torch.Tensor,
    patch: int,
    heads: int,
    skips: bool,
    biases: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """The next frame of each clip; ``biases`` are those of temporal and spatial attention."""
    layers = sum(name.endswith(".up.weight") for name in state)
    names = ["embedding", *(f"layer{i}" for i in range(1, layers + 1))]
    rows, columns = frames.shape[2] // patch, frames.shape[3] // patch
    found = []
    for clip in frames:
        cut = [
            [
                clip[f, r * patch : (r + 1) * patch, c * patch : (c + 1) * patch].reshape(-1)
                for r in range(rows)
                for c in range(columns)
            ]
            for f in range(len(clip))
        ]
        x = torch.stack([torch.stack(places) for places in cut]) @ state["embedding.weight"].T
        x = x + state["embedding.bias"] + state["frames"][:, None] + state["places"][None]
        streams = [x]
        for i in range(1, layers + 1):
            block = f"blocks.{i - 1}"
            inner = normed(x, state, f"{block}.spatial.norm")
            h = x + torch.stack([attended(one, state, f"{block}.spatial", heads, biases[1]) for one in inner])
            inner = normed(h, state, f"{block}.temporal.norm")
            across = [
                attended(inner[:, p], state, f"{block}.temporal", heads, biases[0]) for p in range(inner.shape[1])
            ]
            h = h + torch.stack(across, 1)
            up = normed(h, state, f"{block}.norm") @ state[f"{block}.up.weight"].T + state[f"{block}.up.bias"]
            h = h + up.clamp_min(0) @ state[f"{block}.down.weight"].T + state[f"{block}.down.bias"]
            for s in range(i - 1) if skips else ():
                h = h + streams[s] @ state[f"skips.layer{i}_from_{names[s]}.weight"].T
            x = h
            streams.append(x)
        last = normed(x[-1], state, "norm") @ state["head.weight"].T + state["head.bias"]
        pixels = 1 / (1 + (-last).exp())
        frame = torch.zeros(frames.shape[2:], dtype=frames.dtype)
        for place, values in enumerate(pixels):
            r, c = divmod(place, columns)
            frame[r * patch : (r + 1) * patch, c * patch : (c + 1) * patch] = values.view(patch, patch)
        found.append(frame)
    return torch.stack(found)
