"""Loggers: what they write is what the series say, whatever happened, and training is none the wiser."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from harness.cli import main
from harness.core.logger import Logged, Logger
from harness.errors import UserError
from harness.registry.plugins import Registry, load
from harness.results.record import evaluated
from harness.results.run_log import VARIABLE, RunLog, choose, chosen
from harness.stages.graph import PlannedCell, compile_graph
from harness.stages.runner import StageRunner
from harness.stages.store import StageStore
from harness.stages.training_run import Interrupted
from harness.storage import checkpoint
from harness.suites.suite import load_suite
from harness.training.distributed import Substrate
from harness.training.trainer import StepReport
from harness_loggers.tensorboard import TensorBoard
from harness_loggers.wandb import Wandb

TOY = Path(__file__).parent.parent / "harness" / "toy_plugin.py"
CPU = torch.device("cpu")
SUITE = (
    "architectures: {net: {}}\nbenchmarks: blobs\nseeds: [3]\nevaluation: {checks: 3}\n"
    "training: {steps: 45, batch_size: 16, lr: 0.01}\nmethods: {m: {use: %s}}\n"
)
Rows = dict[str, list[tuple[int, float]]]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(VARIABLE, "")  # and so what a test sets ends with it
    monkeypatch.delenv("WANDB_MODE", raising=False)
    torch.set_num_threads(1)
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load([TOY])


def planned(folder: Path, registry: Registry, method: str = "soft") -> PlannedCell:
    (folder / "s.yaml").write_text(SUITE % method)
    (cell,) = compile_graph(load_suite(folder / "s.yaml", registry).cells, registry).cells
    return cell


def trained(
    folder: Path, registry: Registry, cell: PlannedCell, loggers: list[Logger], stop_after: int | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Train as a worker does, in this process; the last stage's series, and the warnings."""
    store, warnings, steps = StageStore(folder / ".work"), list[str](), 0
    log = RunLog(loggers, folder, store, warnings.append)

    def report(seen: StepReport) -> None:
        nonlocal steps
        steps += 1
        log.update(seen.series)

    runner = StageRunner(
        registry,
        store,
        Substrate(0, 1, CPU),
        checkpoint_seconds=0,
        stopping=lambda: stop_after is not None and steps >= stop_after,
    )
    for stage in cell.stages:
        with log.training(stage):
            runner.run(stage, report)
    record, _ = evaluated(cell, runner, registry, CPU)[:2]
    log.evaluated(cell, record)
    return {"series": store.series(cell.stages[-1].hash), "record": record.content()}, warnings


def expected(series: Mapping[str, Any]) -> Rows:
    """What is to be logged of a series with one training phase after another, by name, in order of global step."""
    length: dict[int, int] = {}
    for phase, step, *_ in series["loss"]:
        length[phase] = max(step, length.get(phase, 0))
    rows: Rows = {}

    def add(name: str, phase: int, step: int, value: float) -> None:
        before = sum(steps for other, steps in length.items() if other < phase)
        rows.setdefault(name, []).append((before + step, value))

    for phase, step, loss, lr in series["loss"]:
        add("train/loss", phase, step, loss)
        add("train/lr", phase, step, lr)
    for phase, step, split, values in series["evaluations"]:
        for name, value in values.items():
            add(f"{split}/{name}", phase, step, value)
    for phase, step, connections in series["densities"]:
        for name, (hard, soft) in connections.items():
            add(f"density/{name}", phase, step, hard)
            if soft is not None:
                add(f"soft_density/{name}", phase, step, soft)
    return rows


def close(a: Rows, b: Rows) -> bool:
    """Equal, as far as the 32-bit floats of an event file can tell."""
    return a.keys() == b.keys() and all(
        [step for step, _ in a[name]] == [step for step, _ in b[name]]
        and [value for _, value in a[name]] == pytest.approx([value for _, value in b[name]], rel=1e-6)
        for name in a
    )


def events(folder: Path) -> Rows:
    """Scalars of the event files of several runs, but progress, merged as they come."""
    found: Rows = {}
    for run in sorted({path.parent for path in folder.rglob("events.*")}):
        read = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
        for name in read.Tags()["scalars"]:
            if not name.startswith("progress/"):
                found.setdefault(name, []).extend((e.step, e.value) for e in read.Scalars(name))
    return {name: sorted(rows) for name, rows in found.items()}


def history(path: Path) -> Rows:
    """Rows of W&B's own file: 7 bytes, then LevelDB's log of protobuf records, read by hand."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, record, found = path.read_bytes(), 7, b"", Rows()
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        if at + 7 + size > len(data):  # still being written
            break
        record += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or last part
            read = Record()
            read.ParseFromString(record)
            record = b""
            items = {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in read.history.item}
            for name, value in items.items():
                if "/" in name and not name.startswith("progress/"):
                    found.setdefault(name, []).append((items["_step"], value))
    return found


def written(path: Path, whole: Callable[[Rows], bool], patience: float = 60.0) -> Rows:
    """The rows once they are ``whole``: W&B's own process may still be writing when a run has ended."""
    end = time.monotonic() + patience
    while not whole(rows := history(path)) and time.monotonic() < end:
        time.sleep(0.1)
    return rows


def test_event_files_hold_what_the_series_say(tmp_path, registry):
    cell = planned(tmp_path, registry)
    made, warnings = trained(tmp_path, registry, cell, [TensorBoard()])
    assert not warnings
    stages = events(tmp_path / "s" / "tensorboard" / "stages")
    assert close(stages, expected(made["series"]))
    assert {"train/loss", "validation/accuracy", "density/first", "soft_density/out.second"} <= stages.keys()
    final = events(tmp_path / "s" / "tensorboard" / "cells")
    metric = made["record"]["metrics"]["accuracy"]["value"]
    assert final["final/test/accuracy"] == [(45, pytest.approx(metric))]
    assert final["final/density/mask"] == [(45, pytest.approx(made["record"]["density"]["mask"]))]


def test_a_program_of_several_stages_goes_on_counting(tmp_path, registry):
    cell = planned(tmp_path, registry, "programmed, program: finetune, density: 0.4")
    made, _ = trained(tmp_path, registry, cell, [TensorBoard()])
    folders = sorted((tmp_path / "s" / "tensorboard" / "stages").iterdir())
    assert len(folders) == len(cell.stages) == 2
    assert close(events(folders[0].parent), expected(made["series"]))
    assert [max(step for step, _ in events(f)["train/loss"]) for f in folders] in ([25, 70], [70, 25])


def test_wandb_writes_the_same_offline(tmp_path, registry, monkeypatch):
    monkeypatch.setattr(
        "harness_loggers.wandb.PATIENCE", 900.0
    )  # a busy machine may take longer than a user would wait
    cell = planned(tmp_path, registry)
    made, warnings = trained(tmp_path, registry, cell, [Wandb()])
    assert not warnings
    (stage,) = (tmp_path / "s" / "wandb").glob(f"offline-run-*-{cell.stages[0].hash}/*.wandb")
    assert written(stage, lambda rows: rows == expected(made["series"])) == expected(made["series"])
    (whole,) = (tmp_path / "s" / "wandb").glob(f"offline-run-*-{cell.id}/*.wandb")
    final = written(whole, lambda rows: "final/test/accuracy" in rows)
    assert final["final/test/accuracy"] == [(45, made["record"]["metrics"]["accuracy"]["value"])]


@pytest.mark.parametrize("method", ["soft", "programmed, program: dynamic, density: 0.4"])
def test_training_is_the_same_to_the_bit_with_loggers_and_without(tmp_path, registry, method):
    outcomes = []
    for name in ("off", "on"):
        folder = tmp_path / name
        folder.mkdir()
        cell = planned(folder, registry, method)
        made, _ = trained(folder, registry, cell, [] if name == "off" else [TensorBoard(), Wandb()])
        state = checkpoint.load(folder / ".work" / "stages" / cell.stages[-1].hash / "state.safetensors")
        state.pop("spent")
        outcomes.append((state, made["series"], made["record"]["metrics"], cell.id))
    (a, *rest_a), (b, *rest_b) = outcomes
    assert rest_a == rest_b and same(a, b)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return len(a) == len(b) and all(map(same, a, b)) if isinstance(a, list | tuple) else bool(a == b)


def test_an_interrupted_run_that_goes_on_has_nothing_twice(tmp_path, registry):
    cell = planned(tmp_path, registry)
    with pytest.raises(Interrupted):
        trained(tmp_path, registry, cell, [TensorBoard(), Wandb()], stop_after=2)
    folder = tmp_path / "s" / "tensorboard" / "stages"
    partly = events(folder)
    assert len(partly["train/loss"]) > 0
    time.sleep(1.1)  # W&B names its folders by the second
    made, warnings = trained(tmp_path, registry, cell, [TensorBoard(), Wandb()])
    assert not warnings
    whole = expected(made["series"])
    assert len(partly["train/loss"]) < len(whole["train/loss"])
    assert close(events(folder), whole)
    (only,) = (tmp_path / "s" / "wandb").glob(f"offline-run-*-{cell.stages[0].hash}/*.wandb")
    assert history(only) == whole


def test_a_logger_that_comes_late_is_told_what_it_missed(tmp_path, registry):
    cell = planned(tmp_path, registry)
    with pytest.raises(Interrupted):
        trained(tmp_path, registry, cell, [], stop_after=2)
    made, _ = trained(tmp_path, registry, cell, [TensorBoard()])
    assert close(events(tmp_path / "s" / "tensorboard" / "stages"), expected(made["series"]))


class Broken(Logger):
    """Fails at one of its calls; counts them."""

    def __init__(self, at: str) -> None:
        self.at, self.calls = at, list[str]()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.at:
            raise OSError(28, "No space left on device")

    def start(self, run: Logged) -> None:
        self._call("start")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._call("scalars")

    def finish(self) -> None:
        self._call("finish")


@pytest.mark.parametrize("at", ["start", "scalars", "finish"])
def test_a_logger_that_fails_ends_nothing_but_its_own_log(tmp_path, registry, at):
    cell, broken = planned(tmp_path, registry), Broken(at)
    made, warnings = trained(tmp_path, registry, cell, [broken, TensorBoard()])
    assert broken.calls.count(at) == 2  # once for the stage, once for the cell
    assert len(warnings) == 2 and "Broken fails" in warnings[0] and "No space left" in warnings[0]
    assert close(events(tmp_path / "s" / "tensorboard" / "stages"), expected(made["series"]))


def test_a_missing_package_is_named_before_anything_runs(registry, monkeypatch):
    for name in ("tensorboard", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UserError, match=rf"pip install 'sparsity-harness\[{name}\]'"):
            choose([name], registry)


def test_loggers_are_chosen_by_option_or_variable(registry, monkeypatch):
    assert chosen(registry) == []
    monkeypatch.setenv(VARIABLE, "wandb, tensorboard,")
    assert [type(logger) for logger in chosen(registry)] == [Wandb, TensorBoard]
    choose(["tensorboard"], registry)  # the option wins, and workers are told
    assert os.environ[VARIABLE] == "tensorboard"
    with pytest.raises(UserError, match=r"unknown logger 'tensorbord'\. Did you mean 'tensorboard'\?"):
        choose(["tensorbord"], registry)


def test_the_command_refuses_an_unknown_logger(tmp_path, capsys):
    (tmp_path / "s.yaml").write_text(SUITE % "soft")
    with pytest.raises(SystemExit) as exit_:
        main(["run", str(tmp_path / "s.yaml"), "--plugin", str(TOY), "--results", str(tmp_path), "--log", "nothing"])
    assert exit_.value.code == 2 and "unknown logger 'nothing'" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
def test_a_killed_run_that_goes_on_has_nothing_twice(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "architectures: {skip_mlp: {hidden: [16, 16]}}\nbenchmarks: digits\n"
        "training: {steps: 1200, batch_size: 16, lr: 0.001}\nmethods: {genome: }\n"
    )
    command = [sys.executable, "-m", "harness", "run", str(tmp_path / "s.yaml"), "--results", str(tmp_path / "r")]
    command += ["--log", "tensorboard", "--log", "wandb", "--checkpoint-minutes", "0.005", "--workers", "1"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as run:
        end = time.monotonic() + 60
        while not list(tmp_path.glob("r/.work/stages/*/checkpoint-*")) and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        assert run.poll() is None
        os.killpg(run.pid, signal.SIGKILL)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "note:" not in done.stderr and "wandb:" not in done.stderr
    (series,) = (tmp_path / "r" / "s" / "series").glob("*.json")
    whole = expected(json.loads(series.read_text()))
    (run_folder,) = (tmp_path / "r" / "s" / "tensorboard" / "stages").iterdir()
    assert len(list(run_folder.iterdir())) == 2  # the killed one's event file is still there
    assert close(events(run_folder.parent), whole)
    files = [p for p in (tmp_path / "r" / "s" / "wandb").glob("offline-run-*/*.wandb") if "genome" not in p.parent.name]
    assert len(files) == 1 and history(files[0]) == whole
