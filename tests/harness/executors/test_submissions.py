"""What was handed in to SLURM, from files alone; tests/e2e/slurm asks a real one."""

import time
from pathlib import Path

import pytest

from harness.executors.cluster_status import survey
from harness.executors.slurm_job import blocked
from harness.executors.slurm_queue import State, _ids
from harness.executors.submissions import Element, Submissions


@pytest.fixture
def submissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submissions:
    monkeypatch.setenv("PATH", str(tmp_path))  # no squeue
    return Submissions(tmp_path, "small")


def test_elements_come_back_oldest_first_and_broken_files_are_left_out(submissions: Submissions) -> None:
    first = [Element("7_0", ("a", "b"), (), 60), Element("7_1", ("c",), (), 60)]
    submissions.add(first)
    submissions.add([Element("8", ("d",), ("7_0", "7_1"), 240)])
    (submissions.folder / "submitted" / "00-broken.json").write_text('[{"slurm": "9"}]')
    assert submissions.elements() == [*first, Element("8", ("d",), ("7_0", "7_1"), 240)]
    assert submissions.log("7_1").name == "7_1_0_log.out"


def test_failures_are_noted_until_they_are_tried_again(submissions: Submissions) -> None:
    submissions.fail("a", {"message": "boom"})
    assert submissions.failure("a") == {"message": "boom"} and submissions.failure("b") is None
    submissions.forget_failures(["a", "b"])
    assert submissions.failure("a") is None


def test_a_failure_blocks_others_in_its_own_words() -> None:
    failure = {"label": "mlp dense seed 0", "message": "boom", "type": "ValueError"}
    same, other = blocked(failure, same_cell=True), blocked(failure)
    assert same["message"] == "boom" and other["message"] == "blocked by mlp dense seed 0 (boom)"
    assert blocked(other)["message"] == other["message"], "the first cause is named, however long the chain"


def test_without_slurm_the_jobs_own_words_count(submissions: Submissions) -> None:
    submissions.add(
        [Element("7_0", ("s", "one"), (), 60), Element("7_1", ("two",), (), 60), Element("8", ("three",), (), 60)]
    )
    row = {"id": "s", "label": "mlp dense", "step": 5, "steps": 10, "loss": 1.5, "left": 3.0}
    said = {"host": "n1", "time": time.time(), "restarts": 2, "jobs": [row], "ended": False}
    submissions.write_progress("7_0", said)
    submissions.write_progress("8", {**said, "jobs": [], "ended": True})
    found = survey(submissions.folder.parent.parent, "small", ["one", "two", "three", "never handed in"])
    assert found.unknown == "there is no squeue on this machine"
    assert found.cells == {"one": "running", "two": "queued", "three": "queued"}
    assert [(slurm, progress) for slurm, _, progress in found.running] == [("7_0", said)]


def test_elements_that_wait_together() -> None:
    assert list(_ids("7", "3", "7_3")) == ["7_3"]
    assert list(_ids("7", "0-1,4", "7_[0-1,4%2]")) == ["7_0", "7_1", "7_4"]
    assert list(_ids("7", "N/A", "7")) == ["7"]


@pytest.mark.parametrize(
    ("state", "live", "text"),
    [
        (State("RUNNING"), True, "RUNNING"),
        (State("PENDING", "Priority"), True, "PENDING (Priority)"),
        (State("PENDING", "launch failed requeued held"), False, "PENDING (launch failed requeued held)"),
        (State("OUT_OF_MEMORY", "OutOfMemory", "0:125"), False, "OUT_OF_MEMORY (exit code 0:125)"),
        (State("COMPLETED", "", "0:0"), False, "COMPLETED"),
    ],
)
def test_states(state: State, live: bool, text: str) -> None:
    assert state.live is live and str(state) == text
