"""What the discrete phases do: prune, bake, rewind, average, reinitialise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.core.connections import weights_among
from harness.core.densities import DensityBudget, select
from harness.core.masks import Masks
from harness.core.phases import Average, Prune, Reinitialize
from harness.core.returned import require_scores
from harness.errors import HarnessError, PluginError, Unsupported, unknown_name
from harness.seeds import derived_seed
from harness.stages.calibration_batches import Batches
from harness.stages.network import Network


def prune(network: Network, phase: Prune, batches: Batches) -> None:
    """Score, select exactly, let the method refine, and zero what is pruned.

    Raises:
        HarnessError: if the raw weights are not those that the network computes with, or the lowest scores are to be
            kept and the method makes its masks otherwise.
        PluginError: if scores rank nothing, or a hook writes to the weights.
        TypeError, ValueError: if what the hooks return is not what they must.
    """
    network.require_final(phase)
    weights = network.begin_phase(hooks=False)
    context, name_of = network.context, type(network.method).__name__
    current, own = context.masks, weights_among(network.connections)
    budget = _budget(network, phase, current)
    scores = {}
    before = _bits(network)
    with batches.open():
        given = network.method.scores(context)
        _require_bits(network, before, f"{name_of}.scores()")
        require_scores(given, network.connections, f"{name_of}.scores()")
        for name, score in given.items():
            score = score.detach().to(torch.promote_types(score.dtype, torch.float32))
            gone = ~current[name] | (score == float("-inf"))
            scores[name] = (-score if phase.inverted else score).masked_fill(gone, float("-inf"))
        _require_ranking([scores[c.name] for c in own if c.name in scores], budget, f"{name_of}.scores()")
        chosen = select(scores, budget, own, phase.distribution, phase.granularity)
        whole = Masks({c.name: chosen.get(c.name, current[c.name]) for c in network.connections})
        refined = network.method.refine(whole, context)
    _require_bits(network, before, f"{name_of}.refine()")
    kept, values = refined if isinstance(refined, tuple) else (refined, {})
    masks = whole.updated(kept, f"{name_of}.refine()")
    if phase.inverted and any(bool((masks[name] & ~whole[name]).any()) for name in masks):
        raise HarnessError(
            f"{name_of}.refine() keeps weights that are not those of the lowest scores: a method "
            "that makes masks there cannot be inverted"
        )
    _set_weights(network, values)
    weights.hold(masks)
    network.soft = False


def _require_ranking(scores: Sequence[Tensor], budget: DensityBudget, hook: str) -> None:
    """Equal scores would keep weights by their place.

    Raises:
        PluginError: if all that may stay score alike, and some of them must go.
    """
    left = sum(int((score != float("-inf")).sum()) for score in scores)
    if not budget.keep < left:
        return
    highest = max(float(score.amax()) for score in scores if score.numel())
    lowest = min(float(score.where(score != float("-inf"), torch.inf).amin()) for score in scores if score.numel())
    if lowest == highest:
        raise PluginError(
            f"{hook} gives every weight the score {abs(highest):g}, so nothing says which of {left:,} are the "
            f"{budget.keep:,} to keep"
        )


@torch.no_grad()
def _bits(network: Network) -> list[int]:
    """A sum over the bits of every parameter: other weights give another one, but for rare coincidences."""
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    raw = {id(tensor): tensor for tensor in (*network.module.parameters(), *network.context.raw.values())}
    return [int(t.contiguous().view(kinds[t.element_size()]).sum(dtype=torch.int64)) for t in raw.values()]


def _require_bits(network: Network, before: list[int], hook: str) -> None:
    """Raises PluginError if a hook has written to the weights."""
    if _bits(network) != before:
        raise PluginError(f"{hook} writes to the network's weights: return new ones from refine()")


@torch.no_grad()
def _set_weights(network: Network, values: Mapping[str, Tensor]) -> None:
    """New weights by connection, or by the name of a parameter in which none lies.

    Raises:
        ValueError: if there is no such thing, or the weights do not fit or are not finite.
    """
    own = weights_among(network.connections)
    regions = {c.name: c.region(network.module.get_parameter(c.parameter)) for c in own}
    maskable = {c.parameter for c in own}
    others = {name: parameter for name, parameter in network.module.named_parameters() if name not in maskable}
    targets = {**others, **regions}
    for name, value in values.items():
        if name not in targets:
            raise ValueError(f"refine() gives new weights for {unknown_name('connection or parameter', name, targets)}")
        if value.shape != targets[name].shape or not bool(value.isfinite().all()):
            given = tuple(value.shape) if value.shape != targets[name].shape else "NaN or infinite ones"
            raise ValueError(
                f"refine() gives new weights for '{name}': {given}, must be finite and {tuple(targets[name].shape)}"
            )
    for name, value in values.items():
        targets[name].copy_(value)


@torch.no_grad()
def bake(network: Network) -> None:
    """Raw weights become the method's final ones under its final masks; does nothing where masks are hard already."""
    if not network.soft:
        return
    masks = network.final_masks()
    for name, final in network.begin_phase(hooks=True).final(masks).items():
        network.module.get_parameter(name).copy_(final)
    network.current.hard = masks
    network.begin_phase(hooks=False)
    network.soft = False


def _budget(network: Network, phase: Prune, current: Masks) -> DensityBudget:
    """How many weights the phase keeps; see :class:`harness.core.phases.Prune`."""
    connections = weights_among(network.connections)
    if phase.density is not None:
        return DensityBudget.of(phase.density, connections)
    if phase.fraction is not None:
        kept = {c.name: int(current[c.name].sum()) for c in connections}
        size = sum(c.size for c in connections)
        if phase.distribution == "global":
            left = sum(kept.values()) - round(phase.fraction * sum(kept.values()))
            return DensityBudget(left, left / size)
        counts = {name: count - round(phase.fraction * count) for name, count in kept.items()}
        return DensityBudget(sum(counts.values()), sum(counts.values()) / size, counts)
    if network.context.budget is None:
        raise ValueError("a Prune phase without fraction or density needs a density in the suite")
    whole = network.context.budget.share(phase.member, phase.members)
    return whole if phase.exponent == 1 else DensityBudget.of(whole.requested**phase.exponent, connections)


@torch.no_grad()
def set_back(network: Network, target: Mapping[str, Tensor]) -> None:
    """Rewind: raw weights and buffers as in ``target``, masked entries at zero."""
    network.module.load_state_dict(dict(target))
    network.begin_phase(hooks=False)
    network.soft = False


@torch.no_grad()
def average(network: Network, phase: Average, states: Sequence[Mapping[str, Any]]) -> None:
    """Weights and buffers as means over the states that stages left; whole numbers, such as counts, as they are.

    Raises:
        HarnessError: if one of the states lacks a weight that is kept now, or its weights are not its final network's.
    """
    current, shapes = network.context.masks.to("cpu"), {c.name: c.shape for c in network.connections}
    for index, state in zip(phase.phases, states, strict=True):
        network.require_final(phase, soft=state["soft"])
        theirs = Masks.unpacked(state["masks"], shapes) if state["masks"] is not None else None
        lacking = sum(int((mask & ~theirs[name]).sum()) for name, mask in current.items()) if theirs is not None else 0
        if lacking:
            raise HarnessError(
                f"{phase} cannot average phase {index}: it had pruned {lacking:,} weights that are kept now. Average "
                "what was trained under the same masks, or under masks that kept more"
            )
    means = {
        name: torch.stack([state["weights"][name] for state in states]).mean(0, dtype=torch.float64)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in network.module.state_dict().items()
    }
    set_back(network, means)


@torch.no_grad()
def inherit(network: Network) -> None:
    """Weights and masks of the source cell, whose network must be the same.

    Raises:
        Unsupported: if it is not.
    """
    source = network.context.source
    if source is None:
        raise ValueError("an Inherit phase needs a method with takes_source")
    own = {name: tuple(tensor.shape) for name, tensor in network.module.state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in source.weights.items()}
    regions = {c.name: c.shape for c in network.connections}
    if own != theirs or regions != {name: tuple(mask.shape) for name, mask in source.masks.items()}:
        raise Unsupported(
            f"the weights of run {source.cell} do not fit this run; give both the same architecture, the same "
            "tokens or classes, and the same scope"
        )
    network.current.hard = source.masks
    set_back(network, source.weights)
    # What the weights have cost goes with them: an heir is never compared as if it had started from nothing.
    network.spent.steps += int(source.spent.get("steps", 0))
    network.spent.examples += int(source.spent.get("examples", 0))
    network.spent.seconds += source.spent.get("seconds", 0.0)
    network.spent.calibration_batches += int(source.spent.get("calibration_batches", 0))
    network.spent.calibration_examples += int(source.spent.get("calibration_examples", 0))
    network.trained_by = [dict(environment) for environment in source.trained_by] + network.trained_by


@torch.no_grad()
def reinitialise(network: Network, phase: Reinitialize, index: int) -> None:
    """New values for surviving weights; see :class:`harness.core.phases.Reinitialize`.

    ``index`` is the phase's place in the program: each one draws numbers of its own.
    """
    draw = index + 1 if phase.weights == "fresh" else 0
    fresh = network.initial(draw).state_dict()
    trained = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    parameters = dict(network.module.named_parameters())
    if phase.others == "initial":
        network.module.load_state_dict(fresh)
    for connection in weights_among(network.connections):
        region = connection.region(parameters[connection.parameter].detach())
        if phase.weights == "fresh":
            region.copy_(connection.region(fresh[connection.parameter]))
            continue
        signs = torch.sign(connection.region(trained[connection.parameter]))
        if phase.weights == "random_sign":
            generator = torch.Generator().manual_seed(derived_seed(network.cell.seed, "signs", index, connection.name))
            signs = torch.randint(0, 2, connection.shape, generator=generator).to(region) * 2 - 1
        region.copy_(signs * phase.value)
    network.begin_phase(hooks=False)
    network.soft = False
