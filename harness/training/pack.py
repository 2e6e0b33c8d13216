"""Networks of one architecture that take their optimizer steps together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from harness.training.batching_rules import BatchingRules
from harness.training.distributed import random_state, set_random_state
from harness.training.merged_optimizer import MergedOptimizer
from harness.training.sampler import Sampler
from harness.training.trainer import PATIENCE, Trainer

Failures = dict[Trainer, BaseException]


class Unpackable(Exception):
    """These networks cannot be trained together; says why."""


class Pack:
    """Trains several networks at once: one forward and backward pass over stacked weights, one optimizer step.

    Parameters and buffers of each member become views of its slice of a stack, so masks, methods, optimizers' state,
    evaluation and checkpoints are each member's own, as if it were alone, and so may differ. Nothing passes
    between members: each one's numbers are those that it would have alone, but for the order in which sums are rounded.

    Args:
        members: of the same :func:`kind`; they need not be at the same step.

    Raises:
        Unpackable: if their networks cannot be computed together, or something else would come out.
    """

    def __init__(self, members: Sequence[Trainer]) -> None:
        self.members = tuple(members)
        if any(member.training.compile or member.substrate.world > 1 for member in members):
            raise Unpackable("compiled networks, and those of several processes, train alone")
        modules = [member.weights.module for member in members]
        self._module = modules[0]
        self._own = _tensors(modules)
        self._stacks: dict[str, Tensor] = {}
        for name, own in self._own.items():
            trained = any(tensor.requires_grad for tensor in own)
            self._stacks[name] = torch.stack([tensor.detach() for tensor in own]).requires_grad_(trained)
        self._trained = {name: stack for name, stack in self._stacks.items() if stack.requires_grad}
        self._try()
        for name, own in self._own.items():
            for tensor, part in zip(own, self._stacks[name].detach().unbind(), strict=True):
                tensor.data = part
        self._optimizer = MergedOptimizer([(_schedule(member), member.optimizers) for member in members])
        for member in members:
            member.packed = max(member.packed, len(members))

    def advance(self) -> Failures:
        """Take steps up to the first member's ``goal``, or as many as ``PATIENCE`` allows.

        Returns those whose method failed, with their errors: they are as they were within their last step, and the
        others have gone on without them. There are no further steps then.
        """
        began = monotonic()
        for _ in range(min(member.goal - member.step for member in self.members)):
            if (failed := self._step()) or monotonic() - began > PATIENCE:
                return failed
        return {}

    def _step(self) -> Failures:
        failed: Failures = {}
        self._each(Trainer.prepare, failed)
        losses = self._gradients()
        self._each(_pull_back, failed)
        for member in failed:
            member.optimizers.zero_grad()
        self._optimizer.step()
        of = dict(zip(self.members, losses.unbind(), strict=True))
        self._each(lambda member: member.conclude(of[member]), failed)
        for member, error in failed.items():
            if isinstance(error, Exception):
                failed[member] = member.divergence(of[member]) or error
        return failed

    def _each(self, call: Callable[[Trainer], None], failed: Failures) -> None:
        """Whatever a plugin raises ends its member and no other."""
        for member in self.members:
            if member in failed:
                continue
            try:
                if member.method is None:  # draws nothing
                    call(member)
                else:
                    with own_random(member):
                        call(member)
            except BaseException as error:
                failed[member] = error

    def _gradients(self) -> Tensor:
        """Accumulate each member's mean gradient over its micro-batches; their mean losses (members,), detached."""
        count = self.members[0].training.micro_batches
        total = torch.zeros(len(self.members), device=self.members[0].substrate.device)
        for member in self.members:
            if member.method is not None:  # what else has a gradient gets another one
                member.optimizers.zero_grad()
        for micro in range(count):
            losses = self._losses(self._stacks, micro) / count
            losses.sum().backward()  # type: ignore[no-untyped-call]
            total += losses.detach()
        for name, stack in self._trained.items():
            gradients = [None] * len(self.members) if stack.grad is None else stack.grad.unbind()
            for tensor, gradient in zip(self._own[name], gradients, strict=True):
                if tensor.requires_grad:
                    tensor.grad = gradient
            stack.grad = None
        return total

    def _losses(self, tensors: Mapping[str, Tensor], micro: int) -> Tensor:
        """Mean losses of the members' micro-batches of this number, (members,)."""
        first = self.members[0]
        size = first.training.batch_size // first.training.micro_batches
        streams = [(member.sampler, member.position + micro * size) for member in self.members]
        inputs, targets = Sampler.batches(first.data, streams, size)
        with _autocast(first), BatchingRules():
            found: Tensor = vmap(self._loss)(dict(tensors), inputs, targets)
        return found

    def _loss(self, tensors: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        found: Tensor = functional_call(self._module, tensors, (inputs, targets))
        return found

    def _try(self) -> None:
        """Compute the next step's losses together and alone; leaves everything as it was.

        This finds what has no batching rule, what draws random numbers, and what a network keeps elsewhere than in
        parameters and buffers.
        """
        copies = {name: stack if name in self._trained else stack.clone() for name, stack in self._stacks.items()}
        training = self._module.training
        outside = random_state()
        try:
            for member in self.members:
                member.weights.module.train()
            with _strict():
                found = self._losses(copies, 0)
            torch.autograd.grad(found.sum(), list(self._trained.values()), allow_unused=True)
            alone = torch.stack([self._alone(index) for index in range(len(self.members))])
        except Exception as error:  # whatever torch and plugins raise
            raise Unpackable(_told(error)) from error
        finally:
            set_random_state(outside)
            for member in self.members:
                member.weights.module.train(training)
        dtype = torch.bfloat16 if self.members[0].training.precision == "bf16" else found.dtype
        tolerance = torch.finfo(dtype).eps ** 0.5
        if not torch.allclose(found.detach(), alone, rtol=tolerance, atol=tolerance, equal_nan=True):
            raise Unpackable("the network computes something else than when it is alone")

    @torch.no_grad()
    def _alone(self, index: int) -> Tensor:
        member = self.members[index]
        size = member.training.batch_size // member.training.micro_batches
        inputs, targets = member.sampler.batch(member.data, member.position, size)
        tensors = {name: own[index].detach().clone() for name, own in self._own.items()}
        with _autocast(member):
            found: Tensor = functional_call(member.weights.module, tensors, (inputs, targets))
        return found


def kind(member: Trainer) -> Hashable:
    """Equal for trainings that may share a pack."""
    module, training = member.weights.module, member.training
    shapes = [(name, t.shape, t.dtype) for name, t in (*module.named_parameters(), *module.named_buffers())]
    settings = training.batch_size, training.micro_batches, training.precision
    return id(member.data), settings, repr(module), tuple(shapes)


def refusal(module: nn.Module, inputs: Tensor, targets: Tensor) -> str | None:
    """Why networks like this one cannot be packed, as far as one batch of two examples tells; None if nothing does.

    Works on the device ``meta``; what cannot be computed there even alone tells nothing.
    """
    try:
        module(inputs, targets)
    except Exception:  # whatever a plugin raises
        return None

    def loss(tensors: dict[str, Tensor]) -> Tensor:
        found: Tensor = functional_call(module, tensors, (inputs, targets))
        return found

    try:
        stacks = {name: torch.stack(own) for name, own in _tensors([module, module]).items()}
        with _strict(), BatchingRules():
            vmap(loss)(stacks)
    except Unpackable as error:
        return str(error)
    except Exception as error:  # whatever torch and plugins raise
        return _told(error)
    return None


@contextmanager
def _strict() -> Iterator[None]:
    """An operation that vmap only knows to repeat for each member is an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "There is a performance drop")
        yield


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]:.200}"


@contextmanager
def own_random(member: Trainer) -> Iterator[None]:
    """Random numbers are drawn from the member's own generators."""
    outside = random_state()
    set_random_state(member.random)
    try:
        yield
    finally:
        member.random = random_state()
        set_random_state(outside)


def _tensors(modules: Sequence[nn.Module]) -> dict[str, list[Tensor]]:
    """Parameters and buffers by name, member by member.

    Raises:
        Unpackable: if one does not lie in memory as a slice of a stack does, or modules have hooks.
    """
    if any(part._forward_hooks or part._forward_pre_hooks for module in modules for part in module.modules()):
        raise Unpackable("hooks of a network's modules would see one network for all")
    found: dict[str, list[Tensor]] = {}
    for module in modules:
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if not tensor.is_contiguous():
                raise Unpackable(f"'{name}' is not contiguous")
            found.setdefault(name, []).append(tensor)
    return found


def _pull_back(member: Trainer) -> None:
    member.pull_back()
    member.lr = member.optimizers.prepare(member.step)


def _schedule(member: Trainer) -> Hashable:
    """Equal for members that have the same learning rate at every step to come."""
    phase = member.phase
    return member.training, phase.begin, phase.whole, phase.schedule, phase.lr, phase.weight_decay, member.step


def _autocast(member: Trainer) -> Any:
    return torch.autocast(member.substrate.device.type, torch.bfloat16, enabled=member.training.precision == "bf16")
