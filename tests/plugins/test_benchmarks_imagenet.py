"""ImageNet's reader, on small folders of pictures that are made here."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pydantic import ValidationError
from stage_runs import assert_same, finish, outcome, stopped_and_resumed
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from harness import CorruptFile, DataMissing, DataSpec, UserError
from harness.cli import main
from harness.registry.plugins import load
from harness.stages.graph import compile_graph
from harness.suites.suite import load_suite
from harness.testing import check_benchmark
from harness.training.sampler import Sampler
from harness_benchmarks.imagenet import MEAN, STD, ImageNet, ImageNetOptions
from harness_benchmarks.picture_folder import EXTENSIONS
from harness_benchmarks.pictures import CroppedPictures, middle_box, random_box

CPU = torch.device("cpu")
CLASSES = ("n01440764", "n02102040", "n02979186", "n03000684")
OPTIONS = {"size": 16, "resize": 20, "validation_size": 8}
SUITE = {
    "architectures": {"resnet": {"depth": 8, "width": 4}},
    "benchmarks": {"small": {"use": "imagenet", **OPTIONS}},
    "training": {"steps": 3, "batch_size": 8, "lr": 0.01},
    "evaluation": {"checks": 1},
    "methods": {"random": {"density": 0.5}},
}


def smooth(seed: int, width: int, height: int) -> Image.Image:
    """Few colours that run into each other: JPEG keeps them well."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """4 classes of 12 training and 3 test pictures, of many sizes."""
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    for part, count in (("train", 12), ("val", 3)):
        for number, name in enumerate(CLASSES):
            (tmp_path / "imagenet" / part / name).mkdir(parents=True)
            for i in range(count):
                seed = 100 * number + i + (1000 if part == "val" else 0)
                picture = smooth(seed, 24 + 3 * i, 60 - 3 * i)
                picture.save(tmp_path / "imagenet" / part / name / f"{name}_{i}.JPEG", quality=95)
    return tmp_path / "imagenet"


def imagenet(**options: Any) -> ImageNet:
    return ImageNet(ImageNetOptions(**{**OPTIONS, **options}))


def test_contract(folder: Path) -> None:
    check_benchmark(ImageNet, OPTIONS)
    check_benchmark(ImageNet, {**OPTIONS, "augment": False, "validation_size": 0, "normalize": "unit"})


def test_splits(folder: Path) -> None:
    benchmark = imagenet()
    assert benchmark.spec() == DataSpec("classification", (3, 16, 16), 4, 40)
    assert (benchmark.examples("validation"), benchmark.examples("test")) == (8, 12)
    train, validation, test = (benchmark._split(split, CPU) for split in ("train", "validation", "test"))
    assert sorted(train.names + validation.names) == sorted(f"{n}/{n}_{i}.JPEG" for n in CLASSES for i in range(12))
    assert torch.bincount(validation.labels).tolist() == [2, 2, 2, 2]
    theirs = ImageFolder(folder / "val")
    assert [(str(folder / "val" / name), int(label)) for name, label in zip(test.names, test.labels, strict=True)] == (
        sorted(theirs.samples)
    )
    for part in (train, validation):
        assert [CLASSES[label] for label in part.labels] == [name.partition("/")[0] for name in part.names]


def test_extensions_are_torchvisions() -> None:
    assert EXTENSIONS == IMG_EXTENSIONS


def test_other_files_are_no_pictures(folder: Path) -> None:
    before = imagenet()
    (folder / "train" / CLASSES[0] / ".DS_Store").write_bytes(b"x")
    (folder / "train" / "readme.txt").write_bytes(b"x")
    assert imagenet().spec() == before.spec() and imagenet().fingerprint() == before.fingerprint()


@pytest.mark.parametrize(("size", "resize"), [(16, 20), (16, 16), (19, 24)])
def test_scores_are_of_what_torchvisions_reference_sees(folder: Path, size: int, resize: int) -> None:
    data = imagenet(size=size, resize=resize)._split("test", CPU)
    found, labels = data.batch(torch.arange(12))
    reference = transforms.Compose(
        [
            transforms.Resize(resize),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    theirs = ImageFolder(folder / "val", reference)
    level = 1.01 / 255 / min(STD)  # at most one of rounding across and one down
    assert found.shape == (12, 3, size, size) and len(theirs) == 12
    for i, (picture, label) in enumerate(theirs):
        assert (found[i] - picture).abs().max() <= 2 * level and int(labels[i]) == label
        assert (found[i] - picture).abs().mean() < level / 4


def test_a_part_of_a_picture_is_cut_and_mirrored_as_by_hand(folder: Path) -> None:
    data = imagenet(normalize="unit").training_data(CPU)
    assert isinstance(data, CroppedPictures) and data.draws == 5
    numbers = torch.rand(40, 5, generator=torch.Generator().manual_seed(1))
    found, labels = data.augmented(torch.arange(40), numbers)
    for name, own, pixels in zip(data.names, numbers.tolist(), found, strict=True):
        with Image.open(data.folder / name) as picture:
            box = random_box(*picture.size, own[:4])
            cut = picture.resize((16, 16), Image.Resampling.BILINEAR, box=box)
        if own[4] < 0.5:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        assert np.array_equal((pixels * 255).round().byte().permute(1, 2, 0).numpy(), np.asarray(cut))
    assert torch.equal(labels, data.labels)
    plain = imagenet(normalize="unit", augment=False).training_data(CPU)
    assert not isinstance(plain, CroppedPictures)
    assert torch.equal(plain.batch(torch.arange(40))[0], data.batch(torch.arange(40))[0])


def test_random_parts_are_inside_and_of_the_published_sizes() -> None:
    generator = torch.Generator().manual_seed(2)
    ends = torch.tensor([[a, b, c, d] for a in (0, 1) for b in (0, 1) for c in (0, 1) for d in (0, 1)]) * (1 - 2**-24)
    for width, height in ((500, 375), (375, 500), (300, 300), (2000, 100), (100, 2000), (1, 1)):
        numbers = torch.cat([torch.rand(2000, 4, generator=generator), ends])
        boxes = np.array([random_box(width, height, own) for own in numbers.tolist()])
        left, upper, right, lower = boxes.T
        assert (left >= 0).all() and (upper >= 0).all() and (right <= width).all() and (lower <= height).all()
        across, down = right - left, lower - upper
        proportion, share = across / down, across * down / (width * height)
        assert proportion.min() > 3 / 4 - 1e-6 and proportion.max() < 4 / 3 + 1e-6
        if max(width, height) < 600:
            assert abs(share.min() - 0.08) < 1e-3 and share.max() > 0.99
            assert abs(share[:2000].mean() - 0.54) < 0.02  # uniform
            few = proportion[:2000][share[:2000] < 0.4]
            assert abs(np.log(few).mean()) < 0.02 and abs(np.log(few).std() - math.log(16 / 9) / math.sqrt(12)) < 0.02
        else:
            assert share.max() < 4 / 3 / 20 + 1e-6  # the largest that fits
    assert middle_box(40, 20, 16, 20) == (12, 2, 28, 18)


def test_what_training_sees_depends_on_seed_and_position_alone(folder: Path) -> None:
    data = imagenet().training_data(CPU)
    whole = Sampler(40, 7).batch(data, 0, 100)[0]
    assert torch.equal(torch.cat([Sampler(40, 7).batch(data, at, 20)[0] for at in range(0, 100, 20)]), whole)
    shares = [Sampler(40, 7).batch(data, 0, 100, lambda one, rank=rank: one[rank::2])[0] for rank in (0, 1)]
    assert all(torch.equal(share, whole[rank::2]) for rank, share in enumerate(shares))
    assert not torch.equal(Sampler(40, 8).batch(data, 0, 20)[0], whole[:20])


def test_colours_of_any_kind(folder: Path) -> None:
    place = folder / "val" / CLASSES[0]
    grey = smooth(5, 40, 30).convert("L")
    for path in place.iterdir():
        path.unlink()
    grey.save(place / "a.JPEG", quality=95)
    grey.convert("RGB").convert("CMYK").save(place / "b.JPEG", quality=95)
    grey.convert("P").save(place / "c.JPEG", format="PNG")  # ImageNet has one of these
    found, _ = imagenet(normalize="unit")._split("test", CPU).batch(torch.arange(3))
    assert (found.amax(1) - found.amin(1)).max() < 0.03
    assert (found[0] - found[1]).abs().max() < 0.03 and (found[0] - found[2]).abs().max() < 0.03


# --- what is wrong ------------------------------------------------------------------------------


def test_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    for asked in (imagenet().spec, imagenet().fingerprint, imagenet().prepare):
        with pytest.raises(DataMissing, match=r"must be got by hand.*image-net\.org.*train/n01440764/\*\.JPEG"):
            asked()
    usual = ImageNet(ImageNetOptions()).expected()
    assert usual == DataSpec("classification", (3, 224, 224), 1000, 1_271_167)
    assert [path.relative_to(tmp_path) for path in imagenet(folder="x").files()] == [Path("x/train"), Path("x/val")]


def test_classes_that_differ(folder: Path) -> None:
    shutil.rmtree(folder / "val" / CLASSES[1])
    with pytest.raises(UserError, match=f"val lacks the classes {CLASSES[1]}, which .*train has"):
        imagenet().spec()
    shutil.rmtree(folder / "train" / CLASSES[1])
    assert imagenet().spec().outputs == 3
    shutil.rmtree(folder / "train" / CLASSES[2])
    with pytest.raises(UserError, match=f"train lacks the classes {CLASSES[2]}, which .*val has"):
        imagenet().spec()
    for picture in (folder / "val" / CLASSES[0]).iterdir():
        picture.unlink()
    with pytest.raises(UserError, match=rf"val has no pictures of {CLASSES[0]}: looked for \.jpg"):
        imagenet().spec()


def test_validation_pictures_that_are_not_sorted_by_class(folder: Path) -> None:
    shutil.rmtree(folder / "val")
    (folder / "val").mkdir()
    smooth(1, 30, 30).save(folder / "val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(UserError, match=r"val has no folders.*sorted by class first"):
        imagenet().spec()


@pytest.mark.parametrize("content", [b"no picture", b"", None])
def test_a_file_that_cannot_be_read_is_named(folder: Path, content: bytes | None) -> None:
    broken = folder / "val" / CLASSES[2] / f"{CLASSES[2]}_1.JPEG"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2] if content is None else content)
    benchmark = imagenet()
    with pytest.raises(CorruptFile, match=f"{broken} cannot be read as a picture"):
        benchmark.evaluate(lambda inputs: inputs.flatten(1)[:, :4], "test", CPU)
    said = benchmark.verify()  # which looks at the beginning only
    assert [problem.partition(" is no picture")[0] for problem in said] == ([] if content is None else [str(broken)])


def test_options_that_cannot_be(folder: Path) -> None:
    for options in ({"size": 224, "resize": 200}, {"size": 0}, {"validation_size": -1}, {"root": "x"}):
        with pytest.raises(ValidationError):
            ImageNetOptions(**options)
    with pytest.raises(UserError, match="validation_size 48 leaves none of the 48 pictures"):
        imagenet(validation_size=48).spec()


def test_the_fingerprint_is_of_names_and_sizes(folder: Path, tmp_path: Path) -> None:
    before = imagenet().fingerprint()
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert imagenet(folder="elsewhere").fingerprint() == before
    path = folder / "train" / CLASSES[0] / f"{CLASSES[0]}_0.JPEG"
    content = path.read_bytes()
    path.write_bytes(content + b"\0")
    assert imagenet().fingerprint() != before
    path.write_bytes(content)
    assert imagenet().fingerprint() == before
    path.rename(path.with_name("other.JPEG"))
    assert imagenet().fingerprint() != before
    source = imagenet().data_source()
    stored = sum(path.stat().st_size for path in folder.glob("*/*/*"))
    assert source == {"path": "imagenet", "files": 60, "bytes": stored}


def test_a_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(yaml.safe_dump(SUITE))
    with pytest.raises(SystemExit) as ended:
        main(["run", "s.yaml", "--workers", "1"])
    assert not ended.value.code
    (record,) = (yaml.safe_load(path.read_text()) for path in Path("results/s/cells").glob("*.json"))
    assert record["metrics"]["accuracy"]["n"] == 12
    assert record["benchmark"]["source"]["files"] == 60


def test_a_stopped_run_goes_on_to_the_bit(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = {**SUITE, "training": {"steps": 12, "batch_size": 8, "lr": 0.01}}  # more than two passes
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(suite))
    registry = load()
    (cell,) = compile_graph(load_suite(tmp_path / "s.yaml", registry).cells, registry).cells
    monkeypatch.setattr("harness.training.trainer.PATIENCE", -1.0)  # each step is looked at
    finish(tmp_path / "whole", registry, cell)
    assert stopped_and_resumed(tmp_path / "stopped", registry, cell, 5) >= 2
    assert_same(outcome(tmp_path / "whole", cell), outcome(tmp_path / "stopped", cell))
