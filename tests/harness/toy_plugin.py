"""Data, a network and methods small enough for the tests of the core; loaded as a single-file plugin."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from harness import (
    Architecture,
    Average,
    Bake,
    Band,
    Benchmark,
    Calibrate,
    Connection,
    DataSpec,
    Entry,
    Finetune,
    Inherit,
    Masks,
    Measurement,
    MethodContext,
    Metric,
    ParameterGroup,
    Phase,
    Prune,
    Reinitialize,
    Rewind,
    Scores,
    SparsityMethod,
    Train,
    TrainingBudget,
    hookimpl,
)

INPUTS, CLASSES, EXAMPLES = 6, 3, 96


class Points:
    """Three noisy clouds, always the same ones."""

    def __init__(self, examples: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.targets = torch.randint(CLASSES, (examples,), generator=generator)
        noise = torch.randn(examples, INPUTS, generator=generator, dtype=torch.float64)
        centres = torch.eye(CLASSES, INPUTS, dtype=torch.float64)
        self.inputs = (centres[self.targets] + noise).to(torch.get_default_dtype())

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.inputs[indices], self.targets[indices]


class Corpus(Benchmark[Any]):
    """Offers training data and no evaluation."""

    def spec(self) -> DataSpec:
        return DataSpec("classification", (INPUTS,), CLASSES, EXAMPLES)

    def training_data(self, device: torch.device) -> Points:
        return Points(EXAMPLES, 0)


class Blobs(Corpus):
    metrics = (Metric("accuracy", "fraction", "max"), Metric("loss", "nats", "min"))
    protocol = "accuracy on 60 points"

    def evaluate(self, model: Callable[[Tensor], Tensor], split: str, device: torch.device) -> dict[str, Measurement]:
        points = Points(60, 1 if split == "validation" else 2)
        logits = model(points.inputs)
        right = (logits.argmax(1) == points.targets).double().mean()
        return {
            "accuracy": Measurement(float(right), 60),
            "loss": Measurement(float(F.cross_entropy(logits, points.targets)), 60),
        }


class Unvalidated(Blobs):
    """Has test scores only."""

    def evaluate(self, model: Callable[[Tensor], Tensor], split: str, device: torch.device) -> dict[str, Measurement]:
        return {} if split == "validation" else super().evaluate(model, split, device)


class TaskOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    task: str = "large"


class Scorer(Benchmark[TaskOptions]):
    """Only evaluates, and tells of each example; task ``tiny`` is for networks that see more than 6 inputs."""

    Options = TaskOptions
    metrics = (Metric("mean_logit", "1", "max"),)
    protocol = "mean logit of 5 points"

    def unsupported(self, architecture: Architecture[Any]) -> str | None:
        return f"it has {architecture.data.inputs[0]} inputs" if self.options.task == "tiny" else None

    def evaluate(self, model: Callable[[Tensor], Tensor], split: str, device: torch.device) -> dict[str, Measurement]:
        if split == "validation":
            return {}
        values = model(Points(5, 3).inputs).mean(1)
        samples = [{"index": i, "logit": float(value)} for i, value in enumerate(values)]
        return Scores({"mean_logit": Measurement.mean(values)}, samples)


class FiniteOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    allow_repeat: bool = False


class Finite(Blobs):
    """Must not be repeated unless the suite says so."""

    Options = FiniteOptions

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.allow_repeat = options.allow_repeat


class NetOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    dropout: float = 0.2
    norm: bool = True


class Net(nn.Module):
    """One parameter that two connections share, a norm with buffers, dropout that draws random numbers."""

    def __init__(self, options: NetOptions) -> None:
        super().__init__()
        self.first = nn.Linear(INPUTS, 10)
        self.norm = nn.BatchNorm1d(10) if options.norm else nn.Identity()
        self.second = nn.Linear(10, 8)
        self.out = nn.Linear(18, CLASSES)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        first = self.dropout(self.norm(self.first(inputs)).relu())
        second = self.second(first).relu()
        logits: Tensor = self.out(torch.cat([first, second], 1))
        return logits if targets is None else F.cross_entropy(logits, targets)


class NetArchitecture(Architecture[NetOptions]):
    Options = NetOptions
    kinds = ("classification",)

    def build(self) -> nn.Module:
        return Net(self.options)

    def connections(self) -> Sequence[Connection]:
        sizes = [("input", INPUTS), ("first", 10), ("second", 8), ("output", CLASSES)]
        data, first, second, out = (Band(name, size, depth) for depth, (name, size) in enumerate(sizes))
        return [
            Connection("first", "first.weight", "dense", data, first, (10, INPUTS)),
            Connection("second", "second.weight", "dense", first, second, (8, 10)),
            Connection("out.first", "out.weight", "skip", first, out, (CLASSES, 10), columns=(0, 10)),
            Connection("out.second", "out.weight", "classifier", second, out, (CLASSES, 8), columns=(10, 18)),
        ]


HELD = {"hooks": False}
PROGRAMS: dict[str, list[Phase]] = {
    "nothing": [Train(0, **HELD)],
    "only_prune": [Prune(), Train(0, **HELD)],
    "train": [Train(45)],
    "train_held": [Train(45, **HELD)],
    "short": [Train(30, **HELD)],
    "one_step": [Train(1, **HELD)],
    "prune": [Train(25, **HELD), Prune(), Train(45, **HELD)],
    "finetune": [Train(25, **HELD), Prune(distribution="erk"), Finetune(45, lr=0.005)],
    "rewind_initial": [Train(25, **HELD), Prune(), Rewind(-1), Train(45, **HELD)],
    "rewind_earlier": [Train(20, **HELD), Train(25, **HELD), Prune(fraction=0.5), Rewind(0), Train(45, **HELD)],
    "sign": [Train(25, **HELD), Prune(), Reinitialize("sign"), Train(45, **HELD)],
    "random_sign": [Train(25, **HELD), Prune(), Reinitialize("random_sign", others="keep"), Train(45, **HELD)],
    "fresh": [Train(25, **HELD), Prune(), Reinitialize("fresh"), Train(45, **HELD)],
    "restart_data": [Train(25, **HELD), Train(45, restart_data=True, **HELD)],
    "dynamic": [Prune(), Train(45)],
    "calibrated": [Calibrate(2), Train(25, **HELD), Prune(), Calibrate(3), Train(45, **HELD), Calibrate(2)],
    "averaged": [Train(45), Train(25, **HELD), Average((0, 1)), Train(25, **HELD)],
    "baked": [Train(45), Bake(), Calibrate(2), Train(25, **HELD)],
    "soft_then_hard": [Train(45), Finetune(25)],
    "hard_then_soft": [Train(25, **HELD), Train(45)],
    "soft_rewound": [Train(45), Rewind(-1), Train(25, **HELD)],
    "soft_ends_rewound": [Train(45), Rewind(-1)],
}


class ProgramOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    program: str = "train"


class Programmed(SparsityMethod[ProgramOptions]):
    """Magnitude scores; with ``dynamic``, drops and grows two weights per connection every 10 steps."""

    Options = ProgramOptions
    takes_density = "optional"

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        return PROGRAMS[self.options.program]

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        return {c.name: context.weight(c).abs() for c in context.connections}

    def on_gradients(self, context: MethodContext) -> None:
        if self.options.program == "dynamic" and context.step % 10 == 9:
            # Random numbers from the global stream: a restart has to bring that back as well.
            self.grow = {
                c.name: context.gradient(c).abs() * (1 + torch.rand(c.shape, device=context.device))
                for c in context.connections
            }

    def after_step(self, context: MethodContext) -> Masks | None:
        if self.options.program != "dynamic" or context.step % 10 != 9:
            return None
        masks = {}
        for c in context.connections:
            mask = context.masks[c.name].clone().reshape(-1)
            inside = context.weight(c).abs().reshape(-1).masked_fill(~mask, torch.inf)
            outside = self.grow[c.name].reshape(-1).masked_fill(mask, -torch.inf)
            mask[inside.argsort()[:2]] = False
            mask[outside.argsort(descending=True)[:2]] = True
            masks[c.name] = mask.reshape(c.shape)
        return Masks(masks)


class Heir(SparsityMethod[BaseModel]):
    """Goes on where its source stopped."""

    takes_density = "never"
    takes_source = "required"

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        return [Inherit(), Train(budget.steps, hooks=False)]


class Soft(SparsityMethod[ProgramOptions]):
    """Composed: every weight times a sigmoid of its own, with a price on open ones. Counts its steps."""

    Options = ProgramOptions
    mode = "composed"
    takes_density = "never"
    gates: ClassVar[float] = 0.5

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        return PROGRAMS[self.options.program]

    def attach(self, context: MethodContext) -> None:
        generator = context.generator("gates")
        self.logits = {
            c.name: nn.Parameter(
                torch.randn(c.shape, generator=generator, dtype=context.raw[c.parameter].dtype) + self.gates
            )
            for c in context.connections
        }
        # From the global stream, as plugins should not: it must still be the same every time.
        self.drawn = torch.rand(3)
        self.count = 0

    def compose(self, connection: Connection, raw: Tensor) -> Tensor:
        return raw * torch.sigmoid(self.logits[connection.name])

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        return [ParameterGroup(list(self.logits.values()), 0.02, schedule="same")]

    def regularizers(self, context: MethodContext) -> Mapping[str, Tensor]:
        self.count += 1
        return {"price": 0.1 * torch.stack([torch.sigmoid(v).mean() for v in self.logits.values()]).mean()}

    @torch.no_grad()
    def final_masks(self, context: MethodContext) -> Masks:
        return Masks({name: value > 0 for name, value in self.logits.items()})

    @torch.no_grad()
    def soft_densities(self) -> Mapping[str, float]:
        return {name: float(torch.sigmoid(value).mean()) for name, value in self.logits.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"logits": {k: v.detach() for k, v in self.logits.items()}, "drawn": self.drawn, "count": self.count}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, value in state["logits"].items():
            self.logits[name].copy_(value)
        self.drawn, self.count = state["drawn"], state["count"]


@hookimpl
def harness_register_architectures() -> Sequence[Entry]:
    return [Entry("net", NetArchitecture)]


@hookimpl
def harness_register_methods() -> Sequence[Entry]:
    return [Entry("programmed", Programmed), Entry("soft", Soft), Entry("heir", Heir)]


@hookimpl
def harness_register_benchmarks() -> Sequence[Entry]:
    return [
        Entry("blobs", Blobs),
        Entry("unscored", Corpus),
        Entry("unvalidated", Unvalidated),
        Entry("scorer", Scorer),
        Entry("finite", Finite),
    ]
