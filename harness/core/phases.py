"""The phases that a method's program is made of: data, no behaviour of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints

from harness.core.densities import Distribution, Granularity
from harness.errors import UserError, unknown_name

LATER = {"hashed": "unless_default"}
"""Marks a field that came later than results which are still valid: at its default it enters no hash."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One step of a program. Its fields determine its outcome together with what came before.

    Every subclass has ``hooks``: whether the method takes part. Where it is False the method's name and
    options do not enter the stage's hash, so that methods which train alike share the training.
    """

    hooks: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        for name, words in _words(type(self)).items():  # type: ignore[arg-type]
            value = getattr(self, name)
            if value not in words:
                known = [word for word in words if word is not None]
                raise UserError(f"{type(self).__name__}: {unknown_name(name, str(value), known)}")


@cache
def _words(kind: type[Phase]) -> dict[str, tuple[str | None, ...]]:
    """Field -> what it may be, for those that are one of several words."""
    found = {}
    for name, hint in get_type_hints(kind).items():
        parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        literals = [part for part in parts if get_origin(part) is Literal]
        if literals:
            found[name] = (*get_args(literals[0]), *([None] if type(None) in parts else []))
    return found


@dataclass(frozen=True, slots=True)
class Train(Phase):
    """Train for ``steps`` optimizer steps; a fresh optimizer and a whole learning-rate schedule, or part of one.

    Attributes:
        steps: optimizer steps; 0 trains nothing, and the method still takes part.
        hooks: whether the method's hooks run; if False the current masks are simply held.
        lr: peak learning rate, or None for the suite's.
        schedule: ``cosine``, ``linear``, ``constant``, or None for the suite's.
        weight_decay: or None for the suite's.
        restart_data: begin the data order anew instead of going on where the last phase stopped.
        begin, of: these are steps ``begin`` to ``begin + steps`` of a schedule over ``of`` (default: to its end), at
            the rates and, where ``begin`` > 0, on the examples of these steps of a training that began with the
            program.

    Raises:
        UserError: if the steps do not lie within the schedule.
    """

    steps: int
    lr: float | None = None
    schedule: Literal["cosine", "linear", "constant"] | None = None
    weight_decay: float | None = None
    restart_data: bool = False
    begin: int = field(default=0, metadata=LATER)
    of: int | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        Phase.__post_init__(self)
        if self.begin < 0 or self.begin + self.steps > self.whole:
            raise UserError(
                f"steps {self.begin} to {self.begin + self.steps} are no part of a schedule of {self.whole} steps: "
                "begin must be at least 0, begin + steps at most of"
            )

    @property
    def whole(self) -> int:
        """Steps of the whole schedule."""
        return self.begin + self.steps if self.of is None else self.of


@dataclass(frozen=True, slots=True)
class Finetune(Train):
    """Recovery after pruning: like ``Train``, by default without hooks and at a constant rate."""

    hooks: bool = field(default=False, kw_only=True)
    schedule: Literal["cosine", "linear", "constant"] | None = "constant"


@dataclass(frozen=True, slots=True)
class Prune(Phase):
    """Keep the weights with the highest ``method.scores()``.

    Attributes:
        fraction: remove this fraction of what *remains*, in (0, 1); None prunes to the cell's density.
        density: keep this fraction of all maskable weights, in [0, 1]; overrides the cell's density.
        exponent: prune to the cell's density to this power, in (0, 1]; for several prunings that remove
            equal fractions on the way to a density, which may be matched and not yet known.
        member, members: the cell's density is for ``members`` networks together, of which this is number ``member``
            (from 0): see :class:`Ensemble`.
        distribution: ``global`` ranks all weights together; ``uniform`` and ``erk`` give each connection
            its count. With ``fraction``, ``uniform`` removes the fraction from each connection.
        granularity: ``weight``, or ``kernel`` for whole (out, in) pairs.
        inverted: keep the lowest scores instead: a control, which suites ask for (see :func:`inverted`).

    Raises:
        UserError: if one of them is out of its range, or none of the words.
    """

    fraction: float | None = None
    density: float | None = None
    exponent: float = 1.0
    distribution: Distribution = "global"
    granularity: Granularity = "weight"
    member: int = field(default=0, metadata=LATER)
    members: int = field(default=1, metadata=LATER)
    inverted: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        Phase.__post_init__(self)
        if self.fraction is not None and not 0 < self.fraction < 1:
            raise UserError(f"Prune: fraction is {self.fraction}; what is removed of the rest lies between 0 and 1")
        if self.density is not None and not 0 <= self.density <= 1:
            raise UserError(f"Prune: density is {self.density}; the fraction that is kept lies in [0, 1]")
        if not 0 < self.exponent <= 1:
            raise UserError(f"Prune: exponent is {self.exponent}; it lies in (0, 1]")


@dataclass(frozen=True, slots=True)
class Calibrate(Phase):
    """Look at training batches without training on them: the same ones for every method of a seed.

    Without hooks it estimates the running statistics of batch norms anew, for the weights as they are: reset, then
    the mean over the batches in training mode. Where a network has none it does nothing. With hooks it is the
    method's :meth:`~harness.core.method.SparsityMethod.calibrate` instead.

    Attributes:
        batches: how many; each of the suite's batch size over its micro-batches.
    """

    batches: int
    hooks: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Bake(Phase):
    """Write the final weights of a composed method, under its final masks, into the raw weights.

    From there on masks are hard and held: for phases that prune or fine-tune what the method has found.
    """


@dataclass(frozen=True, slots=True)
class Inherit(Phase):
    """Take the final weights and hard masks of the cell named under ``source``, trained on whatever it was."""


@dataclass(frozen=True, slots=True)
class Rewind(Phase):
    """Set surviving weights, and all unmasked parameters, back to an earlier point of the program.

    Attributes:
        phase: index into the program of the phase whose end is meant; -1 is the initial weights.
    """

    phase: int = -1
    hooks: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Average(Phase):
    """Weights and running statistics become the mean of what earlier training phases ended with; masks stay.

    Each of them must have kept every weight that is kept now, so that no mean is taken with a weight that was pruned.

    Attributes:
        phases: indices into the program of the training phases whose ends are meant, each once.

    Raises:
        UserError: if there are none, or one is named twice.
    """

    phases: tuple[int, ...]
    hooks: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not self.phases or len(set(self.phases)) < len(self.phases):
            raise UserError(f"Average{self.phases}: name at least one training phase, and none twice")


@dataclass(frozen=True, slots=True)
class Ensemble(Phase):
    """Last in a program: what is scored are the networks that earlier training phases ended with, as an ensemble.

    Its prediction is the mean of theirs (of probabilities). Its density counts the weights of all of them against those
    of one network, so it is 1 at most: ``Prune(member=i, members=n)`` gives each its share of the cell's.

    Attributes:
        phases: indices into the program of the training phases whose ends are meant, each once.

    Raises:
        UserError: if there are less than two, or one is named twice.
    """

    phases: tuple[int, ...]
    hooks: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if len(set(self.phases)) < max(2, len(self.phases)):
            raise UserError(f"Ensemble{self.phases}: name at least two training phases, and none twice")


def earlier_ends(program: Sequence[Phase], index: int) -> tuple[int, ...]:
    """The phases whose ends phase ``index`` of a program goes back to; -1, the initial weights, is none.

    Raises:
        UserError: if one is no earlier training phase, whose end alone is kept, or an ensemble is not the last phase.
    """
    phase = program[index]
    if isinstance(phase, Ensemble) and index < len(program) - 1:
        raise UserError(f"phase {index}, {phase}, must be the last one of its program: nothing can go on from it")
    found = phase.phases if isinstance(phase, Average | Ensemble) else ()
    if isinstance(phase, Rewind) and phase.phase != -1:
        found = (phase.phase,)
    for other in found:
        if not (0 <= other < index and isinstance(program[other], Train)):
            raise UserError(
                f"phase {index} is {phase}, and phase {other} is no earlier training phase: its end is not kept"
            )
    return found


@dataclass(frozen=True, slots=True)
class Reinitialize(Phase):
    """Give surviving weights new values.

    Attributes:
        weights: ``sign`` sets +-``value`` by the sign of the weight, ``random_sign`` by a coin,
            ``fresh`` draws new initial weights from another random stream than the first ones.
        value: magnitude for the sign rules; 0 stays 0.
        others: parameters out of scope (norms, biases): ``initial`` sets them back to the seed's initial
            weights (``fresh``: to the new draw), ``keep`` leaves them trained.
    """

    weights: Literal["sign", "random_sign", "fresh"]
    value: float = 0.02
    others: Literal["initial", "keep"] = "initial"
    hooks: bool = field(default=False, kw_only=True)


def inverted(program: Sequence[Phase]) -> list[Phase]:
    """The program whose prunings keep the lowest scores (Frankle et al. 2021, "Why are we missing the mark?").

    Raises:
        UserError: if none of its phases chooses weights by scores.
    """
    if not any(isinstance(phase, Prune) and phase.density != 1.0 for phase in program):
        raise UserError("inverted keeps the lowest scores of Prune phases, and this program chooses by none")
    return [replace(phase, inverted=True) if isinstance(phase, Prune) else phase for phase in program]


def total_steps(program: Sequence[Phase]) -> int:
    """Optimizer steps of all training phases together."""
    return sum(phase.steps for phase in program if isinstance(phase, Train))
