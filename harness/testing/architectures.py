"""Does an architecture keep its contract?"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.core.architecture import Architecture
from harness.core.connections import Band, Connection
from harness.core.data import DataSpec
from harness.core.units import UnitGroup
from harness.stages.rehearsal import misplaced
from harness.testing.checks import Options, equal, maker, require

SMALL = {
    "classification": DataSpec("classification", inputs=(1, 8, 8), outputs=10, examples=32),
    "regression": DataSpec("regression", inputs=(8,), outputs=3, examples=32),
    "language": DataSpec("language", inputs=(16,), outputs=32, examples=32, tokens=16),
    "text_classification": DataSpec("text_classification", (16,), 3, examples=32, tokens=16, vocabulary=32, padding=5),
    "video": DataSpec("video", inputs=(4, 16, 16), outputs=256, examples=32),
}


def check_architecture(cls: type[Architecture[Any]], options: Options = None, data: DataSpec | None = None) -> None:
    """Check an architecture's contract on small data of each kind it takes, or on ``data``."""
    make = maker("architecture", cls, options)
    require(bool(cls.kinds), f"{cls.__name__}.kinds is empty: name the kinds of data it takes")
    for kind in cls.kinds if data is None else (data.kind,):
        require(data is not None or kind in SMALL, f"{cls.__name__} takes '{kind}' data: pass data= with its shape")
        spec = data or SMALL[kind]
        architecture = make(spec)
        reason = architecture.unsupported()
        require(reason is None, f"{cls.__name__} refuses {spec} ({reason}): pass data= or options that fit")
        _check_network(architecture)
        _check_connections(architecture)
        _check_units(architecture)


def _check_network(architecture: Architecture[Any]) -> None:
    name, spec = type(architecture).__name__, architecture.data
    first, second, other = (_built(architecture, seed) for seed in (1, 1, 2))
    require(equal(first.state_dict(), second.state_dict()), f"{name}.build() differs for the same torch seed")
    require(
        not equal(dict(first.named_parameters()), dict(other.named_parameters())),
        f"{name}.build() gives the same weights for two torch seeds: initialise from torch's random state",
    )
    inputs, targets = _examples(spec)
    first.eval()
    with torch.no_grad():
        logits = first(inputs)
        shape = tuple(targets.shape) if spec.real_targets else (*targets.shape, spec.outputs)
        require(tuple(logits.shape) == shape, f"{name}: logits are {tuple(logits.shape)}, must be {shape} for {spec}")
        loss = first(inputs, targets)
        require(
            loss.ndim == 0 and bool(loss.isfinite()), f"{name}: module(inputs, targets) is {loss}, not a finite scalar"
        )
        if spec.real_targets:
            expected, what = functional.mse_loss(logits.float(), targets), "squared error of its outputs"
        else:
            what = "cross-entropy of its logits"
            expected = functional.cross_entropy(logits.flatten(0, -2).float(), targets.flatten())
        require(
            torch.allclose(loss.float(), expected, rtol=1e-3, atol=1e-4),
            f"{name}: module(inputs, targets) is {loss:.5f}, the mean {what} is {expected:.5f}",
        )
        if spec.kind == "language":
            changed = inputs.clone()
            changed[:, -1] = (changed[:, -1] + 1) % spec.outputs
            leak = (first(changed)[:, :-1] - logits[:, :-1]).abs().max()
            require(
                float(leak) < 1e-4, f"{name}: logits depend on later tokens (by {leak:.2g}): it sees what it predicts"
            )


def _check_connections(architecture: Architecture[Any]) -> None:
    name, connections = type(architecture).__name__, list(architecture.connections())
    module = _built(architecture, 1)
    parameters = dict(module.named_parameters())
    buffers = {n: buffer for n, buffer in module.named_buffers() if n not in module.state_dict()}
    require(bool(connections), f"{name}.connections() is empty: nothing could be masked")
    require(connections == list(architecture.connections()), f"{name}.connections() differs between two calls")
    names = [c.name for c in connections]
    require(
        len(set(names)) == len(names),
        f"{name}: connection names repeat: {sorted({n for n in names if names.count(n) > 1})}",
    )
    bands: dict[str, Band] = {}
    covered: dict[str, Tensor] = {}
    for c in connections:
        what = f"{name}: connection '{c.name}'"
        require(
            c.counts == "weight" or (c.counts == "pair" and c.kind == "weight"),
            f"{what} counts '{c.counts}', must be weight or, where it has weights, pair",
        )
        known, sort = (buffers, "buffer outside state_dict()") if c.kind == "attention" else (parameters, "parameter")
        require(c.parameter in known, f"{what}: the module has no {sort} '{c.parameter}'; it has {list(known)}")
        problem = misplaced(c, known)
        require(problem is None, f"{what} {problem}")
        covered.setdefault(c.parameter, torch.zeros(known[c.parameter].shape, dtype=torch.int32))
        region = c.region(covered[c.parameter])
        region += 1
        require(int(covered[c.parameter].max()) == 1, f"{what} overlaps an earlier one in '{c.parameter}'")
        if len(c.shape) == 2:
            fits = c.target.size % c.shape[0] == 0 and c.source.size % c.shape[1] == 0
            sizes = f"target size {c.target.size} and source size {c.source.size}"
            require(fits, f"{what}: shape {c.shape} does not divide {sizes} (grouped weights may be smaller)")
        for band in (c.source, c.target):
            first = bands.setdefault(band.name, band)
            require(band == first, f"{what}: band '{band.name}' is {band} here and {first} elsewhere")
            require(band.depth >= 0, f"{what}: band '{band.name}' has depth {band.depth}: counted from 0")
        if c.kind == "attention":
            _check_attention(what, module, c, buffers[c.parameter], _examples(architecture.data)[0])


@torch.no_grad()
def _check_attention(what: str, module: nn.Module, connection: Connection, bias: Tensor, inputs: Tensor) -> None:
    """Added to the scores before the softmax: what is the same for all keys of a query cancels, other biases act."""
    require(not bool(bias.any()), f"{what}: '{connection.parameter}' must be zeros, which mask nothing")
    module.eval()
    region, generator = connection.region(bias), torch.Generator().manual_seed(0)
    before: Tensor = module(inputs)
    region += torch.randn(region.shape[0], 1, *region.shape[2:], generator=generator)
    same: Tensor = module(inputs)
    region += 3 * torch.randn(region.shape, generator=generator)
    other: Tensor = module(inputs)
    region.zero_()
    require(
        bool(torch.allclose(before, same, rtol=1e-3, atol=1e-5)),
        f"{what}: a number added for all keys of a query changes the output: add '{connection.parameter}' to the "
        "scores before the softmax, with queries as rows",
    )
    require(not torch.equal(before, other), f"{what}: '{connection.parameter}' changes nothing: add it to the scores")


def _check_units(architecture: Architecture[Any]) -> None:
    name, groups = type(architecture).__name__, list(architecture.units())
    require(groups == list(architecture.units()), f"{name}.units() differs between two calls")
    names = [group.name for group in groups]
    require(len(set(names)) == len(names), f"{name}: groups of units have equal names: {sorted(names)}")
    module = _built(architecture, 1)
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for group in groups:
        what = f"{name}: units '{group.name}'"
        require(group.count >= 1 and bool(group.members), f"{what}: {group.count} units in {len(group.members)} places")
        for member in group.members:
            tensor = tensors.get(member.parameter)
            require(tensor is not None, f"{what}: the module has no parameter '{member.parameter}'")
            assert tensor is not None
            require(member.axis < tensor.ndim, f"{what}: '{member.parameter}' has no axis {member.axis}")
            length, stride = tensor.shape[member.axis], member.stride or member.width
            last = 0 if member.only is not None else group.count - 1
            end = member.start + last * stride + member.width
            fits = member.start >= 0 and end <= length
            require(fits, f"{what} are entries {member.start} to {end} of {length} in '{member.parameter}'")
            require(1 <= member.width <= stride, f"{what} overlap in '{member.parameter}': stride {stride}, {member}")
            require((member.only or 0) in range(group.count), f"{what}: there is no unit {member.only}")
    inputs, _ = _examples(architecture.data)
    for kind in dict.fromkeys(group.kind for group in groups if group.removable):
        chosen = [group for group in groups if group.removable and group.kind == kind]
        _check_removable(name, module, chosen, inputs)


@torch.no_grad()
def _check_removable(name: str, module: nn.Module, groups: list[UnitGroup], inputs: Tensor) -> None:
    """With every other unit's way out at zero, what else belongs to those units changes nothing."""
    module = deepcopy(module).eval()
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    generator = torch.Generator().manual_seed(0)

    def fill(group: UnitGroup, out: bool) -> None:
        for member in group.members:
            if (member.side == "out") == out:
                rows = tensors[member.parameter].movedim(member.axis, 0)
                chosen = member.units(len(rows), group.count)
                chosen = (chosen >= 0) & (chosen % 2 == 0)
                values = torch.rand(rows[chosen].shape, generator=generator) + 0.5
                rows[chosen] = torch.zeros_like(rows[chosen]) if out else values.to(rows.dtype)

    for group in groups:
        fill(group, out=True)
    before: Tensor = module(inputs)
    for group in groups:
        fill(group, out=False)
        after: Tensor = module(inputs)
        require(
            bool(torch.allclose(before, after, rtol=1e-5, atol=1e-6)),
            f"{name}: units '{group.name}' have zeros at all their ways out, and yet the output depends on them: name "
            "all that reads them, with side 'out', or say in 'coupled' what they share",
        )


def _built(architecture: Architecture[Any], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return architecture.build()


def _examples(spec: DataSpec) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    if spec.kind == "language":
        tokens = torch.randint(spec.outputs, (3, spec.inputs[0] + 1), generator=generator)
        return tokens[:, :-1], tokens[:, 1:]
    if spec.token_ids:
        texts = torch.randint(spec.token_ids, (3, *spec.inputs), generator=generator)
        texts[0, texts.shape[1] // 2 :] = spec.padding
        return texts, torch.randint(spec.outputs, (3,), generator=generator)
    if spec.kind == "video":
        frames = torch.rand(3, spec.inputs[0] + 1, *spec.inputs[1:], generator=generator)
        return frames[:, :-1], frames[:, -1]
    inputs = torch.randn(3, *spec.inputs, generator=generator)
    if spec.real_targets:
        return inputs, torch.randn(3, *spec.targets, generator=generator)
    return inputs, torch.randint(spec.outputs, (3,), generator=generator)
