"""Discrete phases: prune, rewind, reinitialise."""

from pathlib import Path

import pytest
import torch

from harness import Masks, MethodContext
from harness.core.method_context import Source
from harness.core.phases import Prune, Reinitialize
from harness.registry.plugins import load
from harness.stages import discrete_phases
from harness.stages.calibration_batches import Batches
from harness.stages.discrete_phases import _budget, inherit, reinitialise, set_back
from harness.stages.graph import compile_graph
from harness.stages.network import Network, NetworkBuilder, Spent, initial_module
from harness.stages.store import StageStore
from harness.suites.suite import load_suite

CPU = torch.device("cpu")
REGISTRY = load([Path(__file__).parents[1] / "toy_plugin.py"])
SIZES = {"first": 60, "second": 80, "out.first": 30, "out.second": 24}


def network(folder: Path, density: str = "density: 0.4", use: str = "programmed, program: prune") -> Network:
    """A network as it is after a training: every tensor differs from its initial value."""
    path = folder / "suite.yaml"
    path.write_text(
        "architectures: {net: {}}\nbenchmarks: blobs\nseeds: [3]\ntraining: {steps: 5}\n"
        f"methods: {{m: {{use: {use}, {density}}}}}\n"
    )
    suite = load_suite(path, REGISTRY)
    (cell,) = compile_graph(suite.cells, REGISTRY).cells
    spec = suite.benchmark(cell.cell.training_part).spec()
    built = NetworkBuilder(REGISTRY, StageStore(folder), CPU).build(cell.stages[-1], spec)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for tensor in built.module.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 10)
    return built


def prune(net: Network, phase: Prune) -> None:
    discrete_phases.prune(net, phase, Batches(net, lambda: [], net.cell.training, 3))  # type: ignore[arg-type,return-value]


def regions(network: Network) -> dict[str, torch.Tensor]:
    return {c.name: c.region(network.module.get_parameter(c.parameter).detach()) for c in network.connections}


def initial(network: Network, draw: int = 0) -> dict[str, torch.Tensor]:
    return dict(initial_module(network.architecture, 3, draw).state_dict())


# --- initial weights --------------------------------------------------------------------------


def test_initial_weights_depend_on_seed_and_draw_and_leave_the_random_state_alone(tmp_path: Path) -> None:
    architecture = network(tmp_path).architecture
    state = torch.get_rng_state()
    a, b = (initial_module(architecture, 3).state_dict() for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a[name], b[name]) for name in a)
    others = [initial_module(architecture, 4).state_dict(), initial_module(architecture, 3, 1).state_dict()]
    assert all(not torch.equal(a["first.weight"], other["first.weight"]) for other in others)


# --- prune ------------------------------------------------------------------------------------


def test_pruning_keeps_the_largest_and_zeroes_the_rest(tmp_path: Path) -> None:
    net = network(tmp_path)
    before = {name: region.clone() for name, region in regions(net).items()}
    prune(net, Prune())
    keep = round(0.4 * 194)
    flat = torch.cat([region.abs().reshape(-1) for region in before.values()])
    threshold = flat.sort(descending=True).values[keep - 1]
    assert net.current.hard is not None and net.context.masks is net.current.hard and not net.soft
    assert sum(net.current.hard.kept.values()) == keep
    for name, region in regions(net).items():
        assert torch.equal(net.current.hard[name], before[name].abs() >= threshold)
        assert torch.equal(region, torch.where(before[name].abs() >= threshold, before[name], 0.0))


@pytest.mark.parametrize(("distribution", "granularity"), [("uniform", "weight"), ("erk", "weight"), ("erk", "kernel")])
def test_counts_per_connection(tmp_path: Path, distribution: str, granularity: str) -> None:
    net = network(tmp_path)
    prune(net, Prune(distribution=distribution, granularity=granularity))  # type: ignore[arg-type]
    assert net.current.hard is not None
    assert sum(net.current.hard.kept.values()) == round(0.4 * 194)
    if distribution == "uniform":
        assert all(abs(net.current.hard.kept[name] - 0.4 * size) < 1 for name, size in SIZES.items())
    else:  # 78 over 16 + 18 + 13 + 11 = 58
        shares = {"first": 16, "second": 18, "out.first": 13, "out.second": 11}
        assert all(abs(net.current.hard.kept[name] - 78 / 58 * share) < 1 for name, share in shares.items())


def test_a_fraction_is_of_what_remains(tmp_path: Path) -> None:
    net = network(tmp_path)
    for _ in range(3):
        prune(net, Prune(fraction=0.2))
    assert net.current.hard is not None
    assert sum(net.current.hard.kept.values()) == 99  # 194 - 39 = 155, - 31 = 124, - 25 = 99
    net = network(tmp_path)
    for _ in range(2):
        prune(net, Prune(fraction=0.2, distribution="uniform"))
    assert net.current.hard is not None
    # 60 - 12 - 10, 80 - 16 - 13, 30 - 6 - 5, 24 - 5 - 4
    assert net.current.hard.kept == {"first": 38, "second": 51, "out.first": 19, "out.second": 15}


def test_what_a_fraction_asks_for_is_a_density_of_all_weights(tmp_path: Path) -> None:
    net = network(tmp_path)
    prune(net, Prune(density=0.5))
    assert net.current.hard is not None
    whole = _budget(net, Prune(fraction=0.2), net.current.hard)
    assert (whole.keep, whole.requested, whole.per_connection) == (97 - 19, 78 / 194, None)
    each = _budget(net, Prune(fraction=0.2, distribution="uniform"), net.current.hard)
    assert each.per_connection is not None
    assert each.keep == sum(each.per_connection.values()) and each.requested == each.keep / 194


def test_pruning_again_only_removes(tmp_path: Path) -> None:
    net = network(tmp_path)
    prune(net, Prune(density=0.6))
    assert net.current.hard is not None
    first = net.current.hard
    with torch.no_grad():  # scores of pruned weights are large again: they must not come back
        for c in net.connections:
            c.region(net.module.get_parameter(c.parameter))[~first[c.name]] = 1000
    prune(net, Prune(density=0.3))
    assert sum(first.kept.values()) == round(0.6 * 194) and sum(net.current.hard.kept.values()) == round(0.3 * 194)
    assert not any((net.current.hard[name] & ~first[name]).any() for name in first)
    assert not any((region == 1000).any() for region in regions(net).values())


def test_pruned_weights_stay_pruned_whatever_their_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(tmp_path)
    prune(net, Prune(density=0.6))
    assert net.current.hard is not None
    first = net.current.hard
    negative = {name: -region.abs() for name, region in regions(net).items()}  # the pruned ones are the highest
    monkeypatch.setattr(net.method, "scores", lambda context: negative)
    prune(net, Prune(density=0.3))
    assert sum(net.current.hard.kept.values()) == round(0.3 * 194)
    assert not any((net.current.hard[name] & ~first[name]).any() for name in first)


def test_exponents_lead_to_the_density_in_equal_fractions(tmp_path: Path) -> None:
    net = network(tmp_path)
    kept = []
    for exponent in (1 / 3, 2 / 3, 1.0):
        prune(net, Prune(exponent=exponent))
        assert net.current.hard is not None
        kept.append(sum(net.current.hard.kept.values()))
    assert kept == [round(0.4 ** (1 / 3) * 194), round(0.4 ** (2 / 3) * 194), 78]


def test_pruning_without_any_density_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a density"):
        prune(network(tmp_path, "note: none"), Prune())


def test_the_method_has_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(tmp_path)

    def refine(masks: Masks, context: MethodContext) -> Masks:
        assert context.masks.density == 1.0
        return Masks({**masks, "first": torch.zeros(10, 6, dtype=torch.bool)})

    monkeypatch.setattr(net.method, "refine", refine)
    prune(net, Prune())
    assert (net.module.get_parameter("first.weight") == 0).all()
    assert net.current.hard is not None and net.current.hard.kept["first"] == 0


# --- rewind -----------------------------------------------------------------------------------


def test_rewinding_brings_back_survivors_and_everything_unmasked(tmp_path: Path) -> None:
    net = network(tmp_path)
    prune(net, Prune())
    target = initial(net)
    set_back(net, target)
    assert net.current.hard is not None
    for c in net.connections:
        assert torch.equal(regions(net)[c.name], c.region(target[c.parameter]) * net.current.hard[c.name])
    for name, tensor in net.module.state_dict().items():
        if name not in ("first.weight", "second.weight", "out.weight"):
            assert torch.equal(tensor, target[name]), name
    assert sum(net.current.hard.kept.values()) == 78


# --- reinitialise -----------------------------------------------------------------------------


@pytest.mark.parametrize("others", ["initial", "keep"])
def test_signs_survive_and_magnitudes_do_not(tmp_path: Path, others: str) -> None:
    net = network(tmp_path)
    with torch.no_grad():
        net.module.get_parameter("second.weight")[0, 0] = 0
    prune(net, Prune(density=1.0))
    prune(net, Prune())
    before = {name: tensor.clone() for name, tensor in net.module.state_dict().items()}
    reinitialise(net, Reinitialize("sign", 0.125, others), 2)  # type: ignore[arg-type]
    for c in net.connections:
        trained = c.region(before[c.parameter])
        assert torch.equal(regions(net)[c.name], 0.125 * trained.sign())
    expected = initial(net) if others == "initial" else before
    for name in ("first.bias", "norm.weight", "norm.running_mean", "norm.num_batches_tracked", "out.bias"):
        assert torch.equal(net.module.state_dict()[name], expected[name]), name
        assert not torch.equal(expected[name], initial(net)[name]) or others == "initial"


def test_zero_has_no_sign(tmp_path: Path) -> None:
    net = network(tmp_path)
    with torch.no_grad():
        net.module.get_parameter("first.weight")[0, 0] = 0
    reinitialise(net, Reinitialize("sign", 0.5), 2)
    weight = net.module.get_parameter("first.weight")
    assert weight[0, 0] == 0 and (weight.abs() == 0.5).sum() == 59


def test_coins_are_fair_reproducible_and_never_revive_a_weight(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        net = network(tmp_path)
        prune(net, Prune())
        trained = {name: region.sign() for name, region in regions(net).items()}
        torch.rand(3)
        reinitialise(net, Reinitialize("random_sign", 0.5), 2)
        found.append({name: region.clone() for name, region in regions(net).items()})
    assert net.current.hard is not None
    for name, region in found[1].items():
        assert torch.equal(region, found[0][name])
        assert torch.equal(region.abs(), 0.5 * net.current.hard[name])
    flat = torch.cat([region[net.current.hard[name]] for name, region in found[0].items()])
    old = torch.cat([trained[name][net.current.hard[name]] for name in found[0]])
    assert 20 < (flat > 0).sum() < 58  # of 78
    assert 20 < (flat.sign() == old).sum() < 58


@pytest.mark.parametrize("others", ["initial", "keep"])
def test_fresh_weights_are_another_draw_under_the_same_mask(tmp_path: Path, others: str) -> None:
    net = network(tmp_path)
    prune(net, Prune())
    before = {name: tensor.clone() for name, tensor in net.module.state_dict().items()}
    reinitialise(net, Reinitialize("fresh", others=others), 2)  # type: ignore[arg-type]
    fresh, first = initial(net, draw=3), initial(net)
    assert net.current.hard is not None
    for c in net.connections:
        kept = net.current.hard[c.name]
        assert torch.equal(regions(net)[c.name], c.region(fresh[c.parameter]) * kept)
        assert not (c.region(fresh[c.parameter])[kept] == c.region(first[c.parameter])[kept]).any()
    expected = fresh if others == "initial" else before
    assert torch.equal(net.module.state_dict()["first.bias"], expected["first.bias"])
    assert torch.equal(net.module.state_dict()["norm.running_var"], expected["norm.running_var"])


def test_masks_hold_over_a_reinitialisation_within_a_composed_method(tmp_path: Path) -> None:
    net = network(tmp_path, "note: none", use="soft, program: train")
    assert net.attached and net.method.mode == "composed"
    generator = torch.Generator().manual_seed(5)
    net.current.hard = Masks({c.name: torch.rand(c.shape, generator=generator) < 0.5 for c in net.connections})
    net.soft = True
    reinitialise(net, Reinitialize("fresh"), 0)
    fresh = initial(net, draw=1)
    assert not net.soft
    for c in net.connections:
        assert torch.equal(regions(net)[c.name], c.region(fresh[c.parameter]) * net.current.hard[c.name])


# --- inherit ----------------------------------------------------------------------------------


def test_a_source_that_does_not_say_what_it_has_spent_adds_nothing(tmp_path: Path) -> None:
    net = network(tmp_path)
    net.context.source = Source("toy", Masks.full(net.connections), {}, {}, initial(net))
    inherit(net)
    assert net.spent == Spent()
    assert all(torch.equal(tensor, initial(net)[name]) for name, tensor in net.module.state_dict().items())
