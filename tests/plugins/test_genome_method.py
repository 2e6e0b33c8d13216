"""The method: what it computes with, what it costs, and where its genome comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from harness import (
    Band,
    Connection,
    CurrentMasks,
    DataSpec,
    Masks,
    MethodContext,
    NoOptions,
    Source,
    TrainingBudget,
    UserError,
)
from harness.core.phases import Train
from harness.testing.methods import check_method
from harness.testing.toy import ToyArchitecture
from harness_genome import Genome
from harness_genome.method import GenomeMethod, GenomeOptions
from harness_genome.published import load_genome

CPU = torch.device("cpu")
IN, A, B, OUT = Band("in", 5, 0), Band("a", 4, 1), Band("b", 3, 2), Band("out", 2, 3)

# One parameter of every kind: side-by-side columns in band order (one block), columns out of band order,
# a region that leaves some weights alone, a kernel, and a transposed layout.
FUSED = (
    Connection("fused.in", "fused", "skip", IN, B, (3, 5), columns=(0, 5)),
    Connection("fused.a", "fused", "dense", A, B, (3, 4), columns=(5, 9)),
)
SWAPPED = (
    Connection("swapped.a", "swapped", "dense", A, OUT, (2, 4), columns=(0, 4)),
    Connection("swapped.in", "swapped", "skip", IN, OUT, (2, 5), columns=(4, 9)),
)
PART = Connection("part", "part", "dense", B, OUT, (2, 3), rows=(1, 3), columns=(1, 4))
KERNEL = Connection("kernel", "kernel", "conv", IN, A, (4, 5, 3, 2))
TURNED = Connection("turned", "turned", "dense", A, B, (3, 4), out_axis=1, in_axis=0)
ALL = (*FUSED, *SWAPPED, PART, KERNEL, TURNED)
SHAPES = {"fused": (3, 9), "swapped": (2, 9), "part": (4, 5), "kernel": (4, 5, 3, 2), "turned": (4, 3)}
PAIRS = 3 * 9 + 2 * 9 + 6 + 20 + 12


def weights(connections: Sequence[Connection], dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    names = dict.fromkeys(c.parameter for c in connections)
    return {n: torch.randn(SHAPES[n], dtype=dtype, generator=generator).requires_grad_() for n in names}


def context(
    connections: Sequence[Connection] = ALL,
    seed: int = 0,
    source: Source | None = None,
    steps: int = 0,
    dtype: torch.dtype = torch.float64,
) -> MethodContext:
    raw, full = weights(connections, dtype), CurrentMasks(connections)
    return MethodContext(nn.Module(), tuple(connections), raw, full, None, source, seed, CPU, steps=steps)


def attached(now: MethodContext, **options: Any) -> GenomeMethod:
    """A method whose masks are neither all open nor all closed."""
    method = GenomeMethod(GenomeOptions(n_types=3, type_dim=2, **options))
    method.attach(now)
    if not options.get("frozen") and not options.get("initial"):
        with torch.no_grad():
            method.genome.compatibility += 1.3
    return method


def source_of(method: GenomeMethod) -> Source:
    return Source("other", Masks({}), method.state_dict(), {})


def expected_masks(method: GenomeMethod, connections: Sequence[Connection], **how: Any) -> dict[str, Tensor]:
    return {
        c.name: method.genome.mask(c.source.depth, c.target.depth, c.source.size, c.target.size, **how)
        for c in connections
    }


def broadcast(mask: Tensor, c: Connection) -> Tensor:
    return mask.reshape(*mask.shape, *[1] * (len(c.shape) - 2)).expand(c.shape)


def by_connection(
    raw: Mapping[str, Tensor], masks: Mapping[str, Tensor], connections: Sequence[Connection]
) -> dict[str, Tensor]:
    """Effective weights, one connection at a time."""
    factors = {name: torch.ones_like(value) for name, value in raw.items()}
    for c in connections:
        c.region(factors[c.parameter]).copy_(broadcast(masks[c.name], c))
    return {name: raw[name] * factors[name] for name in raw}


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_effective_weights_are_those_of_each_connection_alone(temperature: float) -> None:
    now = context(steps=5)
    method = attached(now, temperature_start=temperature, temperature_end=temperature)
    found = method.effective(now.raw, now.connections)
    wanted = by_connection(now.raw, expected_masks(method, ALL, temperature=temperature), ALL)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-14)
    left_alone = found["part"].detach().clone()
    left_alone[1:3, 1:4] = now.raw["part"].detach()[1:3, 1:4]
    assert torch.equal(left_alone, now.raw["part"])


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_loss_and_gradients_against_loops(temperature: float, published: bool) -> None:
    """One backward pass through the shared graph against autograd of the formula, entry by entry."""
    now = context(steps=5)
    pairs = {"cost_pairs": "published"} if published else {}
    method = attached(now, temperature_start=temperature, temperature_end=temperature, cost_weight=0.7, **pairs)
    incoming = {n: torch.randn(s, dtype=torch.float64) for n, s in SHAPES.items()}
    effective = method.effective(now.raw, now.connections)
    terms = method.regularizers(now)
    assert list(terms) == ["metabolic_cost"]
    torch.autograd.backward(
        [*effective.values(), terms["metabolic_cost"]],
        [*(incoming[name] for name in effective), torch.ones((), dtype=torch.float64)],
    )

    naive = Genome(3, 2, 4).double()
    naive.load_state_dict(method.genome.state_dict())
    raw = weights(ALL)
    rule = (naive.affinity @ naive.affinity.T / 2**0.5 + naive.compatibility) * torch.log1p(
        naive.connection_scale.exp()
    )

    def types(band: Band, unit: int) -> Tensor:
        e = (3 * (naive.band_type_base[band.depth] + unit / (band.size - 1) * naive.band_type_grad[band.depth])).exp()
        return e / e.sum()

    loss, cost = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    touched = {name: torch.zeros(shape, dtype=torch.bool) for name, shape in SHAPES.items()}
    for c in ALL:
        region, arriving = c.region(raw[c.parameter]), c.region(incoming[c.parameter])
        c.region(touched[c.parameter]).fill_(True)
        for t in range(c.target.size):
            for s in range(c.source.size):
                logit = types(c.target, t) @ rule @ types(c.source, s)
                distance = abs(c.target.depth - c.source.depth) / 4
                logit = logit - torch.log1p(naive.depth_penalty.exp()) * distance
                loss = loss + (region[t, s] * arriving[t, s]).sum() / (1 + (-temperature * logit).exp())
                if not published:
                    cost = cost + 1 / (1 + (-logit).exp())
    for name, mask in touched.items():
        loss = loss + (raw[name] * incoming[name])[~mask].sum()
    charged = PAIRS
    if published:  # every pair of bands once
        bands = (IN, A, B, OUT)
        charged = sum(s.size * t.size for t in bands for s in bands[: t.depth])
        for source, target in ((s, t) for t in bands for s in bands[: t.depth]):
            logits = torch.stack([types(target, t) for t in range(target.size)]) @ rule
            logits = logits @ torch.stack([types(source, s) for s in range(source.size)]).T
            distance = (target.depth - source.depth) / 4
            cost = cost + torch.sigmoid(logits - torch.log1p(naive.depth_penalty.exp()) * distance).sum()
    cost = 0.7 * cost / charged
    (loss + cost).backward()

    assert abs(terms["metabolic_cost"].item() / cost.item() - 1) < 1e-10
    for name, parameter in naive.named_parameters():
        torch.testing.assert_close(method.genome.get_parameter(name).grad, parameter.grad, rtol=1e-10, atol=1e-13)
    for name, parameter in raw.items():
        torch.testing.assert_close(now.raw[name].grad, parameter.grad, rtol=1e-10, atol=1e-14)


def test_hard_training_ignores_the_temperature_and_learns_as_soft_masks_at_one_do() -> None:
    gradients = []
    for options in ({"hard": True, "temperature_start": 7.0, "temperature_end": 7.0}, {"hard": False}):
        now = context(steps=5)
        method = attached(now, cost_weight=0.7, **options)
        effective = method.effective(now.raw, now.connections)
        wanted = expected_masks(method, ALL, hard=options["hard"])
        if options["hard"]:
            kept = torch.cat([m.reshape(-1) for m in wanted.values()])
            assert 0 < kept.sum() < kept.numel()
            assert method.soft_densities() is None
        for name, value in by_connection(now.raw, wanted, ALL).items():
            torch.testing.assert_close(effective[name], value, rtol=1e-12, atol=1e-14)
        total = sum(e.sin().sum() * 0 + e.sum() for e in effective.values())
        (total + method.regularizers(now)["metabolic_cost"]).backward()
        if options["hard"]:
            # The gradient of a raw weight is the hard mask itself: closed weights do not move.
            ones = {name: torch.ones_like(value) for name, value in now.raw.items()}
            for name, value in by_connection(ones, wanted, ALL).items():
                torch.testing.assert_close(now.raw[name].grad, value, rtol=0, atol=0)
        gradients.append([p.grad for p in method.genome.parameters()])
    # s (1 - s) times what arrives, closed weights included: the same for both.
    for hard, soft in zip(*gradients, strict=True):
        torch.testing.assert_close(hard, soft, rtol=1e-12, atol=1e-14)


def test_evaluation_between_the_two_calls_of_a_step_disturbs_nothing() -> None:
    now = context(steps=3)
    method = attached(now, temperature_end=3.0)
    effective = method.effective(now.raw, now.connections)
    with torch.no_grad():
        seen = method.effective(now.raw, now.connections)
    assert not any(value.requires_grad for value in seen.values())
    assert all(torch.equal(effective[name], value) for name, value in seen.items())
    first = method.regularizers(now)["metabolic_cost"]
    torch.autograd.backward([*effective.values(), first], [*(torch.ones_like(v) for v in effective.values()), None])
    # The shared graph is gone now; asked again, the cost makes its own.
    again = method.regularizers(now)["metabolic_cost"]
    assert again.item() == pytest.approx(first.item(), rel=1e-14)
    again.backward()


def test_temperature_goes_from_start_at_the_first_step_to_end_at_the_last() -> None:
    now = context(steps=11)
    method = attached(now, temperature_start=1.0, temperature_end=10.0)
    seen = []
    for now.step in range(11):
        found = method.effective(now.raw, now.connections)
        wanted = by_connection(now.raw, expected_masks(method, ALL, temperature=1 + 0.9 * now.step), ALL)
        torch.testing.assert_close(found["fused"], wanted["fused"], rtol=1e-10, atol=1e-14)
        seen.append(method.temperature)
    assert (seen[0], seen[5], seen[10]) == (1.0, pytest.approx(5.5), 10.0)
    # Evaluation, and a state that is loaded, keep the temperature that was trained with.
    later = context()
    restored = attached(later, temperature_start=1.0, temperature_end=10.0)
    restored.load_state_dict(method.state_dict())
    with torch.no_grad():
        for name, value in restored.effective(now.raw, now.connections).items():
            assert torch.equal(value, found[name])
    assert restored.temperature == 10.0
    assert restored.soft_densities() == method.soft_densities()


def test_temperature_steps_shorter_than_the_phase_and_a_phase_of_one_step() -> None:
    now = context(steps=100)
    method = attached(now, temperature_start=2.0, temperature_end=4.0, temperature_steps=10)
    for now.step, expected in ((0, 2.0), (5, 3.0), (10, 4.0), (99, 4.0)):
        method.effective(now.raw, now.connections)
        assert method.temperature == pytest.approx(expected)
    single = context(steps=1)
    method = attached(single, temperature_start=2.0, temperature_end=4.0)
    method.effective(single.raw, single.connections)
    assert method.temperature == 2.0


def test_final_masks_and_soft_densities() -> None:
    now = context(steps=2)
    method = attached(now, temperature_start=4.0, temperature_end=4.0)
    method.effective(now.raw, now.connections)
    masks, soft = method.final_masks(now), method.soft_densities()
    assert soft is not None
    assert masks.sizes == {c.name: c.size for c in ALL}
    for c in ALL:
        assert torch.equal(masks[c.name], broadcast(expected_masks(method, [c])[c.name] > 0.5, c))
        mean = expected_masks(method, [c], temperature=4.0)[c.name].mean().item()
        assert soft[c.name] == pytest.approx(mean, rel=1e-12)
    assert 0 < masks.density < 1
    with torch.no_grad():
        method.genome.compatibility += 0.2
    assert not any((masks[name] & ~kept).any() for name, kept in method.final_masks(now).items())


def test_attach_draws_the_same_genome_for_a_seed_whatever_torch_drew_before() -> None:
    def genome(seed: int) -> Tensor:
        torch.rand(seed + 3)
        method = GenomeMethod(GenomeOptions())
        method.attach(context(seed=seed, dtype=torch.float32))
        return torch.cat([p.detach().reshape(-1) for p in method.genome.parameters()])

    assert torch.equal(genome(1), genome(1))
    assert not torch.equal(genome(1), genome(2))
    assert genome(1).dtype == torch.float32
    assert len(genome(1)) == 64 + 64 + 2 + 2 * 4 * 8  # bands 0 to 3


def test_parameter_groups() -> None:
    method = attached(context(), lr=0.01, schedule="constant", n_bands=7)
    (group,) = method.parameter_groups()
    assert (group.lr, group.weight_decay, group.schedule) == (0.01, 0.0, "constant")
    assert [id(p) for p in group.parameters] == [id(p) for p in method.genome.parameters()]
    assert sum(p.numel() for p in group.parameters) == 6 + 9 + 2 + 2 * 7 * 3
    assert GenomeMethod(GenomeOptions()).program(TrainingBudget(9, 4)) == [Train(9)]


def test_transfer_of_a_frozen_genome() -> None:
    donor = attached(context(seed=1))
    now = context(seed=2, source=source_of(donor))
    method = attached(now, frozen=True, cost_weight=0.5)
    assert method.parameter_groups() == ()
    effective = method.effective(now.raw, now.connections)
    for name, value in donor.effective(now.raw, now.connections).items():
        assert torch.equal(effective[name], value)
    cost = method.regularizers(now)["metabolic_cost"]
    assert not cost.requires_grad
    pairs = sum(m.sum().item() for m in expected_masks(donor, ALL).values())
    assert cost.item() == pytest.approx(0.5 * pairs / PAIRS, rel=1e-12)
    sum(value.sum() for value in effective.values()).backward()
    assert all(p.grad is None for p in method.genome.parameters())
    assert all(raw.grad is not None for raw in now.raw.values())
    started = attached(context(seed=2, source=source_of(donor)), lr=0.5)
    assert len(started.parameter_groups()) == 1


def test_a_source_that_cannot_be_used() -> None:
    with pytest.raises(UserError, match="'other' has no genome"):
        attached(context(source=Source("other", Masks({}), {}, {})))
    wide = GenomeMethod(GenomeOptions(n_types=5, type_dim=4, n_bands=6))
    wide.attach(context())
    with pytest.raises(
        UserError, match=r"affinity \(5, 4\) instead of \(3, 2\), .*band_type_base \(6, 5\) instead of \(4, 3\)"
    ):
        attached(context(source=source_of(wide)))
    with pytest.raises(UserError, match="frozen genome needs"):
        attached(context(), frozen=True)
    with pytest.raises(UserError, match="give one of them"):
        attached(context(source=source_of(wide)), initial=Path("genome.pt"))


@pytest.mark.parametrize("form", ["pt", "checkpoint", "safetensors"])
def test_published_genomes_can_be_loaded(form: str, tmp_path: Path) -> None:
    state = {name: value.detach().clone() for name, value in Genome(3, 2, 4).state_dict().items()}
    path = tmp_path / ("genome.safetensors" if form == "safetensors" else "genome.pt")
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(
            {"model_state": {"w": torch.ones(2)}, "genome_state": state} if form == "checkpoint" else state, path
        )
    method = attached(context(), initial=path, frozen=True)
    for name, value in state.items():
        assert torch.equal(method.genome.state_dict()[name], value.double())


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"genome_state": Malicious(tmp_path / "ran")}, tmp_path / "genome.pt")
    with pytest.raises(UserError, match=r"could run code, so it is refused"):
        load_genome(tmp_path / "genome.pt")
    assert not (tmp_path / "ran").exists()


def test_files_that_are_not_a_genome(tmp_path: Path) -> None:
    path = tmp_path / "genome.pt"
    state = dict(Genome().state_dict())
    with pytest.raises(UserError, match="cannot be read"):
        load_genome(path)
    for content in (b"", b"not a file of torch", b"PK\x03\x04 cut short"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"genome\.pt"):
            load_genome(path)
    (tmp_path / "genome.safetensors").write_bytes(b"short")
    with pytest.raises(UserError, match="cannot be read"):
        load_genome(tmp_path / "genome.safetensors")
    for wrong in (
        {**state, "extra": torch.ones(1)},
        {"affinity": state["affinity"]},
        dict.fromkeys(state, 1.0),
        [1, 2],
        {},
    ):
        torch.save(wrong, path)
        with pytest.raises(UserError, match="a genome is exactly these tensors: affinity, band_type_base"):
            load_genome(path)


def test_stages_depend_on_the_initial_genome_not_on_its_path(tmp_path: Path) -> None:
    def influences(path: Path) -> Mapping[str, Any]:
        return GenomeMethod(GenomeOptions(initial=path)).influences(Train(1))

    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        save_file(Genome(generator=torch.Generator().manual_seed(seed)).state_dict(), tmp_path / f"{name}.safetensors")
    a, b, c = (influences(tmp_path / f"{name}.safetensors") for name in "abc")
    assert a == b != c
    torch.save({"genome_state": load_genome(tmp_path / "a.safetensors")}, tmp_path / "a.pt")
    assert influences(tmp_path / "a.pt") == a
    with pytest.raises(UserError, match="cannot be read"):
        influences(tmp_path / "missing.pt")
    assert GenomeMethod(GenomeOptions(lr=0.5)).influences(Train(1))["lr"] == 0.5


def test_unsupported() -> None:
    def reason(*connections: Connection, **options: Any) -> str | None:
        architecture = ToyArchitecture(NoOptions(), DataSpec("classification", (8,), 4, examples=32))
        return GenomeMethod(GenomeOptions(**options)).unsupported(architecture, connections)

    assert reason(*ALL) is None
    assert "nothing to grow" in str(reason())
    assert reason(*ALL, n_bands=4) is None
    assert "span 4 bands but n_bands is 3" in str(reason(*ALL, n_bands=3))
    assert "nothing to grow" in str(reason(replace(PART, kind="attention")))
    assert "has no masks on attention" in str(reason(*ALL, attention={}))
    assert "grouped" in str(reason(replace(KERNEL, shape=(4, 1, 3, 2))))


@pytest.mark.parametrize(
    "options",
    [{"n_types": 0}, {"lr": 0}, {"temperature_end": 0}, {"cost_weight": -1}, {"schedule": "cosine"}, {"x": 1}],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        GenomeOptions.model_validate(options)


@pytest.mark.parametrize("options", [{}, {"hard": True}, {"temperature_end": 10.0}])
def test_contract(options: dict[str, Any]) -> None:
    donor = Genome(8, 8, 4, torch.Generator().manual_seed(3))
    check_method(
        GenomeMethod, options, source=Source("other", Masks({}), {"genome": donor.state_dict()}, {}), density=None
    )
