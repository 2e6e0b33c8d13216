"""The plugin in docs/plugins.md is RigL: against a naive loop, in a cell, and interrupted."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import cos, pi
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import CurrentMasks, DataSpec, DensityBudget, MethodContext, NoOptions, Train, UserError, select
from harness.stages.runner import StageRunner
from harness.stages.store import StageStore
from harness.stages.training_run import Interrupted
from harness.suites.schema import Training
from harness.testing import check_method
from harness.testing.toy import ToyArchitecture, ToyData
from harness.training.distributed import Substrate
from harness.training.sampler import Sampler
from harness.training.trainer import Trainer
from harness.training.weights import Weights

DOCUMENT = (Path(__file__).parents[3] / "docs/plugins.md").read_text(encoding="utf8")
(CODE,) = re.findall(r"^```python\n((?:(?!^```).)*?class RigL.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
CPU = torch.device("cpu")


@pytest.fixture
def rigl() -> Any:
    module: dict[str, Any] = {}
    exec(compile(CODE, "docs/plugins.md", "exec"), module)
    return module["RigL"]


def test_it_is_short_and_passes(rigl: Any) -> None:
    assert len([line for line in CODE.splitlines() if line.strip()]) <= 30
    check_method(rigl, {"interval": 4}, density=0.3)
    method = rigl(rigl.Options(interval=9))
    assert method.dense_gradient_share == 0.1


STEPS, INTERVAL, ALPHA, RATE, MOMENTUM, DECAY = 25, 4, 0.5, 0.1, 0.9, 0.01


def naive(
    weights: list[Tensor], biases: list[Tensor], masks: list[Tensor], data: Callable[[int], tuple[Tensor, Tensor]]
) -> int:
    """RigL in place, with plain loops; the number of connections that it opened."""
    velocity = [torch.zeros_like(w) for w in [*weights, *biases]]
    opened = 0
    for t in range(STEPS):
        inputs, targets = data(t)
        leaves = [w.clone().requires_grad_() for w in [*weights, *biases]]
        x = inputs
        for i in range(3):
            x = x @ leaves[i].t() + leaves[3 + i]
            x = x.relu() if i < 2 else x
        gradients = torch.autograd.grad(cross_entropy(x, targets), leaves)
        new = [mask.clone() for mask in masks]
        if t % INTERVAL == 0 and t <= round(0.75 * STEPS):
            share = ALPHA / 2 * (1 + cos(t * pi / round(0.75 * STEPS)))
            for weight, gradient, mask in zip(weights, gradients, new, strict=False):
                kept = [tuple(i) for i in mask.nonzero().tolist()]
                n = int(share * len(kept))
                for i in sorted(kept, key=lambda i, w=weight: abs(float(w[i])))[:n]:
                    mask[i] = False
                closed = [tuple(i) for i in (~mask).nonzero().tolist()]
                for i in sorted(closed, key=lambda i, g=gradient: -abs(float(g[i])))[:n]:
                    mask[i] = True
        for i, (value, gradient) in enumerate(zip([*weights, *biases], gradients, strict=True)):
            held = gradient * masks[i] + DECAY * value if i < 3 else gradient
            velocity[i] = MOMENTUM * velocity[i] + held
            value -= RATE * velocity[i]
        for i, (before, after) in enumerate(zip(masks, new, strict=True)):
            opened += int((after & ~before).sum())
            velocity[i][before != after] = 0
            weights[i][~after] = 0
        masks[:] = new
    return opened


def test_it_computes_what_a_naive_loop_does(rigl: Any) -> None:
    architecture = ToyArchitecture(NoOptions(), DataSpec("classification", (8,), 4, examples=32))
    module, data, sampler = architecture.build().double(), ToyData(architecture.data), Sampler(32, 1)
    connections = tuple(architecture.connections())
    method = rigl(rigl.Options(interval=INTERVAL, fraction=ALPHA))
    budget = DensityBudget.of(0.3, connections)

    class Doubled(ToyData):
        def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
            inputs, targets = data.batch(indices)
            return inputs.double(), targets

    parameters = dict(module.named_parameters())
    raw = {c.parameter: parameters[c.parameter] for c in connections}
    current = CurrentMasks(connections)
    context = MethodContext(module, connections, raw, current, budget, None, 5, CPU)
    masks = select(method.scores(context), budget, connections, "erk")
    current.hard = masks
    weights = Weights(module, connections, current)
    theirs = [module.get_parameter(f"layers.{i}.weight").detach().clone() for i in range(3)]
    biases = [module.get_parameter(f"layers.{i}.bias").detach().clone() for i in range(3)]
    held = [masks[f"layer{i}"].clone() for i in range(3)]
    Trainer(
        weights=weights,
        method=method,
        context=context,
        data=Doubled(architecture.data),
        sampler=sampler,
        training=Training(
            steps=STEPS,
            batch_size=8,
            optimizer="sgd",
            lr=RATE,
            momentum=MOMENTUM,
            weight_decay=DECAY,
            schedule="constant",
        ),
        phase=Train(STEPS),
        substrate=Substrate(0, 1, CPU),
    ).run(lambda _: None)
    doubled = Doubled(architecture.data)
    opened = naive(theirs, biases, held, lambda t: doubled.batch(sampler.indices(t * 8, 8)))
    assert opened > 10
    assert weights.masks is not None and sum(weights.masks.kept.values()) == budget.keep
    for i in range(3):
        assert torch.equal(weights.masks[f"layer{i}"], held[i])
        assert torch.allclose(module.get_parameter(f"layers.{i}.weight"), theirs[i], rtol=0, atol=1e-12)
        assert torch.allclose(module.get_parameter(f"layers.{i}.bias"), biases[i], rtol=0, atol=1e-12)


def test_a_cell_keeps_its_density_and_survives_being_stopped(lab: Any, tmp_path: Path) -> None:
    here = lab(CODE)
    (planned,) = here.cells("{my_rigl: {density: 0.3, interval: 4}}").values()
    record = here.record(planned)
    assert record["status"] == "done"
    assert record["density"]["kept"] == round(0.3 * record["density"]["size"])
    (stage,) = planned.stages
    changes = [row[2] for row in here.store.series(stage.hash)["densities"]]
    assert len(changes) > 2 and all(row == changes[0] for row in changes)

    store, stops = StageStore(tmp_path / "stopped"), 0
    while store.manifest(stage.hash) is None:
        looks = iter([False, True])
        runner = StageRunner(
            here.registry,
            store,
            Substrate(0, 1, CPU),
            checkpoint_seconds=1e9,
            stopping=lambda: next(looks),  # noqa: B023
        )
        try:
            runner.run(stage)
        except Interrupted:
            stops += 1
    whole, pieces = here.store.state(stage.hash), store.state(stage.hash)
    assert stops >= 1
    for part in ("weights", "masks"):
        assert whole[part].keys() == pieces[part].keys()
        assert all(torch.equal(tensor, pieces[part][name]) for name, tensor in whole[part].items())


def test_its_options_are_checked(lab: Any) -> None:
    with pytest.raises(UserError, match="intervall"):
        lab(CODE).cells("{my_rigl: {density: 0.3, intervall: 4}}")
