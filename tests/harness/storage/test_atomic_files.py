"""Writing files: the old content or the new one, and a clear word when neither fits."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import StorageError
from harness.storage.atomic_files import write_atomic, write_json, write_text


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "one, ä")
    write_text(path, "two")
    assert path.read_text(encoding="utf8") == "two"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "x")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_writer_that_fails_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_text(path, "old")

    def half(temporary: Path) -> None:
        temporary.write_text("ne")
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError, match="bug"):
        write_atomic(path, half)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/a"):
        write_text(tmp_path / "file" / "a", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=r"folder.*finished work is kept"):
        write_text(tmp_path / "folder", "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_json_is_readable_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": [1, 0.1], "a": "ä"})
    assert path.read_text(encoding="utf8") == '{\n  "b": [\n    1,\n    0.1\n  ],\n  "a": "ä"\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))
    assert json.loads(path.read_text(encoding="utf8"))["a"] == "ä"


def test_a_file_beyond_the_limit_is_a_storage_error_and_the_old_one_is_intact(tmp_path: Path) -> None:
    """The operating system cuts the write short, as a full quota does."""
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from harness.storage.atomic_files import write_text; from harness.errors import StorageError\n"
        "path = Path(sys.argv[1]); write_text(path, 'old')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_text(path, 'x' * 5000)\n"
        "except StorageError as error: print(error)\n"
        "print(path.read_text(), [p.name for p in path.parent.iterdir()])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "a"], capture_output=True, text=True, check=True)
    message, content = done.stdout.splitlines()
    assert message.startswith(f"cannot write {tmp_path / 'a'}: File too large")
    assert content == "old ['a']"
