"""Files of others whose head or layout says what they are: read as that, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import UserError
from harness_imports.gpt2_hf import Gpt2Hf, Gpt2HfOptions
from harness_language.corpora.manifest import Shard
from harness_language.corpora.token_files import describe_token_files


def llmc(path: Path, magic: int, version: int, tokens: list[int], kind: str) -> None:
    head = np.zeros(256, "<i4")
    head[:3] = magic, version, len(tokens)
    path.write_bytes(head.tobytes() + np.array(tokens, kind).tobytes())


def test_wide_shards_are_read_as_such(tmp_path: Path) -> None:
    for split, tokens in (("train", [1, 2, 3, 250]), ("val", [7, 8, 9, 10])):
        llmc(tmp_path / f"{split}.bin", 20240801, 7, tokens, "<u4")
    found = describe_token_files(tmp_path, "bytes", {})
    assert found.dtype == "uint32" and found.splits["train"].tokens == 4
    assert [(s.offset, s.tokens) for split in ("validation", "test") for s in found.splits[split].shards] == [
        (1024, 2),
        (1032, 2),
    ]


@pytest.mark.parametrize(
    ("magic", "version", "message"),
    [
        (20240801, 8, "version 8; only version 7"),
        (20240520, 2, "version 2; only version 1"),
        (20240522, 1, "is an evaluation of llm.c"),
        (20240326, 3, "is a model of llm.c"),
    ],
)
def test_other_files_of_the_family_are_refused(tmp_path: Path, magic: int, version: int, message: str) -> None:
    llmc(tmp_path / "train.bin", magic, version, [1, 2], "<u2")
    with pytest.raises(UserError, match=message):
        describe_token_files(tmp_path, "bytes", {})


def test_two_widths_and_characters_are_refused(tmp_path: Path) -> None:
    llmc(tmp_path / "train.bin", 20240801, 7, [1, 2], "<u4")
    llmc(tmp_path / "val.bin", 20240520, 1, [1, 2], "<u2")
    with pytest.raises(UserError, match=r"has tokens of 2 bytes and .* of 4"):
        describe_token_files(tmp_path, "bytes", {})
    (tmp_path / "meta.pkl").touch()
    with pytest.raises(UserError, match=r"meta\.pkl says that the tokens beside it are numbers of characters"):
        describe_token_files(tmp_path, "bytes", {})


@pytest.mark.parametrize("file", ["../a.bin", "/a.bin", "a/../../b.bin", ""])
def test_shards_stay_inside_their_corpus(file: str) -> None:
    with pytest.raises(ValueError, match="is not below the corpus's root"):
        Shard(file=file, tokens=1, bytes=2, sha256="")


@pytest.fixture
def own() -> dict[str, torch.Tensor]:
    """Two layers of width 8 in transformers' layout, (in, out)."""
    torch.manual_seed(0)
    state = {"wte.weight": torch.randn(11, 8), "wpe.weight": torch.randn(4, 8)}
    for i in range(2):
        for name, shape in (
            ("attn.c_attn", (8, 24)),
            ("attn.c_proj", (8, 8)),
            ("mlp.c_fc", (8, 32)),
            ("mlp.c_proj", (32, 8)),
        ):
            state |= {f"h.{i}.{name}.weight": torch.randn(shape), f"h.{i}.{name}.bias": torch.randn(shape[1])}
        state |= {f"h.{i}.{ln}.{part}": torch.randn(8) for ln in ("ln_1", "ln_2") for part in ("weight", "bias")}
    return state | {f"ln_f.{part}": torch.randn(8) for part in ("weight", "bias")}


def imported(path: Path) -> dict[str, torch.Tensor]:
    return dict(Gpt2Hf(Gpt2HfOptions(heads=1)).load(path, "n").weights)


def test_gpt2_as_people_have_it(tmp_path: Path, own: dict[str, torch.Tensor]) -> None:
    torch.save(own, tmp_path / "plain.pt")
    expected = imported(tmp_path / "plain.pt")
    turned = {k: v.t().contiguous() if ".c_" in k and k.endswith("weight") else v for k, v in own.items()}
    torch.save(
        {"model": {f"_orig_mod.transformer.{k}": v for k, v in turned.items()}, "iter_num": 3}, tmp_path / "t.pt"
    )
    parts = tmp_path / "parts"
    parts.mkdir()
    names = {k: f"part{i % 2}.bin" for i, k in enumerate(own)}
    for file in set(names.values()):
        torch.save({k: v for k, v in own.items() if names[k] == file}, parts / file)
    (parts / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": names}))
    key = "h.0.mlp.c_fc.weight"
    mask = torch.rand_like(own[key]) > 0.5
    rest = {k: v for k, v in own.items() if k != key}
    torch.save({**rest, f"{key}_orig": own[key], f"{key}_mask": mask.float()}, tmp_path / "pruned.pt")
    for path in (tmp_path / "t.pt", parts):
        found = imported(path)
        assert found.keys() == expected.keys() and all(torch.equal(found[k], expected[k]) for k in expected)
    torch.save({**rest, key: torch.where(mask, own[key], 0)}, tmp_path / "masked.pt")
    found, masked = imported(tmp_path / "pruned.pt"), imported(tmp_path / "masked.pt")
    assert all(torch.equal(found[k], masked[k]) for k in masked)


def test_a_broken_network_and_a_checkpoint_of_nothing(tmp_path: Path, own: dict[str, torch.Tensor]) -> None:
    torch.save({**own, "h.1.ln_1.bias": torch.full((8,), float("nan"))}, tmp_path / "nan.pt")
    with pytest.raises(UserError, match=r"'h\.1\.ln_1\.bias' has numbers that are infinite or none"):
        imported(tmp_path / "nan.pt")
    torch.save({"iter_num": 3}, tmp_path / "none.pt")
    with pytest.raises(UserError, match="has no state dict under model, nor is it one: it holds iter_num"):
        imported(tmp_path / "none.pt")
