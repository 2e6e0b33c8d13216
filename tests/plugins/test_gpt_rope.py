from __future__ import annotations

import cmath
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from harness import DataSpec, Masks, Unsupported
from harness.testing import check_architecture
from harness.training.weights import Weights
from harness_architectures.gpt_rope import GptRope, GptRopeOptions
from harness_architectures.gpt_rope_network import GptRopeNetwork, rotated, rotation
from harness_architectures.scaling import parameter_count

torch.set_num_threads(1)
VOCABULARY, CONTEXT, LAYERS, WIDTH, HEADS = 11, 6, 2, 8, 2
DATA = DataSpec("language", (CONTEXT,), VOCABULARY, examples=10, tokens=CONTEXT)
PAPER = DataSpec("language", (1024,), 50257, examples=1, tokens=1024)
TINY = {"n_layers": LAYERS, "width": WIDTH, "heads": HEADS, "vocabulary_padding": 16}


def make(data: DataSpec = DATA, **options: object) -> GptRope:
    return GptRope(GptRopeOptions.model_validate({**TINY, **options}), data)


def random_model(seed: int = 0, **options: object) -> GptRopeNetwork:
    """A network in float64 with weights far from their initial ones."""
    model = make(**options).build().double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def turned(vector: np.ndarray, position: int) -> list[complex]:
    """Unit k and unit k + half of a head as one complex number, multiplied by e^(-i p theta_k)."""
    half = len(vector) // 2
    return [
        complex(vector[k], vector[k + half]) * cmath.exp(-1j * position * 10_000 ** (-2 * k / len(vector)))
        for k in range(half)
    ]


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def relu2(x: float) -> float:
    return x * x if x > 0 else 0.0


def naive_logits(model: GptRopeNetwork, tokens: list[int], activation: Callable[[float], float]) -> np.ndarray:
    """The network on one sequence, in float64, position by position and head by head; (context, vocabulary)."""
    w = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}

    def norm(x: np.ndarray) -> np.ndarray:
        return x / math.sqrt(sum(v * v for v in x) / len(x) + 1e-6)

    size = WIDTH // HEADS
    stream = [w["embedding.weight"][token] for token in tokens]
    for i in range(LAYERS):
        qkv = [w[f"blocks.{i}.attn.qkv.weight"] @ norm(x) for x in stream]
        for p in range(len(tokens)):
            mixed = np.zeros(WIDTH)
            for head in range(HEADS):
                at = slice(head * size, (head + 1) * size)
                query = turned(qkv[p][:WIDTH][at], p)
                keys = [turned(qkv[s][WIDTH : 2 * WIDTH][at], s) for s in range(p + 1)]
                products = [sum((q * k.conjugate()).real for q, k in zip(query, key, strict=True)) for key in keys]
                scores = [math.exp(product / math.sqrt(size)) for product in products]
                for s in range(p + 1):
                    mixed[at] += scores[s] / sum(scores) * qkv[s][2 * WIDTH :][at]
            stream[p] = stream[p] + w[f"blocks.{i}.attn.out.weight"] @ mixed / math.sqrt(2 * LAYERS)
        for p in range(len(tokens)):
            up = np.array([activation(v) for v in w[f"blocks.{i}.ffn.up.weight"] @ norm(stream[p])])
            stream[p] = stream[p] + w[f"blocks.{i}.ffn.down.weight"] @ up
    return np.stack([w["head.weight"][:VOCABULARY] @ norm(x) for x in stream])


@pytest.mark.parametrize(("name", "activation"), [("gelu", gelu), ("relu2", relu2)])
@pytest.mark.parametrize("length", [CONTEXT, 4])
def test_logits_and_loss_are_those_of_a_naive_reference(
    name: str, activation: Callable[[float], float], length: int
) -> None:
    model = random_model(activation=name)
    torch.manual_seed(1)
    inputs, targets = torch.randint(0, VOCABULARY, (2, 3, length))
    expected = np.stack([naive_logits(model, row.tolist(), activation) for row in inputs])
    np.testing.assert_allclose(model(inputs).detach().numpy(), expected, rtol=0, atol=1e-10)
    losses = [
        math.log(sum(math.exp(v) for v in expected[b, p])) - expected[b, p, targets[b, p]]
        for b in range(3)
        for p in range(length)
    ]
    assert model(inputs, targets).item() == pytest.approx(sum(losses) / len(losses), abs=1e-10)


def test_rotation_is_a_product_of_complex_numbers() -> None:
    x = torch.randn(2, 3, 50, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = rotated(x, *rotation(50, 8, x))
    for batch, head, position in ((0, 0, 0), (1, 2, 7), (0, 1, 49)):
        expected = turned(x[batch, head, position].numpy(), position)
        parts = [z.real for z in expected] + [z.imag for z in expected]
        np.testing.assert_allclose(found[batch, head, position].numpy(), parts, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.norm(dim=-1), x.norm(dim=-1), rtol=0, atol=1e-12)


def test_products_depend_on_the_distance_of_positions_only() -> None:
    query, key = torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tables = rotation(64, 16, query)
    products = rotated(query.expand(64, 16), *tables) @ rotated(key.expand(64, 16), *tables).T
    for distance in range(-63, 64):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-12)
    assert (products[0] - products[0, 0])[1:].abs().min() > 1e-4, "it does depend on distance"


def test_positions_are_exact_in_bfloat16() -> None:
    x = torch.zeros(1024, 64, dtype=torch.bfloat16)
    cosines, sines = rotation(1024, 64, x)
    assert cosines.dtype == torch.float32
    exact = rotation(1024, 64, x.double())
    torch.testing.assert_close(cosines, exact[0].float(), rtol=0, atol=1e-4)
    torch.testing.assert_close(sines, exact[1].float(), rtol=0, atol=1e-4)
    assert rotated(x, cosines, sines).dtype == torch.bfloat16
    inputs, targets = torch.randint(0, VOCABULARY, (2, 3, CONTEXT))
    assert make().build().bfloat16()(inputs, targets).isfinite()


def test_keeps_the_contract_of_architectures() -> None:
    check_architecture(GptRope, TINY)


def test_parameters_of_the_paper() -> None:
    architecture = GptRope(GptRopeOptions(), PAPER)
    rows = 50_304
    assert parameter_count(architecture) == 2 * rows * 768 + 12 * (4 + 8) * 768**2 == 162_201_600
    assert sum(c.size for c in architecture.connections() if c.default) == 84_934_656
    sizes = {c.name: c.shape for c in architecture.connections() if not c.default}
    assert sizes == {"embedding": (768, 50_257), "head": (50_257, 768)}


def test_connections_cover_all_weights_but_padding_once() -> None:
    model = make().build()
    covered = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    for c in make().connections():
        region = c.region(covered[c.parameter])
        assert region.shape == c.shape == (c.target.size, c.source.size)
        region += 1
    for name, count in covered.items():
        expected = torch.ones_like(count)
        if name in ("embedding.weight", "head.weight"):
            expected[VOCABULARY:] = 0
        assert torch.equal(count, expected), name
    assert [c.role for c in make().connections()] == [
        "embedding",
        *(["qkv"] * 3 + ["attn_out", "ffn_up", "ffn_down"]) * LAYERS,
        "head",
    ]


def test_depths_are_those_of_gpt2() -> None:
    for c in make().connections():
        layer = int(c.name.split(".")[0].removeprefix("block")) if c.default else None
        depths = {"embedding": (0, 0), "head": (LAYERS, LAYERS + 1)}.get(c.name, (layer, (layer or 0) + 1))
        assert (c.source.depth, c.target.depth) == depths


def test_masked_weights_stay_zero_and_padding_is_never_touched() -> None:
    torch.manual_seed(0)
    model, connections = make().build(), make().connections()
    padding = model.head.weight[VOCABULARY:].clone()
    masks = Masks({c.name: torch.rand(c.shape) < 0.3 for c in connections})
    weights = Weights(model, connections, masks)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    inputs, targets = torch.randint(0, VOCABULARY, (2, 4, CONTEXT))
    losses = []
    for _ in range(20):
        loss = model(inputs, targets)
        optimizer.zero_grad()
        loss.backward()
        weights.pull_back()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert weights.zeros() == {name: int((~mask).sum()) for name, mask in masks.items()}
    assert torch.equal(model.head.weight[VOCABULARY:], padding)


def test_initial_weights() -> None:
    data = DataSpec("language", (64,), 500, 1, 64)
    for name, parameter in make(data, n_layers=3, width=128, heads=4).build().named_parameters():
        std = 0.02 / math.sqrt(6) if name.endswith(("attn.out.weight", "ffn.down.weight")) else 0.02
        assert parameter.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * parameter.numel())), name
        assert (parameter / std).pow(4).mean().item() == pytest.approx(3, abs=0.3), name


def test_states_are_the_residual_stream() -> None:
    model = random_model()
    inputs = torch.randint(0, VOCABULARY, (2, CONTEXT))
    states = model.states(inputs)
    assert len(states) == LAYERS + 1
    assert torch.equal(states[0], model.embedding.weight[inputs])
    torch.testing.assert_close(model.logits(model.normed(states[-1])), model(inputs))


def test_context_may_be_longer_than_the_data_never_shorter() -> None:
    assert make().context == CONTEXT
    assert make(context=9).unsupported() is None
    assert make(context=5).unsupported() == "has a context of 5, shorter than the data's 6 tokens"
    with pytest.raises(ValueError, match="7 tokens do not fit into a context of 6"):
        make().build()(torch.zeros(1, 7, dtype=torch.long))


@pytest.mark.parametrize("parameters", [30_000_000, 100_000_000, 162_000_000])
def test_scaled_fits_and_uses_what_it_may(parameters: int) -> None:
    smaller = GptRope(GptRopeOptions(), PAPER).scaled(parameters)
    assert smaller.options.width % 24 == 0
    assert 0.9 * parameters <= parameter_count(smaller) <= parameters
    wider = GptRope(smaller.options.model_copy(update={"width": smaller.options.width + 24}), PAPER)
    assert parameter_count(wider) > parameters


def test_scaled_says_when_nothing_fits() -> None:
    with pytest.raises(Unsupported, match="100 parameters"):
        make().scaled(100)


def test_refuses_wrong_options() -> None:
    with pytest.raises(ValidationError, match=r"no multiple of 2 \* heads = 8, .* take width 8 or 16"):
        GptRopeOptions(width=12, heads=4)
    with pytest.raises(ValidationError, match="'gelu' or 'relu2'"):
        GptRopeOptions.model_validate({"activation": "swish"})
