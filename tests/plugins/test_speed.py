"""The benchmark of speed: what it counts by hand, and that a clock's numbers are nowhere taken for results."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness import DataSpec, Unsupported, make_fast, peak_bytes
from harness.cli import cli
from harness.compaction.program import trace
from harness.results.agreement import agreements, failing
from harness.results.cell_record import CellRecord
from harness.results.store import ResultStore
from harness_architectures.gpt2 import Gpt2, Gpt2Options
from harness_architectures.mlp import Mlp, MlpOptions
from harness_speed.speed import SpeedBenchmark, SpeedOptions, written

CPU = torch.device("cpu")
PICTURES, TEXT = DataSpec("classification", (64,), 10, examples=8), DataSpec("language", (8,), 32, examples=8, tokens=8)
SUITE = """
architectures: {mlp: {hidden: [64]}}
benchmarks: {digits: , speed: {batch: 32}}
train_on: digits
seeds: 1
training: {steps: 5, batch_size: 32, lr: 1e-3}
methods:
  dense:
  random: {density: 0.1}
  small_dense: {density: 0.1}
"""


def measured(architecture: Any, module: nn.Module, **options: Any) -> dict[str, float]:
    benchmark = SpeedBenchmark(SpeedOptions(**options))
    found = benchmark.evaluate_network(module.eval(), architecture, architecture, "test", CPU)
    assert list(found) == [metric.name for metric in benchmark.metrics]
    assert all(math.isfinite(m.value) and m.value > 0 and m.n == benchmark.examples("test") for m in found.values())
    assert all(metric.timed for metric in benchmark.metrics)
    assert benchmark.evaluate_network(module, architecture, architecture, "validation", CPU) == {}
    return {name: measurement.value for name, measurement in found.items()}


def test_a_masked_network_is_smaller() -> None:
    architecture = Mlp(MlpOptions(hidden=[64, 64]), PICTURES)
    module = architecture.build()
    dense = measured(architecture, module, batch=16)
    assert dense["bytes"] == sum(parameter.nbytes for parameter in module.parameters())
    with torch.no_grad():
        for layer in module.layers.values():  # type: ignore[union-attr, operator]
            layer.weight[::2] = 0
    assert measured(architecture, module, batch=16)["bytes"] < 0.7 * dense["bytes"]


def test_numbers_of_16_bits_are_half_as_large() -> None:
    architecture = Mlp(MlpOptions(hidden=[64, 64]), PICTURES)
    module = architecture.build()
    whole, half = (measured(architecture, module, batch=16, precision=name) for name in ("fp32", "bf16"))
    assert (2 * half["bytes"], 2 * half["memory"]) == (whole["bytes"], whole["memory"])
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    protocols = [SpeedBenchmark(SpeedOptions(batch=16, precision=name)).protocol for name in ("fp32", "bf16")]
    assert [" in bf16;" in protocol for protocol in protocols] == [False, True]


def test_memory_is_what_lives_at_once() -> None:
    """Two linear layers on 5 examples: all weights, and the inputs beside the larger result."""
    architecture = Mlp(MlpOptions(hidden=[32]), PICTURES)
    module = architecture.build()
    weights = sum(parameter.nbytes for parameter in module.parameters())
    assert peak_bytes(trace(module, PICTURES), torch.randn(5, 64)) == weights + 4 * 5 * (64 + 32)


def test_a_language_model_writes_what_is_likeliest() -> None:
    architecture = Gpt2(Gpt2Options(n_layers=1, width=16, heads=2), TEXT)
    torch.manual_seed(0)
    module = architecture.build().eval()
    found = measured(architecture, module, batch=2, generate=3)
    assert {"generation", "generation_speedup"} <= found.keys()
    text = torch.tensor([[3, 1, 4, 1]])
    with torch.no_grad():
        expected = text
        for _ in range(6):  # beyond the context of 8
            expected = torch.cat([expected, module(expected[:, -8:])[:, -1:].argmax(-1)], 1)
        assert torch.equal(written(trace(module, TEXT), text, 6, 8), expected)


def test_what_cannot_be_measured_is_refused() -> None:
    perceptron = Mlp(MlpOptions(hidden=[8]), PICTURES)
    assert "writes no tokens" in str(SpeedBenchmark(SpeedOptions(generate=1)).unsupported(perceptron))
    assert SpeedBenchmark(SpeedOptions()).unsupported(perceptron) is None
    with pytest.raises(Unsupported, match="one by one"):
        SpeedBenchmark(SpeedOptions()).evaluate_network(perceptron.build(), None, None, "test", CPU)


def test_a_smaller_network_stands_beside_the_one_that_the_suite_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def noted(architecture: Any, module: nn.Module, batch: int, reference: nn.Module, **more: Any) -> Any:
        seen.append(sum(parameter.numel() for parameter in reference.parameters()))
        return make_fast(architecture, module, batch, reference, **more)

    monkeypatch.setattr("harness_speed.speed.make_fast", noted)
    declared, smaller = (Mlp(MlpOptions(hidden=[hidden]), PICTURES) for hidden in (64, 8))
    before = torch.get_rng_state()
    module = smaller.build().eval()
    torch.set_rng_state(before)
    SpeedBenchmark(SpeedOptions(batch=4)).evaluate_network(module, smaller, declared, "test", CPU)
    assert seen == [64 * 64 + 64 + 64 * 10 + 10]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_suite_measures_what_it_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One training for both scores; records say what a clock was read for, and equal runs may differ there only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_DEVICE", "cpu")
    (tmp_path / "fast.yaml").write_text(SUITE)
    cli.main(["run", "fast.yaml", "--workers", "1"], standalone_mode=False)
    store = ResultStore(tmp_path / "results")
    records = [record for record in store.records("fast") if isinstance(record, CellRecord)]
    assert len(records) == 6
    speeds = [record for record in records if record.benchmark.label == "speed"]
    assert {record.method.label for record in speeds} == {"dense", "random", "small_dense"}
    for record in records:
        assert {score.timed for score in record.metrics.values()} == {record in speeds}
    (was,) = (record for record in speeds if record.method.label == "random")
    slower = {name: score.model_copy(update={"value": score.value * 3}) for name, score in was.metrics.items()}
    now = was.model_copy(update={"metrics": slower})
    assert failing(agreements(was, now), was, now, {}) == []
