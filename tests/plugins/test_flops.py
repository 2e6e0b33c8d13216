"""What each weight of the built-in architectures costs: twice the number of positions or passes that it serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from harness import Architecture, DataSpec
from harness.results.flops import forward_flops
from harness_architectures.gpt2 import Gpt2, Gpt2Options
from harness_architectures.gpt_rope import GptRope, GptRopeOptions
from harness_architectures.mlp import Mlp, MlpOptions
from harness_architectures.skip_mlp import SkipMlp, SkipMlpOptions
from harness_biogpt.architecture import Biogpt, BiogptOptions

CONTEXT, WIDTH, LAYERS, VOCABULARY = 16, 48, 4, 64
IMAGES = DataSpec("classification", (1, 8, 8), 10, 100)
TEXT = DataSpec("language", (CONTEXT,), VOCABULARY, examples=10, tokens=CONTEXT)
SIZES = {"n_layers": LAYERS, "width": WIDTH}
EACH = 2 * CONTEXT


def hf(**config: Any) -> Architecture[Any]:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from harness_transformers.architecture import Hf
    from harness_transformers.options import HfOptions

    sizes = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
    return Hf(HfOptions(config=sizes | {"max_position_embeddings": CONTEXT} | config), TEXT)


# name -> architecture, operations of each weight, of those of other roles, attentions
CASES: dict[str, tuple[Callable[[], Architecture[Any]], int, dict[str, int], int]] = {
    "mlp": (lambda: Mlp(MlpOptions(), IMAGES), 2, {}, 0),
    "skip_mlp": (lambda: SkipMlp(SkipMlpOptions(), IMAGES), 2, {}, 0),
    "gpt2": (lambda: Gpt2(Gpt2Options(heads=2, **SIZES), TEXT), EACH, {}, LAYERS),
    "gpt_rope": (lambda: GptRope(GptRopeOptions(heads=2, **SIZES), TEXT), EACH, {"embedding": 0}, LAYERS),
    "biogpt": (
        lambda: Biogpt(BiogptOptions(**SIZES), TEXT),
        EACH,
        {"embedding": 0, "feedback": 0, "conv": EACH + 8},  # four positions of the convolution are cut off
        10,  # neurons
    ),
    "biogpt, two passes": (
        lambda: Biogpt(BiogptOptions(n_passes=2, **SIZES), TEXT),
        2 * EACH,
        {"embedding": 0, "feedback": EACH, "conv": 2 * (EACH + 8), "head": EACH},
        2 * 10,
    ),
    "hf, tied": (lambda: hf(model_type="gpt2"), EACH, {}, LAYERS),
    "hf, untied": (lambda: hf(model_type="llama", intermediate_size=64), EACH, {"embedding": 0}, LAYERS),
}


@pytest.mark.parametrize("name", CASES)
def test_masks_save_what_their_weights_cost(name: str) -> None:
    make, each, other, attentions = CASES[name]
    architecture = make()
    connections = architecture.connections()
    cost = {c.name: c.size * other.get(c.role, each) for c in connections}
    found = forward_flops(architecture, architecture.data)
    assert found.total == sum(cost.values()) + attentions * 2 * 2 * CONTEXT * CONTEXT * WIDTH
    generator = torch.Generator().manual_seed(0)
    for density in (1.0, 0.5, 0.02, 0.0, None):
        drawn = torch.rand(len(connections), generator=generator).tolist()
        densities = {c.name: d if density is None else density for c, d in zip(connections, drawn, strict=True)}
        saved = sum(cost[name] * (1 - d) for name, d in densities.items())
        assert found.sparse(connections, densities) == pytest.approx(found.total - saved, rel=1e-12)
