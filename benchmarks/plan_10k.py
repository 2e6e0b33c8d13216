"""How long it takes to plan a suite of 10,000 cells: 10 methods x 10 densities x 100 seeds.

Run: ``python benchmarks/plan_10k.py [--profile]``. Prints seconds of wall time, the best of three for each part.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import tempfile
from pathlib import Path
from time import perf_counter

DENSITIES = [0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01]
SUITE = f"""
architectures: mlp
benchmarks: digits
seeds: 100
training: {{steps: 100, batch_size: 64}}
methods:
  random: {{density: {DENSITIES}}}
  random_erk: {{use: random, distribution: erk, density: {DENSITIES}}}
  magnitude: {{density: {DENSITIES}}}
  magnitude_uniform: {{use: magnitude, distribution: uniform, density: {DENSITIES}}}
  connectome: {{density: {DENSITIES}, generations: 3}}
  small_dense: {{density: {DENSITIES}}}
  shuffle: {{source: magnitude}}
  reinit: {{source: magnitude}}
  random_as_magnitude: {{use: random, density: {{match: magnitude}}}}
  random_per_layer: {{use: random, density: {{match: magnitude, by: per_layer}}}}
"""


def seconds_of_planning(folder: Path) -> dict[str, float]:
    """Seconds of each part."""
    from harness.executors.planning import make_plan
    from harness.registry.plugins import load
    from harness.results.store import ResultStore
    from harness.stages.graph import compile_graph
    from harness.suites.suite import load_suite

    marks = [perf_counter()]
    registry = load()
    marks.append(perf_counter())
    suite = load_suite(folder / "plan_10k.yaml", registry)
    marks.append(perf_counter())
    graph = compile_graph(suite.cells, registry)
    marks.append(perf_counter())
    plan = make_plan(graph, ResultStore(folder / "results"))
    marks.append(perf_counter())
    assert len(suite.cells) == 10_000 and len(plan.jobs) == 10_000 + len(graph.stages)
    parts = ("load plugins", "load_suite", "compile_graph", "make_plan")
    return {part: end - start for part, start, end in zip(parts, marks[:-1], marks[1:], strict=True)}


def main() -> None:
    start = perf_counter()
    import torch  # noqa: F401 (planning needs it; timed apart)

    print(f"{'import torch':15}{perf_counter() - start:8.2f} s")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plan_10k.yaml").write_text(SUITE, encoding="utf8")
        runs = [seconds_of_planning(folder) for _ in range(3)]
        best = {part: min(run[part] for run in runs[1:]) for part in runs[0]}
        for part, seconds in best.items():
            print(f"{part:15}{seconds:8.2f} s")
        print(f"{'planning':15}{sum(best.values()):8.2f} s (first time, with imports: {sum(runs[0].values()):.2f} s)")
        if "--profile" in sys.argv:
            with cProfile.Profile() as profile:
                seconds_of_planning(folder)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(35)


if __name__ == "__main__":
    main()
