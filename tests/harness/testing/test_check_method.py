"""What ``check_method`` finds: every fault that it knows, and nothing in what is sound."""

from __future__ import annotations

import itertools
from math import nan

import pytest
import torch
from pydantic import BaseModel
from torch import nn

from harness import (
    Masks,
    ParameterGroup,
    Prune,
    Rewind,
    SparsityMethod,
    Train,
)
from harness.testing import check_method

COUNT = itertools.count()


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


class Constant(Sound):
    def scores(self, context):
        return {c.name: torch.ones(c.shape) for c in context.connections}


class Early(Sound):
    def scores(self, context):
        return {c.name: context.gradient(c).abs() for c in context.connections}


class Elsewhere(Sound):
    def scores(self, context):
        return {c.parameter: context.weight(c).abs() for c in context.connections}


class Listed(Sound):
    def scores(self, context):
        return [context.weight(c).abs() for c in context.connections]


class Turned(Sound):
    def scores(self, context):
        return {c.name: context.weight(c).abs().T for c in context.connections}


class Unreturned(Sound):
    def program(self, budget):
        pass


class Named(Sound):
    def program(self, budget):
        return ["train"]


class Bare(Gated):
    def parameter_groups(self):
        return list(self.gates.values())


class Whole(Gated):
    def parameter_groups(self):
        return [ParameterGroup(self.gates["layer0"], lr=0.1)]


class Termless(Gated):
    def regularizers(self, context):
        return self.gates["layer0"] * 2


class Vector(Gated):
    def regularizers(self, context):
        return {"cost": self.gates["layer0"] * torch.ones(3)}


class Transposed(Gated):
    def final(self, connection, raw):
        return raw.T


class Nothing(Gated):
    def compose(self, connection, raw):
        pass


class Partial(Gated):
    def effective(self, raw, connections):
        return {}


class Percent(Excused):
    def soft_densities(self):
        return dict.fromkeys(self.gates, 50.0)


class Stateless(Gated):
    def state_dict(self):
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
        (Wrong, r"Wrong.scores\(\): the score of connection 'layer0' has shape"),
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
        (Soft, r"the mask of connection 'layer1' is torch.float32, must be torch.bool"),
        (
            Constant,
            r"Constant.scores\(\) gives every weight the score 1, so nothing says which of 256 are the 64 to keep",
        ),
        (Early, r"context.gradient\(\) before any backward pass: first context.loss"),
        (Elsewhere, r"Elsewhere.scores\(\): unknown connection 'layers.0.weight'. Did you mean"),
        (Listed, r"Listed.scores\(\) returned a list: must be a mapping"),
        (Turned, r"Turned.scores\(\): the score of connection 'layer.' has shape \(8, 16\), must have \(16, 8\)"),
        (Unreturned, r"Unreturned.program\(\) is None, must be a list such as \[Train\(budget.steps\)\]"),
        (Named, r"Named.program\(\)\[0\] is a str, must be a Phase"),
        (Bare, r"Bare.parameter_groups\(\)\[0\] is a Parameter, must be a ParameterGroup"),
        (Whole, "ParameterGroup: parameters is a Parameter, must be a list"),
        (Termless, r"Termless.regularizers\(\) returned a Tensor: must be a mapping of names to scalars"),
        (Vector, r"Vector.regularizers\(\): the term 'cost' is a tensor \(3,\), must be a scalar"),
        (Transposed, r"Transposed.final\(\): the weight of connection 'layer.' has shape \(8, 16\)"),
        (Nothing, r"Nothing.compose\(\): the weight of connection 'layer0' is None, must be a tensor"),
        (Partial, r"Partial.effective\(\) returned shapes {}, must be"),
        (Percent, r"Percent.soft_densities\(\): the mean of connection 'layer0' is 50.0, must be a number in \[0, 1\]"),
        (Stateless, r"Stateless.state_dict\(\) returned None: must be a dict"),
        (Speechless, r"Speechless.refine\(\) returned None: must be a mapping"),
        (Shapeless, r"Shapeless.final_masks\(\): the mask of connection 'layer1' has shape \(8,\)"),
        (Unwritable, "tensors, numbers, strings, lists and dicts only"),
    ],
)
def test_a_faulty_method_is_found(cls, message):
    with pytest.raises(AssertionError, match=message):
        check_method(cls)


class DenseOnly(Sound):
    """Cannot mask a classifier."""

    def unsupported(self, architecture, connections):
        return "a classifier" if any(c.role == "classifier" for c in connections) else None


def test_a_method_for_some_connections_is_checked_on_those() -> None:
    with pytest.raises(AssertionError, match="does not support ToyArchitecture"):
        check_method(DenseOnly)
    check_method(DenseOnly, scope="dense")
    check_method(DenseOnly, scope=["dense"])
    with pytest.raises(
        AssertionError, match="scope='conv' is no connection of ToyArchitecture, which has: classifier, d"
    ):
        check_method(DenseOnly, scope="conv")
