"""Neural DNA's transformer encoder from its description: plain, slow, one text and one head at a time."""

from __future__ import annotations

import math

import torch


def normed(x: torch.Tensor, state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    mean = x.mean(1, keepdim=True)
    spread = ((x - mean) ** 2).mean(1, keepdim=True)
    return (x - mean) / (spread + 1e-5).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]


def attended(x: torch.Tensor, state: dict[str, torch.Tensor], block: str, heads: int, width: int) -> torch.Tensor:
    """Of one text, (tokens, width): without padding there is nothing to leave out."""
    weight, bias = state[f"{block}.qkv.weight"], state[f"{block}.qkv.bias"]
    q, k, v = ((x @ weight[i * width : (i + 1) * width].T + bias[i * width : (i + 1) * width]) for i in range(3))
    size, parts = width // heads, []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        scores = q[:, own] @ k[:, own].T / math.sqrt(size)
        shares = scores.exp() / scores.exp().sum(1, keepdim=True)
        parts.append(shares @ v[:, own])
    found = torch.cat(parts, 1) @ state[f"{block}.out.weight"].T
    return found + state[f"{block}.out.bias"] if f"{block}.out.bias" in state else found


def reference(
    state: dict[str, torch.Tensor], texts: list[list[int]], heads: int, layers: int, skips: bool, final_norm: bool
) -> torch.Tensor:
    names = ["embedding", *(f"layer{i}" for i in range(1, layers + 1))]
    width, rows = state["tokens.weight"].shape[1], []
    for text in texts:
        x = torch.stack([state["tokens.weight"][one] + state["positions.weight"][at] for at, one in enumerate(text)])
        streams = [x]
        for i in range(1, layers + 1):
            block = f"blocks.{i - 1}"
            h = x + attended(normed(x, state, f"{block}.attn_norm"), state, block, heads, width)
            up = normed(h, state, f"{block}.ffn_norm") @ state[f"{block}.up.weight"].T + state[f"{block}.up.bias"]
            h = h + up.clamp_min(0) @ state[f"{block}.down.weight"].T + state[f"{block}.down.bias"]
            for s in range(i - 1) if skips else ():
                h = h + streams[s] @ state[f"skips.layer{i}_from_{names[s]}.weight"].T
            x = h
            streams.append(x)
        rows.append((normed(x, state, "norm") if final_norm else x).mean(0))
    return torch.stack(rows) @ state["classifier.weight"].T + state["classifier.bias"]
