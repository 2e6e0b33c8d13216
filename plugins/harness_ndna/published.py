"""Published networks of Neural DNA, from their state dicts, as the harness's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from harness import Architecture, Connection, DataSpec, UserError
from harness.errors import unknown_name
from harness_genome.genome import Genome
from harness_genome.layout import Layout, every_pair, unmaskable
from harness_genome.published import check_genome
from harness_ndna.band_cnn import BandCnn, BandCnnOptions
from harness_ndna.band_transformer import BandTransformer, BandTransformerOptions
from harness_ndna.band_transformer_network import BandTransformerNetwork
from harness_ndna.band_video import BandVideo, BandVideoOptions

GENOME = "genome."


class PublishedNetwork(nn.Module):
    """A network under the masks that its genome grows, as it was published and tested.

    Attributes:
        network: the harness's own, with the effective weights.
        architecture: of it.
    """

    def __init__(self, network: nn.Module, architecture: Architecture[Any], cost: float) -> None:
        super().__init__()
        self.network, self.architecture = network, architecture
        self._cost = cost

    def forward(self, inputs: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """What the network gives; the transformer's ids come with their ``attention_mask``, not 0 where a token is."""
        output: Tensor
        if isinstance(self.network, BandTransformerNetwork):
            real = torch.ones_like(inputs) if attention_mask is None else attention_mask
            output = self.network.logits(inputs, real != 0)
        else:
            output = self.network(inputs)
        return output

    def metabolic_cost(self) -> float:
        """Mean soft mask at temperature 1 over all pairs of units of any two bands, joined or not."""
        return self._cost


def load_published(
    kind: str, state_dict: Mapping[str, Tensor], temperature: float = 1.0, hard: bool = False
) -> PublishedNetwork:
    """The published network of a state dict, in evaluation mode, in the type of its tensors.

    Args:
        kind: ``cnn``, ``transformer`` or ``video``.
        state_dict: of the released class, its genome under ``genome.``; all sizes are read from it, but for the number
            of heads, which is 4.
        temperature: of the soft masks; the published networks are tested at 10.
        hard: masks of zeros and ones, where the soft one exceeds a half, whatever the temperature.

    Raises:
        UserError: for another kind, or a state dict that is not of this one.
    """
    if kind not in _KINDS:
        raise UserError(unknown_name("kind", kind, _KINDS))
    tensors = dict(state_dict)
    if other := [str(name) for name, value in tensors.items() if not isinstance(value, Tensor)]:
        raise UserError(f"the state dict is not of a published '{kind}': no tensors are {', '.join(other[:5])}")
    genome = _genome(tensors, f"{GENOME}depth." if kind == "video" else GENOME)
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(GENOME)}
    architecture, renamed = _KINDS[kind](weights)
    network = architecture.build().to(genome.affinity.dtype)
    try:
        parts = {name: [weights[one] for one in theirs] for name, theirs in renamed.items()}
        shapes = {name: own.shape for name, own in network.state_dict().items()}
        joined = {name: torch.cat(found) if found[1:] else found[0] for name, found in parts.items()}
        network.load_state_dict({name: whole.view(shapes.get(name, whole.shape)) for name, whole in joined.items()})
    except (KeyError, RuntimeError) as error:
        raise UserError(f"the state dict is not of a published '{kind}': {error}") from error
    if unused := sorted(weights.keys() - {one for theirs in renamed.values() for one in theirs}):
        raise UserError(f"the state dict is not of a published '{kind}': it also has {', '.join(unused[:5])}")
    connections = [c for c in architecture.connections() if c.default and c.kind == "weight"]
    if reason := unmaskable(connections, genome.n_bands):
        raise UserError(f"the state dict is not of a published '{kind}': {reason}")
    with torch.no_grad():
        _mask(network, genome, connections, temperature, hard)
        for c in architecture.connections():
            if c.kind == "attention":
                seen = Layout(own := _genome(tensors, f"{GENOME}{c.name}."), [c]).logits(own)[0]
                soft = (seen * temperature).sigmoid().clamp(0.01, 0.99)
                mask = (seen.sigmoid() > 0.5).to(seen.dtype) if hard else soft
                network.get_buffer(c.parameter).copy_(20 * (mask - 0.5))
        charged = Layout(genome, every_pair(connections))
        total = sum(float(torch.sigmoid(block).sum()) for block in charged.logits(genome))
    return PublishedNetwork(network, architecture, total / charged.pairs).eval()


def _genome(tensors: Mapping[str, Tensor], prefix: str) -> Genome:
    genes = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return Genome.of(check_genome(genes, f"the state dict, under '{prefix}',"))


def _mask(
    network: nn.Module, genome: Genome, connections: Sequence[Connection], temperature: float, hard: bool
) -> None:
    layout, parameters = Layout(genome, connections), dict(network.named_parameters())
    logits = layout.logits(genome)
    masks = [torch.sigmoid(block) > 0.5 if hard else torch.sigmoid(block * temperature) for block in logits]
    by_name = {c.name: c for c in connections}
    for name, mask in layout.parts(masks):
        region = by_name[name].region(parameters[by_name[name].parameter])
        region.mul_(mask.reshape(*mask.shape, *(1,) * (region.ndim - 2)))


Found = tuple[Architecture[Any], dict[str, tuple[str, ...]]]
"""An architecture, and the names of its state dict beside the published ones, joined where they are several."""


def _cnn(weights: Mapping[str, Tensor]) -> Found:
    convs = [name for name in weights if name.startswith("primary_convs.")]
    try:
        shapes = [tuple(weights[f"primary_convs.{i}.weight"].shape) for i in range(len(convs))]
        first, classes = shapes[0][1], len(weights["fc.weight"])
    except (KeyError, IndexError) as error:
        raise UserError(f"the state dict is not of a published 'cnn': it lacks {error}") from error
    channels = [shape[0] for shape in shapes]
    strides = [2 if band in (3, 5) else 1 for band in range(1, len(channels) + 1)]
    data = DataSpec("classification", (first, 32, 32), classes, 1)
    architecture = BandCnn(BandCnnOptions(channels=channels, strides=strides), data)
    names = ["input", *(f"band{i}" for i in range(1, len(channels) + 1))]
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    renamed = {f"classifier.{part}": f"fc.{part}" for part in ("weight", "bias")}
    for target in range(1, len(names)):
        renamed[f"convs.{names[target]}.weight"] = f"primary_convs.{target - 1}.weight"
        renamed |= {f"norms.{names[target]}.{part}": f"primary_bns.{target - 1}.{part}" for part in norm}
        for source in range(target - 1):
            ours, theirs = f"{names[target]}_from_{names[source]}", f"{target}_{source}"
            renamed[f"skip_convs.{ours}.weight"] = f"skip_convs.{theirs}.weight"
            renamed |= {f"skip_norms.{ours}.{part}": f"skip_bns.{theirs}.{part}" for part in norm}
    return architecture, {name: (theirs,) for name, theirs in renamed.items()}


def _transformer(weights: Mapping[str, Tensor]) -> Found:
    layers = sum(re.fullmatch(r"W_os\.\d+\.weight", name) is not None for name in weights)
    try:
        vocabulary, hidden = weights["token_emb.weight"].shape
        length, classes = len(weights["pos_emb.weight"]), len(weights["classifier.weight"])
        ffn = len(weights["ff1s.0.weight"])
    except (KeyError, ValueError) as error:
        raise UserError(f"the state dict is not of a published 'transformer': it lacks {error}") from error
    data = DataSpec("text_classification", (length,), classes, 1, vocabulary=vocabulary)
    architecture = BandTransformer(BandTransformerOptions(hidden=hidden, layers=layers, ffn=ffn), data)
    renamed: dict[str, tuple[str, ...]] = {
        "tokens.weight": ("token_emb.weight",),
        "positions.weight": ("pos_emb.weight",),
        "classifier.weight": ("classifier.weight",),
        "classifier.bias": ("classifier.bias",),
    }
    names = ["embedding", *(f"layer{i}" for i in range(1, layers + 1))]
    own = {"attn_norm": "ln1s", "ffn_norm": "ln2s", "up": "ff1s", "down": "ff2s"}
    for i in range(layers):
        renamed[f"blocks.{i}.out.weight"] = (f"W_os.{i}.weight",)
        for part in ("weight", "bias"):
            renamed[f"blocks.{i}.qkv.{part}"] = tuple(f"W_{one}s.{i}.{part}" for one in "qkv")
            renamed |= {f"blocks.{i}.{ours}.{part}": (f"{theirs}.{i}.{part}",) for ours, theirs in own.items()}
        for source in range(i):
            renamed[f"skips.{names[i + 1]}_from_{names[source]}.weight"] = (f"skip_projs.{i + 1}_{source}.weight",)
    return architecture, renamed


def _video(weights: Mapping[str, Tensor]) -> Found:
    layers = sum(re.fullmatch(r"s_Wo\.\d+\.weight", name) is not None for name in weights)
    try:
        hidden, pixels = weights["patch_embed.proj.weight"].shape
        frames, places = weights["temporal_pos"].shape[1], weights["spatial_pos"].shape[2]
        ffn = len(weights["ff1s.0.weight"])
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(f"the state dict is not of a published 'video': it lacks {error}") from error
    patch, rows = isqrt(pixels), isqrt(places)
    data = DataSpec("video", (frames, rows * patch, rows * patch), (rows * patch) ** 2, 1)
    architecture = BandVideo(BandVideoOptions(hidden=hidden, layers=layers, ffn=ffn, patch=patch), data)
    renamed: dict[str, tuple[str, ...]] = {"frames": ("temporal_pos",), "places": ("spatial_pos",)}
    names = ["embedding", *(f"layer{i}" for i in range(1, layers + 1))]
    for part in ("weight", "bias"):
        ends = {"embedding": "patch_embed.proj", "norm": "ln_final", "head": "pred_head"}
        renamed |= {f"{ours}.{part}": (f"{theirs}.{part}",) for ours, theirs in ends.items()}
        for i in range(layers):
            block, own = f"blocks.{i}", {"norm": "ln_f", "up": "ff1s", "down": "ff2s"}
            for kind in ("spatial", "temporal"):
                own[f"{kind}.norm"] = f"ln_{kind[0]}"
                renamed[f"{block}.{kind}.qkv.{part}"] = tuple(f"{kind[0]}_W{one}.{i}.{part}" for one in "qkv")
                renamed[f"{block}.{kind}.out.weight"] = (f"{kind[0]}_Wo.{i}.weight",)
            renamed |= {f"{block}.{ours}.{part}": (f"{theirs}.{i}.{part}",) for ours, theirs in own.items()}
    for target in range(2, layers + 1):
        for source in range(target - 1):
            theirs = f"skip_projs.{target}_{source}.weight"
            renamed[f"skips.{names[target]}_from_{names[source]}.weight"] = (theirs,)
    return architecture, renamed


_KINDS: dict[str, Callable[[Mapping[str, Tensor]], Found]] = {"cnn": _cnn, "transformer": _transformer, "video": _video}
