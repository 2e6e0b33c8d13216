"""Checkpoints: every bit comes back, or the file is refused."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.errors import CorruptFile, StorageError
from harness.storage import checkpoint


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 64 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting a small file system needs root")
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this root may not mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in (a, b)]
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*bits)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b) or (a != a and b != b)


def tree() -> dict[str, Any]:
    base = torch.arange(24.0).reshape(2, 3, 4)
    base[0, 0, 0], base[0, 0, 1], base[0, 0, 2] = float("nan"), -0.0, float("inf")
    return {
        "float": base,
        "shared": base[1],
        "strided": base.movedim(0, 2)[:, ::2],
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "bf16": torch.randn(7).bfloat16(),
        "half": torch.randn(3).half(),
        "double": torch.tensor(1 / 3, dtype=torch.float64),
        "bool": torch.tensor([[True, False]]),
        "int64": torch.tensor([2**62, -1]),
        "int32": torch.tensor([[-5]], dtype=torch.int32),
        "uint8": torch.arange(5, dtype=torch.uint8),
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 4),
        "expanded": torch.tensor([1.5]).expand(3, 2),
        "nested": [{"a": (1, 2.5, None, True, "ä\n"), "b": []}, (), {}, [[torch.zeros(1)]]],
        "numbers": [0.1, 1e300, float("inf"), float("-inf"), float("nan"), -0.0, 2**80, False],
        "optimizer": {0: {"step": torch.tensor(3.0)}, 17: {"momentum_buffer": None}},
        "": {"tensor": ["tensor", "0"], "dict": ["dict", []]},
    }


def test_trees_round_trip_bit_exactly(tmp_path: Path) -> None:
    original = tree()
    checkpoint.save(tmp_path / "a", original)
    loaded = checkpoint.load(tmp_path / "a")
    assert same(loaded, original)
    assert repr(loaded["numbers"]) == repr(original["numbers"])
    assert not any(torch.is_tensor(v) and v.requires_grad for v in loaded.values())


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD])
def test_optimizers_go_on_as_if_nothing_had_happened(tmp_path: Path, kind: type[torch.optim.Optimizer]) -> None:
    def make() -> tuple[nn.Parameter, torch.optim.Optimizer]:
        parameter = nn.Parameter(torch.linspace(-1, 1, 10))
        options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        return parameter, kind([parameter], lr=0.1, fused=True, **options)

    def step(parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
        parameter.grad = parameter.detach().sin()
        optimizer.step()

    one, first = make()
    for _ in range(3):
        step(one, first)
    checkpoint.save(tmp_path / "a", {"parameter": one, "optimizer": first.state_dict()})
    saved = checkpoint.load(tmp_path / "a")
    two, second = make()
    with torch.no_grad():
        two.copy_(saved["parameter"])
    second.load_state_dict(saved["optimizer"])
    for _ in range(3):
        step(one, first)
        step(two, second)
    assert torch.equal(one, two)


def test_loaded_tensors_own_their_memory(tmp_path: Path) -> None:
    """They must survive the file, and writing to them must not change it."""
    path = tmp_path / "a"
    checkpoint.save(path, {"a": torch.arange(5000.0)})
    loaded = checkpoint.load(path)["a"]
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert torch.equal(loaded, torch.arange(5000.0))
    checkpoint.save(path, {"a": torch.zeros(3)})
    checkpoint.load(path)["a"].add_(1)
    assert checkpoint.load(path)["a"].sum() == 0


@pytest.mark.parametrize("value", [object(), {1, 2}, torch.float32, b"x", {(1, 2): 3}, {"a": [1j]}])
def test_what_it_cannot_hold_is_refused_and_the_old_file_kept(tmp_path: Path, value: Any) -> None:
    checkpoint.save(tmp_path / "a", 1)
    with pytest.raises(TypeError, match="cannot hold"):
        checkpoint.save(tmp_path / "a", {"x": value})
    assert checkpoint.load(tmp_path / "a") == 1


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    checkpoint.save(path, tree())
    content = path.read_bytes()
    for length in [*range(0, len(content), 10), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(CorruptFile, match=str(path)):
            checkpoint.load(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(CorruptFile):
        checkpoint.load(path)
    path.write_bytes(content)
    assert same(checkpoint.load(path)["int64"], tree()["int64"])


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    checkpoint.save(path, {"weights": torch.arange(6.0), "mask": torch.tensor([True]), "step": [7, None]})
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), 3):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(CorruptFile):
            checkpoint.load(path)


class Trap:
    fallen = False

    def __reduce__(self) -> tuple[Any, ...]:
        return setattr, (Trap, "fallen", True)


def test_a_pickle_is_refused_and_never_executed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CorruptFile):
        checkpoint.load(path)
    torch.save({"a": Trap()}, path)
    with pytest.raises(CorruptFile):
        checkpoint.load(path)
    assert not Trap.fallen


def test_other_files_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(CorruptFile, match="missing"):
        checkpoint.load(tmp_path / "missing")
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(CorruptFile, match="checksum"):
        checkpoint.load(tmp_path / "foreign")


def test_a_full_disk_is_a_storage_error_and_the_old_file_is_intact(full_disk: Path) -> None:
    path = full_disk / "a"
    checkpoint.save(path, {"a": torch.arange(100.0)})
    with pytest.raises(StorageError, match=r"cannot write .*: the disk is full"):
        checkpoint.save(path, {"a": torch.zeros(100_000)})
    assert torch.equal(checkpoint.load(path)["a"], torch.arange(100.0))
    assert [p.name for p in full_disk.iterdir()] == ["a"]
    checkpoint.save(path, {"a": torch.ones(1)})


def test_a_file_beyond_the_limit_is_a_storage_error(tmp_path: Path) -> None:
    script = (
        "import resource, sys, torch; from pathlib import Path\n"
        "from harness.storage import checkpoint; from harness.errors import StorageError\n"
        "path = Path(sys.argv[1]); checkpoint.save(path, 'old')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try: checkpoint.save(path, torch.zeros(5000))\n"
        "except StorageError as error: print(error)\n"
        "print(checkpoint.load(path), [p.name for p in path.parent.iterdir()])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "a"], capture_output=True, text=True, check=True)
    message, content = done.stdout.splitlines()
    assert message.startswith(f"cannot write {tmp_path / 'a'}: File too large")
    assert content == "old ['a']"
