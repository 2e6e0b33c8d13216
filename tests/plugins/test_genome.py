"""The genome itself, against numbers worked out by hand and against the formula in loops."""

import subprocess
import sys
from itertools import pairwise
from math import exp, log, sqrt

import pytest
import torch
from torch import Tensor

from harness_genome import Genome

NAMES = ["affinity", "compatibility", "connection_scale", "depth_penalty", "band_type_base", "band_type_grad"]


def drawn(n_types: int, type_dim: int, n_bands: int, seed: int = 0) -> Genome:
    return Genome(n_types, type_dim, n_bands, torch.Generator().manual_seed(seed)).double()


def inverse_softplus(y: float) -> float:
    return log(exp(y) - 1)


def by_hand() -> Genome:
    """K=2, D=1, L=2, with round numbers in the middle of the calculation.

    A A^T = [[1, 2], [2, 4]]; with C it is [[1, 0], [1, 1]], and softplus(scale) = 1, so R = [[1, 0], [1, 1]].
    softplus(penalty) = 1.4, so neighbouring bands pay 1.4 / 2 = 0.7.
    Band 0: softmax(0, 0) = (1/2, 1/2) at position 0 and softmax(ln 3, 0) = (3/4, 1/4) at position 1.
    Band 1 at position 0: softmax(ln 4, 0) = (4/5, 1/5).
    """
    genome = Genome(2, 1, 2).double()
    genome.load_state_dict(
        {
            "affinity": torch.tensor([[1.0], [2.0]]),
            "compatibility": torch.tensor([[0.0, -2.0], [-1.0, -3.0]]),
            "connection_scale": torch.tensor(inverse_softplus(1.0), dtype=torch.float64),
            "depth_penalty": torch.tensor(inverse_softplus(1.4), dtype=torch.float64),
            "band_type_base": torch.tensor([[0.0, 0.0], [log(4) / 3, 0.0]], dtype=torch.float64),
            "band_type_grad": torch.tensor([[log(3) / 3, 0.0], [5.0, -5.0]], dtype=torch.float64),
        }
    )
    return genome


def naive_logit(genome: Genome, source: tuple[int, int, int], target: tuple[int, int, int]) -> Tensor:
    """The published formula for one pair of (band, unit, size), in scalars that autograd can follow."""
    n_types, type_dim = genome.affinity.shape

    def types(band: int, unit: int, size: int) -> list[Tensor]:
        p = 0.0 if size == 1 else unit / (size - 1)
        exps = [
            torch.exp(3 * (genome.band_type_base[band, k] + p * genome.band_type_grad[band, k])) for k in range(n_types)
        ]
        return [e / sum(exps) for e in exps]

    total = torch.zeros((), dtype=torch.float64)
    for i, of_target in enumerate(types(*target)):
        for j, of_source in enumerate(types(*source)):
            dot = sum(genome.affinity[i, d] * genome.affinity[j, d] for d in range(type_dim))
            wish = dot / sqrt(type_dim) + genome.compatibility[i, j]
            total = total + of_target * wish * torch.log1p(torch.exp(genome.connection_scale)) * of_source
    distance = abs(target[0] - source[0]) / genome.n_bands
    return total - torch.log1p(torch.exp(genome.depth_penalty)) * distance


@pytest.mark.parametrize(
    ("shape", "count"), [((8, 8, 6), 226), ((8, 8, 8), 258), ((8, 8, 14), 354), ((4, 4, 5), 74), ((1, 1, 1), 6)]
)
def test_parameter_counts(shape: tuple[int, int, int], count: int) -> None:
    assert sum(p.numel() for p in Genome(*shape).parameters()) == count


def test_names_are_the_published_ones_and_the_state_dict_holds_nothing_else() -> None:
    assert [name for name, _ in Genome().named_parameters()] == NAMES
    assert list(Genome().state_dict()) == NAMES


def test_initial_distributions() -> None:
    genome = drawn(200, 200, 200)
    expected = {
        "affinity": (0.0, 0.1),
        "compatibility": (-1.0, 0.3),
        "band_type_base": (0.0, 0.5),
        "band_type_grad": (0.0, 0.3),
    }
    for name, (mean, std) in expected.items():
        values = genome.get_parameter(name).detach()
        assert values.shape == (200, 200)
        # 40,000 draws: standard errors of mean and std are std / 200 and std / 283.
        assert abs(values.mean().item() - mean) < 5 * std / 200
        assert abs(values.std().item() - std) < 5 * std / 283
    assert genome.connection_scale.item() == 3.0
    assert genome.depth_penalty.item() == 2.0


def test_by_hand() -> None:
    genome = by_hand()
    # Target (4/5, 1/5) R = (1, 1/5). Sources: 1/2 + 1/10 - 0.7 = -0.1 and 3/4 + 1/20 - 0.7 = 0.1.
    forward = torch.tensor([[1 / (1 + exp(0.1)), 1 / (1 + exp(-0.1))]], dtype=torch.float64)
    torch.testing.assert_close(genome.mask(0, 1, 2, 1), forward, rtol=1e-12, atol=0)
    # Temperature 10: logits -1 and 1.
    hot = torch.tensor([[0.2689414213699951, 0.7310585786300049]], dtype=torch.float64)
    torch.testing.assert_close(genome.mask(0, 1, 2, 1, temperature=10.0), hot, rtol=1e-12, atol=0)
    # Backwards, targets (1/2, 1/2) R = (1, 1/2) and (3/4, 1/4) R = (1, 1/4); source (4/5, 1/5):
    # 4/5 + 1/10 - 0.7 = 0.2 and 4/5 + 1/20 - 0.7 = 0.15.
    backward = torch.tensor([[1 / (1 + exp(-0.2))], [1 / (1 + exp(-0.15))]], dtype=torch.float64)
    torch.testing.assert_close(genome.mask(1, 0, 1, 2), backward, rtol=1e-12, atol=0)
    for temperature in (1.0, 10.0):
        hard = genome.mask(0, 1, 2, 1, temperature, hard=True)
        assert hard.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(("source", "target"), [((0, 4), (2, 3)), ((2, 3), (0, 4)), ((1, 5), (1, 5)), ((0, 1), (1, 1))])
def test_against_loops(source: tuple[int, int], target: tuple[int, int]) -> None:
    genome = drawn(3, 2, 3)
    mask = genome.mask(source[0], target[0], source[1], target[1], temperature=1.7)
    assert mask.shape == (target[1], source[1])
    for t in range(target[1]):
        for s in range(source[1]):
            logit = naive_logit(genome, (source[0], s, source[1]), (target[0], t, target[1]))
            expected = 1 / (1 + torch.exp(-1.7 * logit))
            assert abs(mask[t, s].item() / expected.item() - 1) < 1e-12


def test_gradients_against_loops() -> None:
    genome, naive = drawn(3, 2, 3), drawn(3, 2, 3)
    weights = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (genome.mask(0, 2, 4, 3) * weights).sum().backward()
    total = torch.zeros((), dtype=torch.float64)
    for t in range(3):
        for s in range(4):
            total = total + weights[t, s] / (1 + torch.exp(-naive_logit(naive, (0, s, 4), (2, t, 3))))
    total.backward()
    for name in NAMES:
        # Rows of bands that take no part have gradient 0 on both sides.
        torch.testing.assert_close(
            genome.get_parameter(name).grad, naive.get_parameter(name).grad, rtol=1e-10, atol=1e-14
        )


@pytest.mark.parametrize("temperature", [1.0, 10.0])
def test_straight_through_gradient_is_that_of_the_sigmoid_without_temperature(temperature: float) -> None:
    genome = drawn(3, 2, 3)
    soft = genome.mask(0, 2, 4, 3).detach()
    # d logit / d depth_penalty is the same for all pairs of two bands: -softplus'(penalty) * 2 / 3.
    slope = -torch.sigmoid(genome.depth_penalty.detach()) * 2 / 3
    for t in range(3):
        for s in range(4):
            hard = genome.mask(0, 2, 4, 3, temperature, hard=True)
            (gradient,) = torch.autograd.grad(hard[t, s], genome.depth_penalty)
            expected = soft[t, s] * (1 - soft[t, s]) * slope
            assert abs(gradient.item() / expected.item() - 1) < 1e-10


def test_hard_masks_are_exactly_zero_and_one_in_single_precision() -> None:
    genome = Genome(8, 8, 6, torch.Generator().manual_seed(0))
    with torch.no_grad():
        genome.compatibility -= genome.mask(0, 1, 300, 200).logit().median() / torch.nn.functional.softplus(
            genome.connection_scale
        )
    hard = genome.mask(0, 1, 300, 200, hard=True)
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(hard == 1, genome.mask(0, 1, 300, 200) > 0.5)


def test_masks_grow_with_compatibility_and_shrink_with_distance() -> None:
    genome, kept = drawn(4, 4, 5), []
    with torch.no_grad():
        for _ in range(8):
            kept.append(genome.mask(0, 1, 30, 20, hard=True).bool())
            genome.compatibility += 0.25
        assert not kept[0].any()
        assert kept[-1].any()
        for fewer, more in pairwise(kept):
            assert not (fewer & ~more).any()
        genome.band_type_base[:] = genome.band_type_base[0].clone()
        genome.band_type_grad[:] = genome.band_type_grad[0].clone()
        means = [genome.mask(0, band, 30, 20).mean().item() for band in range(5)]
        assert means == sorted(means, reverse=True)
        assert len(set(means)) == 5


def test_one_band_of_one_unit() -> None:
    genome = drawn(2, 2, 1)
    expected = torch.sigmoid(naive_logit(genome, (0, 0, 1), (0, 0, 1))).item()
    assert genome.mask(0, 0, 1, 1).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("source", "target"), [(0, 3), (-1, 0)])
def test_a_band_that_the_genome_does_not_have(source: int, target: int) -> None:
    with pytest.raises(ValueError, match="not one of the genome's 3 bands"):
        drawn(2, 2, 3).mask(source, target, 4, 4)


def test_listing_the_plugin_does_not_import_torch() -> None:
    code = (
        "import sys, harness_genome as p\n"
        "assert [e.name for e in p.harness_register_methods()] == ['genome', 'genome_cut']\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    import harness_genome

    with pytest.raises(AttributeError, match="Genom2"):
        _ = harness_genome.Genom2
