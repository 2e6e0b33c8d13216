"""The published GPT-2 of Neural DNA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor

from harness import UserError
from harness.interchange.bundle import Bundle, Plug
from harness.interchange.formats import Importer
from harness_architectures.gpt2 import Gpt2, Gpt2Options
from harness_genome import Genome
from harness_genome.published import check_genome
from harness_imports.bundles import GPT2, GPT2_VOCABULARY, bundled
from harness_imports.mapping import language, layers, mapped, multiple, sizes
from harness_imports.reading import part, read_checkpoint

_MASKED = ["attn_out", "ffn_up"]
_LINEAR = {"attn_norm": ("ln1s",), "ffn_norm": ("ln2s",), "ffn.up": ("ff1s",), "ffn.down": ("ff2s",)}
_QKV = ("W_qs", "W_ks", "W_vs")
_LISTS = ("W_os", *_QKV, *(name for names in _LINEAR.values() for name in names))


class NdnaGpt2Options(BaseModel):
    """What ``--option`` may set.

    Attributes:
        masks: ``hard`` keeps the weights where the genome's sigmoid is above a half, as the published evaluation
            does; ``soft`` multiplies by the soft masks, as the published training does; ``none`` leaves the raw
            weights, for a suite that grows the masks itself with the method ``genome``.
        temperature: of the soft masks; None takes the checkpoint's own.
        heads: attention heads per layer; None takes the checkpoint's config, else one per 64 units of width.
    """

    model_config = ConfigDict(extra="forbid")

    masks: Literal["hard", "soft", "none"] = "hard"
    temperature: float | None = Field(default=None, gt=0)
    heads: PositiveInt | None = None


class NdnaGpt2(Importer[NdnaGpt2Options]):
    """Reads a checkpoint with ``model_state`` and ``genome_state`` (or ``model`` and ``genome``).

    Names as in the released code (Sudarshan 2026, class ``GrownGPT2``): ``token_emb``, ``pos_emb``, ``ln_f``, and
    lists ``ln1s``, ``W_qs``, ``W_ks``, ``W_vs``, ``W_os`` (no bias), ``ln2s``, ``ff1s``, ``ff2s`` with one entry a
    layer; the head is tied. The model's state may also hold its ``temperature`` and a second copy of the genome.
    """

    Options = NdnaGpt2Options

    def load(self, source: Path, name: str) -> Bundle:
        """Weights for ``gpt2``, the masks that the genome grows for W_O and FF1, and the genome."""
        checkpoint = read_checkpoint(source)
        state = part(checkpoint, ("model_state", "model"), source)
        inner = {name.removeprefix("genome."): state[name] for name in state if name.startswith("genome.")}
        outer = {"genome_state", "genome"} & checkpoint.keys()
        genome = check_genome(part(checkpoint, sorted(outer), source) if outer else inner, f"genome file {source}")
        if inner and any(not torch.equal(inner.get(name, torch.empty(0)), genome[name]) for name in genome):
            raise UserError(f"{source} holds two genomes that differ: one in the model's state, one beside it")
        config = checkpoint.get("config")
        architecture = self._architecture(state, config if isinstance(config, Mapping) else {})
        n_layers = architecture.options.n_layers
        ignored = {"temperature", *(f"genome.{name}" for name in inner)}
        raw = mapped(state, dict(_sources(n_layers)), architecture, ignored)
        temperature = self.options.temperature or float(state.get("temperature", torch.tensor(1.0)))
        grown = _Grown(genome, n_layers, architecture.options.width, architecture.options.ffn_multiple)
        weights, masks, method, suite = raw, {}, None, {}
        if self.options.masks == "hard":
            masks = {name: torch.sigmoid(z) > 0.5 for name, z in grown.logits()}
            weights = _multiplied(raw, masks)
            method = Plug(plugin="stored_mask")
        elif self.options.masks == "soft":
            weights = _multiplied(raw, {name: torch.sigmoid(z * temperature) for name, z in grown.logits()})
        else:
            shape = {"n_types": len(genome["affinity"]), "type_dim": genome["affinity"].shape[1]}
            annealed = {"temperature_start": temperature, "temperature_end": temperature}
            bands = {"n_bands": len(genome["band_type_base"])}
            method = Plug(plugin="genome", options={"initial": name, "frozen": True, **shape, **bands, **annealed})
            suite = {"scope": _MASKED}
        return bundled(
            architecture,
            "gpt2",
            weights,
            masks=masks,
            suite=suite,
            method=method,
            method_tensors={f"genome.{key}": tensor for key, tensor in genome.items()},
            notes=[
                f"masks: {self.options.masks}" + ("" if masks else f", temperature {temperature:g}"),
            ],
        )

    def _architecture(self, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Gpt2:
        vocabulary, width = sizes(state, "token_emb.weight")
        context = sizes(state, "pos_emb.weight")[0]
        options = Gpt2Options(
            n_layers=layers(state, *(f"{name}." for name in _LISTS)),
            width=width,
            heads=self.options.heads or config.get("n_heads") or max(1, width // 64),
            context=context,
            ffn_multiple=multiple(sizes(state, "ff1s.0.weight")[0], width),
            attn_out_bias=False,
            gelu="exact",
        )
        return Gpt2(options, language(context, vocabulary, GPT2 if vocabulary == GPT2_VOCABULARY else ""))


class _Grown:
    """The logits of the masks of W_O and FF1: layer i, counted from 0, joins bands i and i + 1."""

    def __init__(self, genome: Mapping[str, Tensor], n_layers: int, width: int, multiple: int) -> None:
        n_types, type_dim = genome["affinity"].shape
        n_bands = len(genome["band_type_base"])
        if n_bands < n_layers + 1:
            raise UserError(f"the genome has {n_bands} bands, {n_layers} layers need at least {n_layers + 1}")
        self._genome = Genome(n_types, type_dim, n_bands)
        self._genome.load_state_dict(dict(genome))
        self._sizes = {"attn.out": width, "ffn.up": multiple * width}
        self._layers, self._width = n_layers, width

    @torch.no_grad()
    def logits(self) -> Iterator[tuple[str, Tensor]]:
        """(connection, (out, in)); connections of one role have the same units in every layer."""
        for i in range(self._layers):
            for name, size in self._sizes.items():
                coordinates = self._genome.coordinates([(i + 1, size), (i, self._width)])
                as_target, as_source = self._genome.factors(coordinates)
                yield f"block{i}.{name}", self._genome.logits(as_target[:, :size], as_source[:, size:])


def _sources(n_layers: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "embedding.weight", ("token_emb.weight",)
    yield "positions.weight", ("pos_emb.weight",)
    for leaf in ("weight", "bias"):
        yield f"norm.{leaf}", (f"ln_f.{leaf}",)
    for i in range(n_layers):
        yield f"blocks.{i}.attn.out.weight", (f"W_os.{i}.weight",)
        for leaf in ("weight", "bias"):
            for ours, theirs in {"attn.qkv": _QKV, **_LINEAR}.items():
                yield f"blocks.{i}.{ours}.{leaf}", tuple(f"{name}.{i}.{leaf}" for name in theirs)


def _multiplied(raw: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights times masks; where a hard mask is 0 the weight is exactly 0."""
    whole = dict(raw)
    for name, mask in masks.items():
        block, _, module = name.partition(".")
        parameter = f"blocks.{block.removeprefix('block')}.{module}.weight"
        weight = raw[parameter]
        whole[parameter] = weight.masked_fill(~mask, 0.0) if mask.dtype == torch.bool else weight * mask.to(weight)
    return whole
