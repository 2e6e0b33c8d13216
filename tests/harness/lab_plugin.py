"""Methods and benchmarks that do one thing in a way that can be computed by hand."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from harness import (
    Benchmark,
    Connection,
    DataSpec,
    Entry,
    Masks,
    Measurement,
    MethodContext,
    Metric,
    Phase,
    Prune,
    Scores,
    SparsityMethod,
    Train,
    TrainingBudget,
    hookimpl,
)


class IntervalOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    interval: int = 10


class Alternating(SparsityMethod[IntervalOptions]):
    """Compressed to the first half of each connection's weights, and whole again, every ``interval`` steps."""

    Options = IntervalOptions
    takes_density = "never"
    dense_gradient_share = 0.25

    def after_step(self, context: MethodContext) -> Masks | None:
        done = context.step + 1
        if done % self.options.interval:
            return None
        compress = (done // self.options.interval) % 2 == 1
        return halves(context.connections) if compress else Masks.full(context.connections)


class AlternatingComposed(SparsityMethod[IntervalOptions]):
    """The same as a composed method with hard masks."""

    Options = IntervalOptions
    mode = "composed"
    takes_density = "never"
    dense_gradient_share = 0.25

    def attach(self, context: MethodContext) -> None:
        self.context = context

    def compose(self, connection: Connection, raw: Tensor) -> Tensor:
        odd = (self.context.step // self.options.interval) % 2 == 1
        return raw * halves([connection])[connection.name] if odd else raw * 1

    def final_masks(self, context: MethodContext) -> Masks:
        return Masks.full(context.connections)


class CountOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    difference: int = 0
    elsewhere: int = 0
    reason: str | None = None


class OtherCount(SparsityMethod[CountOptions]):
    """Keeps ``difference`` weights more than asked for in its first connection, and ``elsewhere`` in its last."""

    Options = CountOptions

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        return [Prune(), Train(budget.steps, hooks=False)]

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        return {c.name: context.weight(c).abs() for c in context.connections}

    def refine(self, masks: Masks, context: MethodContext) -> Masks:
        changed = {name: mask.clone() for name, mask in masks.items()}
        for name, more in zip((min(masks), max(masks)), (self.options.difference, self.options.elsewhere), strict=True):
            mask = changed[name].view(-1)
            mask[(mask if more < 0 else ~mask).nonzero()[: abs(more), 0]] = more > 0
        return Masks(changed)

    def other_count(self, asked: int, kept: int, connections: Sequence[Connection]) -> str | None:
        return self.options.reason


class ThresholdOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    owns: bool = True


class SoftThreshold(SparsityMethod[ThresholdOptions]):
    """sign(w) relu(|w| - 0.1); with ``owns`` its final network computes that too."""

    Options = ThresholdOptions
    mode = "composed"
    takes_density = "never"

    def compose(self, connection: Connection, raw: Tensor) -> Tensor:
        return raw.sign() * (raw.abs() - 0.1).relu()

    def final(self, connection: Connection, raw: Tensor) -> Tensor:
        return self.compose(connection, raw) if self.options.owns else raw

    def final_differs(self) -> str | None:
        return None if self.options.owns else "thresholds are left out"

    def final_masks(self, context: MethodContext) -> Masks:
        return Masks({c.name: context.weight(c).abs() > 0.1 for c in context.connections})


class FaultOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    fault: str = "none"


class Faulty(Benchmark[FaultOptions]):
    """Scores with a fault."""

    Options = FaultOptions
    metrics = (Metric("accuracy", "fraction", "max"), Metric("loss", "nats", "min"))
    protocol = "faulty"
    FAULTS: ClassVar[dict[str, Any]] = {
        "nothing": None,
        "no_mapping": 0.5,
        "empty": {},
        "misspelt": {"accurracy": Measurement(0.5, 60), "loss": Measurement(1.0, 60)},
        "more": {"accuracy": Measurement(0.5, 60), "loss": Measurement(1.0, 60), "time": Measurement(1.0, 60)},
        "less": {"accuracy": Measurement(0.5, 60)},
        "number": {"accuracy": 0.5, "loss": Measurement(1.0, 60)},
        "text": {"accuracy": Measurement("0.5", 60), "loss": Measurement(1.0, 60)},
        "no_examples": {"accuracy": Measurement(0.5, 0), "loss": Measurement(1.0, 60)},
        "negative_examples": {"accuracy": Measurement(0.5, -5), "loss": Measurement(1.0, 60)},
        "half_an_example": {"accuracy": Measurement(0.5, 2.5), "loss": Measurement(1.0, 60)},
        "percent": {"accuracy": Measurement(50.0, 60), "loss": Measurement(1.0, 60)},
        "negative_error": {"accuracy": Measurement(0.5, 60, -0.1), "loss": Measurement(1.0, 60)},
        "all_nan": {"accuracy": Measurement(math.nan, 60), "loss": Measurement(math.inf, 60)},
        "infinite": {"accuracy": Measurement(0.5, 60), "loss": Measurement(math.inf, 60)},
        "huge": {"accuracy": Measurement(0.5, 60), "loss": Measurement(-(10**400), 60)},
        "nan": {"accuracy": Measurement(math.nan, 60), "loss": Measurement(1.0, 60)},
        "nan_error": {"accuracy": Measurement(0.5, 60, math.nan), "loss": Measurement(1.0, 60)},
        "others_numbers": {
            "loss": Measurement(torch.tensor(1.0), 60),
            "accuracy": Measurement(np.float32(0.5), np.int64(60), np.float32(0.125)),
        },
    }

    def spec(self) -> DataSpec:
        return DataSpec("classification", (6,), 3, 96)

    def training_data(self, device: torch.device) -> Any:
        raise AssertionError("not trained on")

    def evaluate(self, model: Callable[[Tensor], Tensor], split: str, device: torch.device) -> Any:
        if split == "validation":
            return {}
        if self.options.fault == "writes":
            next(iter(model.parameters())).data.add_(1)  # type: ignore[attr-defined]
        if self.options.fault in ("none", "writes"):
            return Scores({"accuracy": Measurement(0.5, 60), "loss": Measurement(1.0, 60)}, [{"index": 0}])
        return self.FAULTS[self.options.fault]


class Ramp(Benchmark[FaultOptions]):
    """Its scores are set by how often a split was scored, whatever the network: validation 3, 1, 2, test 5, 6, 4."""

    Options = FaultOptions
    metrics = (Metric("loss", "nats", "min"),)
    protocol = "a ramp"

    def __init__(self, options: FaultOptions) -> None:
        super().__init__(options)
        self.values = {"validation": [3.0, 1.0, 2.0], "test": [5.0, 6.0, 4.0]}
        if self.options.fault == "infinite":
            self.values = {split: [math.nan, math.inf, 2.0] for split in self.values}
        self.asked: list[str] = []

    def spec(self) -> DataSpec:
        return DataSpec("classification", (6,), 3, 96)

    def training_data(self, device: torch.device) -> Any:
        return Cloud()

    def evaluate(self, model: Callable[[Tensor], Tensor], split: str, device: torch.device) -> dict[str, Measurement]:
        self.asked.append(split)
        return {"loss": Measurement((self.values[split] or [9.0]).pop(0), 60)}


class Cloud:
    """Noise."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(5)
        self.inputs = torch.randn(96, 6, generator=generator)
        self.targets = torch.randint(3, (96,), generator=generator)

    def __len__(self) -> int:
        return 96

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.inputs[indices], self.targets[indices]


def halves(connections: Sequence[Connection]) -> Masks:
    """The first half of each connection's weights."""
    return Masks({c.name: (torch.arange(c.size) < c.size // 2).reshape(c.shape) for c in connections})


@hookimpl
def harness_register_methods() -> Sequence[Entry]:
    return [
        Entry("alternating", Alternating),
        Entry("alternating_composed", AlternatingComposed),
        Entry("other_count", OtherCount),
        Entry("soft_threshold", SoftThreshold),
    ]


@hookimpl
def harness_register_benchmarks() -> Sequence[Entry]:
    return [Entry("faulty", Faulty), Entry("ramp", Ramp)]
