"""Published networks of Neural DNA against the description, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from band_cnn import reference

import harness_ndna
from harness import Band, Connection, UserError
from harness_genome.layout import every_pair

CHANNELS = [16, 16, 32, 32, 64, 64]
STRIDES = [1, 1, 2, 1, 2, 1]
NORM = ("weight", "bias", "running_mean", "running_var")


def random(*shape: int, seed: list[int]) -> torch.Tensor:
    seed[0] += 1
    generator = torch.Generator().manual_seed(seed[0])
    return torch.rand(shape, generator=generator, dtype=torch.float64) - 0.5


def state(classes: int, types: int = 8) -> dict[str, torch.Tensor]:
    """Of the names and shapes of the released class."""
    seed, sizes = [0], [3, *CHANNELS]
    found = {
        "genome.affinity": random(types, 8, seed=seed),
        "genome.compatibility": random(types, types, seed=seed),
        "genome.connection_scale": torch.tensor(1.3, dtype=torch.float64),
        "genome.depth_penalty": torch.tensor(0.4, dtype=torch.float64),
        "genome.band_type_base": random(8, types, seed=seed),
        "genome.band_type_grad": random(8, types, seed=seed),
        "fc.weight": random(classes, 64, seed=seed),
        "fc.bias": random(classes, seed=seed),
    }

    def norm(name: str, size: int) -> None:
        for part in NORM:
            found[f"{name}.{part}"] = random(size, seed=seed) + (1.0 if part in ("weight", "running_var") else 0)
        found[f"{name}.num_batches_tracked"] = torch.tensor(3)

    for t in range(1, 7):
        found[f"primary_convs.{t - 1}.weight"] = random(sizes[t], sizes[t - 1], 3, 3, seed=seed) / 4
        norm(f"primary_bns.{t - 1}", sizes[t])
        for s in range(t - 1):
            found[f"skip_convs.{t}_{s}.weight"] = random(sizes[t], sizes[s], 1, 1, seed=seed) / 4
            norm(f"skip_bns.{t}_{s}", sizes[t])
    return found


def softplus(x: torch.Tensor) -> float:
    return math.log1p(math.exp(float(x)))


def logits(tensors: dict[str, torch.Tensor], source: int, target: int, n_source: int, n_target: int) -> torch.Tensor:
    """Pair by pair, from the description."""
    a, c = tensors["genome.affinity"], tensors["genome.compatibility"]
    rule = (a @ a.T / math.sqrt(a.shape[1]) + c) * softplus(tensors["genome.connection_scale"])

    def types(band: int, size: int) -> torch.Tensor:
        base, grad = tensors["genome.band_type_base"][band], tensors["genome.band_type_grad"][band]
        places = [i / (size - 1) if size > 1 else 0.0 for i in range(size)]
        return torch.stack([torch.softmax(3 * (base + place * grad), 0) for place in places])

    bands = len(tensors["genome.band_type_base"])
    penalty = softplus(tensors["genome.depth_penalty"]) * abs(target - source) / bands
    return types(target, n_target) @ rule @ types(source, n_source).T - penalty


def described(
    tensors: dict[str, torch.Tensor], x: torch.Tensor, temperature: float, hard: bool
) -> tuple[torch.Tensor, float, int]:
    """Logits, cost, and how many pairs it counts."""
    sizes = [3, *CHANNELS, len(tensors["fc.weight"])]
    ours: dict[str, torch.Tensor] = {"classifier.bias": tensors["fc.bias"]}
    names = ["input", *(f"band{i}" for i in range(1, 7))]
    total, pairs = 0.0, 0
    for t in range(1, 8):
        for s in range(t):
            found = logits(tensors, s, t, sizes[s], sizes[t])
            total, pairs = total + float(found.sigmoid().sum()), pairs + found.numel()
            mask = (found.sigmoid() > 0.5).double() if hard else (temperature * found).sigmoid()
            if t == 7:
                if s == 6:
                    ours["classifier.weight"] = tensors["fc.weight"] * mask
                continue
            near = s == t - 1
            theirs = (
                (f"primary_convs.{t - 1}", f"primary_bns.{t - 1}")
                if near
                else (f"skip_convs.{t}_{s}", f"skip_bns.{t}_{s}")
            )
            skip = f"{names[t]}_from_{names[s]}"
            conv, norm = (
                (f"convs.{names[t]}", f"norms.{names[t]}") if near else (f"skip_convs.{skip}", f"skip_norms.{skip}")
            )
            ours[f"{conv}.weight"] = tensors[f"{theirs[0]}.weight"] * mask[:, :, None, None]
            ours |= {f"{norm}.{part}": tensors[f"{theirs[1]}.{part}"] for part in NORM}
    return reference(ours, x, STRIDES, training=False), total / pairs, pairs


@pytest.mark.parametrize(("temperature", "hard"), [(1.0, False), (10.0, False), (10.0, True)])
@pytest.mark.parametrize("classes", [10, 100])
def test_a_published_cnn_gives_what_its_description_says(temperature: float, hard: bool, classes: int) -> None:
    tensors = state(classes)
    x = random(3, 3, 16, 16, seed=[99])
    wanted, cost, pairs = described(tensors, x, temperature, hard)
    module = harness_ndna.load_published("cnn", tensors, temperature, hard)
    assert torch.allclose(module(x), wanted, rtol=0, atol=1e-10)
    assert math.isclose(module.metabolic_cost(), cost, rel_tol=1e-12)
    assert pairs == {10: 22_654, 100: 43_084}[classes]  # published, with those that no weight joins
    assert not module.training


def test_what_is_not_published_is_refused() -> None:
    tensors = state(10)
    with pytest.raises(UserError, match=r"unknown kind 'cn'\. Did you mean 'cnn'"):
        harness_ndna.load_published("cn", tensors)
    for name, said in (
        ("fc.weight", "fc.weight"),
        ("primary_bns.2.bias", "primary_bns.2.bias"),
        ("genome.affinity", "affinity"),
    ):
        with pytest.raises(UserError, match=said):
            harness_ndna.load_published("cnn", {n: t for n, t in tensors.items() if n != name})
    with pytest.raises(UserError, match=r"no tensors are fc\.bias"):
        harness_ndna.load_published("cnn", {**tensors, "fc.bias": [0.0]})
    with pytest.raises(UserError, match="it also has more"):
        harness_ndna.load_published("cnn", {**tensors, "more": torch.zeros(1)})
    with pytest.raises(UserError, match="not of a published 'cnn'"):
        harness_ndna.load_published("cnn", {**tensors, "skip_convs.2_0.weight": torch.zeros(16, 4, 1, 1)})


def test_every_pair_of_bands_is_charged_once() -> None:
    first, middle, wide, last = Band("a", 2, 0), Band("b", 3, 1), Band("b.wide", 7, 1), Band("c", 5, 2)
    joined = [
        Connection("1", "w1", "dense", first, wide, (7, 2)),
        Connection("2", "w2", "dense", first, middle, (3, 2)),
        Connection("3", "w3", "dense", middle, last, (5, 3)),
    ]
    assert [(c.target.name, c.source.name, c.shape) for c in every_pair(joined)] == [
        ("b", "a", (3, 2)), ("c", "a", (5, 2)), ("c", "b", (5, 3)),
    ]  # fmt: skip
