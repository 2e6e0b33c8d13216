from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from harness import Connection, DataSpec, Unsupported, UserError
from harness.registry.plugins import load
from harness.suites.suite import load_suite
from harness_architectures.gpt2 import Gpt2, Gpt2Options, load_hf
from harness_architectures.scaling import parameter_count

torch.set_num_threads(1)
VOCABULARY, CONTEXT, LAYERS, WIDTH, HEADS = 11, 6, 2, 8, 2
DATA = DataSpec("language", (CONTEXT,), VOCABULARY, examples=10, tokens=CONTEXT)
SMALL = DataSpec("language", (1024,), 50257, examples=1, tokens=1024)
TINY = {"n_layers": LAYERS, "width": WIDTH, "heads": HEADS}


def make(data: DataSpec = DATA, **options: object) -> Gpt2:
    return Gpt2(Gpt2Options(**{**TINY, **options}), data)


def build(architecture: Gpt2, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return architecture.build()


def published(prefix: str = "transformer.", seed: int = 3) -> dict[str, torch.Tensor]:
    """A random state dict with the published names and layouts, far from any initialisation."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.5

    state = {"wte.weight": draw(VOCABULARY, WIDTH), "wpe.weight": draw(CONTEXT, WIDTH)}
    for i in range(LAYERS):
        for name, inner, outer in (
            ("attn.c_attn", WIDTH, 3 * WIDTH),
            ("attn.c_proj", WIDTH, WIDTH),
            ("mlp.c_fc", WIDTH, 4 * WIDTH),
            ("mlp.c_proj", 4 * WIDTH, WIDTH),
        ):
            state[f"h.{i}.{name}.weight"], state[f"h.{i}.{name}.bias"] = draw(inner, outer), draw(outer)
        for name in ("ln_1", "ln_2"):
            state[f"h.{i}.{name}.weight"], state[f"h.{i}.{name}.bias"] = 1 + draw(WIDTH), draw(WIDTH)
        state[f"h.{i}.attn.bias"] = torch.ones(CONTEXT, CONTEXT).tril()
        state[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    state["ln_f.weight"], state["ln_f.bias"] = 1 + draw(WIDTH), draw(WIDTH)
    named = {prefix + name: tensor for name, tensor in state.items()}
    return named | {"lm_head.weight": state["wte.weight"]}


def naive_logits(state: dict[str, torch.Tensor], tokens: list[int]) -> np.ndarray:
    """GPT-2 on one sequence, in float64, position by position and head by head; (context, vocabulary)."""
    w = {name.removeprefix("transformer."): tensor.double().numpy() for name, tensor in state.items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean()
        return centred / math.sqrt((centred**2).mean() + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        return np.array([0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) for v in x])

    stream = [w["wte.weight"][token] + w["wpe.weight"][p] for p, token in enumerate(tokens)]
    size = WIDTH // HEADS
    for i in range(LAYERS):
        qkv = [linear(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn") for x in stream]
        for p in range(len(tokens)):
            mixed = np.zeros(WIDTH)
            for head in range(HEADS):
                at = slice(head * size, (head + 1) * size)
                query = qkv[p][:WIDTH][at]
                scores = [math.exp(query @ qkv[s][WIDTH : 2 * WIDTH][at] / math.sqrt(size)) for s in range(p + 1)]
                for s in range(p + 1):
                    mixed[at] += scores[s] / sum(scores) * qkv[s][2 * WIDTH :][at]
            stream[p] = stream[p] + linear(mixed, f"h.{i}.attn.c_proj")
        for p in range(len(tokens)):
            up = gelu(linear(norm(stream[p], f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"))
            stream[p] = stream[p] + linear(up, f"h.{i}.mlp.c_proj")
    return np.stack([w["wte.weight"] @ norm(x, "ln_f") for x in stream])


@pytest.mark.parametrize("padding", [1, 16])
@pytest.mark.parametrize("length", [CONTEXT, 4])
def test_published_weights_give_the_logits_of_a_naive_reference(padding: int, length: int) -> None:
    model = build(make(vocabulary_padding=padding)).double()
    state = published()
    load_hf(model, state)
    torch.manual_seed(1)
    inputs, targets = torch.randint(0, VOCABULARY, (2, 3, length))
    expected = np.stack([naive_logits(state, row.tolist()) for row in inputs])
    np.testing.assert_allclose(model(inputs).detach().numpy(), expected, rtol=0, atol=1e-10)
    losses = [
        math.log(sum(math.exp(v) for v in expected[b, p])) - expected[b, p, targets[b, p]]
        for b in range(3)
        for p in range(length)
    ]
    assert model(inputs, targets).item() == pytest.approx(sum(losses) / len(losses), abs=1e-10)


def test_published_weights_give_the_logits_of_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: no second opinion")
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS
    )
    theirs = transformers.GPT2LMHeadModel(config).double().eval()
    model = build(make()).double()
    load_hf(model, theirs.state_dict())
    inputs = torch.randint(0, VOCABULARY, (3, CONTEXT))
    torch.testing.assert_close(model(inputs), theirs(inputs).logits, rtol=0, atol=1e-10)


def test_load_hf_takes_names_without_prefix_and_reads_the_layout_right() -> None:
    one, two = build(make(), 1), build(make(), 2)
    load_hf(one, published())
    without = published(prefix="")
    del without["lm_head.weight"]
    load_hf(two, without)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))
    parameters = dict(one.named_parameters())
    regions = {c.name: c.region(parameters[c.parameter]) for c in make().connections()}
    fused = without["h.1.attn.c_attn.weight"].float()
    for part, name in enumerate(("query", "key", "value")):
        assert torch.equal(regions[f"block1.attn.{name}"], fused[:, part * WIDTH : (part + 1) * WIDTH].T)
    assert torch.equal(regions["block0.attn.out"], without["h.0.attn.c_proj.weight"].float().T)
    assert torch.equal(regions["embedding"], without["wte.weight"].float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("transformer.h.1.mlp.c_fc.bias"), "missing h.1.mlp.c_fc.bias"),
        (lambda s: s.update({"transformer.h.2.ln_1.weight": torch.ones(8)}), "unexpected h.2.ln_1.weight"),
        (lambda s: s.update({"transformer.wpe.weight": torch.ones(7, 8)}), r"'wpe.weight' has shape \(7, 8\)"),
        (lambda s: s.update({"transformer.wte.weight": torch.ones(12, 8)}), r"'wte.weight' has shape \(12, 8\)"),
        (lambda s: s.update({"transformer.h.0.mlp.c_fc.weight": torch.ones(32, 8)}), "'h.0.mlp.c_fc.weight'"),
        (lambda s: s.update({"lm_head.weight": torch.ones(11, 8)}), "'lm_head.weight' differs"),
    ],
)
def test_load_hf_refuses_what_does_not_fit_and_then_changes_nothing(change: object, message: str) -> None:
    model = build(make(vocabulary_padding=16))
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    state = published()
    change(state)  # type: ignore[operator]
    with pytest.raises(UserError, match=message):
        load_hf(model, state)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())


def test_load_hf_names_the_bias_that_the_model_lacks() -> None:
    with pytest.raises(UserError, match=r"unexpected h\.0\.attn\.c_proj\.bias, .* attn_out_bias true"):
        load_hf(build(make(attn_out_bias=False)), published())


@pytest.mark.parametrize(("attn_out_bias", "expected"), [(True, 124_439_808), (False, 124_430_592)])
def test_published_sizes(attn_out_bias: bool, expected: int) -> None:
    architecture = Gpt2(Gpt2Options(attn_out_bias=attn_out_bias), SMALL)
    assert parameter_count(architecture) == expected
    in_scope = [c for c in architecture.connections() if c.role in ("attn_out", "ffn_up")]
    assert len(in_scope) == 24
    assert sum(c.size for c in in_scope) == 35_389_440


@pytest.mark.parametrize(
    ("size", "expected"),
    [("small", 124_439_808), ("medium", 354_823_168), ("large", 774_030_080), ("xl", 1_557_611_200)],
)
def test_sizes_have_the_parameters_of_the_released_models(size: str, expected: int) -> None:
    assert parameter_count(Gpt2(Gpt2Options(size=size), SMALL)) == expected


def test_size_is_a_shorthand_that_explicit_options_override() -> None:
    assert Gpt2Options(size="small").model_dump(exclude={"size"}) == Gpt2Options().model_dump(exclude={"size"})
    assert (Gpt2Options().n_layers, Gpt2Options().width, Gpt2Options().heads) == (12, 768, 12)
    own = Gpt2Options.model_validate({"heads": 8, "size": "large", "n_layers": 2})
    assert (own.n_layers, own.width, own.heads) == (2, 1280, 8)
    assert Gpt2Options.model_validate(own.model_dump()) == own
    for wrong in ("huge", 3, ["small"]):
        with pytest.raises(ValidationError, match="'small', 'medium', 'large' or 'xl'"):
            Gpt2Options(size=wrong)


def identities(path: Path, architectures: str) -> dict[str, Any]:
    """What identifies each architecture of a suite in hashes, by label."""
    path.write_text(
        f"architectures: {architectures}\n"
        "methods: [dense]\nbenchmarks: {python_stdlib: {}}\ntraining: {steps: 1}\n"
    )
    return {cell.architecture: cell.architecture_part.identity for cell in load_suite(path, load()).cells}


def test_size_does_not_change_what_identifies_a_network(tmp_path: Path) -> None:
    found = identities(
        tmp_path / "sizes.yaml",
        "{gpt2: {}, small: {use: gpt2, size: small}, medium: {use: gpt2, size: medium}, "
        "same: {use: gpt2, n_layers: 24, width: 1024, heads: 16}}",
    )
    assert found["small"] == found["gpt2"] != found["medium"] == found["same"]
    assert found["gpt2"] == {
        "plugin": "gpt2",
        "version": "1",
        "options": {
            "n_layers": 12,
            "width": 768,
            "heads": 12,
            "context": None,
            "ffn_multiple": 4,
            "dropout": 0.0,
            "qkv_bias": True,
            "attn_out_bias": True,
            "vocabulary_padding": 1,
        },
    }, "older results are no longer found"


def test_connections_are_regions_of_the_module_that_do_not_overlap() -> None:
    architecture = make(vocabulary_padding=16)
    parameters = dict(build(architecture).named_parameters())
    covered = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    connections = architecture.connections()
    assert len({c.name for c in connections}) == len(connections) == 6 * LAYERS + 1
    for c in connections:
        region = c.region(covered[c.parameter])
        assert region.shape == c.shape == (c.target.size, c.source.size)
        region += 1
    whole = {c.parameter for c in connections} - {"embedding.weight"}
    assert whole == {name for name, p in parameters.items() if name.startswith("blocks.") and p.dim() == 2}
    assert all((covered[name] == 1).all() for name in whole)
    assert covered["embedding.weight"].sum(1).tolist() == [WIDTH] * VOCABULARY + [0] * 5
    assert [c.name for c in connections if not c.default] == ["embedding"]


def test_bands_have_the_depths_of_a_genome_over_layers() -> None:
    connections = make(n_layers=12).connections()
    depths: dict[str, tuple[int, int]] = {}
    for c in connections:
        for band in (c.source, c.target):
            assert depths.setdefault(band.name, (band.depth, band.size)) == (band.depth, band.size)
        layer = 12 if c.name == "embedding" else int(c.name.split(".")[0].removeprefix("block"))
        assert (c.source.depth, c.target.depth) == (layer, layer + 1)
    assert max(depth for depth, _ in depths.values()) + 1 == 14

    def of(role: str) -> list[Connection]:
        return [c for c in connections if c.role == role]

    assert {role: len(of(role)) for role in ("qkv", "attn_out", "ffn_up", "ffn_down", "embedding")} == {
        "qkv": 36,
        "attn_out": 12,
        "ffn_up": 12,
        "ffn_down": 12,
        "embedding": 1,
    }


def test_head_is_the_embedding_itself() -> None:
    model = build(make())
    assert not [name for name, _ in model.named_parameters() if "head" in name]
    assert sum(p.shape == (VOCABULARY, WIDTH) for p in model.parameters()) == 1
    inputs = torch.zeros(1, CONTEXT, dtype=torch.long)
    model(inputs, inputs).backward()
    assert (model.embedding.weight.grad.abs().sum(1) > 0).all(), "rows of tokens never read learn through the head"


def test_later_tokens_do_not_change_earlier_logits() -> None:
    model = build(make()).double()
    load_hf(model, published())
    inputs = torch.randint(0, VOCABULARY, (2, CONTEXT))
    before = model(inputs)
    for position in range(CONTEXT):
        changed = inputs.clone()
        changed[:, position] = (changed[:, position] + 1) % VOCABULARY
        difference = (model(changed) - before).abs().amax((0, 2))
        assert (difference[:position] == 0).all()
        assert (difference[position:] > 1e-6).all()


def test_gradients_reach_every_parameter() -> None:
    model = build(make())
    load_hf(model, published())
    model(*torch.randint(0, VOCABULARY, (2, 4, CONTEXT))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_initial_weights() -> None:
    data = DataSpec("language", (64,), 500, 1, 64)
    for name, parameter in build(make(data, n_layers=3, width=128, heads=4)).named_parameters():
        if parameter.dim() == 1:
            assert (parameter == (1.0 if name.endswith("norm.weight") else 0.0)).all(), name
            continue
        std = 0.02 / math.sqrt(6) if name.endswith(("attn.out.weight", "ffn.down.weight")) else 0.02
        assert parameter.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * parameter.numel())), name
        assert (parameter / std).pow(4).mean().item() == pytest.approx(3, abs=0.3), name
        assert abs(parameter.mean().item()) < 5 * std / math.sqrt(parameter.numel()), name


def test_initial_loss_is_that_of_guessing() -> None:
    data = DataSpec("language", (32,), 500, 1, 32)
    model = build(make(data, width=64, heads=4))
    assert model(*torch.randint(0, 500, (2, 8, 32))).item() == pytest.approx(math.log(500), abs=0.05)


def test_one_seed_gives_one_network() -> None:
    one, same, other = (build(make(), seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["embedding.weight"], other["embedding.weight"])


def test_biases_are_optional() -> None:
    names = dict(build(make(qkv_bias=False, attn_out_bias=False)).named_parameters())
    assert [name for name in names if "attn" in name and name.endswith("bias") and "norm" not in name] == []
    assert "blocks.1.ffn.up.bias" in names


def test_dropout_acts_in_training_only() -> None:
    model = build(make(dropout=0.5))
    inputs = torch.randint(0, VOCABULARY, (2, CONTEXT))
    assert not torch.equal(model.train()(inputs), model(inputs))
    assert torch.equal(model.eval()(inputs), model(inputs))
    plain = build(make()).eval()
    assert torch.equal(plain(inputs), model(inputs))
    assert torch.equal(plain.train()(inputs), model(inputs))


def test_loss_is_float32_in_lower_precision() -> None:
    model = build(make())
    inputs, targets = torch.randint(0, VOCABULARY, (2, 3, CONTEXT))
    with torch.autocast("cpu", torch.bfloat16):
        assert model(inputs).dtype == torch.bfloat16
        assert model(inputs, targets).dtype == torch.float32
    assert model.bfloat16()(inputs, targets).dtype == torch.float32


def test_context_may_be_longer_than_the_data_never_shorter() -> None:
    longer = make(context=9)
    assert longer.unsupported() is None
    assert build(longer).positions.weight.shape == (9, WIDTH)
    assert make(context=5).unsupported() == "has a context of 5, shorter than the data's 6 tokens"
    with pytest.raises(ValueError, match="7 tokens do not fit into a context of 6"):
        build(make())(torch.zeros(1, 7, dtype=torch.long))


@pytest.mark.parametrize("parameters", [20_000_000, 60_000_000, 100_000_000, 124_000_000])
def test_scaled_fits_and_uses_what_it_may(parameters: int) -> None:
    smaller = Gpt2(Gpt2Options(), SMALL).scaled(parameters)
    assert smaller.options.width % 12 == 0
    assert 0.95 * parameters <= parameter_count(smaller) <= parameters
    wider = Gpt2(smaller.options.model_copy(update={"width": smaller.options.width + 12}), SMALL)
    assert parameter_count(wider) > parameters


def test_scaled_is_never_wider_and_says_when_nothing_fits() -> None:
    assert make().scaled(10**9).options == make().options
    with pytest.raises(Unsupported, match="100 parameters"):
        make().scaled(100)


def test_refuses_classification_and_wrong_options() -> None:
    assert make(DataSpec("classification", (6,), 10, 1)).unsupported() == "takes language data, not classification"
    with pytest.raises(ValidationError, match="width 10 is no multiple of heads 4; take width 8 or 12"):
        Gpt2Options(width=10, heads=4)
    for options in ({"layers": 3}, {"n_layers": 0}, {"dropout": 1.0}):
        with pytest.raises(ValidationError):
            Gpt2Options(**options)
