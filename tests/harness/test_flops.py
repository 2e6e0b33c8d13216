"""Operations counted by running a network, and what masks would save: against counts by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.architecture import Architecture
from harness.benchmark import DataSpec
from harness.connections import Band, Connection
from harness.flops import Flops, Trained, forward_flops, sparse_training_flops

IMAGES = DataSpec("classification", (1, 8, 8), 10, 100)
BANDS = [Band(str(depth), 1, depth) for depth in range(4)]


class Odd(nn.Module):
    """A convolution, a matrix that is used twice, and one that is cut up, scaled and joined with another one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, stride=2)
        self.twice = nn.Parameter(torch.zeros(64, 64))
        self.cut = nn.Parameter(torch.zeros(10, 64))
        self.scale = nn.Parameter(torch.zeros(10, 1))
        self.joined = nn.Parameter(torch.zeros(6, 64))
        self.norm = nn.LayerNorm(64)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x).flatten(1))
        x = x @ self.twice @ self.twice.T
        weight = torch.cat([(self.cut * self.scale)[:4], self.joined])
        return torch.nn.functional.linear(x, weight)


class OddArchitecture(Architecture[Any]):
    """Of the network above."""

    kinds = ("classification",)

    def build(self) -> nn.Module:
        return Odd()

    def connections(self) -> list[Connection]:
        shapes = {"conv.weight": (4, 1, 3, 3), "twice": (64, 64), "cut": (10, 64), "joined": (6, 64)}
        return [Connection(name, name, "dense", BANDS[0], BANDS[1], shape) for name, shape in shapes.items()]


def test_every_weight_costs_what_it_is_multiplied() -> None:
    found = forward_flops(OddArchitecture(OddArchitecture.Options(), IMAGES), IMAGES)
    assert found.total == 2 * (4 * 4 * 4 * 9 + 2 * 64 * 64 + 10 * 64)
    assert found.per_weight["conv.weight"] == 2 * 4 * 4
    assert found.per_weight["twice"] == 2 * 2
    assert found.per_weight["joined"] == 2
    assert found.per_weight["cut"] == pytest.approx(2 * 4 / 10)  # four of its ten rows
    assert "norm.weight" not in found.per_weight


def test_masks_save_their_share() -> None:
    architecture = OddArchitecture(OddArchitecture.Options(), IMAGES)
    found = forward_flops(architecture, IMAGES)
    densities = {"conv.weight": 1.0, "twice": 0.25, "cut": 1.0, "joined": 0.5}
    saved = 0.75 * 4 * 64 * 64 + 0.5 * 2 * 6 * 64
    assert found.sparse(architecture.connections(), densities) == pytest.approx(found.total - saved)


LAYER = Connection("layer", "weight", "dense", BANDS[0], BANDS[1], (10, 10))
FORWARD = Flops(300, {"weight": 2.0})  # 100 operations that no mask touches


@pytest.mark.parametrize(
    ("soft", "dense_gradients", "each"),
    [
        pytest.param(False, 0.0, 3 * 150, id="masks that stand: 3 f_S"),
        pytest.param(False, 1.0, 2 * 150 + 300, id="gradients of all weights: 2 f_S + f_D"),
        pytest.param(False, 1 / 100, (99 * 3 * 150 + 2 * 150 + 300) / 100, id="RigL, every 99 steps"),
        pytest.param(True, 0.0, 3 * 300, id="soft masks: 3 f_D"),
    ],
)
def test_training_by_rigls_accounting(soft: bool, dense_gradients: float, each: float) -> None:
    phase = Trained(40, {"layer": 0.25}, soft, dense_gradients)
    assert sparse_training_flops(FORWARD, [LAYER], [phase]) == pytest.approx(40 * each)


def test_a_program_is_the_sum_of_its_phases() -> None:
    phases = [Trained(40, {"layer": 1.0}, False, 0.0), Trained(10, {"layer": 0.5}, False, 0.0)]
    assert sparse_training_flops(FORWARD, [LAYER], phases) == 3 * (40 * 300 + 10 * 200)
