"""What a mask leaves of a network, and what the network makes of its inputs: the record's ``connectivity``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from harness.core.connections import weights_among
from harness.core.language_network import LanguageNetwork
from harness.core.masks import Masks
from harness.core.units import in_use
from harness.errors import CorruptFile, DataMissing, Unsupported
from harness.results.effective import effective
from harness.results.record_parts import Connectivity, DeadUnits

if TYPE_CHECKING:
    from harness.core.connections import Connection
    from harness.core.data import DataSpec, TrainingData
    from harness.core.units import UnitGroup
    from harness.stages.runner import StageRunner
    from harness.stages.scored import Scored

LARGEST = 1_000_000_000
"""Networks with more parameters are not copied into float64: what needs it is not known."""
TOKENS = 32
"""Tokens of an example where a network reads short texts as well as long ones."""
EXAMPLES = 512
"""Training examples on which outputs are compared, at most."""
PROBED_TOKENS = 2048
"""Tokens of these at most, of language."""
ENTRIES = 2**24
"""Outputs at a time."""


class Structure(NamedTuple):
    """Effective weights among the connections, dead units, and whether outputs depend on inputs; None: not known."""

    effective: int | None = None
    dead: DeadUnits | None = None
    depends: bool | None = None


class Probed(NamedTuple):
    """Outputs of the network as scored: whether they differ between examples, and how many classes win."""

    varies: bool
    predictions: int | None


def connectivity(scored: Scored, model: nn.Module, soft: bool, runner: StageRunner) -> Connectivity:
    """The connectivity of what is being scored; of several networks together, as their weights are counted.

    Args:
        scored: the networks, with the weights that are scored in their modules.
        model: what predicts.
        soft: whether with soft masks instead of the final hard ones: then every weight counts that is not exactly zero.
        runner: gives the training data.
    """
    network = scored.networks[-1]
    spec = network.context.data
    if isinstance(model, LanguageNetwork) and len(weights_among(scored.connections)) == len(scored.connections):
        spec = replace(spec, inputs=(min(TOKENS, spec.inputs[0]),))  # masks on attention are as long as the context
    masks = scored.by_member(scored.masks or Masks.full(scored.connections))
    names = scored.by_member({c.name: c.name for c in scored.connections})
    found, empty = list[Structure](), list[str]()
    for member, own, numbered in zip(scored.networks, masks, names, strict=True):
        connections = weights_among(member.connections)
        kept = nonzero(member.module, connections) if soft else opened(member.module, connections, own)
        found.append(structure(member.module, spec, connections, kept, member.architecture.units()))
        empty += [numbered[c.name] for c in connections if not bool(c.region(kept[c.parameter]).any())]
    probed = None
    with suppress(DataMissing, CorruptFile, Unsupported):  # a network may be scored where its training data is not
        probed = probe(model, runner.training_data(network.cell.training_part), spec)
    depends = [part.depends for part in found]
    counts = [part.effective for part in found if part.effective is not None]
    dead = [part.dead for part in found if part.dead is not None]
    return Connectivity(
        effective=sum(counts) if len(counts) == len(found) else None,
        size=sum(c.size for c in weights_among(network.connections)),
        dead_units=DeadUnits(dead=sum(d.dead for d in dead), of=sum(d.of for d in dead)) if dead else None,
        empty=empty,
        depends_on_input=None if None in depends else any(depends),
        varies=probed.varies if probed else None,
        predictions=probed.predictions if probed else None,
    )


def opened(model: nn.Module, connections: Sequence[Connection], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks by connection as masks by parameter, bool of its shape; True where no connection lies."""
    parameters, kept = dict(model.named_parameters()), dict[str, Tensor]()
    for c in connections:
        whole = kept.setdefault(c.parameter, torch.ones_like(parameters[c.parameter], dtype=torch.bool))
        c.region(whole).copy_(masks[c.name])
    return kept


def nonzero(model: nn.Module, connections: Sequence[Connection]) -> dict[str, Tensor]:
    """Where the weights of the connections are not zero, as :func:`opened`."""
    parameters = dict(model.named_parameters())
    found = {c.name: c.region(parameters[c.parameter].detach()) != 0 for c in connections}
    return opened(model, connections, found)


def structure(
    model: nn.Module,
    spec: DataSpec,
    connections: Sequence[Connection],
    kept: Mapping[str, Tensor],
    units: Sequence[UnitGroup],
) -> Structure:
    """What is left of one network where ``kept`` is open."""
    if sum(p.numel() for p in model.parameters()) > LARGEST:
        return Structure()
    sides = {m.parameter for group in units for m in group.members if m.side != "own"}
    try:
        found = effective(model, spec, kept, sides & dict(model.named_parameters()).keys())
    except Unsupported:
        return Structure()
    count = sum(int(c.region(found.weights[c.parameter]).count_nonzero()) for c in connections)
    dead = sum(int(_dead(group, found.weights).sum()) for group in units)
    of = sum(group.count for group in units)
    return Structure(count, DeadUnits(dead=dead, of=of) if units else None, found.depends)


def _dead(group: UnitGroup, effective_weights: Mapping[str, Tensor]) -> Tensor:
    """Which units lack effective weights on a side that the group has, bool (count,)."""
    sides = {member.side for member in group.members if member.parameter in effective_weights} - {"own"}
    dead = torch.zeros(group.count, dtype=torch.bool)
    for side in sides:
        dead |= ~in_use(group, side, effective_weights)
    return dead


@torch.no_grad()
def probe(model: nn.Module, data: TrainingData, spec: DataSpec) -> Probed | None:
    """Outputs on up to :data:`EXAMPLES` training examples, evenly spaced; None if there are fewer than two.

    They vary if one output of the network (of language, one token's at one place) differs between two examples by
    more than rounding: 16 units in the last place of the largest.
    """
    tokens = spec.inputs[0] if spec.kind == "language" else 1
    count = min(len(data), EXAMPLES, max(2, PROBED_TOKENS // tokens))
    if count < 2:
        return None
    device = next(iter(model.parameters())).device
    size = max(1, ENTRIES // (spec.outputs * tokens))
    spread = torch.linspace(0, len(data) - 1, count, dtype=torch.float64).long()
    extremes, classes = list[Tensor](), set[int]()
    for indices in torch.tensor_split(spread, tuple(range(size, count, size))):
        inputs = data.batch(indices)[0].to(device)
        outputs = model(inputs[:, :tokens] if spec.kind == "language" else inputs)
        together = torch.stack([*extremes, outputs.amin(0), outputs.amax(0)])
        extremes = [together.amin(0), together.amax(0)]
        if spec.kind in ("classification", "text_classification"):
            classes.update(outputs.argmax(-1).flatten().tolist())
    lowest, highest = extremes
    scale = torch.maximum(lowest.abs().max(), highest.abs().max())
    varies = bool((highest - lowest).max() > 16 * torch.finfo(lowest.dtype).eps * scale)
    return Probed(varies, len(classes) or None)
