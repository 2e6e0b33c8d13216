"""benchmarks/gpu.py works the first time that a GPU is there: it does on a CPU, with few packages."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hidden_packages import without

ROOT = Path(__file__).resolve().parents[2]
HIDDEN = {
    "accelerate", "datasets", "huggingface_hub", "lm_eval", "pandas", "pyarrow", "sklearn", "submitit", "tabulate",
    "tensorboard", "tokenizers", "torchvision", "tqdm", "transformers", "wandb", "zstandard",
}  # fmt: skip
CHECKS = ["agreement_fp32", "agreement_bf16", "repeats", "kill", "head"]


@pytest.fixture
def few_packages(tmp_path):
    """An environment without the packages that a bare machine with torch lacks; processes that it starts lack them."""
    return {**without(HIDDEN, tmp_path), "CUDA_VISIBLE_DEVICES": ""}


def run(environment, folder, *options):
    command = [sys.executable, ROOT / "benchmarks/gpu.py", "--device", "cpu", "--out", folder.name, *options]
    done = subprocess.run(command, env=environment, cwd=folder.parent, capture_output=True, text=True, timeout=600)
    record = json.loads((folder / "cpu.json").read_text())
    return done, {section["name"]: section for section in record["sections"]}


@pytest.mark.slow
def test_every_section_runs_on_a_cpu(few_packages, tmp_path):
    done, sections = run(few_packages, tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [name for name, section in sections.items() if section["status"] == "passed"] == CHECKS
    assert [name for name, section in sections.items() if section["status"] == "left out"] == ["compile"]
    assert {section["status"] for name, section in sections.items() if name not in (*CHECKS, "compile")} == {"measured"}
    assert all(row["loss"] == 0 for name in CHECKS[:4] for row in sections[name]["rows"])
    page = (tmp_path / "out/cpu.md").read_text()
    assert page.startswith("All 5 correctness checks passed on CPU; ")
    assert max(map(len, page.splitlines())) <= 80


@pytest.mark.slow
def test_it_trains_on_given_tokens(few_packages, tmp_path):
    tokens = tmp_path / "tokens.bin"
    (np.arange(50_000) % 7).astype(np.uint16).tofile(tokens)
    done, sections = run(few_packages, tmp_path / "out", "--tokens", tokens, "--only", "gpt2_dense")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sections["gpt2_dense"]["rows"][0]["loss"] < 4  # of log 600 = 6.4 at the beginning


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu

    return gpu


@pytest.fixture
def bench(gpu, tmp_path):
    checks = gpu.Checks(tmp_path, torch.device("cpu"), gpu.TINY)
    return gpu.Bench(checks, torch.device("cpu"), False, tmp_path, {}, time.perf_counter() + 3, False)


def test_what_does_not_fit_is_named(gpu, tmp_path):
    assert gpu.main(["--device", "cpu", "--minutes", "0.1", "--out", str(tmp_path)]) == 0
    page = (tmp_path / "cpu.md").read_text()
    assert page.replace("\n", " ").startswith(f"On CPU; left out: {', '.join(gpu.SECTIONS)}.")


def test_what_breaks_does_not_break_the_rest(gpu, bench, monkeypatch):
    def breaks(_):
        raise ValueError("no such kernel")

    def hangs(_):
        while True:
            time.sleep(0.01)

    outcomes = {"breaks": breaks, "fails": lambda _: gpu.Finding("apart", passed=False), "hangs": hangs}
    monkeypatch.setattr(gpu, "SECTIONS", {name: (1.0, outcome) for name, outcome in outcomes.items()})
    record = gpu.Record("CPU", {}, [gpu.section(name, bench) for name in outcomes])
    assert [section.status for section in record.sections] == ["error", "failed", "left out"]
    assert record.sections[0].says == "ValueError: no such kernel"
    assert record.sections[0].how.startswith("test_gpu.py:")
    assert not record.sound
    assert record.page().startswith("FAILED on CPU: breaks, fails; 0 passed; left out: hangs.")


def test_what_differs_fails(gpu, bench, monkeypatch):
    from gpu_cells import Outcome

    from harness import Masks

    masks = Masks({"a": torch.arange(100) < 50})
    one = Outcome([6.0, 5.0], masks, 50, 100, {"a": torch.ones(100)})
    others = {
        "same": one,
        "loss": dataclasses.replace(one, losses=[6.0, 5.01]),
        "nan": dataclasses.replace(one, losses=[6.0, float("nan")]),
        "count": dataclasses.replace(one, masks=Masks({"a": torch.arange(100) < 51}), kept=51),
        "place": dataclasses.replace(one, masks=Masks({"a": torch.arange(100) >= 50})),
        "dense": dataclasses.replace(one, masks=None),
    }
    monkeypatch.setattr(
        gpu.Checks, "_trained", lambda self, run, precision: dict.fromkeys(others, one) if run == "cpu" else others
    )
    found = bench.checks.agreement("fp32")
    assert [row["method"] for row in found.rows if row["passed"]] == ["same"]
    assert found.status == "failed"


def test_every_method_of_the_plugins_is_tried(gpu):
    from checkout import registry
    from gpu_correctness import APART, methods

    tried = {entry.get("use", name) for name, entry in methods(Path()).items()} | set(APART)
    assert {registered.entry.name for registered in registry().entries("method")} == tried
