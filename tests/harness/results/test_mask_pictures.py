"""Masks beside the results: what is written is what is read, seen from afar, and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.core.connections import Band, Connection
from harness.core.mask_history import MaskHistory
from harness.core.masks import Masks
from harness.errors import CorruptFile
from harness.results import mask_pictures
from harness.results.mask_pictures import EDGE, SAMPLE, chance, overlap


def connection(name: str, *shape: int) -> Connection:
    source, target = Band("in", shape[1], 0), Band("out", shape[0], 1)
    return Connection(name, f"{name}.weight", "dense", source, target, shape)


def kept(path: Path, **masks: torch.Tensor) -> dict[str, mask_pictures.MaskPicture]:
    connections = [connection(name, *mask.shape) for name, mask in masks.items()]
    path.write_bytes(mask_pictures.packed(Masks(masks), connections))
    return mask_pictures.read(path.read_bytes())


def test_a_small_mask_comes_back_whole(tmp_path: Path) -> None:
    mask = torch.tensor([[True, False, True], [False, False, True]])
    found = kept(tmp_path / "a", up=mask, down=torch.ones(1, 1, dtype=torch.bool))
    assert list(found) == ["up", "down"]
    assert (found["up"].shape, found["up"].size, found["up"].kept) == ((2, 3), 6, 3)
    assert found["up"].bits.tolist() == [True, False, True, False, False, True]
    assert found["up"].picture.tolist() == [[255, 0, 255], [0, 0, 255]]
    assert found["down"].picture.tolist() == [[255]]


def test_a_picture_shows_the_fraction_kept_in_each_block(tmp_path: Path) -> None:
    mask = torch.zeros(128, 96, dtype=torch.bool)
    mask[:64, :48] = True
    mask[64, 0] = True
    picture = kept(tmp_path / "a", up=mask)["up"].picture
    assert picture.shape == (EDGE, EDGE)
    edges = [i * 96 // EDGE for i in range(EDGE + 1)]  # columns in blocks of 1 and 2
    for row in range(EDGE):
        for column in range(EDGE):
            block = mask[2 * row : 2 * row + 2, edges[column] : edges[column + 1]]
            assert picture[row, column] == round(255 * float(block.double().mean()))


def test_kernels_are_averaged_over(tmp_path: Path) -> None:
    mask = torch.zeros(2, 2, 3, 3, dtype=torch.bool)
    mask[0, 1] = True
    mask[1, 0, 1, 1] = True
    assert kept(tmp_path / "a", conv=mask)["conv"].picture.tolist() == [[0, 255], [round(255 / 9), 0]]


def test_a_large_mask_is_sampled_without_bias(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.rand(512, 1024, generator=generator) < 0.25 for _ in range(2))
    a, b = kept(tmp_path / "a", up=one), kept(tmp_path / "b", up=two)
    assert a["up"].bits.size == SAMPLE
    assert a["up"].kept == int(one.sum())
    assert a["up"].bits.mean() == pytest.approx(float(one.double().mean()), abs=0.006)  # 3.5 standard errors
    true = float((one & two).sum() / (one | two).sum())
    assert overlap(a, b)["up"] == pytest.approx(true, abs=0.008)
    assert true == pytest.approx(chance(0.25, 0.25), abs=0.004)
    block = torch.zeros(512, 1024, dtype=torch.bool)
    block[100:200, 300:700] = True  # no pattern of rows or columns may hide from the sample
    assert kept(tmp_path / "c", up=block)["up"].bits.mean() == pytest.approx(40_000 / 524_288, abs=0.004)


def test_the_sample_never_moves(tmp_path: Path) -> None:
    mask = (torch.arange(300 * 300) % 7 == 0).reshape(300, 300)
    assert np.flatnonzero(kept(tmp_path / "a", up=mask)["up"].bits)[:6].tolist() == [0, 10, 21, 27, 33, 38]


def test_overlap_is_of_equal_connections(tmp_path: Path) -> None:
    yes, no = torch.tensor([[True, True, False, False]]), torch.tensor([[False, True, True, False]])
    a = kept(tmp_path / "a", up=yes, down=no, empty=torch.zeros(1, 2, dtype=torch.bool), other=yes)
    b = kept(tmp_path / "b", up=no, down=no, empty=torch.zeros(1, 2, dtype=torch.bool), other=yes.T.contiguous())
    assert overlap(a, b) == {"up": pytest.approx(1 / 3), "down": 1.0, "empty": 1.0}


def test_equal_masks_give_equal_bytes(tmp_path: Path) -> None:
    mask = torch.rand(300, 300, generator=torch.Generator().manual_seed(1)) < 0.5
    kept(tmp_path / "a", up=mask, down=mask.T.contiguous())
    kept(tmp_path / "b", up=mask, down=mask.T.contiguous())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("damage", ["empty", "half", "text", "other tensors"])
def test_what_is_no_mask_file_is_said(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a"
    kept(path, up=torch.ones(4, 4, dtype=torch.bool))
    whole = path.read_bytes()
    broken = {
        "empty": b"",
        "half": whole[: len(whole) - 1],
        "text": b"<script>",
        "other tensors": whole.replace(b"/bits", b"/bots"),
    }
    path.write_bytes(broken[damage])
    with pytest.raises(CorruptFile, match="run the suite again"):
        mask_pictures.read(path.read_bytes())


def test_a_shape_that_the_bits_do_not_have(tmp_path: Path) -> None:
    path = tmp_path / "a"
    kept(path, up=torch.ones(4, 4, dtype=torch.bool))
    path.write_bytes(path.read_bytes().replace(b"[4, 4]", b"[4,99]"))
    with pytest.raises(CorruptFile):
        mask_pictures.read(path.read_bytes())


def test_masks_of_a_training_come_back_at_the_same_positions_as_the_last_ones(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = {"small": (3, 5), "large": (300, 300)}
    masks = [{name: torch.rand(shape, generator=generator) < 0.5 for name, shape in shapes.items()} for _ in range(3)]
    packed = {name: [np.packbits(step[name].numpy()) for step in masks] for name in shapes}
    history = MaskHistory.of(1, (0, 5, 9), packed, {name: a * b for name, (a, b) in shapes.items()})
    connections = [connection(name, *shape) for name, shape in shapes.items()]
    (tmp_path / "a").write_bytes(mask_pictures.packed(Masks(masks[-1]), connections, history))
    content = (tmp_path / "a").read_bytes()
    back, last = mask_pictures.read_history(content), mask_pictures.read(content)
    assert back is not None and (back.phase, back.steps) == (1, (0, 5, 9))
    assert (back.bits("small") == np.stack([step["small"].flatten().numpy() for step in masks])).all()
    assert back.bits("large").shape == (3, SAMPLE)
    assert all((back.bits(name)[-1] == last[name].bits).all() for name in shapes)
    (tmp_path / "b").write_bytes(mask_pictures.packed(Masks(masks[-1]), connections))
    assert mask_pictures.read_history((tmp_path / "b").read_bytes()) is None


def test_a_damaged_history_is_said_to_be_so(tmp_path: Path) -> None:
    mask = {"up": torch.ones(3, 5, dtype=torch.bool)}
    history = MaskHistory(0, (0, 5), {"up": 15}, {"up": np.zeros(4, dtype=np.uint8)})
    (tmp_path / "a").write_bytes(mask_pictures.packed(Masks(mask), [connection("up", 3, 5)], history))
    with pytest.raises(CorruptFile, match="no history of masks that can be read"):
        mask_pictures.read_history((tmp_path / "a").read_bytes())
