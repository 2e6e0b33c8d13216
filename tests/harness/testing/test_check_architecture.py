"""What ``check_architecture`` finds: every fault that it knows, and nothing in what is sound."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from harness import (
    Architecture,
    Band,
    Connection,
)
from harness.testing import check_architecture

COUNT = itertools.count()


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
        (OutOfRange, r"has rows .* of \(\d+, \d+\): "),
        (WrongShape, r"says shape \(8, 16\); its part of .* is \(16, 8\)"),
        (TwoDepths, "band 'hidden' is .*depth=0.* here and .*depth=1.* elsewhere"),
        (Uncountable, "'high' counts 'kernel', must be weight or"),
        (NoBuffer, r"no buffer outside state_dict\(\) 'head.weight'"),
        (WrongWidth, "does not divide"),
    ],
)
def test_a_faulty_architecture_is_found(cls, message):
    with pytest.raises(AssertionError, match=message):
        check_architecture(cls)
