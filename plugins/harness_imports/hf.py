"""Language networks in the layout of ``save_pretrained``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness import Architecture
from harness.interchange.bundle import MASKS, WEIGHTS, save_tensors
from harness.interchange.formats import Exporter
from harness_architectures.gpt2 import Gpt2
from harness_architectures.gpt2_checkpoint import BLOCK, TOP
from harness_imports.bundles import GPT2_VOCABULARY


class HfExporter(Exporter):
    """What ``from_pretrained`` reads: config.json and model.safetensors, masks.safetensors beside.

    An architecture that is a transformers model writes itself (``save_pretrained``). Of ``gpt2`` linear weights are
    (in, out); the head is tied and not written; biases that the network lacks are zero; rows that pad the vocabulary
    are left out. Masks have the names and the layout of the parameters they belong to.
    """

    def unsupported(self, architecture: Architecture[Any]) -> str | None:
        """Anything but gpt2 and transformers' own."""
        if isinstance(architecture, Gpt2) or hasattr(architecture, "save_pretrained"):
            return None
        return f"writes GPT-2 and models of transformers, and {type(architecture).__name__} is another network"

    def write(
        self,
        folder: Path,
        architecture: Architecture[Any],
        weights: Mapping[str, Tensor],
        keep: Mapping[str, Tensor],
    ) -> None:
        """Write the two files, and the masks where there are any."""
        if hasattr(architecture, "save_pretrained"):
            architecture.save_pretrained(folder, weights, keep)
            return
        options, vocabulary = architecture.options, architecture.data.outputs
        whole = dict(_theirs(weights, vocabulary))
        for i in range(options.n_layers):
            for name, size in (("attn.c_attn", 3 * options.width), ("attn.c_proj", options.width)):
                whole.setdefault(f"transformer.h.{i}.{name}.bias", torch.zeros(size))
        save_tensors(folder / WEIGHTS, whole)
        if keep:
            save_tensors(folder / MASKS, dict(_theirs(keep, vocabulary)))
        end = vocabulary - 1 if vocabulary == GPT2_VOCABULARY else None
        config = {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "vocab_size": vocabulary,
            "n_positions": architecture.context,
            "n_embd": options.width,
            "n_layer": options.n_layers,
            "n_head": options.heads,
            "n_inner": options.ffn or options.ffn_multiple * options.width,
            "activation_function": "gelu" if options.gelu == "exact" else "gelu_new",
            "layer_norm_epsilon": 1e-5,
            "embd_pdrop": options.dropout,
            "attn_pdrop": options.dropout,
            "resid_pdrop": options.dropout,
            "tie_word_embeddings": True,
            "torch_dtype": "float32",
            "bos_token_id": end,
            "eos_token_id": end,
        }
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf8")


def _theirs(tensors: Mapping[str, Tensor], vocabulary: int) -> Iterator[tuple[str, Tensor]]:
    """Published names; linear weights transposed, the embedding cut to the vocabulary."""
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        if module in TOP:
            yield f"transformer.{TOP[module]}.{leaf}", tensor[:vocabulary] if module == "embedding" else tensor
        else:
            _, index, inner = module.split(".", 2)
            yield f"transformer.h.{index}.{BLOCK[inner]}.{leaf}", tensor.t() if tensor.dim() == 2 else tensor
