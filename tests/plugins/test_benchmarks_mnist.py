"""MNIST and Fashion-MNIST: files written here in the right format, and the real ones where there are any."""

from __future__ import annotations

import functools
import gzip
import hashlib
import math
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from harness import CorruptFile, DataMissing, UserError
from harness.testing import check_benchmark
from harness_benchmarks.idx import read_idx
from harness_benchmarks.mnist import FashionMnist, Mnist, MnistOptions

CPU = torch.device("cpu")
NAMES = tuple(Mnist.sha256)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + bytes(array.flatten().tolist())


class Tiny(Mnist):
    sizes = (40, 20)

    def verify(self) -> Sequence[str]:
        return ()


@pytest.fixture
def arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 256, (40, 28, 28)),
        np.arange(40) % 10,
        rng.integers(0, 256, (20, 28, 28)),
        np.arange(20) % 10,
    ]


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrays: list[np.ndarray]) -> Path:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, array in zip(NAMES, arrays, strict=True):
        (folder / name).write_bytes(idx(array))
    return folder


def test_idx_round_trip(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x00\x00\x08\x03\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x03" + bytes(range(6)))
    assert read_idx(tmp_path / "x", (2, 1, 3)).tolist() == [[[0, 1, 2]], [[3, 4, 5]]]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b"\x1f\x8b" + b[2:], lambda b: b""]
)
def test_damaged_idx_is_refused(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    (tmp_path / "x").write_bytes(damage(idx(np.zeros((2, 3), dtype=int))))
    with pytest.raises(UserError, match=r"is damaged or another file.*Delete it"):
        read_idx(tmp_path / "x", (2, 3))


def test_wrong_size_is_refused(raw: Path) -> None:
    with pytest.raises(UserError, match="60000"):
        Mnist(MnistOptions()).training_data(CPU)


def test_contract(raw: Path) -> None:
    check_benchmark(Tiny, {"validation_size": 10})


def test_every_image_is_in_one_split_with_its_label(raw: Path, arrays: list[np.ndarray]) -> None:
    benchmark = Tiny(MnistOptions(validation_size=10, normalize="unit"))
    assert benchmark.spec().examples == 30
    pairs = []
    for name in ("train", "validation"):
        split = benchmark._split(name, CPU)
        images, labels = split.batch(torch.arange(len(split)))
        assert torch.bincount(labels).tolist() == [len(split) // 10] * 10
        pairs += [(round(float(x.double().sum() * 255)), int(y)) for x, y in zip(images, labels, strict=True)]
    assert sorted(pairs) == sorted((int(x.sum()), int(y)) for x, y in zip(arrays[0], arrays[1], strict=True))
    test, labels = benchmark._split("test", CPU).batch(torch.arange(20))
    assert torch.allclose(test[:, 0], torch.from_numpy(arrays[2] / 255).float())
    assert labels.tolist() == arrays[3].tolist()


def test_standard_normalisation(raw: Path) -> None:
    unit, standard = (
        Tiny(MnistOptions(validation_size=10, normalize=n)).training_data(CPU).batch(torch.arange(30))[0]
        for n in ("unit", "standard")
    )
    assert torch.allclose(standard, (unit - 0.1307) / 0.3081, atol=1e-6)


def test_missing_data_says_where_and_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    benchmark = FashionMnist(MnistOptions())
    assert benchmark.spec().examples == 55_000, "planning needs no data"
    for action in (lambda: benchmark.training_data(CPU), lambda: benchmark.prepare(download=False)):
        with pytest.raises(DataMissing) as caught:
            action()
        for part in (str(tmp_path / "FashionMNIST" / "raw"), "harness data prepare fashion_mnist", "HARNESS_DATA"):
            assert part in str(caught.value)
    assert len(benchmark.verify()) == 4
    assert all("is missing" in line for line in benchmark.verify())


def test_verify_finds_other_content(raw: Path) -> None:
    assert [line.split(" is ")[1][:7] for line in Mnist(MnistOptions()).verify()] == ["damaged"] * 4


def test_another_set_in_files_of_the_same_shape_is_refused(raw: Path) -> None:
    class Small(Mnist):
        sizes = (40, 20)

    with pytest.raises(CorruptFile, match=r"train-images-idx3-ubyte is damaged or of another data set: delete it and"):
        Small(MnistOptions(validation_size=10)).training_data(CPU)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def mirror(tmp_path: Path, arrays: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder from which torchvision downloads over HTTP, checking what is there now."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    resources = []
    for name, array in zip(NAMES, arrays, strict=True):
        archive = gzip.compress(idx(array))
        (folder / f"{name}.gz").write_bytes(archive)
        resources.append((f"{name}.gz", hashlib.md5(archive).hexdigest()))
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setattr(datasets.MNIST, "resources", resources)
        monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield folder
        server.shutdown()


def test_several_can_prepare_at_once(mirror: Path, tmp_path: Path, arrays: list[np.ndarray]) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: Mnist(MnistOptions()).prepare(), range(4)))
    folder = tmp_path / "data" / "MNIST" / "raw"
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == dict(zip(NAMES, map(idx, arrays), strict=True))
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["MNIST"], "nothing temporary is left"


def test_prepare_leaves_what_is_there(mirror: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / NAMES[0]).write_bytes(b"mine")
    Mnist(MnistOptions()).prepare()
    assert (folder / NAMES[0]).read_bytes() == b"mine"
    assert sorted(p.name for p in folder.iterdir()) == sorted(NAMES)


def test_failed_download_is_data_missing(mirror: Path, tmp_path: Path) -> None:
    (mirror / f"{NAMES[2]}.gz").write_bytes(b"not what the checksum says")
    with pytest.raises(DataMissing, match="The download failed"):
        Mnist(MnistOptions()).prepare()
    assert list((tmp_path / "data").iterdir()) == []


REAL = Path(os.environ.get("HARNESS_DATA", "nowhere"))


@pytest.mark.parametrize("benchmark", [Mnist, FashionMnist])
def test_real_files(benchmark: type[Mnist]) -> None:
    if not (REAL / benchmark.folder / "raw" / NAMES[0]).is_file():
        pytest.skip(f"set HARNESS_DATA to a folder with {benchmark.folder}/raw")
    real = benchmark(MnistOptions(validation_size=0))
    assert real.verify() == []
    theirs = getattr(datasets, benchmark.folder)(REAL, train=False)
    ours = real._split("test", CPU)
    assert torch.equal(ours.pixels[:, 0], theirs.data)
    assert torch.equal(ours.labels, theirs.targets)
    counts = torch.bincount(real.training_data(CPU).pixels.flatten()).double()
    levels = torch.arange(256).double() / 255
    mean = float((counts * levels).sum() / counts.sum())
    assert round(mean, 4) == benchmark.mean
    assert round(math.sqrt((counts * (levels - mean) ** 2).sum() / counts.sum()), 4) == benchmark.std


@pytest.mark.parametrize("ours", [Mnist, FashionMnist])
def test_the_stated_size_is_that_of_the_files(ours: type[Mnist]) -> None:
    (train, test), pixels = ours.sizes, 28 * 28
    assert ours(MnistOptions()).disk_bytes() == (train + test) * (pixels + 1) + 2 * (16 + 8)
