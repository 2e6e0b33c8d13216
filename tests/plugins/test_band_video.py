"""The video transformer of Neural DNA against one written from its description, plain and slow, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from band_video import reference

from harness import CurrentMasks, DataSpec, Masks, MethodContext, TrainingBudget, UserError
from harness.testing import check_architecture
from harness_architectures.scaling import parameter_count
from harness_genome.genome import Genome
from harness_genome.layout import every_pair
from harness_genome.method import GenomeMethod, GenomeOptions
from harness_ndna.band_video import BandVideo, BandVideoNetwork, BandVideoOptions
from harness_random.method import Random, RandomOptions

torch.set_num_threads(1)
CPU = torch.device("cpu")
MOVING = DataSpec("video", (10, 64, 64), 4096, 5000)
SMALL = DataSpec("video", (5, 8, 12), 96, 10)
SIZES: dict[str, Any] = {"hidden": 8, "layers": 3, "heads": 2, "ffn": 6, "patch": 4}


def make(data: DataSpec = SMALL, **options: Any) -> BandVideo:
    return BandVideo(BandVideoOptions(**{**SIZES, **options}), data)


def build(architecture: BandVideo) -> BandVideoNetwork:
    """In float64, with biases and norms that are not what they begin with."""
    torch.manual_seed(0)
    network = architecture.build().double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(0.3 * torch.rand(tensor.shape, generator=generator, dtype=torch.float64))
    return network


def clips() -> torch.Tensor:
    return torch.rand(3, 5, 8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def biases(scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    drawn = (torch.randn(n, n, dtype=torch.float64, generator=generator) for n in (5, 6))
    temporal, spatial = (scale * one for one in drawn)
    return temporal, spatial


@pytest.mark.parametrize("skips", [True, False])
def test_frames_and_gradients_equal_the_description(skips: bool) -> None:
    network, frames, (temporal, spatial) = build(make(skips=skips)), clips(), biases()
    network.temporal_bias.copy_(temporal)
    network.spatial_bias.copy_(spatial)
    state = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}
    wanted = reference(state, frames, 4, 2, skips, (temporal, spatial))
    found = network(frames)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12)
    targets = torch.rand(3, 8, 12, dtype=torch.float64)
    network(frames, targets).backward()
    ((wanted - targets) ** 2).mean().backward()
    for name, parameter in network.named_parameters():
        assert torch.allclose(parameter.grad, state[name].grad, rtol=1e-8, atol=1e-12), name


def test_published_numbers() -> None:
    grown = BandVideo(BandVideoOptions(), MOVING)
    assert parameter_count(grown) == 918_720
    assert parameter_count(BandVideo(BandVideoOptions(skips=False), MOVING)) == 820_416
    masked = [c for c in grown.connections() if c.default]
    twice = sum(c.size for c in masked if c.name.endswith(".temporal_out"))  # in the paper one mask for both maps
    assert sum(c.size for c in masked) - twice == 307_300
    assert [(c.name, c.shape) for c in masked if c.kind == "attention"] == [
        ("temporal", (10, 10)), ("spatial", (64, 64)),
    ]  # fmt: skip
    weights = [c for c in masked if c.kind == "weight"]
    assert sum(c.size for c in every_pair(weights)) == 204_800
    method, context = grow(grown, attention={})
    own = [sum(p.numel() for p in group.parameters) for group in method.parameter_groups()]
    assert own == [226, 74, 74] and 918_720 + sum(own) == 919_094
    assert context.bands == 6


def grow(
    architecture: BandVideo, dtype: torch.dtype = torch.float32, **options: Any
) -> tuple[GenomeMethod, MethodContext]:
    network = architecture.build().to(dtype)
    connections = tuple(c for c in architecture.connections() if c.default)
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    raw = {c.parameter: tensors[c.parameter] for c in connections}
    bands = 1 + max(c.target.depth for c in connections)
    context = MethodContext(network, connections, raw, CurrentMasks(connections, CPU), None, None, 0, CPU, bands=bands)
    method = GenomeMethod(GenomeOptions.model_validate(options))
    method.attach(context)
    return method, context


def test_genomes_for_attention_begin_flat() -> None:
    method, _ = grow(make(), attention={})
    state = method.state_dict()["attention"]
    assert state.keys() == {"temporal", "spatial"}
    for genes in state.values():
        assert not genes["compatibility"].any() and float(genes["depth_penalty"]) == 0.5
        assert float(genes["connection_scale"]) == 1.0 and genes["band_type_base"].std() < 0.2
    soft = method.soft_densities()
    assert soft is not None and soft["temporal"] == pytest.approx(0.453, abs=0.01)  # as published, at first


@pytest.mark.parametrize("hard", [False, True])
def test_attention_has_the_bias_of_its_genomes_mask_and_they_its_gradient(hard: bool) -> None:
    method, context = grow(make(), torch.float64, attention={"floor": 0.4}, temperature_start=5, hard=hard)
    assert method._attention is not None
    network, frames = context.model, clips()
    for genome in method._attention.genomes.values():
        with torch.no_grad():
            genome.band_type_base.add_(torch.randn(5, 4, generator=torch.Generator().manual_seed(8)).double())
    effective = dict(method.effective(context.raw, context.connections))
    targets = torch.rand(3, 8, 12, dtype=torch.float64)
    torch.func.functional_call(network, effective, (frames, targets)).backward()
    state = {name: p.detach() for name, p in network.named_parameters()}
    state |= {name: value.detach() for name, value in effective.items() if name in state}
    copies, seen = {}, []
    for name, size in (("temporal", 5), ("spatial", 6)):
        own = method._attention.genomes[name]
        copies[name] = Genome.of({n: t.detach().clone() for n, t in own.state_dict().items()})
        mask = copies[name].mask(0, 1, size, size, 1.0 if hard else 5.0, hard)
        soft = mask if hard else mask.clamp(0.4, 0.6)
        seen.append(20 * (soft - 0.5))
        assert torch.allclose(effective[f"{name}_bias"], seen[-1], rtol=0, atol=1e-10)
    wanted = reference(state, frames, 4, 2, True, (seen[0], seen[1]))
    ((wanted - targets) ** 2).mean().backward()
    for name, copy in copies.items():
        for (gene, found), (_, expected) in zip(
            method._attention.genomes[name].named_parameters(), copy.named_parameters(), strict=True
        ):
            assert torch.allclose(found.grad, expected.grad, rtol=1e-7, atol=1e-13), (name, gene)
    final = method.final_masks(context)
    assert torch.equal(final["temporal"], copies["temporal"].mask(0, 1, 5, 5) > 0.5)


def test_random_masks_on_attention_show_every_query_as_many_keys() -> None:
    options = {"attention": {"temporal_attention": 0.4, "spatial_attention": 0.01}}
    architecture = make()
    _, context = grow(architecture, attention={})
    whole = Masks.full(context.connections)

    def drawn(**more: Any) -> Masks:
        masks = Random(RandomOptions(**options, **more)).refine(whole, context)
        assert isinstance(masks, Masks)
        return masks

    masks = drawn()
    assert masks["temporal"].sum(1).tolist() == [2] * 5 and masks["spatial"].sum(1).tolist() == [1] * 6
    assert all(bool(masks[c.name].all()) for c in context.connections if c.kind == "weight")
    assert torch.equal(drawn(attention_draw=0)["temporal"], masks["temporal"])
    assert not torch.equal(drawn(attention_draw=1)["spatial"], masks["spatial"])
    wrong = Random(RandomOptions(attention={"temporal_attention": 0.4}))
    said = "attention is given for temporal_attention, and the network has spatial_attention, temporal_attention"
    assert wrong.unsupported(architecture, context.connections) == said


@pytest.mark.parametrize("skips", [True, False])
def test_contract(skips: bool) -> None:
    check_architecture(BandVideo, {**SIZES, "skips": skips})
    check_architecture(BandVideo, {**SIZES, "skips": skips}, data=SMALL)


def test_genomes_for_attention_are_part_of_the_state() -> None:
    first, context = grow(make(), attention={})
    assert first._attention is not None
    for genome in first._attention.genomes.values():
        with torch.no_grad():
            genome.band_type_grad.add_(torch.randn(5, 4))
            genome.depth_penalty.sub_(2)
    second, other = grow(make(), attention={})
    assert second.soft_densities() != first.soft_densities()
    second.load_state_dict(first.state_dict())
    assert second.soft_densities() == first.soft_densities()
    assert second.final_masks(other).digest() == first.final_masks(context).digest()
    with pytest.raises(UserError, match="attention goes with no density, source, 'frozen' or 'initial'"):
        GenomeMethod(GenomeOptions(attention={})).program(TrainingBudget(5, 4, 0.1))


def test_narrower_networks_fit() -> None:
    for parameters in (600_000, 100_000):
        smaller = BandVideo(BandVideoOptions(), MOVING).scaled(parameters)
        assert 0.8 * parameters < parameter_count(smaller) <= parameters


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden 10 is no multiple of heads 4"):
        BandVideoOptions(hidden=10)
    assert make(patch=5).unsupported() == "cuts frames into patches of 5 pixels, and (8, 12) is no multiple"
    with pytest.raises(ValueError, match="attention"):
        GenomeOptions(attention={"floor": 0.5})
