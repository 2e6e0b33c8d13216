"""What this machine has and runs."""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import machine
from harness.executors.run_status import Heartbeat, running


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_cores_are_those_that_the_process_may_use() -> None:
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{one}]); from harness.machine import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


def test_no_gpus_where_the_device_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.delenv("HARNESS_DEVICE", raising=False)
    assert machine.gpus() == 3
    for device, count in (("cpu", 0), ("cuda", 3), ("cuda:1", 3)):
        monkeypatch.setenv("HARNESS_DEVICE", device)
        assert machine.gpus() == count


def test_a_process_has_a_beginning_until_it_ends() -> None:
    process = multiprocessing.get_context("spawn").Process(target=int)
    process.start()
    assert process.pid is not None
    assert machine.started(os.getpid()) == machine.started(os.getpid()) is not None
    process.join()
    assert machine.started(process.pid) is None


def test_a_heartbeat_whose_number_another_process_has_by_now_is_dead(tmp_path: Path) -> None:
    beat = Heartbeat(tmp_path, "s", lambda: {"jobs": []})
    try:
        path = tmp_path / "running" / Path(beat._path).name
        while not path.exists():
            pass
        (seen,) = running(tmp_path, "s")
        assert seen["pid"] == os.getpid() and seen["started"] == machine.started(os.getpid())
        other = path.with_name("s.other.1.json")
        other.write_text(json.dumps({**seen, "started": "long before"}))
        assert len(list(running(tmp_path, "s"))) == 1
        other.write_text(json.dumps({**seen, "machine": "elsewhere", "started": "long before"}))
        assert len(list(running(tmp_path, "s"))) == 2
    finally:
        beat.close()
