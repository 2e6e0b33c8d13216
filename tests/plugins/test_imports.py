"""Importers: published names and shapes become networks that compute what was published."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness import DataMissing, DataSpec, UserError
from harness.cli import cli
from harness.interchange.bundle import Imported, read
from harness.registry.plugins import load
from harness_genome.published import load_genome

VOCABULARY, CONTEXT, WIDTH, HEADS, LAYERS = 13, 7, 8, 2, 3
IDS = torch.tensor([[1, 5, 2, 12, 0, 7, 3], [4, 4, 9, 11, 6, 8, 10]])


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))


def bring(importer: str, source: Path, *options: str, name: str = "it") -> Imported:
    more = [word for option in options for word in ("--option", option)]
    cli.main(["import", importer, str(source), "--name", name, *more], standalone_mode=False)
    return read(name)


def refused(importer: str, source: Path, *options: str) -> str:
    with pytest.raises(UserError) as caught:
        bring(importer, source, *options)
    with pytest.raises(DataMissing):
        read("it")
    return str(caught.value)


def built(found: Imported) -> torch.nn.Module:
    """The network that the folder names, with its weights."""
    plug, data = found.manifest.architecture, found.manifest.data
    assert plug is not None
    assert data is not None
    cls = load().get("architecture", plug.plugin)
    spec = DataSpec(data.kind, data.inputs, data.outputs, 1)
    module: torch.nn.Module = cls(cls.Options.model_validate(plug.options), spec).build()
    module.load_state_dict(found.weights())
    return module.eval()


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours.double(), theirs.double(), atol=1e-5, rtol=0)


# --- GPT-2 of transformers -------------------------------------------------------------------


def hf_model(**more: Any) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=CONTEXT,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        bos_token_id=0,
        eos_token_id=0,
        **more,
    )
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("kind", ["folder", "shards", "bin", "safetensors"])
def test_gpt2_of_transformers_has_its_logits(tmp_path: Path, kind: str) -> None:
    model = hf_model()
    source = tmp_path / "hf"
    options: list[str] = []
    if kind == "folder":
        model.save_pretrained(source)
    elif kind == "shards":
        model.save_pretrained(source, max_shard_size="4KB")
        assert len(list(source.glob("*.safetensors"))) > 1
    elif kind == "bin":
        source.mkdir()
        torch.save(model.state_dict(), source / "pytorch_model.bin")
        (source / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_head": HEADS}))
    else:
        model.save_pretrained(tmp_path / "all")
        source, options = tmp_path / "all" / "model.safetensors", [f"heads={HEADS}"]
    found = bring("gpt2_hf", source, *options)
    with torch.no_grad():
        close(built(found)(IDS), model(IDS).logits)


def test_feed_forward_units_need_not_be_a_multiple_of_the_width(tmp_path: Path) -> None:
    model = hf_model(n_inner=3 * WIDTH - 1)
    model.save_pretrained(tmp_path / "hf")
    found = bring("gpt2_hf", tmp_path / "hf")
    with torch.no_grad():
        close(built(found)(IDS), model(IDS).logits)


def test_import_says_what_it_read_and_writes_a_suite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hf_model().save_pretrained(tmp_path / "hf")
    capsys.readouterr()
    suite = tmp_path / "eval.yaml"
    words = ["import", "gpt2_hf", str(tmp_path / "hf"), "--name", "tiny", "--suite", str(suite)]
    cli.main(words, standalone_mode=False)
    told = capsys.readouterr().out
    size = sum(tensor.numel() for tensor in read("tiny").weights().values())
    assert f"parameters    {size:,}" in told
    assert read("tiny").digest in told
    assert "weights: tiny" in suite.read_text()
    assert "steps: 0" in suite.read_text()
    with pytest.raises(UserError, match=rf"models/tiny is there already, made of {tmp_path}/hf: choose another name"):
        cli.main(words, standalone_mode=False)


def test_a_network_that_gpt2_here_is_not_is_refused(tmp_path: Path) -> None:
    hf_model(activation_function="relu").save_pretrained(tmp_path / "hf")
    assert "activation_function 'relu'" in refused("gpt2_hf", tmp_path / "hf")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("transformer.h.1.ln_2.bias"), "missing h.1.ln_2.bias"),
        (lambda s: s.update({"transformer.h.0.extra": torch.ones(1)}), "unexpected h.0.extra"),
        (lambda s: s.update({"transformer.ln_f.weight": torch.ones(WIDTH + 1)}), "'ln_f.weight' has shape (9,)"),
        (lambda s: s.update({"lm_head.weight": torch.ones(VOCABULARY, WIDTH)}), "tied"),
    ],
)
def test_what_does_not_fit_gpt2_is_named(tmp_path: Path, change: Any, message: str) -> None:
    state = hf_model().state_dict()
    change(state)
    torch.save(state, tmp_path / "model.bin")
    assert message in refused("gpt2_hf", tmp_path / "model.bin", f"heads={HEADS}")


# --- files -----------------------------------------------------------------------------------


class Surprise:
    """What a pickle may do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("it_ran"),))


@pytest.mark.parametrize("importer", [registered.entry.name for registered in load().entries("importer")])
def test_pickled_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, importer: str) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state": {"x": torch.ones(1)}, "config": Surprise()}, tmp_path / "model.pt")
    text = refused(importer, tmp_path / "model.pt")
    assert "pickled code" in text or "could run code" in text
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    hf_model().save_pretrained(tmp_path / "hf")
    torch.save({"x": torch.ones(100)}, tmp_path / "whole.pt")
    whole = tmp_path / "whole.pt" if suffix == ".pt" else tmp_path / "hf" / "model.safetensors"
    path.write_bytes(whole.read_bytes()[:-50])
    assert "cannot be read" in refused("gpt2_hf", path)


def test_what_was_typed_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'gpt2_hf'"):
        bring("gpt2hf", tmp_path)
    assert "does not exist" in refused("gpt2_hf", tmp_path / "nowhere")
    assert "Did you mean 'heads'" in refused("gpt2_hf", tmp_path, "head=3")
    assert "heads is a whole number, above 0, not 'none of it'" in refused("gpt2_hf", tmp_path, "heads=none of it")
    assert "key=value" in refused("gpt2_hf", tmp_path, "heads")
    (tmp_path / "empty").mkdir()
    assert "holds no checkpoint" in refused("gpt2_hf", tmp_path / "empty")


# --- Neural DNA ------------------------------------------------------------------------------

BANDS, TYPES, DIM = LAYERS + 2, 4, 3


def ndna_checkpoint(prefix: str = "") -> dict[str, Any]:
    """As the released training code saves one."""
    genome = {
        "affinity": torch.randn(TYPES, DIM),
        "compatibility": torch.randn(TYPES, TYPES),
        "connection_scale": torch.tensor(1.5),
        "depth_penalty": torch.tensor(-2.0),
        "band_type_base": torch.randn(BANDS, TYPES),
        "band_type_grad": torch.randn(BANDS, TYPES),
    }
    linear = {"W_qs": (8, 8), "W_ks": (8, 8), "W_vs": (8, 8), "W_os": (8, 8), "ff1s": (16, 8), "ff2s": (8, 16)}
    state = {"token_emb.weight": torch.randn(VOCABULARY, WIDTH), "pos_emb.weight": torch.randn(CONTEXT, WIDTH)}
    state |= {"ln_f.weight": torch.randn(WIDTH), "ln_f.bias": torch.randn(WIDTH), "temperature": torch.tensor(3.0)}
    for i in range(LAYERS):
        for name, shape in linear.items():
            state[f"{name}.{i}.weight"] = 0.5 * torch.randn(shape)
            if name != "W_os":
                state[f"{name}.{i}.bias"] = torch.randn(shape[0])
        for name in ("ln1s", "ln2s"):
            state |= {f"{name}.{i}.weight": torch.randn(WIDTH), f"{name}.{i}.bias": torch.randn(WIDTH)}
    state |= {f"genome.{name}": tensor for name, tensor in genome.items()}
    return {
        "model_state": {prefix + name: tensor for name, tensor in state.items()},
        "genome_state": genome,
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 1e-3}]},
        "config": {"n_heads": HEADS, "n_layers": LAYERS, "dtype": "bfloat16"},
        "iter_num": 49_500,
        "model_name": "genome",
    }


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def naive_mask(genome: dict[str, Tensor], source: int, target: int, sizes: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Sigmoid's argument for (target unit, source unit), one pair at a time."""
    g = {name: tensor.double().numpy() for name, tensor in genome.items()}

    def kinds(band: int, size: int) -> list[np.ndarray[Any, Any]]:
        found = []
        for p in range(size):
            e = np.exp(3 * (g["band_type_base"][band] + p / (size - 1) * g["band_type_grad"][band]))
            found.append(e / e.sum())
        return found

    rule = (g["affinity"] @ g["affinity"].T / math.sqrt(DIM) + g["compatibility"]) * softplus(g["connection_scale"])
    far = softplus(float(g["depth_penalty"])) * abs(target - source) / BANDS
    return np.array([[t @ rule @ s - far for s in kinds(source, sizes[0])] for t in kinds(target, sizes[1])])


def naive_gpt2(state: dict[str, Tensor], masks: dict[str, Tensor]) -> Tensor:
    """The released formulation, with the exact GELU, head by head and position by position."""
    s = {name: tensor.double() for name, tensor in state.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        variance = centred.square().mean(-1, keepdim=True)
        return centred / (variance + 1e-5).sqrt() * s[f"{name}.weight"] + s[f"{name}.bias"]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ (s[f"{name}.weight"] * masks.get(name, 1.0)).T + s.get(f"{name}.bias", 0.0)

    rows = []
    for ids in IDS:
        x = torch.stack([s["token_emb.weight"][token] + s["pos_emb.weight"][at] for at, token in enumerate(ids)])
        for i in range(LAYERS):
            h = norm(x, f"ln1s.{i}")
            q, k, v = (linear(h, f"{name}.{i}") for name in ("W_qs", "W_ks", "W_vs"))
            mixed = torch.zeros_like(x)
            size = WIDTH // HEADS
            for head in range(HEADS):
                own = slice(head * size, (head + 1) * size)
                for t in range(len(ids)):
                    weights = torch.softmax(k[: t + 1, own] @ q[t, own] / math.sqrt(size), 0)
                    mixed[t, own] = weights @ v[: t + 1, own]
            x = x + linear(mixed, f"W_os.{i}")
            u = linear(norm(x, f"ln2s.{i}"), f"ff1s.{i}")
            u = 0.5 * u * (1 + torch.erf(u / math.sqrt(2)))
            x = x + linear(u, f"ff2s.{i}")
        rows.append(norm(x, "ln_f") @ s["token_emb.weight"].T)
    return torch.stack(rows)


def naive_masks(genome: dict[str, Tensor]) -> dict[str, Tensor]:
    """Logits of the masks by published name."""
    found = {}
    for i in range(LAYERS):
        found[f"W_os.{i}"] = torch.from_numpy(naive_mask(genome, i, i + 1, (WIDTH, WIDTH)))
        found[f"ff1s.{i}"] = torch.from_numpy(naive_mask(genome, i, i + 1, (WIDTH, 16)))
    return found


@pytest.mark.parametrize("masks", ["hard", "soft", "none"])
def test_ndna_has_the_logits_of_the_published_formulation(tmp_path: Path, masks: str) -> None:
    checkpoint = ndna_checkpoint("_orig_mod." if masks == "soft" else "")
    torch.save(checkpoint, tmp_path / "genome_ckpt.pt")
    found = bring("ndna_gpt2", tmp_path / "genome_ckpt.pt", f"masks={masks}")
    logits = naive_masks(checkpoint["genome_state"])
    how = {"hard": lambda z: (z > 0).double(), "soft": lambda z: torch.sigmoid(3.0 * z), "none": torch.ones_like}[masks]
    state = {name.removeprefix("_orig_mod."): tensor for name, tensor in checkpoint["model_state"].items()}
    expected = naive_gpt2(state, {name: how(z) for name, z in logits.items()})
    with torch.no_grad():
        torch.testing.assert_close(built(found)(IDS).double(), expected, atol=1e-4, rtol=1e-4)
    stored = found.masks()
    if masks == "hard":
        assert stored is not None
        kept = sum(int((z > 0).sum()) for z in logits.values())
        assert 0 < kept < sum(z.numel() for z in logits.values())
        assert sum(stored.kept.values()) == kept
        assert torch.equal(stored["block1.ffn.up"], logits["ff1s.1"] > 0)
    else:
        assert stored is None
    genome = {name.removeprefix("genome."): tensor for name, tensor in found.method_tensors().items()}
    assert all(torch.equal(genome[name], tensor) for name, tensor in checkpoint["genome_state"].items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["model_state"].pop("W_os.1.weight"), "is missing W_os.1.weight"),
        (lambda c: c["model_state"].update({"W_os.0.bias": torch.ones(8)}), "has unexpected W_os.0.bias"),
        (lambda c: c["model_state"].update({"ff2s.0.weight": torch.ones(8, 15)}), "ff2s.0.weight (8, 15) instead"),
        (lambda c: c["model_state"].update({"W_ks.0.weight": torch.ones(8, 7)}), "W_ks.0.weight (8, 7)"),
        (lambda c: c["genome_state"].pop("affinity"), "a genome is exactly these tensors"),
        (lambda c: c.update(genome_state={**c["genome_state"], "affinity": torch.ones(TYPES, DIM)}), "two genomes"),
        (lambda c: c["config"].update(n_heads=3), "no multiple of heads 3"),
        (lambda c: c.pop("model_state"), "no state dict under model_state or model"),
    ],
)
def test_what_does_not_fit_ndna_is_named(tmp_path: Path, change: Any, message: str) -> None:
    checkpoint = ndna_checkpoint()
    change(checkpoint)
    torch.save(checkpoint, tmp_path / "genome_ckpt.pt")
    assert message in refused("ndna_gpt2", tmp_path / "genome_ckpt.pt")


def test_a_genome_alone_is_a_place_to_start_from(tmp_path: Path) -> None:
    genome = ndna_checkpoint()["genome_state"]
    torch.save(genome, tmp_path / "genome_final.pt")
    bring("ndna_genome", tmp_path / "genome_final.pt", name="grown")
    for path in (Path("grown"), read("grown").path):
        found = load_genome(path)
        assert found.keys() == genome.keys()
        assert all(torch.equal(found[name], genome[name]) for name in genome)
    with pytest.raises(UserError, match="Did you mean 'grown'"):
        load_genome(Path("gron"))


# --- model connectomes -----------------------------------------------------------------------

ROWS = 64


def connectome_state(fused: bool = True) -> dict[str, Tensor]:
    state = {"transformer.wte.weight": torch.randn(ROWS, WIDTH), "lm_head.weight": torch.randn(ROWS, WIDTH)}
    for i in range(LAYERS):
        at = f"transformer.h.{i}."
        qkv = {"c_attn": 3 * WIDTH} if fused else {"c_q": WIDTH, "c_k": WIDTH, "c_v": WIDTH}
        state |= {f"{at}attn.{name}.weight": torch.randn(size, WIDTH) for name, size in qkv.items()}
        state[f"{at}attn.c_proj.weight"] = torch.randn(WIDTH, WIDTH)
        state[f"{at}mlp.c_fc.weight"] = torch.randn(4 * WIDTH, WIDTH)
        state[f"{at}mlp.c_proj.weight"] = torch.randn(WIDTH, 4 * WIDTH)
        state[f"{at}attn.rotary.inv_freq"] = 1 / 10_000 ** (torch.arange(0, WIDTH // HEADS, 2) / (WIDTH // HEADS))
    return state


def naive_connectome(state: dict[str, Tensor]) -> Tensor:
    """The released formulation with complex numbers for the rotation."""
    s = {name: tensor.double() for name, tensor in state.items()}
    size = WIDTH // HEADS
    half = size // 2

    def norm(x: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    def turned(x: Tensor) -> Tensor:
        z = torch.complex(x[:, :half], x[:, half:])
        angles = torch.tensor([[t * 10_000 ** (-k / half) for k in range(half)] for t in range(len(x))])
        z = z * torch.polar(torch.ones_like(angles).double(), -angles.double())
        return torch.cat([z.real, z.imag], 1)

    rows = []
    for ids in IDS:
        x = s["transformer.wte.weight"][ids]
        for i in range(LAYERS):
            at = f"transformer.h.{i}."
            if f"{at}attn.c_attn.weight" in s:
                whole = s[f"{at}attn.c_attn.weight"]
            else:
                whole = torch.cat([s[f"{at}attn.{name}.weight"] for name in ("c_q", "c_k", "c_v")])
            q, k, v = (norm(x) @ whole.T).split(WIDTH, 1)
            heads = []
            for head in range(HEADS):
                own = slice(head * size, (head + 1) * size)
                scores = turned(q[:, own]) @ turned(k[:, own]).T / math.sqrt(size)
                scores = scores.masked_fill(torch.ones_like(scores).triu(1) > 0, -math.inf)
                heads.append(torch.softmax(scores, 1) @ v[:, own])
            x = x + torch.cat(heads, 1) @ s[f"{at}attn.c_proj.weight"].T / math.sqrt(2 * LAYERS)
            u = norm(x) @ s[f"{at}mlp.c_fc.weight"].T
            x = x + (0.5 * u * (1 + torch.erf(u / math.sqrt(2)))) @ s[f"{at}mlp.c_proj.weight"].T
        rows.append(norm(x) @ s["lm_head.weight"].T)
    return torch.stack(rows)[..., :VOCABULARY]


@pytest.mark.parametrize("kind", ["folder", "checkpoint", "generation", "unfused"])
def test_connectomes_have_the_logits_of_the_published_formulation(tmp_path: Path, kind: str) -> None:
    from safetensors.torch import save_file

    state = connectome_state(fused=kind != "unfused")
    masks = {name: torch.rand(tensor.shape) < 0.3 for name, tensor in state.items() if "inv_freq" not in name}
    options = [f"heads={HEADS}", f"context={CONTEXT}", f"vocabulary={VOCABULARY}"]
    sparse = {**state, **{name: state[name] * mask for name, mask in masks.items()}}
    source = tmp_path / "model.pt"
    if kind == "folder":
        source = tmp_path / "folder"
        source.mkdir()
        save_file(sparse, source / "model.safetensors")
        (source / "config.json").write_text(json.dumps({"n_head": HEADS, "block_size": CONTEXT}))
        options = options[2:]
    elif kind == "generation":
        torch.save({"weights": {f"_orig_mod.{n}": t for n, t in state.items()}, "mask": masks}, source)
    else:
        torch.save({"model_state_dict": sparse, "iteration": 3, "args": {"lr": 0.1}}, source)
    found = bring("connectome", source, *options)
    stored = found.masks()
    assert stored is not None
    assert torch.equal(stored["block2.ffn.down"], masks["transformer.h.2.mlp.c_proj.weight"])
    assert stored["head"].shape == (VOCABULARY, WIDTH)
    with torch.no_grad():
        torch.testing.assert_close(built(found)(IDS).double(), naive_connectome(sparse), atol=1e-4, rtol=1e-4)


def test_what_does_not_fit_a_connectome_is_named(tmp_path: Path) -> None:
    options = [f"heads={HEADS}", f"vocabulary={VOCABULARY}"]

    def message(*own: str, **change: Any) -> str:
        state = {**connectome_state(), **change}
        torch.save({"model_state_dict": {n: t for n, t in state.items() if t is not None}}, tmp_path / "model.pt")
        return refused("connectome", tmp_path / "model.pt", *(own or options))

    assert "is missing lm_head.weight" in message(**{"lm_head.weight": None})
    assert "has unexpected transformer.wpe.weight" in message(**{"transformer.wpe.weight": torch.ones(2, 2)})
    assert "transformer.h.0.attn.c_proj.weight (8, 9)" in message(
        **{"transformer.h.0.attn.c_proj.weight": torch.ones(8, 9)}
    )
    assert "rotary.inv_freq is not that of base 10,000" in message("heads=1", "vocabulary=13")
    assert "more than the checkpoint's 64 rows" in message("heads=2", "vocabulary=65")


# --- BioGPT ----------------------------------------------------------------------------------


def biogpt_state() -> dict[str, Tensor]:
    """Random tensors under the published names, for a width of 24 and 6 layers."""
    width = 24
    state = {"token_emb.weight": torch.randn(VOCABULARY, width), "pos_emb.weight": torch.randn(CONTEXT, width)}
    for i, layer in enumerate([(8, 8)] * 2 + [(8, 6, 4)] * 2 + [(4, 4)] * 2):
        at = f"layers.{i}."
        state |= {at + "ln.weight": torch.randn(width), at + "ln.bias": torch.randn(width)}
        state[at + "neuron_weights"] = torch.randn(len(layer))
        for j, b in enumerate(layer):
            n, d = f"{at}neurons.{j}.", width // b
            shapes = {
                "qkv.weight": (3 * width, width),
                "nmda_decay": (1, b, 1, d),
                "temporal_conv.weight": (width, d, 5),
                "temporal_conv.bias": (width,),
                "ff_up.weight": (2 * width, d, 1),
                "ff_up.bias": (2 * width,),
                "ff_down.weight": (width, 2 * d, 1),
                "ff_down.bias": (width,),
                "branch_norm.weight": (width,),
                "branch_norm.bias": (width,),
                "soma_proj.weight": (width, width),
                "ln_soma.weight": (width,),
                "ln_soma.bias": (width,),
                "soma_ffn.0.weight": (3 * width, width),
                "soma_ffn.0.bias": (3 * width,),
                "soma_ffn.3.weight": (width, 3 * width),
                "soma_ffn.3.bias": (width,),
            }
            state |= {n + name: 0.3 * torch.randn(shape) for name, shape in shapes.items()}
            state[f"{at}neuron_projs.{j}.weight"] = torch.randn(width, width)
    for pair in ("fb_4_to_0", "fb_5_to_1"):
        shapes = {
            "proj.weight": (width, width),
            "gate.0.weight": (width, 2 * width),
            "gate.0.bias": (width,),
            "ln.weight": (width,),
            "ln.bias": (width,),
        }
        state |= {f"feedback_connections.{pair}.{name}": torch.randn(shape) for name, shape in shapes.items()}
    state |= {"ln_f.weight": torch.randn(width), "ln_f.bias": torch.randn(width)}
    return {**state, "lm_head.weight": torch.randn(VOCABULARY, width)}


def test_biogpt_has_the_logits_of_its_own_loader_less_the_rows_left_out(tmp_path: Path) -> None:
    import harness_biogpt

    state = biogpt_state()
    state["layers.3.neuron_projs.1.weight"][2, 3] = 0.0
    torch.save({"model_state_dict": state, "step": 1, "config": {"d_model": 24}}, tmp_path / "biogpt.pt")
    found = bring("biogpt", tmp_path / "biogpt.pt", "vocabulary=13")
    expected = harness_biogpt.load_published(state).eval()
    with torch.no_grad():
        close(built(found)(IDS), expected(IDS))
    stored = found.masks()
    assert stored is not None
    assert sum(mask.numel() - int(mask.sum()) for mask in stored.values()) == 1
    cut = bring("biogpt", tmp_path / "biogpt.pt", "vocabulary=9", name="cut")
    ids = IDS.clamp(max=8)
    with torch.no_grad():
        close(built(cut)(ids), expected(ids)[..., :9])
    state["lm_head.bias"] = torch.ones(VOCABULARY)
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"unexpected 'lm_head\.bias'"):
        bring("biogpt", tmp_path / "other.pt", name="other")


def test_a_genome_alone_cannot_be_evaluated(tmp_path: Path) -> None:
    torch.save(ndna_checkpoint()["genome_state"], tmp_path / "genome_final.pt")
    words = ["import", "ndna_genome", str(tmp_path / "genome_final.pt"), "--name", "it"]
    with pytest.raises(UserError, match="no network to evaluate"):
        cli.main([*words, "--suite", str(tmp_path / "s.yaml")], standalone_mode=False)
    assert not (tmp_path / "s.yaml").exists()
    assert not (tmp_path / "data").exists()


def test_hf_writes_gpt2_only() -> None:
    from harness_architectures.mlp import Mlp
    from harness_imports.hf import HfExporter

    network = Mlp(Mlp.Options(), DataSpec("classification", (1, 8, 8), 10, 1))
    assert "writes GPT-2 and models of transformers, and Mlp is another network" in (
        HfExporter().unsupported(network) or ""
    )
