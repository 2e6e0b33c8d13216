"""Any causal language model of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness import Architecture, Connection, UnitGroup
from harness.interchange.bundle import MASKS, save_tensors
from harness_transformers.connections import connections_of
from harness_transformers.hub import digest, located
from harness_transformers.loading import config_from, loaded_model, new_model
from harness_transformers.network import HfNetwork
from harness_transformers.options import HfOptions
from harness_transformers.quiet import asked
from harness_transformers.units import units_of

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
BEYOND_LINEAR = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
"""Config entries by which some families change what the head gives; 1 and None do nothing."""


class Hf(Architecture[HfOptions]):
    """A causal language model of transformers, from the hub's cache, a folder, or a config.

    Nothing is downloaded while a suite is planned or run: ``harness_transformers.hub.fetch`` or ``hf download``
    does that. Weights are read from safetensors only, and no code of the model's.
    """

    Options = HfOptions
    kinds = ("language",)

    @classmethod
    def content(cls, options: HfOptions) -> str | None:
        """The hub's commit, or SHA-256 of a folder's config and weights; None for a config in the suite."""
        if options.model is None:
            return None
        return digest(located(options.model, options.revision, options.pretrained), options.pretrained)

    @property
    def context(self) -> int:
        """Positions that a pretrained model was trained with; the data's for a new one, and where it has no limit."""
        pretrained = self.options.pretrained and self.options.model is not None
        return (pretrained and self._positions) or self.data.inputs[0]

    def unsupported(self) -> str | None:
        """Also refuses a vocabulary or context smaller than the data's, and a head that is not just linear."""
        if reason := super().unsupported():
            return reason
        for name in BEYOND_LINEAR:
            if getattr(self._config, name, None) not in (None, 1.0):
                return f"has {name} in its config: evaluations take the head for a linear layer"
        rows, length = self._config.vocab_size, self.data.inputs[0]
        if rows < self.data.outputs:
            return (
                f"has a vocabulary of {rows}, smaller than the data's {self.data.outputs} tokens "
                f"({self.data.tokenizer or 'no tokenizer'}): use the tokenizer that belongs to the model"
            )
        own = self._own_tokens
        if own and self.data.tokenizer == "bytes" and rows != self.data.outputs:
            return (
                f"has a vocabulary of {rows} tokens of its own ({own}), and the data's are bytes, which it has never "
                f"seen: give a benchmark that takes it, as `text` and `corpus`, `tokenizer: {own}`"
            )
        if self._positions and self._positions < length:
            return f"has a context of {self._positions}, shorter than the data's {length} tokens"
        return None

    def build(self) -> HfNetwork:
        """The pretrained network, or a new one from torch's current random state.

        On torch's meta device it has no weights, whether pretrained or not.

        Raises:
            DataMissing: if the model is not on this machine.
            UserError: if weights and config do not fit.
            CorruptFile: if the weights cannot be read.
            Unsupported: if it is no causal language model with a linear head.
        """
        folder, dtype = self._folder, DTYPES[self.options.dtype]
        planning = torch.empty(0).is_meta  # torch 2.6 does not count `with torch.device` as a default device
        if planning or folder is None or not self.options.pretrained:
            model = new_model(self._config, dtype)
        else:
            model = loaded_model(folder, self._config, dtype)
        network = HfNetwork(model.train(), self.data.outputs, self.context)
        if not planning:
            network.require_agreement()
        return network

    def connections(self) -> Sequence[Connection]:
        """See :func:`harness_transformers.connections.connections_of`; reads the config only."""
        return self._found[0]

    def units(self) -> Sequence[UnitGroup]:
        """See :func:`harness_transformers.units.units_of`; reads the config only."""
        return self._found[1]

    def cut(self, module: nn.Module, kept: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> None:
        """Layers of GPT-2 note their sizes, attention of OPT and others its number of heads."""
        part: Any
        for part in module.modules():
            if hasattr(part, "nf"):
                part.nx, part.nf = part.weight.shape
            if hasattr(part, "split_size"):
                part.split_size = part.c_attn.weight.shape[1] // 3
            if hasattr(part, "num_heads") and hasattr(part, "head_dim") and hasattr(part, "q_proj"):
                part.num_heads = len(part.q_proj.weight) // part.head_dim

    def save_pretrained(self, folder: Path, weights: Mapping[str, Tensor], keep: Mapping[str, Tensor]) -> None:
        """Write config.json and weights as transformers does, and masks beside them, under transformers' own names.

        Args:
            folder: that is there.
            weights: under the names of the network's own ``state_dict``, tied ones once.
            keep: parameter -> bool tensor of its shape, for those that are masked.
        """
        model = new_model(self._config, DTYPES[self.options.dtype])
        model.load_state_dict(_theirs(weights), strict=False)  # tied ones are there once
        model.tie_weights()
        with asked("to save this model"):
            model.save_pretrained(folder, safe_serialization=True)
        if keep:
            save_tensors(folder / MASKS, _theirs(keep))

    @cached_property
    def _found(self) -> tuple[list[Connection], list[UnitGroup]]:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            network = self.build()
        connections = connections_of(network)
        return connections, units_of(network, connections)

    @property
    def _own_tokens(self) -> Path | None:
        """The file that says what a pretrained model's tokens are, where it lies beside the weights."""
        if self._folder is None or not self.options.pretrained:
            return None
        files = (self._folder / name for name in ("tokenizer.json", "vocab.json", "tokenizer.model"))
        return next((file for file in files if file.is_file()), None)

    @cached_property
    def _folder(self) -> Path | None:
        options = self.options
        return None if options.model is None else located(options.model, options.revision, options.pretrained)

    @cached_property
    def _config(self) -> Any:
        """The whole config, overrides applied."""
        given = self.options.config
        return config_from(self._folder, given if self._folder else {"vocab_size": self.data.outputs, **given})

    @property
    def _positions(self) -> int | None:
        """The longest input that the config allows, or None if it sets no limit."""
        names = ("max_position_embeddings", "max_seq_len")
        return next((int(value) for name in names if (value := getattr(self._config, name, None))), None)


def _theirs(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
