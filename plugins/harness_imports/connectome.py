"""The published model connectomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import Tensor

from harness import UserError
from harness.interchange.bundle import Bundle, Plug
from harness.interchange.formats import Importer
from harness_architectures.gpt_rope import GptRope, GptRopeOptions
from harness_imports.bundles import GPT2, GPT2_VOCABULARY, bundled, nonzero_masks
from harness_imports.mapping import feed_forward, language, layers, mapped, sizes
from harness_imports.reading import part, read_checkpoint, read_config

_STATES = ("model_state_dict", "weights", "model")
_QKV = ("c_q", "c_k", "c_v")


class ConnectomeImporterOptions(BaseModel):
    """What ``--option`` may set.

    Attributes:
        heads: attention heads per layer; None takes the config's, else one per 64 units of width.
        context: the longest input; None takes the config's, else 1,024. It has no parameters.
        vocabulary: number of tokens; the rows beyond it are padding. None is GPT-2's 50,257 where there are as
            many rows as that padded to a multiple of 64, else all rows.
        masks: ``apply`` sets to zero what the mask beside the weights removes: checkpoints of a generation are
            saved before that happens. ``ignore`` leaves the weights as they were saved.
    """

    model_config = ConfigDict(extra="forbid")

    heads: PositiveInt | None = None
    context: PositiveInt | None = None
    vocabulary: PositiveInt | None = None
    masks: Literal["apply", "ignore"] = "apply"


class ConnectomeImporter(Importer[ConnectomeImporterOptions]):
    """Reads a folder of the released models, or a checkpoint of the released training code.

    Names as in the released code (Kotar and Tuckute 2025): ``transformer.wte.weight``, ``lm_head.weight``, and per
    layer ``transformer.h.<i>.``: ``attn.c_attn.weight`` (or ``c_q``, ``c_k``, ``c_v``), ``attn.c_proj.weight``,
    ``mlp.c_fc.weight``, ``mlp.c_proj.weight``; the rotary frequencies are checked and left out. Checkpoints hold
    them under ``model_state_dict`` or ``weights``, those of a generation with a ``mask`` beside.
    """

    Options = ConnectomeImporterOptions

    def load(self, source: Path, name: str) -> Bundle:
        """Weights for ``gpt_rope``, and masks where weights are exactly zero, embedding and head included."""
        config = read_config(source) if source.is_dir() else {}
        checkpoint = read_checkpoint(source)
        state = part(checkpoint, _STATES, source)
        if self.options.masks == "apply" and isinstance(checkpoint.get("mask"), Mapping):
            state = _masked(state, part(checkpoint, ("mask",), source))
        architecture = self._architecture(state, config)
        n_layers, size = architecture.options.n_layers, architecture.options.width // architecture.options.heads
        frequencies = {name: tensor for name, tensor in state.items() if name.endswith(".attn.rotary.inv_freq")}
        expected = 10_000.0 ** (-torch.arange(0, size, 2).double() / size)
        for name, tensor in frequencies.items():
            if tensor.shape != expected.shape or not torch.allclose(tensor.double(), expected, rtol=1e-2):
                raise UserError(f"{source}: {name} is not that of base 10,000 and {size} units; check --option heads")
        fused = "transformer.h.0.attn.c_attn.weight" in state
        weights = mapped(state, dict(_sources(n_layers, fused)), architecture, frequencies.keys())
        masks = nonzero_masks(architecture, weights)
        method = Plug(plugin="stored_mask") if masks else None
        notes = ["rows that pad the vocabulary take no part in the softmax here, as they do in the published loss"]
        return bundled(architecture, "gpt_rope", weights, masks=masks, method=method, notes=notes)

    def _architecture(self, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> GptRope:
        rows, width = sizes(state, "transformer.wte.weight")
        padded = rows == -(-GPT2_VOCABULARY // 64) * 64
        vocabulary = self.options.vocabulary or (GPT2_VOCABULARY if padded else rows)
        if vocabulary > rows:
            raise UserError(f"vocabulary {vocabulary} is more than the checkpoint's {rows} rows")
        context = self.options.context or config.get("block_size") or 1024
        ffn_multiple, ffn = feed_forward(sizes(state, "transformer.h.0.mlp.c_fc.weight")[0], width)
        options = GptRopeOptions(
            n_layers=layers(state, "transformer.h."),
            width=width,
            heads=self.options.heads or config.get("n_head") or max(1, width // 64),
            context=context,
            ffn_multiple=ffn_multiple,
            ffn=ffn,
            vocabulary_padding=_padding(vocabulary, rows),
        )
        return GptRope(options, language(context, vocabulary, GPT2 if vocabulary == GPT2_VOCABULARY else ""))


def _padding(vocabulary: int, rows: int) -> int:
    """What the vocabulary is rounded up to a multiple of, 64 where that fits."""
    for padding in (1, 64, rows):
        if -(-vocabulary // padding) * padding == rows:
            return padding
    raise UserError(f"vocabulary {vocabulary} cannot be padded to {rows} rows: give --option vocabulary=N")


def _sources(n_layers: int, fused: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "embedding.weight", ("transformer.wte.weight",)
    yield "head.weight", ("lm_head.weight",)
    for i in range(n_layers):
        theirs, ours = f"transformer.h.{i}.", f"blocks.{i}."
        qkv = ("c_attn",) if fused else _QKV
        yield f"{ours}attn.qkv.weight", tuple(f"{theirs}attn.{name}.weight" for name in qkv)
        yield f"{ours}attn.out.weight", (f"{theirs}attn.c_proj.weight",)
        yield f"{ours}ffn.up.weight", (f"{theirs}mlp.c_fc.weight",)
        yield f"{ours}ffn.down.weight", (f"{theirs}mlp.c_proj.weight",)


def _masked(state: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if unknown := sorted(masks.keys() - state.keys()):
        raise UserError(f"the checkpoint has masks for what it has no weights of: {', '.join(unknown[:5])}")
    wrong = [name for name, mask in masks.items() if mask.shape != state[name].shape]
    if wrong:
        raise UserError(f"the checkpoint's masks are of another shape than its weights: {', '.join(sorted(wrong)[:5])}")
    return {**state, **{name: state[name].masked_fill(mask == 0, 0.0) for name, mask in masks.items()}}
