"""What a suite file may say: the pydantic schema, with units and ranges."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationError,
    model_serializer,
    model_validator,
)

from harness.errors import unknown_name
from harness.suites.question import Question
from harness.suites.seed_list import Seeds, seeds_from
from harness.suites.tune import Space, Tune
from harness.suites.wrong_value import wrong_value
from harness.suites.yaml_source import Renames

MOST_CELLS = 100_000
MOST_STEPS = 10**12
NETWORKS = re.compile(r"(\S+) against (\S+)")
"""What a suite asks about two networks."""


def _label(value: Any) -> str:
    text = str(value) if type(value) is int else value
    if isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,59}", text):
        return text
    quoted = ", in quotes where it looks like a number" if isinstance(value, float) else ""
    raise ValueError(f"a label has letters, digits, _ and -, does not begin with -, and is at most 60 long{quoted}")


Fraction = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Label = Annotated[str, BeforeValidator(_label)]


class Schema(BaseModel):
    """Base: unknown keys are errors, and so are infinite numbers and NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Training(Schema):
    """The training budget and the optimizer, the same for every method of an experiment."""

    epochs: float | None = Field(None, gt=0, le=10**9, description="passes over the training data; or give steps")
    steps: int | None = Field(
        None, ge=0, le=MOST_STEPS, description="optimizer steps, 0 to only evaluate; or give epochs"
    )
    batch_size: int = Field(128, ge=1, le=10**9, description="examples per optimizer step, over all micro-batches")
    micro_batches: int = Field(1, ge=1, description="parts in which a batch is computed, gradients accumulated")
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1, description="for sgd")
    weight_decay: float = Field(
        0.0, ge=0, description="of parameters of two or more dimensions; decoupled for adamw, L2 for adam and sgd"
    )
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_steps: int = Field(0, ge=0, le=MOST_STEPS)
    cooldown_steps: int | None = Field(
        None,
        ge=1,
        le=MOST_STEPS,
        description="with schedule constant: the last steps, over which lr goes down linearly",
    )
    final_lr: Fraction = Field(0.0, description="end of the schedule, as a fraction of lr")
    clip_norm: float | None = Field(None, gt=0, description="largest norm of the weights' gradient")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="autocast type of forward and backward")
    threads: int = Field(
        1, ge=1, le=1024, description="CPU threads of one run; fixed, so that results do not depend on it"
    )
    compile: bool = Field(False, description="torch.compile the network")
    pack: int | None = Field(
        None,
        ge=2,
        le=1024,
        description="so many runs of one network and data, at most, take their steps together in one worker: seeds, "
        "densities, methods, rates; for small networks",
    )

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what came later than results that are still valid, while it is not set."""
        found: dict[str, Any] = serialize(self)
        if self.pack is None:
            found.pop("pack", None)
        return found

    @model_validator(mode="after")
    def _one_budget(self) -> Training:
        if self.epochs is not None and self.steps is not None:
            raise ValueError("give either epochs or steps, not both")
        if self.cooldown_steps is not None and self.schedule != "constant":
            raise ValueError(f"cooldown_steps goes with schedule: constant, and it is {self.schedule}")
        if self.batch_size % self.micro_batches:
            raise ValueError(f"batch_size {self.batch_size} does not divide into {self.micro_batches} micro_batches")
        return self


class Evaluation(Schema):
    """How a cell's test score is taken; part of the protocol that a leaderboard shows."""

    masks: Literal["hard", "soft"] = Field("hard", description="soft keeps a method's soft masks at evaluation")
    select: Literal["final", "validation", "best_test"] = Field(
        "final",
        description="which checkpoint is tested: the last one, the best on validation data, or (only to "
        "reproduce published protocols) the best on the test data themselves; chosen among the checks of a program's "
        "last training, so that every method has as many to choose from",
    )
    checks: int = Field(
        10, ge=1, le=10_000, description="evaluations during each training phase, evenly spaced, last included"
    )
    name: str | None = Field(None, description="a name for this protocol, shown with it")
    settling: bool = Field(
        False,
        description="masks and effective weights are noted before the first step and at every check, to tell when each "
        "is what it will be at the end of the training; the weights lie in the work folder until then",
    )
    batch_norms: Literal["estimated", "trained"] = Field(
        "estimated",
        description="running statistics of batch norms where the scored weights are not those that were last trained "
        "(pruned at the end, or hard masks of a soft training): estimated anew over 20 training batches, or as "
        "training left them",
    )

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what came later than results that are still valid, while it is not set."""
        found: dict[str, Any] = serialize(self)
        if self.batch_norms == "estimated":
            found.pop("batch_norms", None)
        if not self.settling:
            found.pop("settling", None)
        return found

    @property
    def protocol(self) -> str:
        """One line for the protocol column."""
        which = {"final": "final checkpoint", "validation": "checkpoint chosen on validation data"}
        select = which.get(self.select, f"best of {self.checks} TEST evaluations")
        norms = ", batch norms as training left them" if self.batch_norms == "trained" else ""
        return f"{self.name + ': ' if self.name else ''}{self.masks} masks, {select}{norms}"


class CellRef(Schema):
    """Another cell of the same seed; what is not named is as in the cell that refers to it."""

    method: Label
    experiment: Label | None = None
    architecture: Label | None = None
    benchmark: Label | None = None


def _as_ref(value: Any) -> Any:
    return {"method": value} if isinstance(value, str | int) else value


Ref = Annotated[CellRef, BeforeValidator(_as_ref)]


MatchBy = Literal["hard", "soft", "soft_pairs", "per_layer"]


class Match(Schema):
    """A density taken from another cell.

    Its ``hard`` count, its ``soft`` density over weights or over pairs (``soft_pairs``), or its counts ``per_layer``.
    """

    match: Ref
    by: MatchBy = "hard"


class BudgetMatch(Schema):
    """Train for as many optimizer steps as another method's whole program, with the trainings that it goes on from."""

    match: Label


def _density(value: Any) -> float:
    """A number in [0, 1]; one message for whatever else is given."""
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("density must be a number between 0 and 1, a list of them, or {match: METHOD}") from None
    if 0 <= number <= 1:
        return number
    hint = f" (for {value} % write {number / 100:g})" if 1 < number <= 100 else ""
    raise ValueError(f"density must be between 0 and 1, the fraction of weights kept{hint}")


def _different(numbers: list[float]) -> list[float]:
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError("density is a list of at least one number, each of them once")
    return numbers


def _shape(value: Any) -> str:
    return "[mapping]" if isinstance(value, dict) else "[list]" if isinstance(value, list) else "[word]"


Number = Annotated[float, BeforeValidator(_density)]
Density = Annotated[
    Annotated[Number, Tag("[word]")]
    | Annotated[list[Number], AfterValidator(_different), Tag("[list]")]
    | Annotated[Match, Tag("[mapping]")],
    Discriminator(_shape),
]
"""A density in [0, 1], several to spread cells over, or another cell's."""


def _positive(value: float | dict[str, float] | None) -> float | dict[str, float] | None:
    numbers = value.values() if isinstance(value, dict) else [] if value is None else [value]
    if all(number > 0 for number in numbers):
        return value
    raise ValueError("smallest_difference is a number above 0 in the unit of the primary metric, or one per benchmark")


def _scope(value: Any) -> Any:
    return [value] if isinstance(value, str) and value not in ("default", "all") else value


Scope = Annotated[
    Annotated[list[str], Field(min_length=1), Tag("[list]")] | Annotated[Literal["default", "all"], Tag("[word]")],
    Discriminator(_shape),
    BeforeValidator(_scope),
]
"""Which connections methods control: those marked as maskable by default, all, or those of some roles."""


class Named(BaseModel):
    """An architecture or benchmark under a label; every other key is an option of its plugin."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    use: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The plugin's options as given."""
        return dict(self.model_extra or {})


class ArchitectureEntry(Named):
    """An architecture under a label; ``weights`` names imported weights to start from instead of random ones."""

    weights: str | None = None


class MethodEntry(Named):
    """A method under a label; keys that are not listed here are options of its plugin."""

    density: Density | None = None
    source: Ref | None = None
    budget: BudgetMatch | None = None
    scope: Scope | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    evaluation: dict[str, Any] = Field(default_factory=dict)
    space: Space = Field({}, description="option of the plugin -> values that the trials of this method try")
    published: float | dict[str, float] | None = None
    inverted: bool = False
    controls: Label | None = None
    note: str | None = None


def labelled(value: Any) -> Any:
    """Label -> entry, from ``name``, ``[name, {label: {...}}]`` or ``{label: {...} or nothing}``.

    Raises:
        ValueError: if a label is given twice, or is none.
    """
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        pairs = [pair for item in value for pair in (item.items() if isinstance(item, dict) else [(item, None)])]
        labels = [_label(label) for label, _ in pairs]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"'{label}' is given twice; to compare two variants write {{LABEL: {{use: {label}}}}}")
        value = dict(pairs)
    if isinstance(value, dict):
        return {label: {} if entry is None else entry for label, entry in value.items()}
    return value


def _labelled_benchmarks(value: Any) -> Any:
    """As other labels; ``name: [a, b]`` stands for ``a: {use: name, task: a}`` and ``b: {use: name, task: b}``."""
    entries = labelled(value)
    if not isinstance(entries, dict):
        return entries
    found: dict[Any, Any] = {}
    for label, entry in entries.items():
        spread = {task: {"use": label, "task": task} for task in entry} if isinstance(entry, list) else {label: entry}
        if twice := found.keys() & spread.keys():
            raise ValueError(f"'{min(map(str, twice))}' is given twice")
        found |= spread
    return found


class Selector(Schema):
    """Cells that match every key given; each key takes one value or a list."""

    experiment: str | list[str] | None = None
    architecture: str | list[str] | None = None
    method: str | list[str] | None = None
    benchmark: str | list[str] | None = None
    density: float | list[float] | None = None
    seed: int | list[int] | None = None

    def matches(self, cell: Any) -> bool:
        """Whether a cell (anything with these attributes, as labels) matches."""
        return all(getattr(cell, key) in self.values(key) for key in type(self).model_fields if self.values(key))

    def values(self, key: str) -> list[Any]:
        """What it wants of a key; nothing where it does not care."""
        wanted = getattr(self, key)
        return wanted if isinstance(wanted, list) else [] if wanted is None else [wanted]

    @classmethod
    def parse(cls, text: str) -> Selector:
        """From the command line: ``method=genome,seed=0``; a repeated key means any of them.

        Raises:
            ValueError: with what is allowed.
        """
        found: dict[str, list[str]] = {}
        for part in text.split(","):
            key, equals, value = part.partition("=")
            if not equals or not value:
                raise ValueError(f"'{part}' is not key=value, for example method=genome,seed=0")
            if key not in cls.model_fields:
                raise ValueError(unknown_name("selector key", key, cls.model_fields))
            found.setdefault(key, []).append(value)
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            raise ValueError(wrong_value(error, cls, lambda _: ())) from None


def _networks(text: str) -> str:
    if not NETWORKS.fullmatch(text):
        raise ValueError(
            f"'{text}' is not NETWORK against NETWORK, where a network is the label of an architecture, perhaps with "
            "that of a method, for example 'resnet against vgg' or 'resnet.dense against vgg.rigl'"
        )
    return text


def _two(selectors: list[Selector]) -> list[Selector]:
    if len(selectors) != 2:
        raise ValueError(f"give two selectors each, as [{{method: a}}, {{method: b}}], not {len(selectors)}")
    return selectors


def layered(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping of settings over another; a budget in steps replaces one in epochs, and the other way round."""
    if {"epochs", "steps"} & layer.keys():
        base = {key: value for key, value in base.items() if key not in ("epochs", "steps")}
    return {**base, **layer}


def over_shared(content: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment as YAML has it, over what stands at the top of the suite; training and evaluation key by key."""
    shared = {key: value for key, value in content.items() if key in Experiment.model_fields}
    merged = {**shared, **own}
    for key in ("training", "evaluation"):
        if isinstance(shared.get(key), dict) and isinstance(own.get(key), dict):
            merged[key] = layered(shared[key], own[key])
    return merged


class Experiment(Schema):
    """One comparison matrix: architecture x method x density x benchmark x seed."""

    architectures: Annotated[dict[Label, ArchitectureEntry], BeforeValidator(labelled)] = Field(min_length=1)
    methods: Annotated[dict[Label, MethodEntry], BeforeValidator(labelled)] = Field(min_length=1)
    benchmarks: Annotated[dict[Label, Named], BeforeValidator(_labelled_benchmarks)] = Field(min_length=1)
    train_on: Label | None = Field(None, description="benchmark whose training data is used; default: each its own")
    seeds: Annotated[Seeds, BeforeValidator(seeds_from)] = [0]
    scope: Scope = Field("default", description="roles of maskable connections")
    training: Training
    evaluation: Evaluation = Evaluation()
    tune: Tune | None = Field(None, description="how settings are chosen; default: they are as the suite says")
    include: list[Selector] = []
    exclude: list[Selector] = []
    baseline: Label = "dense"
    questions: list[Annotated[Question, BeforeValidator(Question.asked)]] = []
    smallest_difference: Annotated[float | dict[Label, float] | None, AfterValidator(_positive)] = None


RENAMES = Renames({"budgets": "profiles", "budget": "profile"}, until="0.3.0")
"""Keys at the top of a suite."""


class SuiteFile(Schema):
    """The top level of a suite file. Keys of an experiment given here are defaults for all experiments.

    ``profiles`` holds named sets of settings, ``training.steps: 1000`` as ``--set`` would take them. ``profile``
    chooses one, which becomes part of the suite's name: results of different profiles are never in one table. ``slurm``
    is what to ask of a cluster, see :class:`harness.suites.slurm_options.SlurmOptions`.
    """

    name: Label | None = None
    description: str = ""
    profiles: dict[Label, dict[str, Any]] = {}
    profile: Label | None = None
    experiments: dict[Label, dict[str, Any]] | None = None
    architectures: Any = None
    methods: Any = None
    benchmarks: Any = None
    train_on: Any = None
    seeds: Any = None
    scope: Any = None
    training: Any = None
    evaluation: Any = None
    tune: Any = None
    include: Any = None
    exclude: Any = None
    baseline: Any = None
    questions: Any = None
    smallest_difference: Any = None
    agreements: list[Annotated[list[Selector], AfterValidator(_two)]] = Field(
        [],
        description="pairs of selectors: runs whose masks are set beside each other, seed by seed, and beside chance",
    )
    networks: list[Annotated[str, AfterValidator(_networks)]] = Field(
        [], description="NETWORK against NETWORK each: architectures, perhaps with a method, tested by seed"
    )
    slurm: Any = None
