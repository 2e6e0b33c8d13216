"""CIFAR: files written here in the right format, and the real ones where there are any."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torchvision import datasets

from harness import CorruptFile, DataMissing
from harness.testing import check_benchmark
from harness.training.sampler import Sampler
from harness_benchmarks.augmentation import ShiftedImages
from harness_benchmarks.cifar import Cifar10, Cifar100, CifarOptions
from harness_benchmarks.cifar_files import example_digests, read_batches

CPU = torch.device("cpu")
REAL = Path(os.environ.get("HARNESS_DATA", "~/.cache/harness/data")).expanduser()


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def content(data: np.ndarray, labels: list[int]) -> str:
    digests = example_digests(data.reshape(-1, 3, 32, 32), np.array(labels))
    return hashlib.sha256(np.sort(digests).tobytes()).hexdigest()


LABELS = [i % 10 for i in range(200)]
TRAIN, TEST = images(200, 1), images(50, 2)


class Tiny(Cifar10):
    sizes: ClassVar = (200, 50)
    batches: ClassVar = ({"data_batch_1": "", "data_batch_2": ""}, {"test_batch": ""})
    content: ClassVar = (content(TRAIN, LABELS), content(TEST, LABELS[:50]))

    class Options(CifarOptions):
        validation_size: int = 40
        train_size: int | None = 160


def write(folder: Path, order: np.ndarray | None = None) -> None:
    """Both parts, the training images in another order where one is given."""
    order = np.arange(200) if order is None else order
    labels = [LABELS[i] for i in order]
    parts = {
        "data_batch_1": (TRAIN[order[:120]], labels[:120]),
        "data_batch_2": (TRAIN[order[120:]], labels[120:]),
        "test_batch": (TEST, LABELS[:50]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, (data, numbers) in parts.items():
        batch = {b"data": data, b"labels": numbers, b"batch_label": b"x", b"filenames": [b"a.png"]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    write(tmp_path / Tiny.folder)
    return tmp_path / Tiny.folder


def tiny(**options: Any) -> Tiny:
    return Tiny(Tiny.Options(**options))


def test_contract(folder: Path) -> None:
    check_benchmark(Tiny)


def test_the_contract_finds_an_augmentation_of_its_own_chance(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    altered = ShiftedImages.augmented
    monkeypatch.setattr(ShiftedImages, "augmented", lambda self, i, n: altered(self, i, torch.rand(n.shape)))
    with pytest.raises(AssertionError, match="depends on more than an example and its numbers"):
        check_benchmark(Tiny)


def test_splits_are_disjoint_whole_and_stratified(folder: Path) -> None:
    benchmark = tiny(normalize="unit")
    parts = {name: benchmark._split(name, CPU) for name in ("train", "validation", "test")}
    assert {name: len(part) for name, part in parts.items()} == {"train": 160, "validation": 40, "test": 50}
    both = torch.cat([parts["train"].pixels, parts["validation"].pixels]).flatten(1).numpy()
    assert sorted(map(bytes, both)) == sorted(map(bytes, TRAIN))
    assert torch.bincount(parts["validation"].labels).tolist() == [4] * 10
    assert np.array_equal(parts["test"].pixels.flatten(1).numpy(), TEST)  # in the files' order
    by_image = dict(zip(map(bytes, TRAIN), LABELS, strict=True))
    part = parts["train"]
    assert [by_image[bytes(row)] for row in part.pixels.flatten(1).numpy()] == part.labels.tolist()
    few = tiny(train_size=30)
    assert torch.equal(few.training_data(CPU).pixels, part.pixels[:30]) and few.spec().examples == 30


def test_splits_do_not_depend_on_the_order_of_the_files(folder: Path) -> None:
    before = tiny().training_data(CPU)
    write(folder, np.random.default_rng(5).permutation(200))
    after = tiny().training_data(CPU)
    assert torch.equal(before.pixels, after.pixels) and torch.equal(before.labels, after.labels)


def test_smaller_images_are_means_of_blocks(folder: Path) -> None:
    whole = tiny(normalize="unit", augment=False)._split("test", CPU).pixels.double()
    for size in (16, 8):
        small = tiny(normalize="unit", augment=False, size=size)
        means = torch.nn.functional.avg_pool2d(whole, 32 // size)
        found = small._split("test", CPU).pixels.double()
        assert small.spec().inputs == (3, size, size) and (found - means).abs().max() <= 0.5
        assert f"{size}x{size}" in small.protocol
    assert "x" not in tiny().protocol.removeprefix("accuracy on the 10,000 official test images")


def test_normalisation_is_by_colour(folder: Path) -> None:
    data = tiny(augment=False).training_data(CPU)
    found, _ = data.batch(torch.tensor([3]))
    pixels = data.pixels[3].double() / 255
    for colour, (mean, std) in enumerate(zip(Cifar10.mean, Cifar10.std, strict=True)):
        assert torch.allclose(found[0, colour].double(), (pixels[colour] - mean) / std, atol=1e-6)


# --- augmentation -----------------------------------------------------------------------------


def by_hand(pixels: torch.Tensor, numbers: torch.Tensor, padding: int) -> torch.Tensor:
    found = []
    for image, (mirror, down, right) in zip(pixels, numbers.tolist(), strict=True):
        size = image.shape[-1]
        frame = torch.zeros(3, size + 2 * padding, size + 2 * padding, dtype=torch.uint8)
        frame[:, padding : padding + size, padding : padding + size] = image
        top, left = int(down * (2 * padding + 1)), int(right * (2 * padding + 1))
        cut = frame[:, top : top + size, left : left + size]
        found.append(torch.stack([row.flip(-1) for row in cut]) if mirror < 0.5 else cut)
    return torch.stack(found)


@pytest.mark.parametrize("size", [32, 16])
def test_images_are_mirrored_and_shifted_as_by_hand(folder: Path, size: int) -> None:
    data = tiny(normalize="unit", size=size).training_data(CPU)
    assert isinstance(data, ShiftedImages) and data.padding == size // 8
    indices = torch.randint(160, (50,), generator=torch.Generator().manual_seed(1))
    numbers = torch.rand(50, 3, generator=torch.Generator().manual_seed(2))
    numbers[0] = torch.tensor([0.5, 0.0, 1 - 2**-24])  # the ends
    altered, labels = data.augmented(indices, numbers)
    wanted = by_hand(data.pixels[indices], numbers, data.padding)
    assert torch.equal((altered * 255).round().byte(), wanted)
    assert torch.equal(labels, data.labels[indices])
    plain, _ = data.batch(indices)
    assert torch.equal((plain * 255).round().byte(), data.pixels[indices])  # scores are of images as they are


def test_what_training_sees_depends_on_seed_and_position_alone(folder: Path) -> None:
    data = tiny().training_data(CPU)
    whole = Sampler(160, 7).batch(data, 0, 400)[0]
    assert torch.equal(torch.cat([Sampler(160, 7).batch(data, at, 50)[0] for at in range(0, 400, 50)]), whole)
    shares = [Sampler(160, 7).batch(data, 0, 400, lambda one, rank=rank: one[rank::2])[0] for rank in (0, 1)]
    assert all(torch.equal(share, whole[rank::2]) for rank, share in enumerate(shares))
    assert not torch.equal(Sampler(160, 8).batch(data, 0, 50)[0], whole[:50])
    again = Sampler(160, 7)
    places = [(again.indices(0, 320) == i).nonzero().flatten() for i in range(20)]
    assert any(not torch.equal(*whole[place]) for place in places), "an example is another one in the next pass"


def test_half_are_mirrored_and_all_places_are_equally_likely() -> None:
    numbers = Sampler(50_000, 3).numbers(0, 50_000, 3)
    assert abs(float((numbers[:, 0] < 0.5).float().mean()) - 0.5) < 0.01
    places = (numbers[:, 1:] * 9).long()
    counts = torch.bincount(places[:, 0] * 9 + places[:, 1], minlength=81)
    assert counts.min() > 500 and counts.max() < 735  # 617 each; 4.7 deviations


def test_without_augmentation_batches_are_as_they_are(folder: Path) -> None:
    data = tiny(augment=False).training_data(CPU)
    indices = Sampler(160, 7).indices(0, 50)
    assert torch.equal(Sampler(160, 7).batch(data, 0, 50)[0], data.batch(indices)[0])


# --- files ------------------------------------------------------------------------------------


class Runs:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, ("ran",)


def batch(**changed: Any) -> Mapping[bytes, Any]:
    return {b"data": TRAIN, b"labels": LABELS} | {name.encode(): value for name, value in changed.items()}


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\x80\x02",
        b"no pickle",
        pickle.dumps(batch())[:-9],
        pickle.dumps([1]),
        pickle.dumps(batch(data=TRAIN.tolist())),
        pickle.dumps(batch(data=TRAIN.astype(float))),
        pickle.dumps(batch(data=TRAIN[:, :-1])),
        pickle.dumps(batch(labels=LABELS[:-1])),
        pickle.dumps(batch(labels=["x"] * 200)),
        pickle.dumps(batch(labels=[2**70] * 200)),
        pickle.dumps(batch(more=Runs())),
        pickle.dumps(batch(more=os.getcwd)),
        b"\x80\x02" + b"(" * 100_000 + b".",
    ],
    ids=lambda damaged: f"{len(damaged)} bytes",
)
def test_what_is_no_batch_is_refused_and_runs_nothing(
    damaged: bytes, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "data_batch_1").write_bytes(damaged)
    with pytest.raises(CorruptFile, match=r"CIFAR|are no numbers"):
        tiny().training_data(CPU)
    assert not (tmp_path / "ran").exists()
    assert len(tiny().verify()) == 1


def test_a_changed_pixel_and_a_changed_label_are_noticed(folder: Path) -> None:
    assert tiny().verify() == []
    for changed in (batch(data=np.where(np.arange(3072) == 5, TRAIN ^ 1, TRAIN)), batch(labels=LABELS[::-1])):
        first = {key: value[:120] for key, value in changed.items()}
        (folder / "data_batch_1").write_bytes(pickle.dumps(first))
        assert "data_batch_1, data_batch_2" in tiny().verify()[0]
        with pytest.raises(CorruptFile, match="delete them and run `harness data prepare cifar10`"):
            tiny().training_data(CPU)


def test_a_file_of_the_official_checksum_is_taken_whatever_its_content(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = [{n: hashlib.md5((folder / n).read_bytes()).hexdigest() for n in part} for part in Tiny.batches]
    monkeypatch.setattr(Tiny, "content", ("another", "one"))
    assert len(tiny().verify()) == 2
    monkeypatch.setattr(Tiny, "batches", tuple(sums))
    assert tiny().verify() == []


def test_missing_files_are_named_with_what_to_do(folder: Path) -> None:
    (folder / "data_batch_2").unlink()
    with pytest.raises(DataMissing, match=r"cifar10: data_batch_2 not found.*harness data prepare cifar10"):
        tiny().training_data(CPU)
    assert "data_batch_2 is missing" in tiny().verify()[0]
    assert tiny().spec().inputs == (3, 32, 32)  # known without the data
    assert Cifar100(CifarOptions()).spec().outputs == 100


def test_options_that_cannot_be() -> None:
    for options in ({"train_size": 45_001}, {"validation_size": 50_000}, {"size": 20}, {"train_size": 0}):
        with pytest.raises(ValidationError):
            CifarOptions(**options)


@pytest.mark.parametrize(("ours", "theirs"), [(Cifar10, datasets.CIFAR10), (Cifar100, datasets.CIFAR100)])
def test_checksums_and_folders_are_torchvisions(ours: type[Cifar10], theirs: Any) -> None:
    train, test = ours.batches
    assert [list(pair) for pair in train.items()] == theirs.train_list
    assert [list(pair) for pair in test.items()] == theirs.test_list
    assert ours.folder == theirs.base_folder


@pytest.mark.parametrize("ours", [Cifar10, Cifar100])
def test_the_real_ones(ours: type[Cifar10]) -> None:
    benchmark = ours(CifarOptions())
    if not all((REAL / path.parent.name / path.name).is_file() for path in benchmark.files()):
        pytest.skip(f"{ours.name} is not in {REAL}")
    check_benchmark(ours)
    theirs = getattr(datasets, ours.name.upper())
    if ours is Cifar10:  # whose files are the official ones; of CIFAR-100 there are copies in another order
        assert theirs(REAL, train=True, download=False).data.shape == (50_000, 32, 32, 3)
    data = ours(CifarOptions(validation_size=0, augment=False)).training_data(CPU)
    pixels = data.pixels.double() / 255
    assert torch.allclose(pixels.mean((0, 2, 3)), torch.tensor(ours.mean).double(), atol=2e-4)
    # The published deviations, which are of all pixels but those of CIFAR-100, are near.
    assert torch.allclose(pixels.std((0, 2, 3)), torch.tensor(ours.std).double(), atol=2e-3)
    assert torch.bincount(data.labels).tolist() == [50_000 // ours.classes] * ours.classes


def test_reading_one_batch(folder: Path) -> None:
    found, labels = read_batches([folder / "test_batch"], "labels")
    assert np.array_equal(found.reshape(50, -1), TEST) and labels.tolist() == LABELS[:50]
