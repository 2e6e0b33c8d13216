"""Networks of transformers: what they compute, their connections and units, and what is refused."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from harness import DataSpec, Masks, Unsupported, UserError, outermost, unit_masks
from harness.compaction.compact import compact
from harness.compaction.program import trace
from harness.interchange.bundle import own_state
from harness.results.flops import forward_flops
from harness.testing import check_architecture
from harness.training.weights import Weights
from harness_architectures.gpt2 import Gpt2, Gpt2Options, load_hf

pytest.importorskip("transformers", reason="transformers is not installed")

from tiny_hf import CONTEXT, DATA, FAMILIES, GPT2, HEADS, LAYERS, LLAMA, SIZES, VOCABULARY, WIDTH, hf, random_network
from transformers import AutoModelForCausalLM

from harness_imports.hf import HfExporter
from harness_transformers.architecture import Hf
from harness_transformers.network import HfNetwork
from harness_transformers.options import HfOptions
from harness_transformers.roles import role_of

# --- networks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_keeps_the_contract_of_architectures(family: str) -> None:
    check_architecture(Hf, {"config": FAMILIES[family]})


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("gpt2", {"heads": 2, "ffn": 64}),
        ("gpt_neox", {"heads": 2, "ffn": 48}),
        ("llama", {"heads": 2, "key_value_heads": 1, "ffn": 48}),
        ("phi", {"heads": 2, "ffn": 48}),
        ("opt", {"heads": 2, "ffn": 48}),
    ],
)
def test_heads_and_neurons_are_named(family: str, expected: dict[str, int]) -> None:
    groups = hf(FAMILIES[family]).units()
    assert {g.name: g.count for g in groups} == {f"layer{i}.{n}": c for i in range(LAYERS) for n, c in expected.items()}


def test_heads_under_one_norm_are_coupled() -> None:
    groups = {g.name: g.coupled for g in hf({**LLAMA, "model_type": "olmo2"}).units()}
    assert groups["layer0.heads"] == groups["layer1.key_value_heads"] == "a norm over all heads"
    assert groups["layer0.ffn"] is None


@pytest.mark.parametrize("family", FAMILIES)
def test_units_that_are_gone_are_cut_out(family: str) -> None:
    architecture, network = hf(FAMILIES[family]), random_network(FAMILIES[family])
    network.requires_grad_(False)
    parameters, generator = dict(network.named_parameters()), torch.Generator().manual_seed(3)
    groups = [group for group in outermost(architecture.units()) if group.removable]
    kept = {group.name: torch.rand(group.count, generator=generator) < 0.5 for group in groups}
    masks = unit_masks(architecture.connections(), architecture.units(), kept)
    for c in architecture.connections():
        c.region(parameters[c.parameter]).mul_(masks[c.name])
    found = compact(architecture, network)
    assert {name: left for name, (left, _) in found.units.items()} == {n: max(1, int(k.sum())) for n, k in kept.items()}
    inputs = torch.randint(VOCABULARY, (3, CONTEXT))
    assert float((found.module(inputs) - network(inputs)).abs().max()) < 1e-5  # of what transformers does in float32
    torch.testing.assert_close(trace(found.module, DATA)(inputs), network(inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pruned_model_goes_back_to_transformers(family: str, tmp_path: Path) -> None:
    architecture = hf(FAMILIES[family])
    network = random_network(FAMILIES[family]).float().requires_grad_(False)
    c = next(c for c in architecture.connections() if c.role == "ffn_up")
    parameter = dict(network.named_parameters())[c.parameter]
    mask = torch.rand(c.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    c.region(parameter).mul_(mask)
    keep = torch.ones_like(parameter, dtype=torch.bool)
    c.region(keep).copy_(mask)
    HfExporter().write(tmp_path, architecture, own_state(network), {c.parameter: keep})
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True).eval()
    assert type(theirs) is type(network.model)
    inputs = torch.randint(VOCABULARY, (3, CONTEXT), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(theirs(inputs).logits, network(inputs), rtol=1e-5, atol=1e-5)
    saved = load_file(tmp_path / "masks.safetensors")
    assert {f"model.{name}": tensor.tolist() for name, tensor in saved.items()} == {c.parameter: keep.tolist()}


def test_gpt2_is_our_own_gpt2() -> None:
    theirs = random_network(GPT2)
    architecture = Gpt2(Gpt2Options(n_layers=LAYERS, width=WIDTH, heads=HEADS), DATA)
    ours = architecture.build().double()
    load_hf(ours, theirs.model.state_dict())
    inputs, targets = torch.randint(0, VOCABULARY, (2, 3, CONTEXT))
    torch.testing.assert_close(theirs(inputs), ours(inputs), rtol=0, atol=1e-5)
    torch.testing.assert_close(theirs(inputs, targets), ours(inputs, targets), rtol=0, atol=1e-5)
    for state, own in zip(theirs.states(inputs), ours.states(inputs), strict=True):
        torch.testing.assert_close(state, own, rtol=0, atol=1e-5)

    def regions(network: Any, connections: Any) -> list[torch.Tensor]:
        parameters = dict(network.named_parameters())
        return [c.region(parameters[c.parameter]) for c in connections]

    found = zip(regions(theirs, hf(GPT2).connections()), regions(ours, architecture.connections()), strict=True)
    assert all(torch.equal(a, b) for a, b in found)
    bands = [
        [(c.role, c.source.depth, c.target.depth, c.default) for c in a.connections()] for a in (hf(GPT2), architecture)
    ]
    assert bands[0] == bands[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_fit_together(family: str) -> None:
    network = random_network(FAMILIES[family])
    inputs, targets = torch.randint(0, VOCABULARY, (2, 3, 7))
    states, seen = network.states(inputs), []
    for block in network.blocks:
        block.register_forward_hook(lambda *call: seen.append(call[2] if torch.is_tensor(call[2]) else call[2][0]))
    logits = network.model(input_ids=inputs).logits
    assert len(states) == LAYERS + 1
    assert all(torch.equal(state, output) for state, output in zip(states[1:], seen, strict=True))
    torch.testing.assert_close(network.normed(states[-1]), network.features(inputs))
    torch.testing.assert_close(network(inputs), logits)
    losses = [
        math.log(sum(math.exp(v) for v in row)) - row[target]
        for row, target in zip(logits.flatten(0, 1).tolist(), targets.flatten().tolist(), strict=True)
    ]
    assert network(inputs, targets).item() == pytest.approx(sum(losses) / len(losses), abs=1e-9)
    network(inputs, targets).backward()
    assert all(p.grad is not None for name, p in network.named_parameters() if "position" not in name)
    with pytest.raises(ValueError, match="17 tokens do not fit into a context of 16"):
        network(torch.zeros(1, CONTEXT + 1, dtype=torch.long))


@pytest.mark.parametrize("family", FAMILIES)
def test_masked_weights_stay_zero_in_training(family: str) -> None:
    torch.manual_seed(0)
    architecture = hf(FAMILIES[family])
    network, connections = architecture.build(), architecture.connections()
    masks = Masks({c.name: torch.rand(c.shape) < 0.4 for c in connections})
    weights = Weights(network, connections, masks)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9)
    inputs, targets = torch.randint(0, VOCABULARY, (2, 4, CONTEXT))
    losses = []
    for _ in range(15):
        loss = network(inputs, targets)
        optimizer.zero_grad()
        loss.backward()
        weights.pull_back()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    assert weights.zeros() == {name: int((~mask).sum()) for name, mask in masks.items()}
    weights.load({name: tensor.clone() for name, tensor in weights.state().items()})


# --- connections ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "per_block", "ends"),
    [
        ("gpt2", {"qkv": 3, "attn_out": 1, "ffn_up": 1, "ffn_down": 1}, ["embedding"]),
        ("gpt_neox", {"qkv": 1, "attn_out": 1, "ffn_up": 1, "ffn_down": 1}, ["embedding", "head"]),
        ("llama", {"qkv": 3, "attn_out": 1, "ffn_gate": 1, "ffn_up": 1, "ffn_down": 1}, ["embedding", "head"]),
        ("phi", {"qkv": 3, "attn_out": 1, "ffn_up": 1, "ffn_down": 1}, ["embedding", "head"]),
        ("opt", {"qkv": 3, "attn_out": 1, "ffn_up": 1, "ffn_down": 1}, ["embedding"]),
    ],
)
def test_connections_are_all_matrices_of_the_blocks(family: str, per_block: dict[str, int], ends: list[str]) -> None:
    architecture = hf(FAMILIES[family])
    connections, network = architecture.connections(), architecture.build()
    assert Counter(c.role for c in connections if c.default) == {role: LAYERS * n for role, n in per_block.items()}
    assert [c.role for c in connections if not c.default] == ends
    matrices = {name for name, p in network.named_parameters() if p.dim() == 2 and "position" not in name}
    assert {c.parameter for c in connections} == matrices - {"model.transformer.wpe.weight"}
    for c in connections:
        if c.default:
            block = int(c.name.split(".")[0].removeprefix("block"))
            assert (c.source.depth, c.target.depth) == (block, block + 1)
            assert f".{block}." in c.parameter


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("attn.attention.q_proj", "qkv"),
        ("self_attention.query_key_value", "qkv"),
        ("attn.Wqkv", "qkv"),
        ("self_attn.out_proj", "attn_out"),
        ("attention.dense", "attn_out"),
        ("attn.c_proj", "attn_out"),
        ("mlp.c_proj", "ffn_down"),
        ("mlp.fc_in", "ffn_up"),
        ("fc2", "ffn_down"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.gate_up_proj", "ffn_up"),
        ("attention.self.value", "qkv"),
        ("attention.output.dense", "attn_out"),
        ("output.dense", "ffn_down"),
        ("mixer.in_proj", "other"),
    ],
)
def test_roles_are_told_by_names(path: str, role: str) -> None:
    assert role_of(path) == role


def test_planning_takes_no_memory_and_no_random_numbers() -> None:
    large = {"model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80, "intermediate_size": 28672}
    architecture = hf({**large, "vocab_size": 128_256}, dtype="bf16")
    before = torch.get_rng_state()
    assert architecture.unsupported() is None
    connections = architecture.connections()
    assert len(connections) == 7 * 80 + 2
    assert sum(c.size for c in connections) > 75e9
    assert torch.equal(before, torch.get_rng_state())
    assert architecture.connections() is connections


@pytest.mark.parametrize("family", FAMILIES)
def test_operations_are_counted_without_values(family: str) -> None:
    connections = hf(FAMILIES[family]).connections()
    linear = 2 * CONTEXT * sum(c.size for c in connections if c.default or c.name == "head")
    tied = 2 * CONTEXT * VOCABULARY * WIDTH * (family in ("gpt2", "opt"))
    attention = 2 * 2 * CONTEXT * CONTEXT * WIDTH * LAYERS
    assert forward_flops(hf(FAMILIES[family]), DATA).total == pytest.approx(linear + tied + attention, rel=0.02)


# --- what does not go together ------------------------------------------------------------------


def test_vocabulary_and_context_must_hold_the_data(saved: tuple[Path, HfNetwork]) -> None:
    more = DataSpec("language", (CONTEXT,), 33, 10, CONTEXT, tokenizer="tiktoken:other")
    assert hf({}, more, model="tiny").unsupported() == (
        "has a vocabulary of 32, smaller than the data's 33 tokens (tiktoken:other): use the tokenizer that belongs "
        "to the model"
    )
    fewer = hf({}, DataSpec("language", (8,), 30, 10, 8), model="tiny")
    assert fewer.unsupported() is None
    assert (fewer.context, hf({}, fewer.data, model="tiny", pretrained=False).context) == (CONTEXT, 8)
    assert fewer.build()(torch.zeros(1, 8, dtype=torch.long)).shape == (1, 8, 30)
    assert fewer.connections()[-1].shape == (30, WIDTH)
    longer = DataSpec("language", (17,), VOCABULARY, 10, 17)
    assert hf({}, longer, model="tiny").unsupported() == "has a context of 16, shorter than the data's 17 tokens"
    images = DataSpec("classification", (1, 8, 8), 10, 10)
    assert hf(GPT2, images).unsupported() == "takes language data, not classification"


def test_heads_that_do_more_are_refused() -> None:
    gemma = {"model_type": "gemma2", **SIZES, "num_key_value_heads": 1, "head_dim": 8}
    assert "final_logit_softcapping" in (hf(gemma).unsupported() or "")
    assert hf({**gemma, "final_logit_softcapping": None}).unsupported() is None
    with pytest.raises(Unsupported, match="BertLMHeadModel are more than a final norm and a linear head"):
        hf({"model_type": "bert", **SIZES, "is_decoder": True}).build()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "gpt5"}, "refuses this config.*gpt5"),
        ({"model_type": "vit"}, "has no vocab_size"),
        ({**GPT2, "n_layer": "three"}, "n_layer"),
        ({**GPT2, "n_head": 3}, "refuses to build this config.*divisible"),
    ],
)
def test_configs_that_transformers_refuses(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        hf(config).build()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give model, a hub name or a folder, or config with a model_type"),
        ({"config": {"n_layer": 2}}, "config with a model_type"),
        ({"config": GPT2, "pretrained": True}, "pretrained needs a model"),
        ({"model": "a/b@one", "revision": "two"}, "name two revisions"),
        ({"model": "a/b", "dtype": "fp16"}, "'fp32' or 'bf16'"),
        ({"model": "a/b", "revison": "x"}, "revison"),
    ],
)
def test_refuses_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        HfOptions(**options)
