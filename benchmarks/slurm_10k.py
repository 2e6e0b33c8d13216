"""What it takes to hand a suite of 10,000 cells in to SLURM, and to ask how far it is.

Needs a cluster: a real one, or one for tests:

    export SLURM_CONF=$(python tests/e2e/slurm/cluster.py up /tmp/cluster | python -c 'import json,sys; print(json.load(
        sys.stdin)["SLURM_CONF"])')
    python benchmarks/slurm_10k.py [--min-job-minutes 0]
    python tests/e2e/slurm/cluster.py down /tmp/cluster

The jobs are held, so that they do nothing, and are cancelled in the end. Printed are wall seconds of whole commands.
With ``--min-job-minutes 0`` every stage is a job of its own, which is the worst case.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent))

from plan_10k import SUITE


def timed(*command: str) -> tuple[float, str]:
    """Seconds that a command took, and what it printed on both streams."""
    start = perf_counter()
    done = subprocess.run([sys.executable, "-m", "harness", *command], capture_output=True, text=True, check=True)
    return perf_counter() - start, done.stdout + done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--min-job-minutes", default="10", help="stages expected to be shorter share a job")
    minutes = parser.parse_args().min_job_minutes
    with tempfile.TemporaryDirectory() as name:
        suite, results = Path(name) / "slurm_10k.yaml", Path(name) / "results"
        suite.write_text(SUITE, encoding="utf8")
        run = ("run", str(suite), "--results", str(results), "--executor", "slurm", "--slurm", "sbatch.hold=true")
        run = (*run, "--slurm", f"min_job_minutes={minutes}", "--detach")
        try:
            seconds, told = timed(*run)
            print(" ".join(line for line in told.splitlines() if "handed in" in line or "arrays" in line))
            print(f"plan and hand in 10,000 cells:  {seconds:6.2f} s")
            seconds, told = timed(*run)
            assert "handed in" not in told, told
            print(f"the same again, all is queued:  {seconds:6.2f} s")
            status = ("status", "slurm_10k", "--results", str(results))
            times = []
            for _ in range(5):
                seconds, told = timed(*status)
                assert "10000 queued" in told, told
                times.append(seconds)
            print(f"harness status:                 {statistics.median(times):6.2f} s (median of 5)")
        finally:
            seconds, _ = timed("cancel", "slurm_10k", "--results", str(results))
            print(f"harness cancel:                 {seconds:6.2f} s")


if __name__ == "__main__":
    main()
