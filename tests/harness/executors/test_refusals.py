"""Suites on a cluster that refuses: a stand-in for ``sbatch`` answers in SLURM's own words.

The words were taken from SLURM 22.05.8 with qualities of service; tests/e2e/slurm/test_refusals.py asks it itself.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import run

SBATCH = """#!/bin/bash
script=${@: -1}
last=$(grep -o -- '--array=0-[0-9]*' "$script" | sed 's/.*-//')
count=$(( ${last:-0} + 1 ))
echo $count >> FOLDER/calls
taken=$(cat FOLDER/taken 2>/dev/null || echo 0)
if [ $((taken + count)) -gt ROOM ]; then
  for line in SAYS; do echo "sbatch: error: $line" >&2; done
  exit 1
fi
echo $((taken + count)) > FOLDER/taken
echo "Submitted batch job 1$(wc -l < FOLDER/calls)"
"""
POLICY = (
    "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
)
SUITE = """
architectures: {mlp: {hidden: [16]}}
benchmarks: digits
seeds: 8
training: {steps: 20, batch_size: 16}
methods: {dense: }
slurm: {min_job_minutes: 0, poll_seconds: 0.05}
"""


@dataclass
class Cluster:
    """A cluster that takes some jobs and then says something."""

    folder: Path

    def takes(self, room: int, *says: str) -> None:
        quoted = " ".join(f'"{line}"' for line in says)
        script = SBATCH.replace("FOLDER", str(self.folder)).replace("ROOM", str(room)).replace("SAYS", quoted)
        self.program("sbatch", script)

    def program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    @property
    def calls(self) -> list[int]:
        """Elements of each array that was offered."""
        return [int(line) for line in (self.folder / "calls").read_text().split()]

    def run(self, *options: object, code: int, results: str = "results") -> str:
        """What a run says; its jobs are never waited for."""
        path = self.folder / "small.yaml"
        path.write_text(SUITE)
        arguments = [path, "--results", self.folder / results, "--executor", "slurm", *options]
        done = CliRunner(env={"COLUMNS": "400"}).invoke(run.command, [str(one) for one in arguments])
        assert done.exit_code == code, done.output + repr(done.exception)
        return f"{done.output}{done.exception}"

    @property
    def records(self) -> list[str]:
        """Messages of the cells that have failed."""
        paths = self.folder.glob("results/small/cells/*.json")
        return [json.loads(path.read_text())["failure"]["message"] for path in paths]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    (tmp_path / "bin").mkdir()
    made = Cluster(tmp_path)
    for name in ("srun", "scancel", "squeue"):
        made.program(name, "#!/bin/bash\n")
    made.program("scontrol", '#!/bin/bash\necho "MaxArraySize            = 1001"\n')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("HARNESS_CLUSTER", raising=False)
    return made


def test_a_full_queue_is_filled_and_what_is_left_is_said(cluster: Cluster) -> None:
    cluster.takes(5, "QOSMaxSubmitJobPerUserLimit", POLICY)
    told = cluster.run("--detach", code=1)
    assert cluster.calls == [8, 4, 4, 2, 1, 2, 1]  # 4 taken, then 1
    assert "handed in to SLURM: 10 stages and evaluations as 5 jobs in 2 arrays" in told
    assert "SLURM takes no more jobs now (sbatch: error: QOSMaxSubmitJobPerUserLimit; " in told
    assert "not handed in: 6 jobs; run the same command again later" in told
    assert cluster.records == []


@pytest.mark.parametrize(
    "says",
    [
        ("QOSMaxWallDurationPerJobLimit", POLICY),
        ("QOSMaxGRESPerJob", POLICY),
        ("Batch job submission failed: Invalid account or account/partition combination specified",),
        ("Memory specification can not be satisfied", "Batch job submission failed: Requested node configuration is "
         "not available"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("detach", [(), ("--detach",)], ids=["watching", "detached"])
def test_what_the_cluster_will_never_take_fails_at_once(
    cluster: Cluster, says: tuple[str, ...], detach: tuple[str, ...]
) -> None:
    cluster.takes(0, *says)
    told = cluster.run(*detach, code=1)
    assert cluster.calls == [8]
    assert "8 runs have no result" in told
    assert cluster.records == [f"SLURM refuses the job: sbatch: error: {'; '.join(says)}"] * 8


@pytest.mark.parametrize("detach", [(), ("--detach",)], ids=["watching", "detached"])
def test_what_nobody_knows_is_tried_three_times_and_fails_with_its_words(
    cluster: Cluster, detach: tuple[str, ...]
) -> None:
    cluster.takes(0, "Please name a project.", "Batch job submission failed: Unspecified error")
    cluster.run(*detach, code=1)
    assert cluster.calls == [8, 4, 2, 1, 1, 1]
    assert set(cluster.records) == {
        "SLURM refuses the job: sbatch: error: Please name a project.; Batch job submission failed: Unspecified error"
    }
    left = [path.name for path in (cluster.folder / "results/.work/slurm/small/logs").iterdir()]
    assert left == [], "what was not handed in leaves no files"


def test_a_controller_that_does_not_answer_is_asked_again_and_nothing_fails(cluster: Cluster) -> None:
    cluster.takes(0, "Batch job submission failed: Unable to contact slurm controller (connect failure)")
    told = cluster.run("--detach", code=1)
    assert cluster.calls == [8, 8, 8]
    assert "not handed in: 16 jobs" in told and cluster.records == []


def test_the_size_of_an_array_can_be_given(cluster: Cluster) -> None:
    cluster.takes(100)
    cluster.program("scontrol", "#!/bin/bash\nexit 1\n")  # need not be asked
    told = cluster.run("--detach", "--slurm", "max_array_size=3", code=0)
    assert cluster.calls == [3, 3, 2] and "as 8 jobs in 3 arrays" in told


def test_an_array_longer_than_the_cluster_allows_is_split_and_one_job_that_is_too_long_fails(cluster: Cluster) -> None:
    cluster.takes(4, "Batch job submission failed: Invalid job array specification")
    cluster.run("--detach", code=1)
    assert cluster.calls == [8, 4, 4, 2, 1] and len(cluster.records) == 4


@pytest.mark.parametrize("program", ["srun", "sbatch", "squeue", "scancel", "scontrol"])
def test_a_program_that_is_missing_is_named_before_anything_is_done(
    cluster: Cluster, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.takes(100)
    monkeypatch.setenv("PATH", str(cluster.folder / "bin"))
    (cluster.folder / "bin" / program).unlink()
    assert f"there is no {program} in PATH" in cluster.run(code=1)
    assert not (cluster.folder / "results").exists()


@pytest.mark.parametrize("name", ["50%total", "%j", "a\\b", "a\nb"])
def test_a_path_that_slurm_would_read_as_a_pattern_is_refused_before_anything_is_done(
    cluster: Cluster, name: str
) -> None:
    cluster.takes(100)
    assert re.search(r"SLURM cannot write logs below .* choose another folder", cluster.run(code=1, results=name))
    assert not (cluster.folder / name).exists()
