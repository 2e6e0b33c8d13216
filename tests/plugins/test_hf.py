from __future__ import annotations

import json
import math
import re
import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from harness import CorruptFile, DataMissing, DataSpec, Masks, Unsupported, UserError, outermost, unit_masks
from harness.compaction.compact import compact
from harness.compaction.program import trace
from harness.interchange.bundle import own_state
from harness.results.flops import forward_flops
from harness.testing import check_architecture
from harness.training.weights import Weights
from harness_architectures.gpt2 import Gpt2, Gpt2Options, load_hf

pytest.importorskip("transformers", reason="transformers is not installed")

from transformers import AutoModelForCausalLM

from harness_imports.hf import HfExporter
from harness_transformers.architecture import Hf
from harness_transformers.hub import fetch
from harness_transformers.network import HfNetwork
from harness_transformers.options import HfOptions
from harness_transformers.roles import role_of

torch.set_num_threads(1)
VOCABULARY, CONTEXT, LAYERS, WIDTH, HEADS = 32, 16, 2, 16, 2
DATA = DataSpec("language", (CONTEXT,), VOCABULARY, examples=10, tokens=CONTEXT)
SIZES = {"num_hidden_layers": LAYERS, "hidden_size": WIDTH, "num_attention_heads": HEADS, "intermediate_size": 48}
GPT2 = {"model_type": "gpt2", "n_layer": LAYERS, "n_embd": WIDTH, "n_head": HEADS, "n_positions": CONTEXT}
NEOX = {"model_type": "gpt_neox", **SIZES, "max_position_embeddings": CONTEXT}
LLAMA = {"model_type": "llama", **SIZES, "num_key_value_heads": 1, "max_position_embeddings": CONTEXT}
PHI = {"model_type": "phi", **SIZES, "max_position_embeddings": CONTEXT}
OPT = {"model_type": "opt", **SIZES, "ffn_dim": 48, "word_embed_proj_dim": WIDTH, "max_position_embeddings": CONTEXT}
del OPT["intermediate_size"]
FAMILIES = {"gpt2": GPT2, "gpt_neox": NEOX, "llama": LLAMA, "phi": PHI, "opt": OPT}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise OSError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def hf(config: dict[str, Any], data: DataSpec = DATA, **options: Any) -> Hf:
    return Hf(HfOptions(config=config, **options), data)


def random_network(config: dict[str, Any], seed: int = 0) -> HfNetwork:
    """In float64 and evaluation mode, with weights and biases far from their initial ones."""
    network = hf(config).build().double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[tuple[Path, HfNetwork]]:
    """A tiny GPT-2 in a folder, and the network that was saved."""
    torch.manual_seed(5)
    network = hf(GPT2).build().eval()
    network.model.save_pretrained(tmp_path / "tiny")
    yield tmp_path / "tiny", network


def in_hub(folder: Path, revision: str) -> None:
    """Put a folder where a download of owner/tiny would be."""
    repository = folder.parent / "hub" / "models--owner--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / revision).write_text(COMMIT)
    shutil.copytree(folder, repository / "snapshots" / COMMIT)


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


# --- what is on this machine ---------------------------------------------------------------------


def test_weights_of_a_folder_are_the_initial_weights_of_every_seed(saved: tuple[Path, HfNetwork]) -> None:
    _, network = saved
    inputs = torch.randint(0, VOCABULARY, (2, CONTEXT))
    for seed in (1, 2):
        torch.manual_seed(seed)
        loaded = hf({}, model="tiny").build()
        assert loaded.training
        assert torch.equal(loaded.eval()(inputs), network(inputs))
    assert hf({}, model="tiny", dtype="bf16").build().head_weight.dtype == torch.bfloat16
    fresh = hf({}, model="tiny", pretrained=False).build().eval()
    assert fresh.model.config.n_embd == WIDTH
    assert not torch.equal(fresh(inputs), network(inputs))


def test_weights_in_several_files(saved: tuple[Path, HfNetwork], tmp_path: Path) -> None:
    network = saved[1]
    network.model.save_pretrained(tmp_path / "sharded", max_shard_size="10KB")
    shards = sorted((tmp_path / "sharded").glob("*.safetensors"))
    assert len(shards) > 1
    inputs = torch.randint(0, VOCABULARY, (2, CONTEXT))
    assert torch.equal(hf({}, model="sharded").build().eval()(inputs), network(inputs))
    shards[0].unlink()
    with pytest.raises(DataMissing, match=f"lacks {shards[0].name}"):
        hf({}, model="sharded").build()


def test_revision_from_the_hubs_cache(saved: tuple[Path, HfNetwork]) -> None:
    folder, network = saved
    in_hub(folder, "step1000")
    options = HfOptions(model="owner/tiny@step1000")
    assert (options.model, options.revision) == ("owner/tiny", "step1000")
    assert options == HfOptions(model="owner/tiny", revision="step1000") == HfOptions(model="owner/tiny@step1000")
    assert Hf.content(options) == f"commit:{COMMIT}"
    assert Hf.content(HfOptions(model="owner/tiny", revision=COMMIT)) == f"commit:{COMMIT}"
    inputs = torch.randint(0, VOCABULARY, (2, CONTEXT))
    assert torch.equal(Hf(options, DATA).build().eval()(inputs), network(inputs))
    with pytest.raises(DataMissing, match=r"owner/tiny is not in .*hub; .*`hf download owner/tiny --include"):
        Hf.content(HfOptions(model="owner/tiny"))


def test_content_is_what_counts(saved: tuple[Path, HfNetwork], tmp_path: Path) -> None:
    folder, network = saved

    def content(**options: Any) -> str | None:
        return Hf.content(HfOptions(**options))

    first, random = content(model="tiny"), content(model="tiny", pretrained=False)
    assert content(config=GPT2) is None
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text("a copy")
    assert content(model=str(tmp_path / "copy")) == first != random
    with torch.no_grad():
        network.head_weight[0, 0] += 1
    network.model.save_pretrained(folder)
    assert content(model="tiny") != first
    assert content(model="tiny", pretrained=False) == random
    (folder / "config.json").write_text((folder / "config.json").read_text().replace("gelu_new", "relu"))
    assert content(model="tiny", pretrained=False) != random


def test_missing_models_are_reported_at_once() -> None:
    start = time.perf_counter()
    text = (
        r"EleutherAI/pythia-160m@step1000 is not in .*hf download EleutherAI/pythia-160m --revision step1000 .*HF_HOME"
    )
    options = HfOptions(model="EleutherAI/pythia-160m@step1000")
    for ask in (lambda: Hf.content(options), Hf(options, DATA).connections, Hf(options, DATA).build):
        with pytest.raises(DataMissing, match=text):
            ask()
    assert time.perf_counter() - start < 1
    with pytest.raises(DataMissing, match="no_such does not exist"):
        Hf.content(HfOptions(model="./no_such"))


def test_fetch_without_network_says_what_to_check() -> None:
    with pytest.raises(
        DataMissing, match=r"cannot download owner/tiny@main \(.*the network was used\).*HF_HUB_OFFLINE"
    ):
        fetch("owner/tiny", "main")


def test_pickled_weights_are_refused(saved: tuple[Path, HfNetwork]) -> None:
    folder, network = saved
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataMissing, match=r"lacks model\.safetensors"):
        hf({}, model="tiny").build()
    torch.save(network.model.state_dict(), folder / "pytorch_model.bin")
    for ask in (lambda: Hf.content(HfOptions(model="tiny")), hf({}, model="tiny").build):
        with pytest.raises(UserError, match=r"pickled weights only \(pytorch_model.bin\).*can run code"):
            ask()
    assert hf({}, model="tiny", pretrained=False).build().vocabulary == VOCABULARY


CODE = """
from pathlib import Path

from transformers import GPT2Config, GPT2LMHeadModel

Path(r"{witness}").write_text("the folder's code ran")


class Own(GPT2Config):
    model_type = "{model_type}"


class OwnModel(GPT2LMHeadModel):
    config_class = Own
"""


@pytest.mark.parametrize("pretrained", [True, False])
@pytest.mark.parametrize("model_type", ["own_type", "gpt2", "vit"])
def test_code_of_a_folder_never_runs(
    saved: tuple[Path, HfNetwork], monkeypatch: pytest.MonkeyPatch, model_type: str, pretrained: bool
) -> None:
    """Whatever is answered on the terminal; of a known type the library's own model is taken, as in the first place."""
    folder, network = saved
    witness = folder.parent / "witness"
    (folder / "own.py").write_text(CODE.format(witness=witness, model_type=model_type))
    config = json.loads((folder / "config.json").read_text())
    code = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel", "AutoModel": "own.OwnModel"}
    config |= {"model_type": model_type, "auto_map": code}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    if model_type == "gpt2":
        built = hf({}, model="tiny", pretrained=pretrained).build()
        assert type(built.model) is type(network.model)
    else:
        with pytest.raises(UserError, match=r"code of its own, which the harness never runs|hf: transformers refuses"):
            hf({}, model="tiny", pretrained=pretrained).build()
    assert not witness.exists()
    # The same by way of the suite's own entries.
    with pytest.raises(UserError):
        hf({"model_type": model_type, "auto_map": code, "architectures": ["OwnModel"], "no_such": 1}).build()
    assert not witness.exists()


def test_kernels_of_the_hub_never_run(saved: tuple[Path, HfNetwork]) -> None:
    text = "attn_implementation 'kernels-community/own' is code on the hub, which is never run"
    with pytest.raises(UserError, match=text):
        hf({**GPT2, "_attn_implementation": "kernels-community/own"}).connections()
    folder, _ = saved
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "attn_implementation": "kernels-community/own"}))
    for pretrained in (True, False):
        with pytest.raises(UserError, match=text):
            hf({}, model="tiny", pretrained=pretrained).build()


def test_every_way_into_the_library_refuses_code() -> None:
    """Also those that today's library does not ask about: each call says so itself."""
    from harness_transformers import loading

    source = Path(loading.__file__).read_text()
    calls = re.findall(r"\.(?:from_pretrained|from_config)\((.*?)\)\n", source, re.DOTALL)
    assert len(calls) == 4
    assert all("trust_remote_code=False" in call or "**FROM_HERE" in call for call in calls)
    assert loading.FROM_HERE["trust_remote_code"] is False


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_embd": 32}, r"do not fit the config, of another shape: .*transformer\.h\.0.* and \d+ more"),
        ({"n_layer": 3}, r"do not fit the config, missing: transformer\.h\.2\.attn\.c_attn"),
        ({"n_layer": 1}, r"do not fit the config, not in the model: transformer\.h\.1\.attn\.c_attn"),
        ({"n_layr": 3}, r"config of gpt2 has no n_layr\. Known: .*n_layer"),
        ({"model_type": "llama"}, "model_type gpt2, not llama"),
    ],
)
def test_weights_must_fit_the_config(saved: tuple[Path, HfNetwork], config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        hf(config, model="tiny").build()


def test_damaged_weights(saved: tuple[Path, HfNetwork]) -> None:
    weights = saved[0] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CorruptFile, match=r"model\.safetensors cannot be read"):
        hf({}, model="tiny").build()


def test_a_model_with_tokens_of_its_own_reads_no_bytes(saved: tuple[Path, HfNetwork]) -> None:
    data = DataSpec("language", (8,), 30, 10, 8, tokenizer="bytes")
    assert hf({}, data, model="tiny").unsupported() is None
    (saved[0] / "tokenizer.json").write_text("{}")
    reason = hf({}, data, model="tiny").unsupported()
    assert reason and reason.startswith("has a vocabulary of 32 tokens of its own (") and "tokenizer.json`" in reason
    same = DataSpec("language", (8,), 32, 10, 8, tokenizer="bytes")
    assert hf({}, same, model="tiny").unsupported() is None
    assert hf({}, data, model="tiny", pretrained=False).unsupported() is None


def test_a_folder_has_no_revision(saved: tuple[Path, HfNetwork]) -> None:
    with pytest.raises(UserError, match="is a folder and has no revision 'main'"):
        Hf.content(HfOptions(model="tiny", revision="main"))


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
