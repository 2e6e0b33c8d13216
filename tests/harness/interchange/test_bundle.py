"""Imported folders: what is written is what is read, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch

from harness.errors import CorruptFile, DataMissing, StorageError, UserError
from harness.interchange import bundle
from harness.interchange.bundle import MANIFEST, Bundle, Data, Origin, Plug, own_state, read, resolve, write

SOURCE = Origin(importer="toy", path="/elsewhere/model.pt", sha256="0" * 64)


def made() -> Bundle:
    g = torch.Generator().manual_seed(0)
    return Bundle(
        architecture=Plug(plugin="mlp", options={"hidden": [3]}),
        data=Data(kind="classification", inputs=(1, 2, 2), outputs=2),
        method=Plug(plugin="genome"),
        weights={"a.weight": torch.randn(3, 4, generator=g), "a.bias": torch.zeros(3)},
        masks={"a": torch.rand(3, 4, generator=g) > 0.5},
        method_tensors={"genome.affinity": torch.randn(2, 2, generator=g), "temperature": torch.tensor(2.5)},
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    given = made()
    written = write(tmp_path / "model", given, SOURCE, {"notes.txt": "hello\n"})
    found = read(tmp_path / "model")
    assert found == written
    assert found.manifest.architecture == given.architecture
    assert found.manifest.data == given.data
    assert found.manifest.source == SOURCE
    for theirs, ours in (
        (found.weights(), given.weights),
        (found.masks(), given.masks),
        (found.method_tensors(), given.method_tensors),
    ):
        assert theirs is not None
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[name], ours[name]) and theirs[name].dtype == ours[name].dtype for name in ours)
    assert (tmp_path / "model" / "notes.txt").read_text() == "hello\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    (tmp_path / "usual").mkdir()
    (tmp_path / "usual" / "file").touch()
    modes = {path.stat().st_mode for path in (tmp_path / "model").iterdir()}
    assert modes == {(tmp_path / "usual" / "file").stat().st_mode}
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_the_digest_is_over_the_files_and_nothing_else(tmp_path: Path) -> None:
    one = write(tmp_path / "one", made(), SOURCE)
    lines = [
        f"{hashlib.sha256((tmp_path / 'one' / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("masks.safetensors", "method.safetensors", "model.safetensors")
    ]
    assert one.digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    two = write(tmp_path / "two", made(), Origin(importer="other", path="x", sha256="1" * 64))
    assert two.digest == one.digest
    bundle_of_other_weights = Bundle(weights={"a.weight": torch.ones(3, 4)})
    assert write(tmp_path / "three", bundle_of_other_weights, SOURCE).digest != one.digest


@pytest.mark.parametrize("name", ["model.safetensors", "masks.safetensors", "method.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "missing"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    write(tmp_path / "model", made(), SOURCE)
    path = tmp_path / "model" / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-3])
    else:
        path.unlink()
    found = read(tmp_path / "model")
    load = {"model": found.weights, "masks": found.masks, "method": found.method_tensors}[name.partition(".")[0]]
    with pytest.raises(CorruptFile, match=str(path)):
        load()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(format=2),
        lambda d: d.update(surprise=1),
        lambda d: d.pop("source"),
        lambda d: d.update(digest="0" * 64),
        lambda d: d["files"].update({"../model.safetensors": "0"}),
        lambda d: d["files"].update({"model.safetensors": "0" * 64}),
    ],
)
def test_a_manifest_that_no_harness_wrote_is_refused(tmp_path: Path, change) -> None:
    write(tmp_path / "model", made(), SOURCE)
    path = tmp_path / "model" / MANIFEST
    loaded = json.loads(path.read_text())
    change(loaded)
    path.write_text(json.dumps(loaded))
    with pytest.raises(CorruptFile, match=r"import\.json"):
        read(tmp_path / "model")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "model", made(), SOURCE)
    before = (tmp_path / "model" / MANIFEST).read_bytes()
    with pytest.raises(UserError, match="there already"):
        write(tmp_path / "model", Bundle(weights={"x": torch.ones(1)}), SOURCE)
    assert (tmp_path / "model" / MANIFEST).read_bytes() == before


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), bundle.new_folder(tmp_path / "model") as folder:
        bundle.save_tensors(folder / "model.safetensors", {"x": torch.ones(3)})
        assert not (tmp_path / "model").exists()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="model"):
        write(tmp_path / "model", made(), SOURCE)


def test_a_file_in_the_way_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="model"):
        write(tmp_path / "file" / "model", made(), SOURCE)


def test_names_come_before_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "gpt", made(), SOURCE)
    with pytest.raises(DataMissing):
        resolve("gpt")  # the working folder is not looked at
    write(tmp_path / "data" / "gpt", made(), SOURCE)
    assert resolve("gpt") == tmp_path / "data" / "gpt"
    write(bundle.models_directory() / "gpt", made(), SOURCE)
    assert resolve("gpt") == tmp_path / "data" / "models" / "gpt"
    assert resolve(tmp_path / "gpt") == tmp_path / "gpt"


def test_a_missing_name_gets_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    write(bundle.models_directory() / "published", made(), SOURCE)
    with pytest.raises(DataMissing, match="Did you mean 'published'"):
        read("publishd")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="harness import"):
        read(tmp_path / "folder")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    found = write(tmp_path / "genome", Bundle(method_tensors={"genome.affinity": torch.ones(2, 2)}), SOURCE)
    assert found.masks() is None
    with pytest.raises(UserError, match="holds no weights"):
        found.weights()


def test_views_and_tied_tensors_are_saved_whole(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    found = write(tmp_path / "model", Bundle(weights={"a": whole.t(), "b": whole[1:]}), SOURCE).weights()
    assert torch.equal(found["a"], whole.t())
    assert torch.equal(found["b"], whole[1:])
    module = torch.nn.ModuleDict({"first": torch.nn.Linear(2, 2), "second": torch.nn.Linear(2, 2, bias=False)})
    module["second"].weight = module["first"].weight
    assert list(own_state(module)) == ["first.weight", "first.bias"]


def test_what_a_library_keeps_to_its_user_is_readable_as_the_folder_is(tmp_path: Path) -> None:
    with bundle.new_folder(tmp_path / "exported") as folder:
        (folder / "model.safetensors").write_bytes(b"x")
        (folder / "model.safetensors").chmod(0o600)
    mode = (tmp_path / "exported" / "model.safetensors").stat().st_mode & 0o777
    assert mode == (tmp_path / "exported").stat().st_mode & 0o666
