"""What the importers of this package bring, and the suites that evaluate it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from harness import Architecture
from harness.interchange.bundle import Bundle, Data, Plug

GPT2 = "tiktoken:gpt2"
NEOX = "tokenizers:56ac4821e129d2c5"
"""Identities of tokenizers, as language benchmarks have them; of GPT-NeoX-20B's by the content of its JSON file."""
GPT2_VOCABULARY, NEOX_VOCABULARY = 50_257, 50_277
_NAMES = {GPT2: "gpt2", NEOX: "20B_tokenizer.json"}


def bundled(
    architecture: Architecture[Any],
    plugin: str,
    weights: Mapping[str, Tensor],
    masks: Mapping[str, Tensor] | None = None,
    suite: Mapping[str, Any] | None = None,
    **rest: Any,
) -> Bundle:
    """A bundle of a network, with all its options resolved, and a suite of language evaluations.

    Where there are masks, the suite holds them and its densities are those of the roles that they mask.
    """
    data, masks = architecture.data, masks or {}
    context = data.inputs[0]
    coder = {"tokenizer": _NAMES.get(data.tokenizer, "gpt2")}
    benchmarks = {
        "no_training": {**coder, "context": context},
        "wikitext_103": {**coder, "window": context, "stride": max(1, context // 2)},
        "lambada": {**coder},
        "hellaswag": {**coder},
    }
    roles = list(dict.fromkeys(c.role for c in architecture.connections() if c.name in masks))
    return Bundle(
        architecture=Plug(plugin=plugin, options=architecture.options.model_dump(mode="json")),
        data=Data.of(data),
        weights=weights,
        masks=masks,
        suite={
            **({"scope": roles} if roles else {}),
            "benchmarks": benchmarks,
            "train_on": "no_training",
            **(suite or {}),
        },
        **rest,
    )


def nonzero_masks(architecture: Architecture[Any], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks of the connections that have weights of exactly zero."""
    masks = {c.name: c.region(weights[c.parameter]) != 0 for c in architecture.connections()}
    return {name: mask.contiguous() for name, mask in masks.items() if not mask.all()}
