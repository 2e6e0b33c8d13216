"""Moving MNIST: digits made here, and the published sequences where MNIST is."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import RandomState
from pydantic import ValidationError

from harness import CorruptFile, DataMissing
from harness.testing import check_benchmark
from harness_benchmarks.idx import read_idx
from harness_benchmarks.moving_digits import sequences, smaller
from harness_benchmarks.moving_mnist import MovingMnist, MovingMnistOptions

CPU = torch.device("cpu")
REAL = Path(os.environ.get("HARNESS_DATA", "~/.cache/harness/data")).expanduser()
IMAGES = "MNIST/raw/train-images-idx3-ubyte"
real = pytest.mark.skipif(not (REAL / IMAGES).is_file(), reason="MNIST is not here: harness data prepare mnist")


def test_digits_move_bounce_and_add_up() -> None:
    digits = np.full((3, 28, 28), 200, np.uint8)
    made = sequences(digits, 4, RandomState(1))
    assert made.shape == (4, 11, 64, 64) and set(np.unique(made)) <= {0, 200, 255}
    random = RandomState(1)
    for sequence in made:
        expected = np.zeros((11, 64, 64), int)
        for _ in range(2):
            random.randint(3)
            place, step = [random.randint(0, 36), random.randint(0, 36)], [0, 0]
            while step == [0, 0]:
                step = [random.randint(-3, 4), random.randint(-3, 4)]
            for frame in expected:
                frame[place[1] : place[1] + 28, place[0] : place[0] + 28] += 200
                for axis in range(2):
                    moved = place[axis] + step[axis]
                    inside = abs(moved) if moved <= 36 else 72 - moved
                    step[axis] *= 1 if inside == moved else -1
                    place[axis] = inside
        assert np.array_equal(sequence, expected.clip(max=255))


def test_smaller_frames_are_means_of_blocks() -> None:
    frames = np.zeros((1, 64, 64), np.uint8)
    frames[0, :2, :2] = [[255, 254], [255, 255]]
    frames[0, 2, 2] = 6
    found = smaller(frames, 32)
    assert found.shape == (1, 32, 32) and found[0, 0, 0] == 255 and found[0, 1, 1] == 2 and found.sum() == 257
    assert np.array_equal(smaller(frames, 64), frames)


@real
def test_the_published_sequences_to_the_byte() -> None:
    digits, random = read_idx(REAL / IMAGES, (60_000, 28, 28)), RandomState(42)
    found = [hashlib.sha256(sequences(digits, n, random).tobytes()).hexdigest() for n in (5000, 1000)]
    assert found == [
        "395cafdfb42ba8232a8f5d230d1e4ee31105d1bf95feb9e897769937effb80ee",
        "58a05cefab2aedb5f1c11f9e429c9b181007ef7d01f0b7bcc9865441823669f0",
    ]


@real
def test_splits_scores_and_what_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(REAL))
    check_benchmark(MovingMnist, {"size": 32, "train_size": 20, "validation_size": 10, "test_size": 15})
    whole = MovingMnist(MovingMnistOptions(validation_size=0))
    published = whole.references(CPU)
    assert published["the last frame repeated"] == pytest.approx(159.58, abs=0.005)
    assert published["the mean training frame"] == pytest.approx(149.61, abs=0.005)
    black = whole.evaluate(lambda frames: torch.zeros_like(frames[:, -1]), "test", CPU)
    assert black["squared_error"].value == pytest.approx(171.17, abs=0.005)
    assert black["mse"].value == pytest.approx(black["squared_error"].value / 4096)
    few = MovingMnist(MovingMnistOptions(train_size=30, validation_size=20, test_size=10))
    assert torch.equal(few._split("train", CPU).frames, whole._split("train", CPU).frames[:30])
    assert torch.equal(few._split("validation", CPU).frames, whole._split("train", CPU).frames[-20:])
    assert torch.equal(few._split("test", CPU).frames, whole._split("test", CPU).frames[:10])
    inputs, target = few.training_data(CPU).batch(torch.tensor([3]))
    assert inputs.shape == (1, 10, 64, 64) and target.shape == (1, 64, 64) and float(inputs.max()) <= 1


def test_without_mnist_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    benchmark = MovingMnist(MovingMnistOptions())
    with pytest.raises(DataMissing, match="Run `harness data prepare mnist`"):
        benchmark.training_data(CPU)
    assert "train-images-idx3-ubyte is missing" in benchmark.verify()[0]
    (tmp_path / IMAGES).parent.mkdir(parents=True)
    (tmp_path / IMAGES).write_bytes(b"no images")  # the others are not missed
    with pytest.raises(CorruptFile, match="train-images-idx3-ubyte is damaged"):
        benchmark.training_data(CPU)


def test_options_that_cannot_be() -> None:
    with pytest.raises(ValidationError, match="train_size 4600 is more than the 4500"):
        MovingMnistOptions(train_size=4600)
