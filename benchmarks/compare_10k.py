"""Times `harness compare` over 10,000 result files and over their archive, in a process of its own, imports included.

Run with ``python benchmarks/compare_10k.py``; the target is under 3 seconds of wall time, and an archive no slower.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice, product
from pathlib import Path
from typing import Any

from harness.results.packing import pack
from harness.results.store import ResultStore

METHODS = ("random", "magnitude", "genome", "rigl", "snip", "set", "shuffle", "reinit", "synflow", "hessian")
DENSITIES = (0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01)
ARCHITECTURES = ("mlp", "cnn", "transformer", "gpt", "resnet")
BENCHMARKS = ("digits", "mnist", "cifar", "text", "speech")
SEEDS = 5
COMMAND = "from harness.cli.compare import command; command()"


def record(cell: str, architecture: str, benchmark: str, method: str, density: float, seed: int) -> dict[str, Any]:
    """A record of the size that a real run of a network with eight connections writes."""
    size, mask = 170_000, density
    layer = {"size": size // 8, "kept": int(size * mask) // 8, "nonzero": int(size * mask) // 8, "soft": None}
    noise = random.Random(cell).gauss(0, 0.01)
    plugin = {"plugin": f"harness_{method}", "version": "1", "options": {"distribution": "erk", "every": 100}}
    return {
        "schema": 2,
        "status": "done",
        "cell": cell,
        "suite": "matrix",
        "experiment": "main",
        "architecture": {"label": architecture, **plugin, "parameters": size + 500},
        "method": {"label": method, **plugin},
        "benchmark": {"label": benchmark, **plugin, "protocol": "test split, argmax, batch 256"},
        "trained_on": benchmark,
        "seed": seed,
        "density": {
            "requested": None if method == "dense" else density,
            "match": None,
            "scope": "maskable",
            "mask": mask,
            "nonzero": mask,
            "total": mask,
            "soft": None,
            "kept": int(size * mask),
            "size": size,
            "connections": {f"hidden{i}.weight": layer for i in range(8)},
        },
        "training": {"steps": 1000, "batch_size": 128, "lr": 0.001, "optimizer": "adamw", "decay": "active"},
        "evaluation": {"masks": "hard", "every": 100, "select": "final"},
        "program": [{"type": "Train", "steps": 1000}],
        "stages": ["0123456789abcdef" * 2],
        "metrics": {
            "accuracy": _metric(0.9 * mask**0.05 + noise, "fraction", "max", True),
            "loss": _metric(0.3 - noise, "nats", "min", False),
        },
        "validation": {"accuracy": _metric(0.9 + noise, "fraction", "max", True)},
        "published": None,
        "spent": {
            "steps": 1000,
            "examples": 128_000,
            "tokens": 128_000,
            "seconds": 12.5,
            "peak_memory_bytes": 123_456_789,
            "flops": {"convention": "2 per multiply-add, backward twice forward", "training": 1e12, "inference": 1e6},
        },
        "environment": {"harness": "0.1.0", "torch": "2.6.0", "python": "3.11", "git": "0123abc", "device": "cpu"},
        "finished": "2026-01-01T00:00:00Z",
        "failure": None,
    }


def _metric(value: float, unit: str, direction: str, primary: bool) -> dict[str, Any]:
    metric = {"value": value, "n": 10_000, "stderr": 0.003, "unit": unit, "direction": direction}
    return metric | {"split": "test", "primary": primary}


def write(root: Path, cells: int) -> None:
    """Write one suite of ``cells`` records and its plan."""
    folder = root / "matrix" / "cells"
    folder.mkdir(parents=True)
    names = []
    sparsities = [("dense", 1.0), *product(METHODS, DENSITIES)]
    grid = product(range(SEEDS), ARCHITECTURES, BENCHMARKS, sparsities)
    for number, (seed, architecture, benchmark, (method, density)) in enumerate(islice(grid, cells)):
        name = f"main-{architecture}-{benchmark}-{method}-{density}-s{seed}-{number:012x}"
        content = record(name, architecture, benchmark, method, density, seed)
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf8")
        names.append(name)
    plan = {"suite": "matrix", "description": "synthetic", "cells": names, "baselines": {}}
    (root / "matrix" / "suite.json").write_text(json.dumps(plan), encoding="utf8")


def main() -> None:
    """Write the records, run the command five times per format, print median and range."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    repository = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as root:
        loose, packed = (Path(root) / name for name in ("loose", "packed"))
        for folder in (loose, packed):
            write(folder, options.cells)
        pack(ResultStore(packed), "matrix")
        for arguments in (["--methods", "genome", "random", "magnitude"], [], ["--format", "json"]):
            seconds: dict[Path, list[float]] = {loose: [], packed: []}
            said: dict[Path, bytes] = {}
            for _ in range(options.repeat):
                for folder in seconds:
                    start = time.perf_counter()
                    said[folder] = subprocess.run(
                        [sys.executable, "-c", COMMAND, *arguments, "--results", folder],
                        cwd=repository,
                        env=os.environ | {"PYTHONPATH": str(repository)},
                        stdout=subprocess.PIPE,
                        check=True,
                    ).stdout
                    seconds[folder].append(time.perf_counter() - start)
            assert said[loose] == said[packed]
            for folder, times in seconds.items():
                print(
                    f"{options.cells} cells, {folder.name}, harness compare {' '.join(arguments)}: "
                    f"{statistics.median(times):.2f} s [{min(times):.2f}, {max(times):.2f}]"
                )
            ratios = [one / other for one, other in zip(seconds[packed], seconds[loose], strict=True)]
            print(f"packed / loose: {statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]")


if __name__ == "__main__":
    main()
