"""Published networks of Neural DNA against the description, in float64."""

from __future__ import annotations

import math
import re
from pathlib import Path

import band_cnn
import band_transformer
import band_video
import pytest
import torch

import harness_ndna
from harness import Band, Connection, CurrentMasks, DataSpec, MethodContext, UserError
from harness.cli import cli
from harness.interchange.bundle import read
from harness.registry.plugins import load
from harness_genome.layout import every_pair
from harness_genome.method import GenomeMethod, GenomeOptions
from harness_ndna.band_transformer import BandTransformer, BandTransformerOptions

CHANNELS = [16, 16, 32, 32, 64, 64]
STRIDES = [1, 1, 2, 1, 2, 1]
NORM = ("weight", "bias", "running_mean", "running_var")


def random(*shape: int, seed: list[int]) -> torch.Tensor:
    seed[0] += 1
    generator = torch.Generator().manual_seed(seed[0])
    return torch.rand(shape, generator=generator, dtype=torch.float64) - 0.5


def genome(types: int, seed: list[int], bands: int = 8) -> dict[str, torch.Tensor]:
    return {
        "genome.affinity": random(types, 8, seed=seed),
        "genome.compatibility": random(types, types, seed=seed),
        "genome.connection_scale": torch.tensor(1.3, dtype=torch.float64),
        "genome.depth_penalty": torch.tensor(0.4, dtype=torch.float64),
        "genome.band_type_base": random(bands, types, seed=seed),
        "genome.band_type_grad": random(bands, types, seed=seed),
    }


def state(classes: int, types: int = 8) -> dict[str, torch.Tensor]:
    """Of the names and shapes of the released class."""
    seed, sizes = [0], [3, *CHANNELS]
    found = {
        **genome(types, seed),
        "fc.weight": random(classes, 64, seed=seed),
        "fc.bias": random(classes, seed=seed),
    }

    def norm(name: str, size: int) -> None:
        for part in NORM:
            found[f"{name}.{part}"] = random(size, seed=seed) + (1.0 if part in ("weight", "running_var") else 0)
        found[f"{name}.num_batches_tracked"] = torch.tensor(3)

    for t in range(1, 7):
        found[f"primary_convs.{t - 1}.weight"] = random(sizes[t], sizes[t - 1], 3, 3, seed=seed) / 4
        norm(f"primary_bns.{t - 1}", sizes[t])
        for s in range(t - 1):
            found[f"skip_convs.{t}_{s}.weight"] = random(sizes[t], sizes[s], 1, 1, seed=seed) / 4
            norm(f"skip_bns.{t}_{s}", sizes[t])
    return found


def softplus(x: torch.Tensor) -> torch.Tensor:
    return (1 + x.exp()).log()


def logits(tensors: dict[str, torch.Tensor], source: int, target: int, n_source: int, n_target: int) -> torch.Tensor:
    """Pair by pair, from the description."""
    a, c = tensors["genome.affinity"], tensors["genome.compatibility"]
    rule = (a @ a.T / math.sqrt(a.shape[1]) + c) * softplus(tensors["genome.connection_scale"])

    def types(band: int, size: int) -> torch.Tensor:
        base, grad = tensors["genome.band_type_base"][band], tensors["genome.band_type_grad"][band]
        places = [i / (size - 1) if size > 1 else 0.0 for i in range(size)]
        return torch.stack([torch.softmax(3 * (base + place * grad), 0) for place in places])

    bands = len(tensors["genome.band_type_base"])
    penalty = softplus(tensors["genome.depth_penalty"]) * abs(target - source) / bands
    return types(target, n_target) @ rule @ types(source, n_source).T - penalty


def described(
    tensors: dict[str, torch.Tensor], x: torch.Tensor, temperature: float, hard: bool
) -> tuple[torch.Tensor, float, int]:
    """Logits, cost, and how many pairs it counts."""
    sizes = [3, *CHANNELS, len(tensors["fc.weight"])]
    ours: dict[str, torch.Tensor] = {"classifier.bias": tensors["fc.bias"]}
    names = ["input", *(f"band{i}" for i in range(1, 7))]
    total, pairs = 0.0, 0
    for t in range(1, 8):
        for s in range(t):
            found = logits(tensors, s, t, sizes[s], sizes[t])
            total, pairs = total + float(found.sigmoid().sum()), pairs + found.numel()
            mask = (found.sigmoid() > 0.5).double() if hard else (temperature * found).sigmoid()
            if t == 7:
                if s == 6:
                    ours["classifier.weight"] = tensors["fc.weight"] * mask
                continue
            near = s == t - 1
            theirs = (
                (f"primary_convs.{t - 1}", f"primary_bns.{t - 1}")
                if near
                else (f"skip_convs.{t}_{s}", f"skip_bns.{t}_{s}")
            )
            skip = f"{names[t]}_from_{names[s]}"
            conv, norm = (
                (f"convs.{names[t]}", f"norms.{names[t]}") if near else (f"skip_convs.{skip}", f"skip_norms.{skip}")
            )
            ours[f"{conv}.weight"] = tensors[f"{theirs[0]}.weight"] * mask[:, :, None, None]
            ours |= {f"{norm}.{part}": tensors[f"{theirs[1]}.{part}"] for part in NORM}
    return band_cnn.reference(ours, x, STRIDES, training=False), total / pairs, pairs


@pytest.mark.parametrize(("temperature", "hard"), [(1.0, False), (10.0, False), (10.0, True)])
@pytest.mark.parametrize("classes", [10, 100])
def test_a_published_cnn_gives_what_its_description_says(temperature: float, hard: bool, classes: int) -> None:
    tensors = state(classes)
    x = random(3, 3, 16, 16, seed=[99])
    wanted, cost, pairs = described(tensors, x, temperature, hard)
    module = harness_ndna.load_published("cnn", tensors, temperature, hard)
    assert torch.allclose(module(x), wanted, rtol=0, atol=1e-10)
    assert math.isclose(module.metabolic_cost(), cost, rel_tol=1e-12)
    assert pairs == {10: 22_654, 100: 43_084}[classes]  # published, with those that no weight joins
    assert not module.training


IMDB = DataSpec("text_classification", (512,), 2, 25_000, vocabulary=30_522)
HIDDEN, FFN, LENGTH, WORDS, LAYERS = 16, 24, 11, 30, 6


def encoder(layers: int = LAYERS) -> dict[str, torch.Tensor]:
    """Of the names of the released class."""
    seed = [500]
    found = {
        **genome(8, seed, layers + 2),
        "token_emb.weight": random(WORDS, HIDDEN, seed=seed),
        "pos_emb.weight": random(LENGTH, HIDDEN, seed=seed),
        "classifier.weight": random(2, HIDDEN, seed=seed),
        "classifier.bias": random(2, seed=seed),
    }
    for i in range(layers):
        for one in "qkvo":
            found[f"W_{one}s.{i}.weight"] = random(HIDDEN, HIDDEN, seed=seed)
            if one != "o":
                found[f"W_{one}s.{i}.bias"] = random(HIDDEN, seed=seed)
        for norm in ("ln1s", "ln2s"):
            found[f"{norm}.{i}.weight"], found[f"{norm}.{i}.bias"] = (random(HIDDEN, seed=seed) + k for k in (1, 0))
        for name, shape in (("ff1s", (FFN, HIDDEN)), ("ff2s", (HIDDEN, FFN))):
            found[f"{name}.{i}.weight"], found[f"{name}.{i}.bias"] = (random(*n, seed=seed) for n in (shape, shape[:1]))
        for source in range(i):
            found[f"skip_projs.{i + 1}_{source}.weight"] = random(HIDDEN, HIDDEN, seed=seed)
    return found


def described_encoder(
    tensors: dict[str, torch.Tensor], texts: list[list[int]], temperature: float, hard: bool, layers: int = LAYERS
) -> tuple[torch.Tensor, float]:
    """Logits and cost."""

    def mask(source: int, target: int, n_target: int) -> torch.Tensor:
        found = logits(tensors, source, target, HIDDEN, n_target)
        return (found.sigmoid() > 0.5).double() if hard else (temperature * found).sigmoid()

    plain = {"tokens.weight": "token_emb.weight", "positions.weight": "pos_emb.weight"}
    ours = {name: tensors[theirs] for name, theirs in plain.items()}
    ours["classifier.weight"] = tensors["classifier.weight"] * mask(layers, layers + 1, 2)
    ours["classifier.bias"] = tensors["classifier.bias"]
    names = ["embedding", *(f"layer{i}" for i in range(1, layers + 1))]
    for i in range(1, layers + 1):
        block, at = f"blocks.{i - 1}", i - 1
        for part in ("weight", "bias"):
            ours[f"{block}.qkv.{part}"] = torch.cat([tensors[f"W_{one}s.{at}.{part}"] for one in "qkv"])
            for own, theirs in (("attn_norm", "ln1s"), ("ffn_norm", "ln2s"), ("up", "ff1s"), ("down", "ff2s")):
                ours[f"{block}.{own}.{part}"] = tensors[f"{theirs}.{at}.{part}"]
        ours[f"{block}.out.weight"] = tensors[f"W_os.{at}.weight"] * mask(i - 1, i, HIDDEN)
        ours[f"{block}.up.weight"] = ours[f"{block}.up.weight"] * mask(i - 1, i, FFN)
        for s in range(i - 1):
            skip = tensors[f"skip_projs.{i}_{s}.weight"] * mask(s, i, HIDDEN)
            ours[f"skips.layer{i}_from_{names[s]}.weight"] = skip
    sizes, total, pairs = [*[HIDDEN] * (layers + 1), 2], torch.zeros((), dtype=torch.float64), 0
    for t in range(1, layers + 2):
        for s in range(t):
            found = logits(tensors, s, t, sizes[s], sizes[t])
            total, pairs = total + found.sigmoid().sum(), pairs + found.numel()
    return band_transformer.reference(ours, texts, 4, layers, True, False), total / pairs


TEXTS = [[1, 5, 29, 0, 3, 3, 8, 20, 11, 2, 4], [7], [0, 0, 12, 4], [9, 9, 9, 1, 25, 6]]


def padded() -> tuple[torch.Tensor, torch.Tensor]:
    """Ids, 0 behind the texts, which have zeros of their own, and the attention mask."""
    ids, real = torch.zeros(len(TEXTS), LENGTH, dtype=torch.int64), torch.zeros(len(TEXTS), LENGTH)
    for row, text in enumerate(TEXTS):
        ids[row, : len(text)], real[row, : len(text)] = torch.tensor(text), 1
    return ids, real


@pytest.mark.parametrize(("temperature", "hard"), [(1.0, False), (10.0, False), (10.0, True)])
def test_a_published_transformer_gives_what_its_description_says(temperature: float, hard: bool) -> None:
    tensors = encoder()
    wanted, cost = described_encoder(tensors, TEXTS, temperature, hard)
    module = harness_ndna.load_published("transformer", tensors, temperature, hard)
    ids, real = padded()
    assert torch.allclose(module(ids, real), wanted, rtol=0, atol=1e-10)
    assert torch.allclose(module(ids[:1]), wanted[:1], rtol=0, atol=1e-10), "without a mask all are tokens"
    assert math.isclose(module.metabolic_cost(), float(cost), rel_tol=1e-12)
    assert not module.training


def test_the_cost_of_the_published_encoder_counts_pairs_once_and_some_that_no_weight_joins() -> None:
    connections = [c for c in BandTransformer(BandTransformerOptions(), IMDB).connections() if c.default]
    assert sum(c.shape[0] * c.shape[1] for c in every_pair(connections)) == 1_379_840


def test_gradients_of_the_encoder_and_its_genome_are_those_of_the_description() -> None:
    """Of cross-entropy plus cost, through the method as it trains, at temperature 3."""
    layers, (ids, real), cpu = 3, padded(), torch.device("cpu")
    tensors = {name: tensor.requires_grad_() for name, tensor in encoder(layers).items()}
    spec = DataSpec("text_classification", (LENGTH,), 2, 4, vocabulary=WORDS + 1, padding=WORDS)
    architecture = BandTransformer(BandTransformerOptions(hidden=HIDDEN, ffn=FFN, layers=layers), spec)
    module = harness_ndna.load_published("transformer", tensors)  # for its names alone
    network, names = architecture.build().double(), dict(module.network.named_parameters())
    plain = {name: tensor.detach() for name, tensor in tensors.items()}
    grown = {n.removeprefix("genome."): tensor for n, tensor in plain.items() if n.startswith("genome.")}
    theirs = {name: published_names(name) for name in names}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            whole = torch.cat([plain[one] for one in theirs[name]])
            parameter[: len(whole)].copy_(whole)
    connections = tuple(c for c in architecture.connections() if c.default)
    raw = {c.parameter: network.get_parameter(c.parameter) for c in connections}
    context = MethodContext(network, connections, raw, CurrentMasks(connections, cpu), None, None, 0, cpu, bands=5)
    method = GenomeMethod(
        GenomeOptions(temperature_start=3, temperature_end=3, cost_pairs="published", cost_weight=0.5)
    )
    method.attach(context)
    method.load_state_dict({"genome": grown, "temperature": 3})
    labels = torch.tensor([0, 1, 1, 0])
    effective = dict(method.effective(raw, connections))
    loss = torch.func.functional_call(network, effective, (ids.where(real > 0, WORDS), labels))
    (loss + method.regularizers(context)["metabolic_cost"]).backward()
    wanted, cost = described_encoder(tensors, TEXTS, 3.0, False, layers)
    (torch.nn.functional.cross_entropy(wanted, labels) + 0.5 * cost).backward()
    for name, gene in method.genome.named_parameters():
        assert torch.allclose(gene.grad, tensors[f"genome.{name}"].grad, rtol=1e-8, atol=1e-12), name
        assert gene.grad.abs().max() > 0
    for name, parameter in network.named_parameters():
        expected = torch.cat([tensors[one].grad for one in theirs[name]])
        assert torch.allclose(parameter.grad[: len(expected)], expected, rtol=1e-8, atol=1e-12), name


def published_names(name: str) -> list[str]:
    """Of a parameter of the harness's network."""
    block = re.fullmatch(r"blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if block and block[2] == "qkv":
        return [f"W_{one}s.{block[1]}.{block[3]}" for one in "qkv"]
    if block:
        theirs = {"attn_norm": "ln1s", "ffn_norm": "ln2s", "up": "ff1s", "down": "ff2s", "out": "W_os"}[block[2]]
        return [f"{theirs}.{block[1]}.{block[3]}"]
    if skip := re.fullmatch(r"skips\.layer(\d+)_from_(embedding|layer(\d+))\.weight", name):
        return [f"skip_projs.{skip[1]}_{skip[3] or 0}.weight"]
    return [{"tokens.weight": "token_emb.weight", "positions.weight": "pos_emb.weight"}.get(name, name)]


def clip_network(layers: int = 3, hidden: int = 16, ffn: int = 20, frames: int = 4) -> dict[str, torch.Tensor]:
    """Of the names of the released class, for frames of 16x16 in patches of 8."""
    seed = [900]
    found = {
        "temporal_pos": random(1, frames, 1, hidden, seed=seed),
        "spatial_pos": random(1, 1, 4, hidden, seed=seed),
        **{n.replace("genome.", "genome.depth."): t for n, t in genome(8, seed, layers + 2).items()},
        **{n.replace("genome.", "genome.temporal."): t for n, t in genome(4, seed, 5).items()},
        **{n.replace("genome.", "genome.spatial."): t for n, t in genome(4, seed, 5).items()},
    }
    shapes = {"patch_embed.proj": (hidden, 64), "pred_head": (64, hidden)}
    for i in range(layers):
        shapes |= {f"{kind}_W{one}.{i}": (hidden, hidden) for kind in "st" for one in "qkv"}
        shapes |= {f"ff1s.{i}": (ffn, hidden), f"ff2s.{i}": (hidden, ffn)}
        found |= {f"{kind}_Wo.{i}.weight": random(hidden, hidden, seed=seed) for kind in "st"}
        found |= {f"skip_projs.{i + 1}_{s}.weight": random(hidden, hidden, seed=seed) for s in range(i)}
    for name, shape in shapes.items():
        found[f"{name}.weight"], found[f"{name}.bias"] = random(*shape, seed=seed), random(shape[0], seed=seed)
    for norm in ("ln_final", *(f"ln_{kind}.{i}" for kind in "stf" for i in range(layers))):
        found[f"{norm}.weight"], found[f"{norm}.bias"] = random(hidden, seed=seed) + 1, random(hidden, seed=seed)
    return found


@pytest.mark.parametrize(("temperature", "hard"), [(1.0, False), (10.0, False), (10.0, True)])
def test_a_published_video_network_gives_what_its_description_says(temperature: float, hard: bool) -> None:
    tensors, layers, hidden, ffn = clip_network(), 3, 16, 20
    frames = random(2, 4, 16, 16, seed=[77]) + 0.5

    def mask(part: str, source: int, target: int, n_source: int, n_target: int) -> torch.Tensor:
        genes = {f"genome.{n.removeprefix(f'genome.{part}.')}": t for n, t in tensors.items() if f".{part}." in n}
        found = logits(genes, source, target, n_source, n_target)
        return (found.sigmoid() > 0.5).double() if hard else (temperature * found).sigmoid()

    ours = {"frames": tensors["temporal_pos"][0, :, 0], "places": tensors["spatial_pos"][0, 0]}
    names = ["embedding", *(f"layer{i}" for i in range(1, layers + 1))]
    for part in ("weight", "bias"):
        for own, theirs in (("embedding", "patch_embed.proj"), ("norm", "ln_final"), ("head", "pred_head")):
            ours[f"{own}.{part}"] = tensors[f"{theirs}.{part}"]
        for i in range(layers):
            for own, theirs in (("norm", "ln_f"), ("up", "ff1s"), ("down", "ff2s")):
                ours[f"blocks.{i}.{own}.{part}"] = tensors[f"{theirs}.{i}.{part}"]
            for kind in ("spatial", "temporal"):
                ours[f"blocks.{i}.{kind}.norm.{part}"] = tensors[f"ln_{kind[0]}.{i}.{part}"]
                three = [tensors[f"{kind[0]}_W{one}.{i}.{part}"] for one in "qkv"]
                ours[f"blocks.{i}.{kind}.qkv.{part}"] = torch.cat(three)
    for i in range(layers):
        for kind in ("spatial", "temporal"):
            out = mask("depth", i, i + 1, hidden, hidden)
            ours[f"blocks.{i}.{kind}.out.weight"] = tensors[f"{kind[0]}_Wo.{i}.weight"] * out
        ours[f"blocks.{i}.up.weight"] = ours[f"blocks.{i}.up.weight"] * mask("depth", i, i + 1, hidden, ffn)
        for s in range(i):
            skip = tensors[f"skip_projs.{i + 1}_{s}.weight"] * mask("depth", s, i + 1, hidden, hidden)
            ours[f"skips.layer{i + 1}_from_{names[s]}.weight"] = skip
    ours["head.weight"] = ours["head.weight"] * mask("depth", layers, layers + 1, hidden, 64)
    seen = [mask(part, 0, 1, size, size) for part, size in (("temporal", 4), ("spatial", 4))]
    temporal, spatial = (20 * ((one if hard else one.clamp(0.01, 0.99)) - 0.5) for one in seen)
    wanted = band_video.reference(ours, frames, 8, 4, True, (temporal, spatial))
    module = harness_ndna.load_published("video", tensors, temperature, hard)
    assert torch.allclose(module(frames), wanted, rtol=0, atol=1e-10)
    temperature, hard, total, pairs = 1.0, False, 0.0, 0  # the cost is of soft masks at 1, of depth alone
    sizes = [*[hidden] * (layers + 1), 64]
    for t in range(1, layers + 2):
        for s in range(t):
            found = mask("depth", s, t, sizes[s], sizes[t])
            total, pairs = total + float(found.sum()), pairs + found.numel()
    assert math.isclose(module.metabolic_cost(), total / pairs, rel_tol=1e-12)


def test_what_is_not_published_is_refused() -> None:
    tensors = state(10)
    with pytest.raises(UserError, match=r"unknown kind 'cn'\. Did you mean 'cnn'"):
        harness_ndna.load_published("cn", tensors)
    for name, said in (
        ("fc.weight", "fc.weight"),
        ("primary_bns.2.bias", "primary_bns.2.bias"),
        ("genome.affinity", "affinity"),
    ):
        with pytest.raises(UserError, match=said):
            harness_ndna.load_published("cnn", {n: t for n, t in tensors.items() if n != name})
    encoded = encoder(2)
    for name in ("W_ks.1.bias", "pos_emb.weight", "ff1s.0.weight"):
        with pytest.raises(UserError, match=rf"not of a published 'transformer': .*{name}"):
            harness_ndna.load_published("transformer", {n: t for n, t in encoded.items() if n != name})
    clip = clip_network()
    for name in ("t_Wk.1.bias", "spatial_pos", "genome.spatial.affinity"):
        with pytest.raises(UserError, match=rf"{name.rpartition('.')[2]}"):
            harness_ndna.load_published("video", {n: t for n, t in clip.items() if n != name})
    with pytest.raises(UserError, match=r"no tensors are fc\.bias"):
        harness_ndna.load_published("cnn", {**tensors, "fc.bias": [0.0]})
    with pytest.raises(UserError, match="it also has more"):
        harness_ndna.load_published("cnn", {**tensors, "more": torch.zeros(1)})
    with pytest.raises(UserError, match="not of a published 'cnn'"):
        harness_ndna.load_published("cnn", {**tensors, "skip_convs.2_0.weight": torch.zeros(16, 4, 1, 1)})


def test_every_pair_of_bands_is_charged_once() -> None:
    first, middle, wide, last = Band("a", 2, 0), Band("b", 3, 1), Band("b.wide", 7, 1), Band("c", 5, 2)
    joined = [
        Connection("1", "w1", "dense", first, wide, (7, 2)),
        Connection("2", "w2", "dense", first, middle, (3, 2)),
        Connection("3", "w3", "dense", middle, last, (5, 3)),
    ]
    assert [(c.target.name, c.source.name, c.shape) for c in every_pair(joined)] == [
        ("b", "a", (3, 2)), ("c", "a", (5, 2)), ("c", "b", (5, 3)),
    ]  # fmt: skip


# --- imports ---------------------------------------------------------------------------------


@pytest.mark.parametrize("masks", ["soft", "hard"])
@pytest.mark.parametrize(
    ("importer", "suited"), [("ndna_cnn", "cifar10: {}"), ("ndna_transformer", "line_breaks: true")]
)
def test_an_imported_network_is_the_published_one(
    importer: str,
    suited: str,
    masks: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    kind = importer.removeprefix("ndna_")
    tensors = state(10) if kind == "cnn" else encoder()
    torch.save({"model_state": tensors}, tmp_path / "model.pt")
    words = ["import", importer, str(tmp_path / "model.pt"), "--name", "it", "--option", f"masks={masks}"]
    cli.main(words, standalone_mode=False)
    assert suited in capsys.readouterr().out
    found = read("it")
    plug, data = found.manifest.architecture, found.manifest.data
    assert plug is not None and data is not None
    cls = load().get("architecture", plug.plugin)
    network = cls(cls.Options.model_validate(plug.options), data.spec).build().double()
    network.load_state_dict(found.weights())
    module = harness_ndna.load_published(kind, tensors, 10.0, masks == "hard")
    x = random(3, 3, 32, 32, seed=[99]) if kind == "cnn" else torch.tensor([[1, 5, 29, 3, 3], [7, 8, 1, 2, 2]])
    assert torch.equal(network.eval()(x), module(x))
    kept = found.masks()
    assert (kept is None) == (masks == "soft")
    if kept is not None:
        assert found.manifest.method is not None and found.manifest.method.plugin == "stored_mask"
        for connection in module.architecture.connections():
            if connection.name in kept:
                weight = connection.region(network.get_parameter(connection.parameter))
                assert torch.equal(kept[connection.name], weight != 0)
    genes = {name for name in tensors if name.startswith("genome.")}
    assert {name for name in found.method_tensors() if name.startswith("genome.")} == genes


def test_a_genome_with_too_few_bands_is_refused() -> None:
    tensors = {**encoder(), "genome.band_type_base": torch.zeros(7, 8), "genome.band_type_grad": torch.zeros(7, 8)}
    with pytest.raises(UserError, match="the connections span 8 bands but n_bands is 7"):
        harness_ndna.load_published("transformer", tensors)
