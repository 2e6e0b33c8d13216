"""The conformance checks accept what is right and name what is wrong."""

from __future__ import annotations

import itertools
from math import nan
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn
from torch.nn.functional import cross_entropy

from harness import (
    Architecture,
    Band,
    Benchmark,
    Connection,
    DataSpec,
    Masks,
    Measurement,
    Metric,
    ParameterGroup,
    Prune,
    Rewind,
    SparsityMethod,
    Train,
    Unsupported,
)
from harness.testing import check_architecture, check_benchmark, check_method

COUNT = itertools.count()


# --- methods -------------------------------------------------------------------------------------


class Sound(SparsityMethod):
    def program(self, budget):
        return [Prune(), Train(budget.steps, hooks=False)]

    def scores(self, context):
        return {c.name: context.weight(c).abs() for c in context.connections}


class Gated(SparsityMethod):
    """Composed: every weight times a learnt gate of its connection."""

    mode = "composed"
    takes_density = "never"

    def attach(self, context):
        self.gates = {c.name: nn.Parameter(torch.zeros(())) for c in context.connections}

    def parameter_groups(self):
        return [ParameterGroup(list(self.gates.values()), lr=0.1, in_network=False)]

    def compose(self, connection, raw):
        return raw * self.gates[connection.name].sigmoid()

    def final(self, connection, raw):
        return self.compose(connection, raw)

    def state_dict(self):
        return {name: gate.detach().clone() for name, gate in self.gates.items()}

    def load_state_dict(self, state):
        for name, gate in self.gates.items():
            gate.data.copy_(state[name])


class Undeclared(Gated):
    def parameter_groups(self):
        return [ParameterGroup(list(self.gates.values()), lr=0.1, name="gates")]


class Excused(Gated):
    """Its final network is another function, and it says so."""

    def final(self, connection, raw):
        return raw

    def final_differs(self):
        return "the gates are opened"


class Unexcused(Excused):
    def final_differs(self):
        return None


class Thresholded(Gated):
    """STR (Kusupati et al. 2020): sign(w) relu(|w| - sigmoid(s)), which is also what its final network computes."""

    def compose(self, connection, raw):
        return raw.sign() * (raw.abs() - 0.1 * self.gates[connection.name].sigmoid()).relu()

    def final_masks(self, context):
        return Masks({c.name: self.compose(c, context.weight(c)) != 0 for c in context.connections})


class Fewer(Sound):
    """Drops a weight more than asked, and says so."""

    def refine(self, masks, context):
        mask = masks["layer0"].clone()
        mask.view(-1)[mask.view(-1).nonzero()[:1]] = False
        return Masks({**masks, "layer0": mask})

    def other_count(self, asked, kept, connections):
        return "one weight more goes" if kept == asked - 1 else None


class Silent(Fewer):
    def other_count(self, asked, kept, connections):
        return None


class Loose(BaseModel):
    pass


class Anything(Sound):
    Options = Loose


class Empty(Sound):
    def program(self, budget):
        return []


class Changing(Sound):
    def program(self, budget):
        return [Prune(), Train(1 + next(COUNT))]


class Forward(Sound):
    def program(self, budget):
        return [Rewind(1), Train(budget.steps)]


class Undetermined(Sound):
    takes_density = "never"


class Unscored(Sound):
    def scores(self, context):
        return {c.name: context.weight(c).abs() for c in context.connections[1:]}


class Wrong(Sound):
    def scores(self, context):
        return {c.name: context.weight(c).abs().sum(1) for c in context.connections}


class NotANumber(Sound):
    def scores(self, context):
        return {c.name: context.weight(c) * nan for c in context.connections}


class Unseeded(Sound):
    def scores(self, context):
        return {c.name: torch.rand(c.shape) for c in context.connections}


class TooMany(Sound):
    def refine(self, masks, context):
        return Masks.full(context.connections)


class Reviving(Sound):
    takes_density = "never"

    def program(self, budget):
        return [Prune(fraction=0.5), Prune(fraction=0.5), Train(budget.steps, hooks=False)]

    def refine(self, masks, context):
        return Masks({name: ~mask for name, mask in masks.items()})


class Dense(Sound):
    def program(self, budget):
        return [Train(budget.steps)]


class Cut(Gated):
    def compose(self, connection, raw):
        return raw * self.gates[connection.name].detach().sigmoid()


class Forgetful(Gated):
    def load_state_dict(self, state):
        pass


class Unwritable(Gated):
    def state_dict(self):
        return {"function": object()}


class LateMasks(Excused):
    """Its masks open at step 10: right while it trains, wrong for whoever restores it."""

    def final_masks(self, context):
        return {c.name: torch.full(c.shape, context.step >= 10) for c in context.connections}


class LateValues(Excused):
    def final(self, connection, raw):
        return raw * self.context.step

    def attach(self, context):
        super().attach(context)
        self.context = context


class LateGates(LateValues):
    def compose(self, connection, raw):
        return super().compose(connection, raw) * (1 + self.context.step)

    def final(self, connection, raw):
        return raw


class LateDensities(LateValues):
    def soft_densities(self):
        return dict.fromkeys(self.gates, min(1.0, self.context.step / 10))

    def final(self, connection, raw):
        return raw


class Remembering(LateMasks):
    """The same, with the step in its state."""

    def regularizers(self, context):
        self.done = context.step + 1
        return {}

    def attach(self, context):
        super().attach(context)
        self.done = 0

    def final_masks(self, context):
        return {c.name: torch.full(c.shape, self.done >= 10) for c in context.connections}

    def state_dict(self):
        return {"gates": super().state_dict(), "done": self.done}

    def load_state_dict(self, state):
        super().load_state_dict(state["gates"])
        self.done = state["done"]


class TwoOfFour(Sound):
    """The two largest of every four weights of a row."""

    def refine(self, masks, context):
        groups = {c.name: context.weight(c).abs().reshape(c.shape[0], -1, 4) for c in context.connections}
        largest = {name: group.topk(2, dim=2).indices for name, group in groups.items()}
        none = {name: torch.zeros_like(group, dtype=torch.bool) for name, group in groups.items()}
        return {c.name: none[c.name].scatter(2, largest[c.name], True).reshape(c.shape) for c in context.connections}


class Moving(Sound):
    """Turns the rows of one connection's mask at every step, and says nothing of the others."""

    def program(self, budget):
        return [Prune(), Train(budget.steps)]

    def after_step(self, context):
        return {"layer1": context.masks["layer1"].roll(1, 0)}


class Misspelt(Moving):
    def after_step(self, context):
        return {"layer9": context.masks["layer1"]}


class Soft(Moving):
    def after_step(self, context):
        return {"layer1": context.masks["layer1"].float()}


class Speechless(Sound):
    def refine(self, masks, context):
        pass


class Shapeless(Excused):
    def final_masks(self, context):
        return {"layer1": torch.ones(8, dtype=torch.bool)}


def test_the_toy_takes_masks_of_n_in_every_four():
    check_method(TwoOfFour, density=0.5)


@pytest.mark.parametrize("cls", [Excused, Thresholded, Fewer, Remembering, Moving])
def test_what_is_declared_or_owned_passes(cls):
    check_method(cls)


@pytest.mark.parametrize("cls", [Sound, Gated])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_a_sound_method_passes(cls, density):
    check_method(cls, density=density)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Anything, "accept unknown keys"),
        (Empty, "has no Train"),
        (Changing, "differs between two calls"),
        (Forward, "phase 1 is no earlier training phase"),
        (Undetermined, "needs a density"),
        (Unscored, "no scores for connections"),
        (Wrong, "fails, see scores"),
        (NotANumber, "NaN"),
        (Unseeded, "ends with other masks when run again"),
        (TooMany, "asked to keep exactly 64 weights .* keeps 256"),
        (Reviving, "opens .* weights of 'layer0' that were pruned before"),
        (Dense, "keeps 256"),
        (Silent, "asked to keep exactly 64 weights .* keeps 63, and other_count.. gives no reason"),
        (Undeclared, r"final\(\) depends on the parameters 'gates': say in parameter_groups\(\) whether"),
        (Unexcused, r"outputs differ .* return the trained values from final\(\)"),
        (Cut, "no gradient reaches own parameters"),
        (Forgetful, "does not restore"),
        (LateMasks, r"final_masks\(\) answers otherwise once the method is restored"),
        (LateValues, r"final\(\) answers otherwise"),
        (LateGates, r"effective\(\) answers otherwise"),
        (LateDensities, r"soft_densities\(\) answers otherwise"),
        (Misspelt, r"Misspelt.after_step\(\): unknown connection 'layer9'. Did you mean 'layer"),
        (Soft, r"'layer1' has shape \(16, 8\) and type torch.float32, must have shape \(16, 8\) and type torch.bool"),
        (Speechless, r"Speechless.refine\(\) returned None: must be a mapping"),
        (Shapeless, r"Shapeless.final_masks\(\): the mask of connection 'layer1' has shape \(8,\)"),
        (Unwritable, "tensors, numbers, strings, lists and dicts only"),
    ],
)
def test_a_faulty_method_is_found(cls, message):
    with pytest.raises(AssertionError, match=message):
        check_method(cls)


# --- architectures -------------------------------------------------------------------------------


class Language(nn.Module):
    def __init__(self, vocabulary: int, leak: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 8)
        self.head = nn.Linear(8, vocabulary)
        self.leak = leak

    def forward(self, inputs, targets=None):
        x = self.embedding(inputs)
        logits = self.head(x + x.mean(1, keepdim=True) if self.leak else x)
        return logits if targets is None else cross_entropy(logits.flatten(0, 1), targets.flatten())


class Net(Architecture):
    kinds = ("language",)

    def build(self):
        return Language(self.data.outputs)

    def connections(self):
        hidden, head = Band("hidden", 8, 1), Band("head", self.data.outputs, 2)
        return [
            Connection("low", "head.weight", "head", hidden, head, (16, 8), rows=(0, 16)),
            Connection("high", "head.weight", "head", hidden, head, (16, 8), rows=(16, 32)),
        ]

    def changed(self, **second):
        low, high = Net.connections(self)
        values = {name: getattr(high, name) for name in Connection.__dataclass_fields__}
        return [low, Connection(**{**values, **second})]


class Fixed(Net):
    def build(self):
        torch.manual_seed(3)
        return Language(self.data.outputs)


class Restless(Net):
    def build(self):
        module = Language(self.data.outputs)
        module.head.weight.data += next(COUNT)
        return module


class Leaking(Net):
    def build(self):
        return Language(self.data.outputs, leak=True)


class Summed(Net):
    def build(self):
        class Module(Language):
            def forward(self, inputs, targets=None):
                out = super().forward(inputs, targets)
                return out if targets is None else out * targets.numel()

        return Module(self.data.outputs)


class Narrow(Net):
    def build(self):
        return Language(self.data.outputs + 1)


class Overlapping(Net):
    def connections(self):
        return self.changed(rows=(15, 31))


class SameName(Net):
    def connections(self):
        return self.changed(name="low")


class NoSuchParameter(Net):
    def connections(self):
        return self.changed(parameter="tail.weight")


class OutOfRange(Net):
    def connections(self):
        return self.changed(rows=(20, 36))


class WrongShape(Net):
    def connections(self):
        return self.changed(shape=(8, 16))


class TwoDepths(Net):
    def connections(self):
        return self.changed(source=Band("hidden", 8, 0))


class Uncountable(Net):
    def connections(self):
        return self.changed(counts="kernel")


class NoBuffer(Net):
    def connections(self):
        return self.changed(kind="attention")


class WrongWidth(Net):
    def connections(self):
        return self.changed(source=Band("other", 12, 1))


def test_a_sound_architecture_passes():
    check_architecture(Net)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Fixed, "same weights for two torch seeds"),
        (Restless, "differs for the same torch seed"),
        (Leaking, "logits depend on later tokens"),
        (Summed, "the mean cross-entropy of its logits is"),
        (Narrow, r"logits are \(3, 16, 33\), must be \(3, 16, 32\)"),
        (Overlapping, "'high' overlaps an earlier one in 'head.weight'"),
        (SameName, r"connection names repeat: \['low'\]"),
        (NoSuchParameter, "no parameter 'tail.weight'"),
        (OutOfRange, "do not fit"),
        (WrongShape, r"its region has shape \(16, 8\), it says \(8, 16\)"),
        (TwoDepths, "band 'hidden' is .*depth=0.* here and .*depth=1.* elsewhere"),
        (Uncountable, "'high' counts 'kernel', must be weight or"),
        (NoBuffer, r"no buffer outside state_dict\(\) 'head.weight'"),
        (WrongWidth, "does not divide"),
    ],
)
def test_a_faulty_architecture_is_found(cls, message):
    with pytest.raises(AssertionError, match=message):
        check_architecture(cls)


# --- benchmarks ----------------------------------------------------------------------------------


class Points:
    def __init__(self, seed, n=20):
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(n, 5, generator=generator)
        self.targets = (self.inputs[:, 0] > 0).long()

    def __len__(self):
        return len(self.inputs)

    def batch(self, indices):
        return self.inputs[indices], self.targets[indices]


class Bench(Benchmark):
    metrics = (Metric("accuracy", "fraction", "max"),)
    protocol = "on 20 points"

    def spec(self):
        return DataSpec("classification", (5,), 2, examples=20)

    def training_data(self, device):
        return Points(0)

    def points(self, split):
        return Points({"validation": 1, "test": 2}[split])

    def evaluate(self, model, split, device):
        data = self.points(split)
        return {"accuracy": Measurement(float((model(data.inputs).argmax(1) == data.targets).double().mean()), 20)}


class WithoutValidation(Bench):
    def evaluate(self, model, split, device):
        return {} if split == "validation" else super().evaluate(model, split, device)


class Miscounted(Bench):
    def spec(self):
        return DataSpec("classification", (5,), 2, examples=19)


class Misshapen(Bench):
    def spec(self):
        return DataSpec("classification", (1, 5), 2, examples=20)


class TooFewClasses(Bench):
    def spec(self):
        return DataSpec("classification", (5,), 1, examples=20)


class OtherData(Bench):
    def training_data(self, device):
        return Points(next(COUNT))


class Undeclared(Bench):
    metrics = (Metric("loss", "nats", "min"),)


class Wavering(Bench):
    def points(self, split):
        return Points(next(COUNT))


class SameSplits(Bench):
    def points(self, split):
        return Points(1)


class Unexplained(Bench):
    protocol = ""


class Damaged(Bench):
    def verify(self):
        return ["file a is damaged"]


class Counted(Bench):
    def examples(self, split):
        return 20


class NothingToTest(Bench):
    def examples(self, split):
        return 0 if split == "test" else None


class Unwritable(Bench):
    def data_source(self):
        return {"path": Path("a")}


class ManySources(Bench):
    def data_source(self):
        return {"path": str(next(COUNT))}


class Nothing(Benchmark):
    pass


class OnlyEvaluates(Bench):
    spec = Benchmark.spec
    training_data = Benchmark.training_data


class Refusing(OnlyEvaluates):
    def spec(self):
        raise Unsupported("it only evaluates")


class ReadsStates(Bench):
    def evaluate(self, model, split, device):
        return super().evaluate(lambda inputs: model.states(inputs)[-1], split, device)


class ReadsTheSameStates(ReadsStates):
    def points(self, split):
        return Points(1)


class WithStates(nn.Module):
    """Its states are what the parts of it compute; nobody calls it as a whole."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 2)

    def states(self, inputs):
        return [inputs, self.layer(inputs)]


def sign_of_the_first(inputs):
    return torch.stack([-inputs[:, 0], inputs[:, 0]], 1)


class Numbers(Points):
    """Two real numbers for each point."""

    def __init__(self, seed, n=20):
        super().__init__(seed, n)
        self.targets = 100 * self.inputs[:, :2]


class Regression(Bench):
    metrics = (Metric("mse", "squared metres", "min"),)

    def spec(self):
        return DataSpec("regression", (5,), 2, examples=20)

    def training_data(self, device):
        return self.points("training")

    def points(self, split):
        return Numbers({"training": 0, "validation": 1, "test": 2}[split])

    def evaluate(self, model, split, device):
        data = self.points(split)
        return {"mse": Measurement.mean((model(data.inputs) - data.targets).square().mean(1))}


class Changed(Regression):
    """Training data that are altered: ``alter`` gets inputs and targets of a batch."""

    def training_data(self, device):
        data = Numbers(0)
        given = data.batch
        data.batch = lambda indices: self.alter(*given(indices))
        return data


class Flat(Changed):
    alter = staticmethod(lambda inputs, targets: (inputs, targets[:, 0]))


class Rounded(Changed):
    alter = staticmethod(lambda inputs, targets: (inputs, targets.long()))


class Double(Changed):
    alter = staticmethod(lambda inputs, targets: (inputs, targets.double()))


class MissingInput(Changed):
    alter = staticmethod(lambda inputs, targets: (inputs.where(inputs < 2, nan), targets))


class MissingTarget(Changed):
    alter = staticmethod(lambda inputs, targets: (inputs, targets.where(targets < 200, nan)))


class TwoVersions(Changed):
    alter = staticmethod(lambda inputs, targets: (inputs + 0.001 * torch.arange(len(inputs))[:, None], targets))


class Broadcast(Regression):
    """Targets of one number without their axis: (20, 1) - (20,) is (20, 20)."""

    def spec(self):
        return DataSpec("regression", (5,), 1, examples=20)

    def training_data(self, device):
        data = super().training_data(device)
        data.targets = data.targets[:, :1]
        return data

    def evaluate(self, model, split, device):
        data = self.points(split)
        return {"mse": Measurement.mean((model(data.inputs) - data.targets[:, 0]).square())}


class Fingers(Regression):
    def fingerprint(self):
        return str(next(COUNT))


class Scored(Regression):
    """Scores as ``measured`` says."""

    def evaluate(self, model, split, device):
        super().evaluate(model, split, device)
        return {"mse": self.measured}


class NotANumber(Scored):
    measured = Measurement(nan, 20)


class OfNone(Scored):
    measured = Measurement(1.0, 0)


class NegativeError(Scored):
    measured = Measurement(1.0, 20, -1.0)


class NoMetrics(Regression):
    metrics = ()


class Twice(Regression):
    metrics = (*Regression.metrics, *Regression.metrics)


class Augmenting(Numbers):
    """Moved by the number that it draws."""

    draws = 1

    def augmented(self, indices, numbers):
        return self.inputs[indices] + numbers, self.targets[indices]


class Augmented(Regression):
    def training_data(self, device):
        return Augmenting(0)


class Cropped(Augmented):
    def training_data(self, device):
        data = Augmenting(0)
        data.augmented = lambda indices, numbers: (data.inputs[indices, :3], data.targets[indices])
        return data


class Chance(Augmented):
    def training_data(self, device):
        data = Augmenting(0)
        data.augmented = lambda indices, numbers: (data.inputs[indices] + next(COUNT), data.targets[indices])
        return data


class Words(Bench):
    """Texts of three tokens, of which there are as many as ``known``."""

    known = 9

    def points(self, split):
        data = Points({"training": 0, "validation": 1, "test": 2}[split])
        data.inputs = (3 * data.inputs[:, :3].abs()).long().clamp(max=8)
        data.inputs[0, 0] = 8
        return data

    def training_data(self, device):
        return self.points("training")

    def spec(self):
        return DataSpec("text_classification", (3,), 2, examples=20, vocabulary=self.known)


class UnknownWords(Words):
    known = 8


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    n: int


class Optional(Bench):
    Options = Options


def test_a_sound_benchmark_passes():
    check_benchmark(Bench)
    check_benchmark(WithoutValidation)
    check_benchmark(Counted)
    check_benchmark(Regression)
    check_benchmark(Augmented)
    check_benchmark(Words)
    check_benchmark(OnlyEvaluates, model=sign_of_the_first)
    check_benchmark(ReadsStates, model=WithStates())
    with pytest.raises(AssertionError, match="validation and test data are the same"):
        check_benchmark(ReadsTheSameStates, model=WithStates())
    check_benchmark(Optional, {"n": 3})
    check_benchmark(Optional, Options(n=3))


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Miscounted, "spec.. says 19 examples, there are 20"),
        (Misshapen, "inputs are"),
        (TooFewClasses, "targets outside"),
        (OtherData, "training data differs between two instances"),
        (Flat, r"targets are \(3,\), must be \(3, 2\)"),
        (Rounded, "targets are torch.int64, must be torch.float32"),
        (Double, "targets are torch.float64, must be torch.float32"),
        (MissingInput, "inputs have numbers that are not finite"),
        (MissingTarget, "targets have numbers that are not finite"),
        (TwoVersions, "one example comes in two versions within a batch"),
        (Broadcast, r"evaluate\('validation'\) fails on a linear map"),
        (Fingers, "fingerprint.. differs between two instances"),
        (NotANumber, "mse on validation is nan"),
        (OfNone, "mse on validation counts 0 examples"),
        (NegativeError, "mse on validation has stderr -1.0"),
        (NoMetrics, "metrics is empty"),
        (Twice, "metrics repeats a name"),
        (Cropped, "augmented.. gives .* unlike batch"),
        (Chance, "augmented.. depends on more than an example and its numbers"),
        (UnknownWords, r"token ids outside \[0, 8\)"),
        (Undeclared, r"returned \['accuracy'\], declares \['loss'\]"),
        (Wavering, "differs when called again"),
        (SameSplits, "validation and test data are the same"),
        (Unexplained, "protocol is empty"),
        (Damaged, "file a is damaged"),
        (NothingToTest, r"examples\('test'\) says 0, but evaluate\(\) scores 20"),
        (Unwritable, "data_source.. cannot be written as JSON"),
        (ManySources, "data_source.. differs between two instances"),
        (Nothing, "offers neither"),
        (OnlyEvaluates, r"does not say what .* \(OnlyEvaluates offers no training data\): pass model="),
        (Refusing, r"\(it only evaluates\): pass model="),
        (ReadsStates, r"evaluate\('validation'\) fails on a linear map .* 'states'.*: if it needs .* pass model="),
        (Optional, "refuses options"),
    ],
)
def test_a_faulty_benchmark_is_found(cls, message):
    """A model that is given is the author's: what fails on it is raised as it is."""
    if cls is ReadsStates:
        with pytest.raises(AttributeError, match="states"):
            check_benchmark(cls, model=sign_of_the_first)
    with pytest.raises(AssertionError, match=message):
        check_benchmark(cls)
