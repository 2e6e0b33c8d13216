"""The record of a cell: everything that is known of it, as its file holds it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from harness.results.record_parts import (
    ArchitecturePart,
    BenchmarkPart,
    CellFailure,
    Connectivity,
    Data,
    DataPart,
    Density,
    Environment,
    ExampleFile,
    MethodPart,
    MetricScore,
    ProgramPhase,
    RecordPart,
    SampleFile,
    TrainingCost,
)

SCHEMA: Literal[2] = 2
"""What is written now. Bump it when a key changes its meaning, and teach :mod:`harness.results.upgrading` the step."""


class CellRecord(RecordPart):
    """One cell of the comparison matrix, with its scores or the reason why it has none.

    Densities are fractions in [0, 1]. null means that a file does not know, which may be because it is older than the
    key; unknown keys are kept and mean nothing.
    """

    schema_version: Literal[2] = Field(SCHEMA, alias="schema", description="of this file")
    status: Literal["done", "failed", "diverged"] = Field(description="only done cells are counted")
    cell: str = Field(description="the file's stem; ends in a hash of all that determines the cell")
    suite: str
    experiment: str = Field("", description="the part of the suite")
    architecture: ArchitecturePart
    method: MethodPart
    benchmark: BenchmarkPart
    trained_on: str | None = Field(None, description="label of the benchmark whose training data was used")
    training_data: DataPart | None = Field(None, description="that benchmark")
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)]
    density: Density
    connectivity: Connectivity | None = Field(None, description="null in older files")
    training: Data | None = Field(None, description="as resolved, see docs/suites.md")
    evaluation: Data | None = Field(None, description="as resolved, see docs/suites.md")
    program: list[ProgramPhase] = Field(default_factory=list, description="phases in order")
    stages: list[Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")]] = Field(
        default_factory=list, description="hashes of the stages in order; the last one names the file of masks"
    )
    masks: str | None = Field(
        None,
        description="name of the file of masks where it is another: the last stage was trained before, to other bits",
    )
    metrics: dict[str, MetricScore] = Field(description="scores of the test split; empty without a result")
    validation: dict[str, MetricScore] = Field(default_factory=dict, description="the same of validation data")
    not_finite: dict[str, Literal["inf", "-inf", "nan"]] = Field(
        default_factory=dict, description="test scores that no number can hold"
    )
    samples: SampleFile | None = None
    examples: ExampleFile | None = Field(None, description="null if no metric is a mean or ratio, and in older files")
    published: float | None = Field(None, description="number that a paper reports for the primary metric")
    spent: TrainingCost | None = None
    trained_by: list[Environment] | None = Field(
        None, description="in which the weights came about, in order; what they started from included"
    )
    environment: Environment | None = Field(None, description="in which they were tested")
    finished: str | None = Field(None, description="UTC, ISO 8601")
    failure: CellFailure | None = None

    @model_validator(mode="after")
    def _complete(self) -> CellRecord:
        if self.status == "done" and self.density.mask is None:
            raise ValueError("is done and lacks density.mask")
        if self.status == "done" and not self.metrics:
            raise ValueError("is done and has no metric")
        return self

    @property
    def network(self) -> str | None:
        """Names the network that was scored, and so its file of masks; None in records without stages."""
        return self.masks or (self.stages[-1] if self.stages else None)

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return self.model_dump(mode="json", by_alias=True)
