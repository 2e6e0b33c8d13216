"""Loading the published BioGPT checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

import torch
from torch import Tensor

from harness import UserError
from harness_biogpt.dendrites import EXPANSION
from harness_biogpt.layout import Layout, Pairs
from harness_biogpt.network import BiogptNetwork
from harness_biogpt.shape import Shape
from harness_biogpt.temporal import TAPS

_TOP = {
    "embedding.weight": "token_emb.weight",
    "positions.weight": "pos_emb.weight",
    "norm.weight": "ln_f.weight",
    "norm.bias": "ln_f.bias",
    "head.weight": "lm_head.weight",
}
_COLUMN = {"norm.weight": "ln.weight", "norm.bias": "ln.bias", "neuron_weights": "neuron_weights"}
_DENDRITES = {
    "nmda_decay": "nmda_decay",
    "conv_weight": "temporal_conv.weight",
    "conv_bias": "temporal_conv.bias",
    "up.weight": "ff_up.weight",
    "up.bias": "ff_up.bias",
    "down.weight": "ff_down.weight",
    "down.bias": "ff_down.bias",
    "norm_weight": "branch_norm.weight",
    "norm_bias": "branch_norm.bias",
}
_SOMA = {
    "projection.weight": "soma_proj.weight",
    "norm.weight": "ln_soma.weight",
    "norm.bias": "ln_soma.bias",
    "up.weight": "soma_ffn.0.weight",
    "up.bias": "soma_ffn.0.bias",
    "down.weight": "soma_ffn.3.weight",
    "down.bias": "soma_ffn.3.bias",
}
_FEEDBACK = {
    "projection.weight": "proj.weight",
    "gate.weight": "gate.0.weight",
    "gate.bias": "gate.0.bias",
    "norm.weight": "ln.weight",
    "norm.bias": "ln.bias",
}


def load_published(state_dict: Mapping[str, Tensor], n_passes: int = 1) -> BiogptNetwork:
    """A network with the published weights: ``network(ids)`` are the published model's logits.

    Names and shapes, with V tokens, C positions, width D, b branches of d = D / b units, H soma units:
    ``token_emb.weight`` (V, D), ``pos_emb.weight`` (C, D), ``ln_f.weight|bias`` (D), ``lm_head.weight``
    (V, D), ``pass_weights`` (n_passes) if there are several; per layer ``layers.<i>.``: ``ln.weight|bias``
    (D), ``neuron_weights`` (neurons), ``neuron_projs.<j>.weight`` (D, D); per neuron
    ``layers.<i>.neurons.<j>.``: ``qkv.weight`` (3D, D), ``nmda_decay`` (1, b, 1, d),
    ``temporal_conv.weight`` (D, d, 5), ``ff_up.weight`` (2D, d, 1), ``ff_down.weight`` (D, 2d, 1), each
    with a ``bias``, ``branch_norm.weight|bias`` (D), ``soma_proj.weight`` (D, D), ``ln_soma.weight|bias``
    (D), ``soma_ffn.0.weight`` (H, D), ``soma_ffn.3.weight`` (D, H), each with a ``bias``; per feedback
    ``feedback_connections.fb_<late>_to_<early>.``: ``proj.weight`` (D, D), ``gate.0.weight`` (D, 2D),
    ``gate.0.bias`` (D), ``ln.weight|bias`` (D). All sizes are read from these shapes.

    Args:
        state_dict: the checkpoint's ``model_state_dict``; it is copied, types and devices are kept.
        n_passes: as the model was trained, 1 or 2; the published code never runs a third pass.

    Raises:
        UserError: for names that are missing or unexpected, tensors of another shape, other ``n_passes``.
    """
    if "model_state_dict" in state_dict:
        raise UserError("this is a whole checkpoint: give load_published(checkpoint['model_state_dict'])")
    if n_passes not in (1, 2):
        raise UserError(f"n_passes {n_passes}: the published formulation has 1 pass or 2; give n_passes=1 or 2")
    shape = _infer(state_dict, n_passes)
    expected = dict(_published_shapes(shape))
    _refuse("is missing", expected.keys() - state_dict.keys(), n_passes)
    _refuse("has unexpected", state_dict.keys() - expected.keys(), n_passes)
    for name, size in expected.items():
        given = tuple(state_dict[name].shape)
        if given != size:
            raise UserError(f"BioGPT state dict: '{name}' has shape {given}, the other tensors ask for {size}")
    with torch.device("meta"):
        network = BiogptNetwork(shape)
    network.load_state_dict(dict(_translated(state_dict, network)), assign=True)
    return network


def _infer(state: Mapping[str, Tensor], n_passes: int) -> Shape:
    """Sizes as the tensors' shapes and names tell them; contradictions are found afterwards."""
    vocabulary, width = _size(state, "token_emb.weight", 2)
    layout: Layout = ()
    while any(name.startswith(f"layers.{len(layout)}.") for name in state):
        prefix = f"layers.{len(layout)}.neurons"
        branches: list[int] = []
        while not branches or any(name.startswith(f"{prefix}.{len(branches)}.") for name in state):
            name = f"{prefix}.{len(branches)}.nmda_decay"
            branches.append(_size(state, name, 4)[1])
            if branches[-1] < 1 or width % branches[-1]:
                raise UserError(f"BioGPT state dict: '{name}' has {branches[-1]} branches, which do not divide {width}")
        layout = (*layout, tuple(branches))
    found = (re.match(r"feedback_connections\.fb_(\d+)_to_(\d+)\.", name) for name in state)
    pairs: Pairs = tuple(sorted({(int(match[1]), int(match[2])) for match in found if match}))
    return Shape(
        vocabulary=vocabulary,
        context=_size(state, "pos_emb.weight", 2)[0],
        width=width,
        layout=layout,
        pairs=tuple(pair for pair in pairs if max(pair) < len(layout)),
        soma_units=_size(state, "layers.0.neurons.0.soma_ffn.0.weight", 2)[0],
        n_passes=n_passes,
    )


def _size(state: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    if name not in state:
        raise UserError(f"BioGPT state dict is missing '{name}'; is this the whole model_state_dict?")
    if state[name].dim() != dimensions:
        raise UserError(
            f"BioGPT state dict: '{name}' has shape {tuple(state[name].shape)}, must have {dimensions} dimensions"
        )
    return tuple(state[name].shape)


def _published_shapes(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every published name of a network of this shape, and its tensor's shape."""
    width, hidden = shape.width, shape.soma_units

    def named(prefix: str, names: Iterable[str], **sizes: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Vectors of the width, unless ``sizes`` says otherwise ("_" for ".")."""
        return ((prefix + name, sizes.get(name.replace(".", "_"), (width,))) for name in names)

    tokens = (shape.vocabulary, width)
    yield from named(
        "", _TOP.values(), token_emb_weight=tokens, lm_head_weight=tokens, pos_emb_weight=(shape.context, width)
    )
    if shape.n_passes > 1:
        yield "pass_weights", (shape.n_passes,)
    for i, layer in enumerate(shape.layout):
        yield from named(f"layers.{i}.", _COLUMN.values(), neuron_weights=(len(layer),))
        for j, branches in enumerate(layer):
            units = width // branches
            yield f"layers.{i}.neuron_projs.{j}.weight", (width, width)
            yield from named(
                f"layers.{i}.neurons.{j}.",
                ("qkv.weight", *_DENDRITES.values(), *_SOMA.values()),
                qkv_weight=(3 * width, width),
                nmda_decay=(1, branches, 1, units),
                temporal_conv_weight=(width, units, TAPS),
                ff_up_weight=(EXPANSION * width, units, 1),
                ff_up_bias=(EXPANSION * width,),
                ff_down_weight=(width, EXPANSION * units, 1),
                soma_proj_weight=(width, width),
                soma_ffn_0_weight=(hidden, width),
                soma_ffn_0_bias=(hidden,),
                soma_ffn_3_weight=(width, hidden),
            )
    for late, early in shape.pairs:
        yield from named(
            f"feedback_connections.fb_{late}_to_{early}.",
            _FEEDBACK.values(),
            proj_weight=(width, width),
            gate_0_weight=(width, 2 * width),
        )


def _translated(state: Mapping[str, Tensor], network: BiogptNetwork) -> Iterator[tuple[str, Tensor]]:
    """Our names and tensors: dendrites of neighbours stacked, each tensor a copy."""
    shape = network.shape

    def copied(here: str, there: str, names: Mapping[str, str]) -> Iterator[tuple[str, Tensor]]:
        return ((here + ours, state[there + theirs].clone()) for ours, theirs in names.items())

    yield from copied("", "", _TOP)
    if shape.n_passes > 1:
        yield "pass_weights", state["pass_weights"].clone()
    for late, early in shape.pairs:
        yield from copied(f"feedback.{late}_to_{early}.", f"feedback_connections.fb_{late}_to_{early}.", _FEEDBACK)
    for i, layer in enumerate(shape.layout):
        here, there = f"columns.{i}.", f"layers.{i}."
        yield from copied(here, there, _COLUMN)
        projections = [state[f"{there}neuron_projs.{j}.weight"] for j in range(len(layer))]
        yield f"{here}projection", torch.cat(projections, dim=1)
        for j in range(len(layer)):
            yield from copied(f"{here}somas.{j}.", f"{there}neurons.{j}.", _SOMA)
        neurons = iter(range(len(layer)))
        for r, (_, run) in enumerate(groupby(layer)):
            prefixes = [f"{there}neurons.{next(neurons)}." for _ in run]
            qkv = [state[f"{prefix}qkv.weight"].view(3, shape.width, shape.width) for prefix in prefixes]
            yield f"{here}dendrites.{r}.qkv", torch.stack(qkv, dim=1).view(-1, shape.width)
            for ours, theirs in _DENDRITES.items():
                stacked = torch.cat([state[prefix + theirs] for prefix in prefixes])
                # Convolutions over one position are plain matrices here, decays plain vectors.
                name = f"{here}dendrites.{r}.{ours}"
                yield name, stacked.reshape(network.get_parameter(name).shape)


def _refuse(what: str, names: Iterable[str], n_passes: int) -> None:
    found = sorted(names)
    if found:
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        repair = (
            f"give n_passes={3 - n_passes}, or a checkpoint trained with n_passes={n_passes}"
            if found == ["pass_weights"]
            else "give the whole model_state_dict of the published model and nothing else"
        )
        raise UserError(f"BioGPT state dict {what} {', '.join(map(repr, found[:5]))}{more}; {repair}")
