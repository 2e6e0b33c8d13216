"""Tiny networks of five families of transformers, from configs and in a folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from harness import DataSpec
from harness_transformers.architecture import Hf
from harness_transformers.network import HfNetwork
from harness_transformers.options import HfOptions

VOCABULARY, CONTEXT, LAYERS, WIDTH, HEADS = 32, 16, 2, 16, 2
DATA = DataSpec("language", (CONTEXT,), VOCABULARY, examples=10, tokens=CONTEXT)
SIZES = {"num_hidden_layers": LAYERS, "hidden_size": WIDTH, "num_attention_heads": HEADS, "intermediate_size": 48}
GPT2 = {"model_type": "gpt2", "n_layer": LAYERS, "n_embd": WIDTH, "n_head": HEADS, "n_positions": CONTEXT}
NEOX = {"model_type": "gpt_neox", **SIZES, "max_position_embeddings": CONTEXT}
LLAMA = {"model_type": "llama", **SIZES, "num_key_value_heads": 1, "max_position_embeddings": CONTEXT}
PHI = {"model_type": "phi", **SIZES, "max_position_embeddings": CONTEXT}
OPT = {"model_type": "opt", **SIZES, "ffn_dim": 48, "word_embed_proj_dim": WIDTH, "max_position_embeddings": CONTEXT}
del OPT["intermediate_size"]
FAMILIES = {"gpt2": GPT2, "gpt_neox": NEOX, "llama": LLAMA, "phi": PHI, "opt": OPT}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def hf(config: dict[str, Any], data: DataSpec = DATA, **options: Any) -> Hf:
    return Hf(HfOptions(config=config, **options), data)


def random_network(config: dict[str, Any], seed: int = 0) -> HfNetwork:
    """In float64 and evaluation mode, with weights and biases far from their initial ones."""
    network = hf(config).build().double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


def in_hub(folder: Path, revision: str) -> None:
    """Put a folder where a download of owner/tiny would be."""
    repository = folder.parent / "hub" / "models--owner--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / revision).write_text(COMMIT)
    shutil.copytree(folder, repository / "snapshots" / COMMIT)
