"""N:M after training and SR-STE: every group counted, the gradient by the formula, what does not fit refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from harness import DataSpec, Finetune, NoOptions, Prune, SparsityMethod, Train, TrainingBudget, UserError
from harness.errors import SuiteError
from harness.registry.plugins import load
from harness.stages.graph import compile_graph
from harness.stages.runner import StageRunner
from harness.stages.store import StageStore
from harness.suites.suite import load_suite
from harness.testing import check_method
from harness.testing.toy import ToyArchitecture
from harness.training.distributed import Substrate
from harness_structured.n_m import NM, NMOptions
from harness_structured.sr_ste import SrSte, SrSteOptions

REGISTRY = load()
CPU = torch.device("cpu")
HALF = TrainingBudget(20, 8, 0.5)


class OddToy(ToyArchitecture):
    """Its last connection has 6 inputs."""

    widths = (8, 8, 6, 4)


def toy(cls: type[ToyArchitecture] = ToyArchitecture) -> ToyArchitecture:
    return cls(NoOptions(), DataSpec("classification", (8,), 4, examples=32))


def test_programs() -> None:
    train = Train(20, hooks=False)
    prune = Prune(density=0.5)
    assert NM(NMOptions()).program(HALF) == [train, prune, train]
    assert NM(NMOptions(recovery_steps=0)).program(HALF) == [train, prune]
    short = NMOptions(pattern="1:4", recovery_steps=5, recovery_lr=1e-3)
    assert NM(short).program(TrainingBudget(20, 8)) == [train, Prune(density=0.25), Finetune(5, lr=1e-3)]
    assert SrSte(SrSteOptions()).program(HALF) == [Train(20)]


@pytest.mark.parametrize("method", [NM(NMOptions()), SrSte(SrSteOptions())])
def test_a_density_that_is_not_that_of_the_pattern(method: SparsityMethod[Any]) -> None:
    with pytest.raises(UserError, match=r"0\.3, and the pattern 2:4 makes it 0\.5"):
        method.program(TrainingBudget(20, 8, 0.3))


@pytest.mark.parametrize(
    ("cls", "options", "text"),
    [(NMOptions, {"pattern": "2of4"}, "n:m"), (SrSteOptions, {"decay": -1}, "greater"), (NMOptions, {"n": 2}, "extra")],
)
def test_wrong_options(cls: type[NMOptions], options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        cls.model_validate(options)


@pytest.mark.parametrize("method", [NM, SrSte])
def test_what_does_not_fit_is_refused_or_stays_dense(method: type[SparsityMethod[Any]]) -> None:
    network = toy(OddToy)
    connections = network.connections()
    reason = method(method.Options()).unsupported(network, connections)
    assert reason is not None and "'layer2' (classifier, 6 inputs)" in reason
    dense = method(method.Options(indivisible="dense"))
    assert dense.unsupported(network, connections) is None
    assert dense.other_count(68, 80, connections) == "layer2 do not fit the pattern and stay dense"
    assert method(method.Options()).other_count(68, 80, toy().connections()) is None
    check_method(method, {"indivisible": "dense"}, network, density=0.5)


@pytest.mark.parametrize("pattern", ["2:4", "1:8", "3:4", "4:8"])
def test_the_contract_is_kept_for_every_pattern(pattern: str) -> None:
    n, m = map(int, pattern.split(":"))
    for method in (NM, SrSte):
        check_method(method, {"pattern": pattern}, density=n / m)


def test_the_gradient_of_sr_ste_is_that_of_equation_9() -> None:
    """g + lambda (1 - m) w for a loss whose gradient by the effective weights is known, in float64."""
    connection = toy().connections()[0]
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(8, 8, generator=generator, dtype=torch.float64)
    effective = SrSte(SrSteOptions(decay=0.03)).compose(connection, raw)
    effective.backward(gradient)
    found, weights, effective = raw.grad, raw.detach(), effective.detach()
    assert found is not None
    for row in range(8):
        for start in (0, 4):
            sizes = [abs(float(weights[row, start + i])) for i in range(4)]
            for i in range(4):
                at, kept = (row, start + i), sizes[i] >= sorted(sizes)[2]
                assert float(effective[at]) == (float(weights[at]) if kept else 0.0)
                expected = float(gradient[at]) + (0.0 if kept else 0.03 * float(weights[at]))
                assert float(found[at]) == pytest.approx(expected, abs=1e-15)


def test_one_step_of_sr_ste_by_hand() -> None:
    """Gradient 1 everywhere, rate 0.1, lambda 0.5: the second of each pair would need 0.8 - 0.1 (1 + 0.4) = 0.66."""
    connection = toy().connections()[0]
    raw = torch.tensor([[1.0, 0.8] * 4] * 8, requires_grad=True)
    SrSte(SrSteOptions(pattern="1:2", decay=0.5)).compose(connection, raw).sum().backward()
    assert raw.grad is not None
    after = raw.detach() - 0.1 * raw.grad
    torch.testing.assert_close(after[0, :2], torch.tensor([0.9, 0.66]))


@pytest.fixture
def suite(tmp_path: Path) -> Any:
    """Loads a suite on digits with these methods."""
    torch.set_num_threads(1)

    def made(methods: str) -> Any:
        path = tmp_path / "suite.yaml"
        path.write_text(
            "architectures: {mlp: {hidden: [16, 16]}}\nbenchmarks: digits\nseeds: [0]\nevaluation: {checks: 1}\n"
            f"training: {{steps: 15, batch_size: 16}}\nmethods: {methods}\n"
        )
        return load_suite(path, REGISTRY)

    return made


def test_every_group_of_a_run_keeps_two_of_four(suite: Any, tmp_path: Path) -> None:
    """With and without a density in the suite; and the dense training is shared with a dense cell."""
    loaded = suite("{dense: {}, n_m: {density: 0.5}, free: {use: n_m, recovery_steps: 0}, sr_ste: {density: 0.5}}")
    dense, *others = compile_graph(loaded.cells, REGISTRY).cells
    runner = StageRunner(REGISTRY, StageStore(tmp_path / "runs"), Substrate(0, 1, CPU))
    for planned in others:
        for stage in planned.stages:
            runner.run(stage)
        network = runner.restored(planned.stages[-1], planned.cell)
        masks = network.final_masks()
        weights = network.begin_phase(hooks=network.soft).final(masks)
        for c in network.connections:
            assert (masks[c.name].reshape(-1, 4).sum(1) == 2).all(), (planned.cell.method, c.name)
            kept = c.region(weights[c.parameter]) != 0
            assert not (kept & ~masks[c.name]).any()
            assert (kept.reshape(-1, 4).sum(1) <= 2).all()
    assert others[0].stages[0].hash == others[1].stages[0].hash == dense.stages[0].hash
    assert others[2].stages[0].hash != dense.stages[0].hash


def test_the_line_of_the_suite_is_named(suite: Any) -> None:
    with pytest.raises(SuiteError, match=r"suite\.yaml:6.*0\.3, and the pattern 2:4 makes it 0\.5"):
        suite("{n_m: {density: 0.3}}").cells  # noqa: B018
    with pytest.raises(SuiteError, match=r"n_m.*on 'mlp'.*2:5 needs inputs in whole groups of 5, unlike"):
        suite("{n_m: {pattern: '2:5'}}").cells  # noqa: B018
