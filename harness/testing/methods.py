"""Does a method keep its contract?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from harness.core.architecture import Architecture, NoOptions
from harness.core.connection_density import connection_densities
from harness.core.connections import Connection, weights_among
from harness.core.current_masks import CurrentMasks
from harness.core.data import DataSpec
from harness.core.densities import DensityBudget, select
from harness.core.masks import Masks
from harness.core.method import ParameterGroup, SparsityMethod, TrainingBudget
from harness.core.method_context import MethodContext, Source
from harness.core.phases import (
    Bake,
    Calibrate,
    Ensemble,
    Inherit,
    Phase,
    Prune,
    Train,
    earlier_ends,
)
from harness.core.returned import require_list, require_terms
from harness.errors import PluginError, UserError
from harness.seeds import derived_seed
from harness.stages.calibration import calibrate
from harness.stages.calibration_batches import Batches
from harness.stages.discrete_phases import bake, inherit, prune
from harness.stages.network import Network, initial_module
from harness.suites.cell import Scope, in_scope
from harness.suites.schema import Training
from harness.testing.checks import CPU, Options, equal, maker, require, require_json
from harness.testing.guard import guard
from harness.testing.restoring import check_restored
from harness.testing.toy import ToyArchitecture, ToyData
from harness.training.distributed import Substrate
from harness.training.sampler import Sampler
from harness.training.trainer import StepReport, Trainer
from harness.training.weights import Weights

if TYPE_CHECKING:
    from harness.suites.cell import Cell

TRAINING = Training(steps=20, batch_size=8, optimizer="sgd", lr=0.05)
Method = SparsityMethod[Any]


def check_method(
    cls: type[Method],
    options: Options = None,
    architecture: Architecture[Any] | None = None,
    source: Source | None = None,
    density: float | None = 0.25,
    scope: str | Sequence[str] = "default",
) -> None:
    """Check a method's contract, running its program in small on a toy network.

    Args:
        cls: the method.
        options: as a suite would give them; default: none.
        architecture: another network than the toy, for methods that need special connections. Its data
            must be classification, regression or video.
        source: what a method that starts from another cell finds; default: random masks, no method state.
        density: in [0, 1], for methods that take one; None for those that also work without.
        scope: which connections the method masks, as in a suite: a role, several, ``all`` or ``default``.
    """
    make, name = maker("method", cls, options), cls.__name__
    architecture = architecture or ToyArchitecture(NoOptions(), DataSpec("classification", (8,), 4, examples=32))
    roles = _roles(scope)
    connections = in_scope(roles, architecture.connections(), make().kinds)
    known = ", ".join(sorted({c.role for c in architecture.connections()}))
    require(bool(connections), f"scope={scope!r} is no connection of {type(architecture).__name__}, which has: {known}")
    reason = make().unsupported(architecture, connections)
    require(reason is None, f"{name} does not support {type(architecture).__name__} ({reason}): pass architecture=")
    asked = None if cls.takes_density == "never" else density
    budget = None if asked is None else DensityBudget.of(asked, weights_among(connections))
    granted = TrainingBudget(steps=20, batch_size=8, density=asked)
    program = make().program(granted)
    _check_program(name, program)
    require(list(program) == list(make().program(granted)), f"{name}.program() differs between two calls")
    for phase in program:
        require_json(f"{name}.influences({phase})", make().influences(phase))
    if source is None and cls.takes_source == "required":
        source = _random_source(architecture, connections, 0.25 if density is None else density)
    networks = [build_network(make(), architecture, roles, budget, source) for _ in range(2)]
    ends: list[Masks] = []
    for network in networks:
        with _told(name):
            _check_gradients(name, network)
        ends = []
        for index, phase in enumerate(program):
            network.context.phase, network.context.running = index, phase
            with _told(f"{name}: {phase} fails"):
                _execute(name, network, phase, last=phase is program[-1])
            ends.append(network.hard_masks() or network.context.masks)
    first, second = (network.hard_masks() or network.context.masks for network in networks)
    require(first.digest() == second.digest(), f"{name} ends with other masks when run again: use context.generator()")
    if budget is not None and networks[0].architecture is architecture:
        last = program[-1]
        members = [ends[i] for i in last.phases] if isinstance(last, Ensemble) else [first]
        kept = sum(masks.kept[c.name] for masks in members for c in weights_among(connections))
        require(
            kept == budget.keep or make().other_count(budget.keep, kept, connections) is not None,
            f"{name} was asked to keep exactly {budget.keep} weights (density {density}) and keeps {kept}, and "
            "other_count() gives no reason",
        )
    with _told():
        check_restored(name, networks[0], build_network(make(), architecture, roles, budget, source))


def _roles(scope: str | Sequence[str]) -> Scope:
    if not isinstance(scope, str):
        return tuple(scope)
    return "default" if scope == "default" else "all" if scope == "all" else (scope,)


def build_network(
    method: Method,
    architecture: Architecture[Any],
    scope: Scope,
    budget: DensityBudget | None,
    source: Source | None,
) -> Network:
    """The network that the method gets, as a run would build it."""
    adapted = method.adapt(architecture, in_scope(scope, architecture.connections(), method.kinds), budget)
    connections = in_scope(scope, adapted.connections(), method.kinds)
    module = initial_module(adapted, seed=0)
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    context = MethodContext(
        model=module,
        connections=connections,
        raw={c.parameter: tensors[c.parameter] for c in connections},
        current=CurrentMasks(connections),
        budget=budget,
        source=source,
        seed=derived_seed(0, "method"),
        device=CPU,
        data=adapted.data,
        units=adapted.units(),
    )
    guard(method, context)
    method.attach(context)
    cell = cast("Cell", None)  # only reinitialisation looks at it, in which a method has no part
    return Network(cell, adapted, module, connections, method, context)


def _execute(name: str, network: Network, phase: Phase, last: bool) -> None:
    """Do a phase, if the method has a part in it."""
    before = network.current.hard
    data = ToyData(network.architecture.data)
    batches = Batches(network, lambda: data, TRAINING, seed=0)
    _check_raw(name, network, phase)
    if isinstance(phase, Prune):
        prune(network, phase, batches)
        for connection, mask in network.context.masks.items() if before is not None and phase.density is None else ():
            assert before is not None
            reopened = int((mask & ~before[connection]).sum())
            require(not reopened, f"{name}: {phase} opens {reopened} weights of '{connection}' that were pruned before")
    elif isinstance(phase, Inherit):
        inherit(network)
    elif isinstance(phase, Bake):
        bake(network)
    elif isinstance(phase, Calibrate):
        calibrate(network, phase, batches)
    elif isinstance(phase, Train) and phase.hooks:
        weights = _begin(name, network)
        trainer = Trainer(
            weights=weights,
            method=network.method,
            context=network.context,
            data=data,
            sampler=Sampler(len(data), seed=0),
            training=TRAINING,
            phase=phase,
            substrate=Substrate(0, 1, CPU),
        )

        def look(_: StepReport) -> None:
            network.densities(None)

        trainer.run(look)
        final = network.final_masks()
        if network.soft:
            if last:
                _check_final(name, network, weights, final)
                _check_declared(name, network)
            network.current.hard = final
        weights.put_back()


def _begin(name: str, network: Network) -> Weights:
    """The weights of a training, which in composed mode starts from the weights that the network has."""
    own = weights_among(network.connections)
    given = {c.name: c.region(network.module.get_parameter(c.parameter).detach()).clone() for c in own}
    starts = not network.soft and type(network.method).start is not SparsityMethod.start
    weights = network.begin_phase(hooks=True)
    network.soft = network.method.mode == "composed"
    if starts:
        with weights.evaluating("soft"):
            for c in own:
                found = c.region(weights.parameters[c.parameter].detach())
                require(
                    torch.allclose(found, given[c.name], rtol=1e-4, atol=1e-6),
                    f"{name}: training starts from other weights than '{c.name}' has: compose() of what start() "
                    "returns must be what it was given",
                )
    return weights


def _check_raw(name: str, network: Network, phase: Phase) -> None:
    """What goes on from raw weights finds the final ones there."""
    goes_on = isinstance(phase, Prune) or (isinstance(phase, Train | Calibrate) and not phase.hooks)
    require(
        not (goes_on and network.soft and type(network.method).final is not SparsityMethod.final),
        f"{name}: {phase} would go on from raw weights, and final() says that the trained network has others: put "
        "Bake() before it",
    )


def _check_program(name: str, program: Sequence[Phase]) -> None:
    with _told():
        require_list(program, Phase, f"{name}.program()", "[Train(budget.steps)]")
    require(any(isinstance(phase, Train) for phase in program), f"{name}.program() has no Train: {program}")
    for index, phase in enumerate(program):
        try:
            earlier_ends(program, index)
        except UserError as error:
            raise AssertionError(f"{name}.program(): {error}") from error
        if isinstance(phase, Train):
            require(phase.steps >= 1, f"{name}.program()[{index}] trains for {phase.steps} steps: at least 1")


@contextmanager
def _told(what: str = "") -> Iterator[None]:
    """What a run would refuse is a fault of the contract."""
    try:
        yield
    except (PluginError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise AssertionError(f"{what}: {error}" if what else str(error)) from error


def _check_gradients(name: str, network: Network) -> None:
    """Composed mode: gradients of a loss must reach raw weights and own parameters, and be finite."""
    method, context = network.method, network.context
    groups = method.parameter_groups()
    require_list(groups, ParameterGroup, f"{name}.parameter_groups()", "[ParameterGroup([self.own], lr=1e-3)]")
    own = [parameter for group in groups for parameter in group.parameters]
    require(all(p.is_leaf and p.requires_grad for p in own), f"{name}.parameter_groups() must hold trainable leaves")
    if method.mode == "projected":
        return
    weights = {c.parameter for c in weights_among(context.connections)}
    raw = {key: tensor.detach().clone().requires_grad_(key in weights) for key, tensor in context.raw.items()}
    network.context.raw = raw
    effective = method.effective(raw, context.connections)
    shapes = {key: tuple(tensor.shape) for key, tensor in effective.items()}
    expected = {key: tuple(tensor.shape) for key, tensor in raw.items()}
    require(shapes == expected, f"{name}.effective() returned shapes {shapes}, must be {expected}")
    inputs, targets = ToyData(network.architecture.data).batch(torch.arange(8))
    loss = cast(Tensor, torch.func.functional_call(network.module, dict(effective), (inputs, targets)))
    given = method.regularizers(context)
    require_terms(given, f"{name}.regularizers()")
    terms = [torch.as_tensor(term) for term in given.values()]
    torch.stack([loss, *terms]).sum().backward()  # type: ignore[no-untyped-call]
    for what, tensors in (("raw weights", [raw[key] for key in sorted(weights)]), ("own parameters", own)):
        for tensor in tensors:
            require(tensor.grad is not None, f"{name}: no gradient reaches {what} of shape {tuple(tensor.shape)}")
            assert tensor.grad is not None
            require(bool(tensor.grad.isfinite().all()), f"{name}: the gradient of {what} is not finite")
    for parameter in own:
        parameter.grad = None


def _check_final(name: str, network: Network, weights: Weights, masks: Masks) -> None:
    """The final network computes what was trained, or the method says why it does not."""
    inputs, _ = ToyData(network.architecture.data).batch(torch.arange(8))
    with weights.evaluating("soft") as module:
        trained: Tensor = module(inputs)
    with weights.evaluating("hard", masks) as module:
        final: Tensor = module(inputs)
    difference = float((trained - final).abs().max() / trained.abs().max().clamp_min(1e-12))
    require(
        difference < 1e-5 or network.method.final_differs() is not None,
        f"{name}: the final network's outputs differ from the trained one's by {difference:.2g} of the largest: "
        "return the trained values from final(), or say in final_differs() why they differ",
    )


@torch.no_grad()
def _check_declared(name: str, network: Network) -> None:
    """A final network that depends on own parameters says whether it needs them beside its weights."""
    method, context = network.method, network.context

    def final() -> dict[str, Tensor]:
        return {c.name: method.final(c, context.weight(c).clone()).clone() for c in context.connections}

    for group in method.parameter_groups():
        before = final()
        values = [parameter.clone() for parameter in group.parameters]
        for parameter in group.parameters:
            parameter.add_(0.5)
        depends = not equal(before, final())
        for parameter, value in zip(group.parameters, values, strict=True):
            parameter.copy_(value)
        require(
            not depends or group.in_network is not None,
            f"{name}.final() depends on the parameters '{group.name}': say in parameter_groups() whether the final "
            "network needs them beside its weights (in_network=True, they count) or has them in its weights (False)",
        )


def _random_source(architecture: Architecture[Any], scope: Sequence[Connection], density: float) -> Source:
    generator = torch.Generator().manual_seed(derived_seed(0, "source"))
    weights = weights_among(scope)
    scores = {c.name: torch.rand(c.shape, generator=generator) for c in weights}
    masks = Masks({**Masks.full(scope), **select(scores, DensityBudget.of(density, weights), weights, "global")})
    return Source(
        "toy", masks, {}, connection_densities(scope, masks, None), initial_module(architecture, seed=1).state_dict()
    )
