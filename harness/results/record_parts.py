"""The parts that a cell's record is made of, as pydantic models: each field with its unit and range."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from harness.storage.numbers import Fraction, WholeNumber

Direction = Literal["max", "min", "none"]
Amount = Annotated[int | float, Field(ge=0, le=1e100)]
Data = dict[str, JsonValue]
"""Whatever a plugin or a suite says of itself, as plain JSON."""


class RecordPart(BaseModel):
    """Numbers are finite, booleans are no numbers, nothing is changed; unknown keys are kept and mean nothing."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False, populate_by_name=True)


class PluginPart(RecordPart):
    """One plugin with its options, as resolved."""

    label: str = Field(description="what the suite calls it")
    plugin: str | None = Field(None, description="name under which the plugin is registered")
    version: str | None = Field(None, description="of the plugin")
    options: Data = Field(default_factory=dict, description="all of them, defaults included")
    content: str | None = Field(None, description="SHA-256 of a single-file plugin and of the modules beside it")


class ArchitecturePart(PluginPart):
    """The network."""

    parameters: WholeNumber | None = Field(
        None, description="in the whole network, masked ones included; null if not built"
    )
    weights: str | None = Field(None, description="SHA-256 of the imported weights that it started from")
    weights_from: str | None = Field(None, description="their name, or the path of their folder, as the suite had it")


class MethodPart(PluginPart):
    """The sparsity method."""

    note: str | None = Field(None, description="free text of the suite")
    inverted: bool = Field(False, description="whether its prunings kept the lowest scores instead of the highest")
    final_differs: str | None = Field(
        None,
        description="why the network that was tested hard is another function than the trained one; null if it is not",
    )
    norms_estimated: WholeNumber = Field(
        0,
        description="training batches over which running statistics of batch norms were estimated anew for scoring; 0 "
        "where they are as training left them, or there are none",
    )
    trained_only: dict[str, WholeNumber] = Field(
        default_factory=dict,
        description="parameters that the method trained and the final network does without, by name",
    )
    members: WholeNumber = Field(
        1,
        description="networks whose mean prediction was scored; kept weights, what is left of all parameters, and "
        "operations are theirs together, sizes are of one",
    )


class DataPart(PluginPart):
    """A benchmark as training data."""

    fingerprint: str | None = Field(None, description="of the data: equal for equal data")
    source: Data | None = Field(
        None, description="where the data came from, if the benchmark says so; for files path, files, bytes, sha256"
    )


class BenchmarkPart(DataPart):
    """A benchmark as evaluation."""

    protocol: str = Field("", description="one line: how scores are taken; others never stand in one column with these")
    references: dict[str, float] = Field(
        default_factory=dict, description="what can be had without a network: its score on the test split, by name"
    )


class DensityMatch(RecordPart):
    """The cell whose density this one takes."""

    cell: str = Field(description="its name")
    by: str = Field("", description="hard, soft, soft_pairs or per_layer")


class ConnectionCounts(RecordPart):
    """What is left of one connection, counted in weights."""

    size: WholeNumber = Field(description="weights that could be masked")
    kept: WholeNumber = Field(description="weights that the final mask keeps")
    nonzero: WholeNumber | None = Field(None, description="weights that are not zero in the network that was scored")
    soft: Fraction | None = Field(None, description="mean of the soft mask; null where masks are hard")
    role: str | None = Field(
        None, description="what the connection does, as its architecture names it; null if unknown"
    )


class PairCounts(RecordPart):
    """Counted in pairs of an output and an input unit where connections say so, as for kernels; else in weights."""

    kept: WholeNumber = Field(description="pairs of which the final mask keeps a weight")
    size: WholeNumber = Field(description="pairs that could be masked")
    soft: Fraction | None = Field(None, description="mean soft mask over pairs; null where masks are hard")


class AttentionDensity(RecordPart):
    """Masks on scores of attention, which are no weights: entries (query, key)."""

    mask: Fraction = Field(description="kept / size")
    kept: WholeNumber = Field(description="entries that the final mask leaves open")
    size: WholeNumber = Field(description="entries that could be masked")
    connections: dict[str, ConnectionCounts] = Field(default_factory=dict, description="by name, from input to output")


class Density(RecordPart):
    """Fractions of the weights in scope: as asked for, as the final mask keeps, and recounted."""

    requested: Fraction | None = Field(
        None, description="as asked for, or of what it is matched to; null where the method decides"
    )
    match: DensityMatch | None = Field(None, description="whose density was taken; null if nobody's")
    source: str | None = Field(None, description="the cell whose final network this one builds on; null if none")
    scope: str = Field("maskable", description='"maskable", or "maskable[role,...]" where a suite limits it')
    mask: Fraction | None = Field(None, description="kept / size; null without a result")
    nonzero: Fraction | None = Field(
        None, description="weights that are not zero / size, in the network that was scored"
    )
    total: Amount | None = Field(
        None,
        description="parameters that are not zero, added ones included, / all parameters of the architecture's network",
    )
    added: dict[str, WholeNumber] = Field(
        default_factory=dict, description="parameters that the method adds to the final network, by name"
    )
    pairs: PairCounts | None = Field(None, description="null where every connection counts weights")
    attention: AttentionDensity | None = Field(None, description="null where there are no masks on attention")
    soft: Fraction | None = Field(None, description="mean of the soft masks over weights; null where masks are hard")
    kept: WholeNumber | None = Field(None, description="weights that the final mask keeps")
    size: WholeNumber | None = Field(None, description="weights in scope")
    other_count: str | None = Field(
        None,
        description="the method's reason for keeping another number of weights than asked for; null if it does not",
    )
    connections: dict[str, ConnectionCounts] = Field(default_factory=dict, description="by name, from input to output")

    @model_validator(mode="after")
    def _counts(self) -> Density:
        for name, counts in self.connections.items():
            if counts.kept > counts.size or (counts.nonzero or 0) > counts.size:
                raise ValueError(f"connection {name!r:.60} keeps more weights than it has")
        return self


class MetricScore(RecordPart):
    """One metric's value over the examples of a split."""

    value: float = Field(description="in the metric's unit")
    n: WholeNumber | None = Field(None, description="examples that it is the mean of")
    stderr: Annotated[float, Field(ge=0)] | None = Field(None, description="standard error over these; null if none")
    unit: str = Field("", description="such as fraction or nats; fractions are in [0, 1], never percent")
    direction: Direction = Field(description='which values are better; "none" if the metric does not judge')
    split: str = Field("test", description="test or validation")
    primary: bool = Field(False, description="whether methods are ranked by it")
    timed: bool = Field(False, description="whether a clock was read for it: it is another number each time")

    @model_validator(mode="after")
    def _share(self) -> MetricScore:
        if self.unit == "fraction" and not 0 <= round(self.value, 9) <= 1:
            raise ValueError(f"{self.value:.8g} is no fraction: these lie in [0, 1]")
        return self


class SampleFile(RecordPart):
    """What the evaluation found on each example, in a file of its own."""

    file: str = Field(description="its name in samples/")
    rows: WholeNumber = Field(description="one a line")
    sha256: str = Field(description="of the rows, unpacked")


class ExampleFile(RecordPart):
    """What each metric of the test split is made of, in a file of its own: see docs/records.md."""

    file: str = Field(description="its name in examples/")
    rows: WholeNumber = Field(
        description="units that the first metric in it is made of: the primary one if that is a mean"
    )
    unit_of_examples: str = Field(description="what one of them is: example, document, window, block, ...")
    sha256: str = Field(description="of the file, unpacked")


class DeadUnits(RecordPart):
    """Neurons, heads, branches and channels of which no weight on the way in, or none on the way out, is effective."""

    dead: WholeNumber = Field(description="in all groups of units that the architecture names")
    of: WholeNumber = Field(description="units in these groups")


class Connectivity(RecordPart):
    """What the mask of the scored network leaves between its inputs and outputs, and what the network makes of it.

    Where the network was scored with soft masks, every weight counts that is not exactly zero. Of several networks
    whose predictions are averaged, weights and units are counted together; ``size`` is that of one.
    """

    effective: WholeNumber | None = Field(
        None,
        description="weights in scope by which the outputs have a gradient that is not zero, in float64, in one of 8 "
        "draws of all weights and inputs under the mask, without biases; null if the network cannot compute in "
        "float64, or is too large for it",
    )
    size: WholeNumber = Field(description="weights in scope")
    dead_units: DeadUnits | None = Field(None, description="null if the architecture names no units, or not known")
    empty: list[str] = Field(default_factory=list, description="connections of which no weight is kept")
    depends_on_input: bool | None = Field(
        None, description="whether the outputs can depend on the inputs, in one of these draws; null if not known"
    )
    varies: bool | None = Field(
        None,
        description="whether outputs of the network as scored differ between up to 512 training examples by more than "
        "rounding; null if the training data was not there",
    )
    predictions: WholeNumber | None = Field(
        None, description="classes that it predicts for these; null where there are no classes"
    )

    @property
    def density(self) -> float | None:
        """Effective density, in [0, 1]."""
        return None if self.effective is None else self.effective / max(1, self.size)

    @property
    def broken(self) -> Literal["cut", "constant"] | None:
        """``cut`` between inputs and outputs, or ``constant`` over examples; None if neither is known of it."""
        if self.depends_on_input is False:
            return "cut"
        return "constant" if self.varies is False or self.predictions == 1 else None


class OperationCounts(RecordPart):
    """Floating-point operations, 2 for each multiplication with its addition."""

    convention: str | None = Field(None, description="what is counted, dense-equivalent")
    training: Amount | None = Field(None, description="of the whole program, dense-equivalent")
    inference: Amount | None = Field(None, description="of one example, dense-equivalent")
    sparse_convention: str | None = Field(None, description="how masked weights are accounted for")
    training_sparse: Amount | None = Field(None, description="of the program in sparse kernels; null if not known")
    inference_sparse: Amount | None = Field(None, description="of one example in sparse kernels; null if not known")


class CalibrationCost(RecordPart):
    """What the program looked at without training on it."""

    batches: WholeNumber | None = Field(None, description="of training examples")
    examples: WholeNumber | None = Field(None, description="in them, repeated ones each time")


class TrainingCost(RecordPart):
    """What the program has cost, what it started from included."""

    steps: WholeNumber | None = Field(None, description="optimizer steps over all phases")
    examples: WholeNumber | None = Field(None, description="training examples seen, repeated ones each time")
    tokens: WholeNumber | None = Field(
        None, description="the same in tokens; equal to examples where these are no sequences"
    )
    seconds: Amount | None = Field(None, description="of training, as it was scheduled")
    peak_memory_bytes: WholeNumber | None = Field(
        None, description="of the GPU in these stages, else of the worker process with torch and what it ran before"
    )
    mask_updates: WholeNumber | None = Field(
        None, description="how often a method changed masks between steps; null: it does not, or not known"
    )
    calibration: CalibrationCost | None = Field(None, description="in none of the other numbers")
    flops: OperationCounts | None = None


class Environment(RecordPart):
    """Versions and machine; versions of further packages stand under the packages' names."""

    harness: str | None = Field(None, description="version")
    torch: str | None = Field(None, description="version")
    python: str | None = Field(None, description="version")
    git: str | None = Field(None, description="revision of the harness; + where files had changed since")
    device: str | None = Field(None, description="cpu or cuda")
    device_name: str | None = Field(None, description="of the processor or GPU")
    threads: WholeNumber | None = Field(None, description="of torch in a worker process")
    processes: WholeNumber | None = Field(None, description="that trained one network together")
    packed: WholeNumber | None = Field(
        None, description="networks that took their steps together, this one included; null: it trained alone"
    )
    determinism: str | None = Field(None, description="what an equal run would repeat")
    plugins: dict[str, str | None] | None = Field(None, description="distribution: version, or single file: SHA-256")


class CellFailure(RecordPart):
    """Why a cell has no result."""

    type: str | None = Field(None, description="class of the error")
    message: str | None = None
    traceback: str | None = None
    step: WholeNumber | None = Field(None, description="optimizer step of the phase at which training diverged")
    cause: str | None = Field(None, description="the failure of another cell that this one follows from")


class ProgramPhase(RecordPart):
    """One phase of a program; its own settings stand under their names."""

    type: str = Field("phase", description="such as Train or Prune")
