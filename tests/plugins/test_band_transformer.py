"""The transformer encoder of Neural DNA against one written from its description, plain and slow, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from band_transformer import reference

from harness import DataSpec
from harness.testing import check_architecture
from harness_architectures.scaling import parameter_count
from harness_ndna.band_transformer import BandTransformer, BandTransformerNetwork, BandTransformerOptions

torch.set_num_threads(1)
IMDB = DataSpec("text_classification", (512,), 2, 25_000, vocabulary=30_522)
SMALL = DataSpec("text_classification", (12,), 3, 10, vocabulary=20, padding=7)
SIZES: dict[str, Any] = {"hidden": 8, "layers": 3, "heads": 2, "ffn": 6}
FORMS: list[dict[str, Any]] = [
    {},
    {"skips": False, "final_norm": True, "attention": "torch"},
    {"layers": 0},
    {"layers": 1},
]
LENGTHS = (12, 1, 5, 5, 9, 2, 7)


def make(data: DataSpec = SMALL, **options: Any) -> BandTransformer:
    return BandTransformer(BandTransformerOptions(**{**SIZES, **options}), data)


def build(architecture: BandTransformer) -> BandTransformerNetwork:
    """In float64, with biases and norms that are not what they begin with."""
    torch.manual_seed(0)
    network = architecture.build().double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(0.3 * torch.rand(tensor.shape, generator=generator, dtype=torch.float64))
    return network


def texts() -> tuple[list[list[int]], torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    drawn = [torch.randint(19, (n,), generator=generator).tolist() for n in LENGTHS]
    found = [[one + (one >= 7) for one in text] for text in drawn]  # 7 is padding
    ids = torch.full((len(found), 12), 7)
    for row, text in zip(ids, found, strict=True):
        row[: len(text)] = torch.tensor(text)
    return found, ids


@pytest.mark.parametrize("form", FORMS)
def test_logits_and_gradients_equal_the_description(form: dict[str, Any]) -> None:
    network = build(make(**form))
    options = {**SIZES, "skips": True, "final_norm": False, **form}
    state = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}
    found, ids = texts()
    wanted = reference(state, found, options["heads"], options["layers"], options["skips"], options["final_norm"])
    logits = network(ids)
    assert torch.allclose(logits, wanted, rtol=0, atol=1e-12)
    logits.square().sum().backward()
    wanted.square().sum().backward()
    for name, parameter in network.named_parameters():
        plain = state[name].grad if state[name].grad is not None else torch.zeros_like(state[name])
        assert torch.allclose(parameter.grad, plain, rtol=1e-9, atol=1e-11), name


def test_padding_anywhere_and_however_much_changes_nothing() -> None:
    network, (_, ids) = build(make()), texts()
    alone = torch.cat([network(row[row != 7][None]) for row in ids])
    assert torch.allclose(network(ids), alone, rtol=0, atol=1e-12)
    kept = max(LENGTHS[1:])
    assert torch.allclose(network(ids[1:, :kept]), alone[1:], rtol=0, atol=1e-12)
    empty = torch.cat([ids, torch.full((1, 12), 7)])
    assert torch.allclose(network(empty)[:-1], alone, rtol=0, atol=1e-12)
    assert torch.equal(network(empty)[-1], network.classifier.bias), "a text without a token"


def test_published_numbers() -> None:
    grown = BandTransformer(BandTransformerOptions(), IMDB)
    assert parameter_count(grown) == 12_089_346
    masked = [c for c in grown.connections() if c.default]
    assert sum(c.size for c in masked) == 2_163_200 and len(masked) == 6 * 2 + 15 + 1
    assert {c.role for c in masked} == {"attn_out", "ffn_up", "skip", "classifier"}
    assert 1 + max(c.target.depth for c in masked) == 8  # bands of the genome
    dense = BandTransformerOptions(skips=False, final_norm=True, attention="torch")
    assert parameter_count(BandTransformer(dense, IMDB)) == 11_108_354
    older = BandTransformerOptions(attention="torch")  # a row of the table that the released class does not make
    assert parameter_count(BandTransformer(older, IMDB)) == 12_090_882
    bag = BandTransformer(BandTransformerOptions(layers=0), IMDB)
    assert parameter_count(bag) == (30_522 + 512 + 2) * 256 + 2
    assert [(c.name, c.source.depth, c.target.depth) for c in bag.connections()] == [("output", 0, 1)]


def test_initial_weights_are_torchs_own() -> None:
    torch.manual_seed(3)
    network = make(hidden=64).build()
    bound = 64**-0.5
    for linear in (network.blocks[0].qkv, network.blocks[0].out, network.blocks[0].up, network.classifier):
        assert 0.9 * bound < linear.weight.abs().max() <= bound
    assert abs(float(network.tokens.weight.detach().std()) - 1) < 0.05
    assert network.blocks[0].out.bias is None and network.blocks[0].attn_norm.eps == 1e-5
    xavier = make(hidden=64, attention="torch").build().blocks[0]
    bound = (6 / (64 + 3 * 64)) ** 0.5
    assert 0.9 * bound < xavier.qkv.weight.abs().max() <= bound
    assert not xavier.qkv.bias.any() and not xavier.out.bias.any()


@pytest.mark.parametrize("form", FORMS)
def test_contract(form: dict[str, Any]) -> None:
    check_architecture(BandTransformer, {**SIZES, **form})
    check_architecture(BandTransformer, {**SIZES, **form}, data=SMALL)


def test_a_unit_that_nothing_reads_changes_nothing() -> None:
    architecture, (_, ids) = make(), texts()
    network = build(architecture)
    tensors = dict(network.named_parameters())
    with torch.no_grad():
        for group in architecture.units():
            for member in group.members:
                if member.side == "out":
                    tensors[member.parameter].narrow(member.axis, member.start + member.width, member.width).zero_()
        before = network(ids)
        for group in architecture.units():
            for member in group.members:
                if member.side != "out":
                    tensors[member.parameter].narrow(member.axis, member.start + member.width, member.width).fill_(7.0)
        assert torch.allclose(network(ids), before, rtol=0, atol=1e-12)


def test_narrower_networks_fit() -> None:
    for parameters in (6_000_000, 2_000_000):
        smaller = BandTransformer(BandTransformerOptions(), IMDB).scaled(parameters)
        assert 0.8 * parameters < parameter_count(smaller) <= parameters


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden 10 is no multiple of heads 4"):
        BandTransformerOptions(hidden=10)
    reason = BandTransformer(BandTransformerOptions(), DataSpec("classification", (3, 8, 8), 10, 1)).unsupported()
    assert reason == "takes text_classification data, not classification"
