"""Whole heads and neurons: every architecture names them, and a method prunes them in a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from harness import (
    Architecture,
    Connection,
    DataSpec,
    Masks,
    MethodContext,
    Prune,
    SparsityMethod,
    Train,
    TrainingBudget,
    top_k,
    unit_masks,
    unit_scores,
)
from harness.core.densities import DensityBudget
from harness.stages.calibration_batches import Batches
from harness.stages.discrete_phases import prune
from harness.testing import check_architecture, check_method
from harness.testing.methods import TRAINING, build_network
from harness.testing.toy import ToyData
from harness_architectures.gpt2 import Gpt2, Gpt2Options
from harness_architectures.gpt_rope import GptRope
from harness_architectures.mlp import Mlp
from harness_architectures.skip_mlp import SkipMlp
from harness_biogpt.architecture import Biogpt

SMALL = {"n_layers": 2, "width": 16, "heads": 4}


class Structured(SparsityMethod[Any]):
    """Keeps the heads and neurons of largest norm, in each layer the same fraction."""

    version = "test"
    layers = ("head", "neuron")

    def program(self, budget: TrainingBudget) -> Sequence[Any]:
        return [Train(budget.steps, hooks=False), Prune()]

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        return {c.name: context.weight(c).abs() for c in context.connections}

    def refine(self, masks: Masks, context: MethodContext) -> Masks:
        assert context.budget is not None
        weights = dict(context.model.named_parameters())
        groups = [group for group in context.units if group.kind in self.layers and group.removable]
        kept = {g.name: top_k(unit_scores(g, weights), round(context.budget.requested * g.count)) for g in groups}
        return unit_masks(context.connections, groups, kept)

    def other_count(self, asked: int, kept: int, connections: Sequence[Connection]) -> str | None:
        return "whole units go, and others stay whole"


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (Mlp, {"hidden": [6, 5]}),
        (SkipMlp, {"hidden": [6, 5]}),
        (SkipMlp, {"hidden": [6, 5], "bias": False}),
        (Gpt2, SMALL),
        (Gpt2, {**SMALL, "qkv_bias": False, "attn_out_bias": False, "vocabulary_padding": 24}),
        (GptRope, {**SMALL, "width": 24}),
        (Biogpt, {"n_layers": 4, "width": 48}),
        (Biogpt, {"n_layers": 6, "width": 24, "n_passes": 2, "feedback_into": "layer"}),
        (Biogpt, {"n_layers": 4, "width": 24, "branch_gate": True, "segment": 6, "checkpointing": True}),
        (Biogpt, {"n_layers": 3, "width": 24, "soma_ffn": False, "branch_norm": False, "nmda": False}),
        (Biogpt, {"n_layers": 3, "width": 24, "branch_ffn": False, "multi_neuron": False}),
    ],
)
def test_every_architecture_names_its_units(cls: type[Architecture[Any]], options: dict[str, Any]) -> None:
    check_architecture(cls, options)


@pytest.mark.parametrize(
    ("cls", "options", "expected"),
    [
        (Mlp, {"hidden": [6, 5]}, {"hidden1": 6, "hidden2": 5}),
        (Gpt2, SMALL, {"layer0.heads": 4, "layer0.ffn": 64, "layer1.heads": 4, "layer1.ffn": 64, "stream": 16}),
        (
            Biogpt,
            {"n_layers": 1, "width": 48},
            {"layer0.neurons": 2, "layer0.neuron0.branches": 8, "layer0.neuron0.ffn": 144}
            | {"layer0.neuron1.branches": 8, "layer0.neuron1.ffn": 144, "stream": 48},
        ),
    ],
)
def test_which_units_there_are(cls: type[Architecture[Any]], options: dict[str, Any], expected: dict[str, int]) -> None:
    language = DataSpec("language", (16,), 32, examples=8, tokens=16)
    data = DataSpec("classification", (8,), 4, examples=8) if cls is Mlp else language
    groups = cls(cls.Options.model_validate(options), data).units()
    assert {group.name: group.count for group in groups} == expected


def test_every_parameter_of_a_block_has_units() -> None:
    """Nothing is forgotten."""
    network = Gpt2(Gpt2Options(**SMALL), DataSpec("language", (16,), 32, examples=8, tokens=16))
    named = {member.parameter for group in network.units() for member in group.members}
    assert named == {name for name, _ in network.build().named_parameters()}


def test_the_structured_method_keeps_its_contract() -> None:
    check_method(Structured)


def test_heads_and_neurons_of_gpt2_are_pruned_and_gone() -> None:
    """In float64 the pruned network computes what one without these heads and neurons does, written out by hand."""
    network = Gpt2(Gpt2Options(**SMALL), DataSpec("language", (16,), 32, examples=8, tokens=16))
    scope = tuple(c for c in network.connections() if c.default)
    built = build_network(Structured(None), network, "default", DensityBudget.of(0.5, scope), None)
    module = built.module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(
                0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
            )
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    prune(built, Prune(), Batches(built, lambda: ToyData(network.data), TRAINING, seed=0))
    assert built.current.hard is not None
    alive = {}
    for i in range(2):
        weight = {c.name: built.current.hard[c.name] for c in scope if c.name.startswith(f"block{i}.")}
        heads = weight[f"block{i}.attn.out"][0].reshape(4, 4)
        assert torch.equal(heads.any(1), heads.all(1))
        alive[f"heads{i}"] = heads[:, 0].nonzero().flatten()
        alive[f"ffn{i}"] = weight[f"block{i}.ffn.up"][:, 0].nonzero().flatten()
        assert (len(alive[f"heads{i}"]), len(alive[f"ffn{i}"])) == (2, 32)
    tokens = torch.randint(32, (3, 16))
    with torch.no_grad():
        torch.testing.assert_close(module(tokens), _by_hand(state, alive, tokens), rtol=0, atol=1e-10)
        other = _by_hand(state, alive | {"heads0": torch.arange(4)}, tokens)
        assert float((module(tokens) - other).abs().max()) > 1e-2


def _by_hand(state: dict[str, Tensor], alive: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """GPT-2 of width 16 with heads of 4, of which only those that are ``alive`` exist."""

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (16,), state[f"{name}.weight"], state[f"{name}.bias"])

    x = state["embedding.weight"][tokens] + state["positions.weight"]
    future = torch.ones(16, 16, dtype=torch.bool).triu(1)
    for i in range(2):
        b, y = f"blocks.{i}", norm(x, f"blocks.{i}.attn_norm")
        for head in alive[f"heads{i}"].tolist():
            rows = [slice(16 * part + 4 * head, 16 * part + 4 * head + 4) for part in range(3)]
            q, k, v = (y @ state[f"{b}.attn.qkv.weight"][r].T + state[f"{b}.attn.qkv.bias"][r] for r in rows)
            mixed = (q @ k.transpose(1, 2) / 2).masked_fill(future, float("-inf")).softmax(2) @ v
            x = x + mixed @ state[f"{b}.attn.out.weight"][:, 4 * head : 4 * head + 4].T
        x = x + state[f"{b}.attn.out.bias"]
        units = alive[f"ffn{i}"]
        hidden = norm(x, f"{b}.ffn_norm") @ state[f"{b}.ffn.up.weight"][units].T + state[f"{b}.ffn.up.bias"][units]
        x = (
            x
            + F.gelu(hidden, approximate="tanh") @ state[f"{b}.ffn.down.weight"][:, units].T
            + state[f"{b}.ffn.down.bias"]
        )
    return norm(x, "norm") @ state["embedding.weight"].T
