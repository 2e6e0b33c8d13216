"""One holder a name: among threads, processes, dead ones, and those that stood still."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from harness.errors import StorageError
from harness.storage import leases
from harness.storage.leases import Leases


def nobody() -> None:
    raise AssertionError("somebody else holds it")


def numbers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_name_is_held_and_given_back(tmp_path: Path) -> None:
    held = Leases(tmp_path)
    with held.hold("a", nobody) as lease:
        assert not lease.lost and numbers(tmp_path) == ["a.1"]
        holder = held.holder("a")
        assert holder is not None and holder["pid"] == os.getpid() and holder["job"] is None
        with held.hold("b", nobody):
            assert numbers(tmp_path) == ["a.1", "b.1"]
    assert numbers(tmp_path) == [] and held.holder("a") is None


def test_others_wait(tmp_path: Path) -> None:
    calls = []

    class Tired(Exception):
        pass

    def waiting() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise Tired

    with Leases(tmp_path).hold("a", nobody), pytest.raises(Tired), Leases(tmp_path).hold("a", waiting):
        raise AssertionError("held twice")
    assert numbers(tmp_path) == []


def _hold(folder: str, ready) -> None:
    with Leases(Path(folder)).hold("a", nobody):
        ready.set()
        time.sleep(60)


def test_a_dead_process_of_this_machine_holds_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path), ready))
    process.start()
    assert ready.wait(30)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    began = time.monotonic()
    with Leases(tmp_path).hold("a", lambda: None):
        assert time.monotonic() - began < 3
        assert numbers(tmp_path) == ["a.2"], "the dead one's file is removed"
    assert numbers(tmp_path) == []


def elsewhere(folder: Path, number: int = 1, nonce: str = "other") -> Path:
    """A lease of another machine."""
    path = folder / f"a.{number}"
    path.write_text(json.dumps({"nonce": nonce, "machine": "elsewhere", "pid": os.getpid(), "started": "1"}))
    return path


def test_one_elsewhere_is_dead_only_when_it_gives_no_sign(tmp_path: Path) -> None:
    path = elsewhere(tmp_path)
    renewals = []

    def alive() -> None:
        if len(renewals) < 3:
            renewals.append(1)
            os.utime(path, (len(renewals), len(renewals)))  # a clock that is years behind

    began = time.monotonic()
    with Leases(tmp_path, expiry=1.0).hold("a", alive):
        waited = time.monotonic() - began
        assert numbers(tmp_path) == ["a.2"]
    assert len(renewals) == 3 and waited > 1.5, "each sign of life began the second anew"


def test_whoever_was_taken_for_dead_notices(tmp_path: Path) -> None:
    with Leases(tmp_path, beat=0.05).hold("a", nobody) as lease:
        path = tmp_path / "a.1"
        path.unlink()
        elsewhere(tmp_path, nonce="another")
        for _ in range(100):
            if lease.lost:
                break
            time.sleep(0.05)
        assert lease.lost
    assert path.exists(), "what belongs to another is not removed"


def test_a_lease_is_renewed(tmp_path: Path) -> None:
    with Leases(tmp_path, beat=0.05).hold("a", nobody):
        path = tmp_path / "a.1"
        os.utime(path, (1, 1))
        for _ in range(100):
            if path.stat().st_mtime > 1:
                break
            time.sleep(0.05)
        assert path.stat().st_mtime > 1


def test_a_number_taken_by_somebody_faster_is_not_ours(tmp_path: Path) -> None:
    elsewhere(tmp_path, 1)
    elsewhere(tmp_path, 2, "faster")
    assert Leases(tmp_path)._take("a", 1, "other") is None
    assert Leases(tmp_path)._take("a", 0, "") is None
    # It was given back and taken by somebody else between our look and our lease.
    (tmp_path / "a.2").unlink()
    assert Leases(tmp_path)._take("a", 1, "an older one") is None
    assert numbers(tmp_path) == ["a.1"]


def test_a_broken_lease_expires(tmp_path: Path) -> None:
    (tmp_path / "a.1").write_text("")
    with Leases(tmp_path, expiry=0.5).hold("a", lambda: None):
        assert numbers(tmp_path) == ["a.2"]


def _count(folder: str, rounds: int) -> None:
    held = Leases(Path(folder) / "leases")
    inside = Path(folder) / "inside"
    for _ in range(rounds):
        with held.hold("a", lambda: None):
            handle = os.open(inside, os.O_CREAT | os.O_EXCL)  # fails if anybody else is here
            os.close(handle)
            time.sleep(0.001)
            inside.unlink()


def test_many_processes_take_turns(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count, args=(str(tmp_path), 4)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "not here")

    monkeypatch.setattr(leases.os, "link", refuse)
    with Leases(tmp_path).hold("a", nobody):
        assert numbers(tmp_path) == ["a.1"]
        assert not leases._create(tmp_path / "a.1", "{}")


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError), Leases(tmp_path / "file" / "leases").hold("a", nobody):
        pass


def test_files_of_the_dead_are_told_from_those_of_the_living(tmp_path: Path) -> None:
    path = elsewhere(tmp_path)
    (tmp_path / "c.1").write_text(
        json.dumps({"nonce": "n", "machine": leases.machine(), "pid": 2**22 + 1, "started": "1"})
    )
    (tmp_path / ".half.tmp").write_text("")
    with Leases(tmp_path).hold("b", nobody):
        os.utime(tmp_path / "b.1", (0, 0))  # a process that is there needs no sign
        found = {one.name: alive for one, alive in Leases(tmp_path).files(60)}
        assert found == {"a.1": True, "b.1": True, "c.1": False}
        os.utime(path, (time.time() - 61, time.time() - 61))
        assert dict(Leases(tmp_path).files(60))[path] is False
