"""GPT-2 as transformers saves it."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import Tensor

from harness import UserError
from harness.interchange.bundle import Bundle
from harness.interchange.formats import Importer
from harness_architectures.gpt2 import Gpt2, Gpt2Options, load_hf
from harness_imports.bundles import GPT2, GPT2_VOCABULARY, bundled
from harness_imports.mapping import feed_forward, language, layers, sizes
from harness_imports.reading import part, read_checkpoint, read_config

_FIXED = {
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}
"""Keys of a config that the architecture does not vary -> values that it has."""


class Gpt2HfOptions(BaseModel):
    """What ``--option`` may set.

    Attributes:
        heads: attention heads per layer; None takes the config's, else one per 64 units of width, as in every
            published size.
    """

    model_config = ConfigDict(extra="forbid")

    heads: PositiveInt | None = None


class Gpt2Hf(Importer[Gpt2HfOptions]):
    """Reads a folder of ``save_pretrained`` or a state dict of ``GPT2LMHeadModel`` or ``GPT2Model``.

    Checkpoints of training programs that keep the state under ``model``, and those whose matrices are laid out as
    ``nn.Linear`` has them, are taken as well.
    """

    Options = Gpt2HfOptions

    def load(self, source: Path, name: str) -> Bundle:
        """Weights for the architecture ``gpt2``; sizes are read from the tensors."""
        config = read_config(source) if source.is_dir() else {}
        for key, allowed in _FIXED.items():
            if config.get(key, allowed[0]) not in allowed:
                raise UserError(f"{source}: config.json has {key} {config[key]!r}; gpt2 here has {allowed[0]!r} only")
        state = {
            k.removeprefix("transformer."): v for k, v in part(read_checkpoint(source), ("model",), source).items()
        }
        state = _as_conv1d(state)
        vocabulary, width = sizes(state, "wte.weight")
        context = sizes(state, "wpe.weight")[0]
        heads = self.options.heads or config.get("n_head") or max(1, width // 64)
        ffn_multiple, ffn = feed_forward(sizes(state, "h.0.mlp.c_fc.weight")[1], width)
        options = Gpt2Options(
            n_layers=layers(state, "h."),
            width=width,
            heads=heads,
            context=context,
            ffn_multiple=ffn_multiple,
            ffn=ffn,
        )
        tokenizer = GPT2 if vocabulary == GPT2_VOCABULARY else ""
        architecture = Gpt2(options, language(context, vocabulary, tokenizer))
        with torch.device("meta"):
            network = architecture.build()
        network.to_empty(device="cpu")
        load_hf(network, state)
        notes = []
        if self.options.heads is None and "n_head" not in config:
            notes.append(f"the number of heads, {heads}, is one per 64 units of width; --option heads=N says otherwise")
        return bundled(architecture, "gpt2", network.state_dict(), notes=notes)


def _as_conv1d(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with matrices as transformers lays them out, (in, out): the shape of the fused one tells which it is."""
    fused = state.get("h.0.attn.c_attn.weight")
    if fused is None or fused.dim() != 2 or fused.shape[0] != 3 * fused.shape[1]:
        return state
    ends = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    return {name: value.t().contiguous() if name.endswith(ends) else value for name, value in state.items()}
