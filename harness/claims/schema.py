"""What a file of claims may say: one paper's published numbers, and what measures each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from harness.claims import formulas
from harness.suites.schema import Fraction, Label, Named, Schema, Scope

RecordQuantity = Literal[
    "hard_density",
    "soft_density",
    "hard_pair_density",
    "soft_pair_density",
    "parameters",
    "parameters_left",
    "connections",
    "validation_loss",
    "mask_settles_ahead",
    "tokens_per_second",
]
CountQuantity = Literal[
    "parameters",
    "connections",
    "own_parameters",
    "parameters_with_own",
    "connections_per_own_parameter",
    "parameters_left",
    "program_density",
    "units",
]


def _expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"this is no regular expression ({error})") from None
    return value


def _formula(value: str) -> str:
    formulas.names(value)
    return value


class Needs(Schema):
    """What a faithful measurement takes where it has not been made."""

    gpu_hours: float | None = Field(None, gt=0, description="hours of one A100 at 40 % of its bf16 peak")
    estimate: str | None = Field(None, description="how gpu_hours were estimated")
    architecture: str | None = Field(None, description="what the harness has no plugin for")
    data: str | None = Field(None, description="data that no benchmark has")
    other: str | None = Field(None, description="anything else")

    @model_validator(mode="after")
    def _says_something(self) -> Needs:
        if not any((self.gpu_hours, self.architecture, self.data, self.other)):
            raise ValueError("needs: say what: gpu_hours, architecture, data or other")
        if (self.gpu_hours is None) != (self.estimate is None):
            raise ValueError("needs: gpu_hours and estimate go together: say how the hours were estimated")
        return self


class Tolerance(Schema):
    """The largest difference that still counts as the same number, in the claim's unit, and why."""

    value: float = Field(ge=0)
    because: str


class Size(Schema):
    """At which size something was trained. Two sizes are the same if these words are.

    What was made at another size than the claim's says nothing about the claim, however near the numbers are.
    """

    network: str = Field(description="12 layers of 768")
    data: str = Field(description="25.9 billion tokens of OpenWebText")
    steps: str = Field(description="52,700 of 491,520 tokens")

    def instead_of(self, claimed: Size) -> str:
        """In what it is another one: ``4 layers of 128 instead of 12 layers of 768; ...``; empty if in nothing."""
        pairs = ((getattr(self, key), getattr(claimed, key)) for key in Size.model_fields)
        return "; ".join(f"{own} instead of {other}" for own, other in pairs if own != other)


class Against(Schema):
    """The cells that an order compares with; what is not named is the same, and ``density: null`` is none."""

    experiment: Label | None = None
    architecture: Label | None = None
    benchmark: Label | None = None
    method: Label | None = None
    density: Fraction | None = None


class Cells(Schema):
    """The cells of a suite that measure a claim, over all seeds."""

    suite: Label
    experiment: Label
    architecture: Label
    benchmark: Label
    method: Label
    density: Fraction | None = Field(None, description="as the suite asks for it, where it asks for several")
    metric: str | None = Field(None, description="a score of the benchmark")
    exponential: bool = Field(False, description="e to the metric: the perplexity of a loss in nats")
    record: RecordQuantity | None = Field(None, description="or something else that the runs' files hold")
    connections: Annotated[str, AfterValidator(_expression)] | None = Field(
        None, description="with a density: only connections in whose name this regular expression is found"
    )
    step: int | None = Field(None, ge=0, description="with a density or validation_loss: at this optimizer step")
    against: Against | None = Field(None, description="for an order: what it is compared with")
    direction: Literal["max", "min"] | None = Field(
        None, description="for an order by a metric that does not judge: which values the paper takes for better"
    )
    size: Size | None = Field(None, description="at which these runs train; default: the section's, the claim's own")
    differs: list[str] = Field([], description="in what this is not the paper's protocol; then it cannot reproduce")

    @model_validator(mode="after")
    def _one_quantity(self) -> Cells:
        if (self.metric is None) == (self.record is None):
            raise ValueError("give either metric or record")
        if self.direction is not None and self.against is None:
            raise ValueError("direction goes with against")
        if self.exponential and self.metric is None:
            raise ValueError("exponential goes with a metric")
        density = self.record in ("hard_density", "soft_density")
        if self.connections is not None and not density:
            raise ValueError("connections goes with record: hard_density or soft_density")
        if self.step is not None and not (density or self.record == "validation_loss"):
            raise ValueError("step goes with record: hard_density, soft_density or validation_loss")
        if self.record == "validation_loss" and self.step is None:
            raise ValueError("record: validation_loss needs a step")
        return self

    def other(self) -> Cells:
        """The cells that these are compared with."""
        assert self.against is not None
        return self.model_copy(update=self.against.model_dump(exclude_unset=True))


class DataShape(Schema):
    """Shape of the data that a network is built for."""

    kind: Literal["classification", "language"]
    inputs: tuple[int, ...] = Field(description="of one example: (1, 28, 28) for images, (context,) for language")
    outputs: int = Field(ge=1, description="classes, or size of the vocabulary")


class Count(Schema):
    """A number that follows from a network and a method by building them: nothing is trained."""

    count: CountQuantity
    architecture: Named
    data: DataShape
    method: Named | None = None
    kind: str | None = Field(None, description="for units: only those of this kind, as the architecture names them")
    scope: Scope = "default"
    density: Fraction = Field(1.0, description="for parameters_left: of the connections in scope")
    differs: list[str] = []

    @model_validator(mode="after")
    def _names(self) -> Count:
        for name in ("architecture", "method"):
            entry = getattr(self, name)
            if entry is not None and entry.use is None:
                raise ValueError(f"{name} needs the key 'use': the name of its plugin")
        if self.method is None and self.count not in ("parameters", "connections", "parameters_left", "units"):
            raise ValueError(f"count: {self.count} needs a method")
        return self


class Arithmetic(Schema):
    """A number that follows from other published numbers of the same file."""

    formula: Annotated[str, AfterValidator(_formula)] = Field(
        description="numbers, ids of claims, + - * / **, brackets, min(), max(), mean()"
    )
    differs: list[str] = []


def _kind(value: Any) -> str:
    """Which of the three a measurement is; in brackets, as errors leave out such steps."""
    for key, model in (("count", Count), ("formula", Arithmetic)):
        if isinstance(value, model) or (isinstance(value, dict) and key in value):
            return f"[{key}]"
    return "[cells]"


Measure = Annotated[
    Annotated[Cells, Tag("[cells]")] | Annotated[Count, Tag("[count]")] | Annotated[Arithmetic, Tag("[formula]")],
    Discriminator(_kind),
]


class Claim(Schema):
    """One published number, or one published order.

    Exactly one of ``value`` (it depends on the seed), ``count`` (it does not, or the paper's own numbers are to give
    it) and ``order``. ``measure`` lists
    measurements from the most faithful to the least; the first that exists is taken.
    """

    id: Label
    quantity: str = Field(description="what was measured, in words")
    value: float | None = Field(None, description="a number that another seed would change; densities as fractions")
    count: float | None = Field(None, description="a number that is the same in every run")
    order: Literal["better", "not_worse"] | None = Field(None, description="the runs are that, than those against")
    bound: Literal["at_least", "at_most"] | None = Field(None, description="value or count is one, not the number")
    unit: str = ""
    rounding: float = Field(0.0, ge=0, description="one unit of the last published digit")
    runs: int = Field(1, ge=1, description="runs that the published value is the mean of")
    tolerance: Tolerance | None = Field(None, description="default: the section's")
    measure: list[Measure] = []
    needs: Needs | None = Field(None, description="default: the section's")
    note: str | None = None

    @property
    def number(self) -> float | None:
        """The published number; None for an order."""
        return self.count if self.value is None else self.value

    @model_validator(mode="after")
    def _goes_together(self) -> Claim:
        if sum(given is not None for given in (self.value, self.count, self.order)) != 1:
            raise ValueError("give exactly one of value, count and order")
        if self.bound is not None and self.order is not None:
            raise ValueError("a bound goes with value or count")
        for measurement in self.measure:
            if isinstance(measurement, Arithmetic) and self.count is None:
                raise ValueError("a formula gives one number without an interval: it measures a count")
            compares = isinstance(measurement, Cells) and measurement.against is not None
            if compares != (self.order is not None):
                raise ValueError("an order is measured by runs with 'against', nothing else is")
            if compares and isinstance(measurement, Cells) and measurement.metric is None:
                raise ValueError("an order compares a metric")
        return self


class Section(Schema):
    """Claims that share where they stand, how they were measured, and what is known about it."""

    title: str
    where: str = Field(description="where in the paper")
    protocol: str = Field(description="how the authors measured, in words")
    size: Size | None = Field(None, description="at which the numbers were made; needed where runs name another")
    general: str | None = Field(
        None,
        description="where the paper states its orders of methods as such, and not of one network: they are then "
        "judged on what is run here, and the verdict says so",
    )
    traps: list[str] = Field([], description="what their released code does otherwise, and what else misleads")
    tolerance: Tolerance | None = None
    needs: Needs
    claims: list[Claim] = Field(min_length=1)

    @model_validator(mode="after")
    def _tolerances(self) -> Section:
        for claim in self.claims:
            if (claim.value is not None or claim.order == "not_worse") and self.tolerance_of(claim) is None:
                raise ValueError(f"claim '{claim.id}' needs a tolerance, here or in its section")
            if self.size is None and any(isinstance(m, Cells) and m.size for m in claim.measure):
                raise ValueError(f"claim '{claim.id}' is measured at a size: say in its section at which it was made")
            if self.general is not None and claim.order is None:
                raise ValueError(f"claim '{claim.id}': general sections hold orders only, a number is of one network")
            if claim.order == "better" and claim.tolerance is not None:
                raise ValueError(f"claim '{claim.id}': 'better' has no tolerance, only 'not_worse' has")
        return self

    def at_its_size(self, measurement: Measure) -> bool:
        """Whether a measurement is of the size that the section's numbers were made at."""
        return not isinstance(measurement, Cells) or measurement.size in (None, self.size)

    def tolerance_of(self, claim: Claim) -> Tolerance | None:
        """The claim's own tolerance, else the section's; a count only has its own, ``better`` has none."""
        if claim.count is not None or claim.order == "better":
            return claim.tolerance
        return claim.tolerance or self.tolerance


class Paper(Schema):
    """One file: a paper (or several on one system) and its claims."""

    title: str
    reference: str
    sections: list[Section] = Field(min_length=1)

    def claims(self) -> Iterator[Claim]:
        """Every claim, in order."""
        return chain.from_iterable(section.claims for section in self.sections)

    def published(self) -> dict[str, float]:
        """Id of a claim -> its number, for those that are no orders: what formulas may name."""
        numbers = ((claim.id, claim.number) for claim in self.claims())
        return {name: number for name, number in numbers if number is not None}
