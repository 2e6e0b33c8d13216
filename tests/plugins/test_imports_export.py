"""Export and import back: the same numbers, in this harness and in transformers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness import DataSpec, UserError
from harness.cli import cli
from harness.interchange.bundle import read
from harness.results.cell_record import CellRecord
from harness.results.store import ResultStore
from harness.stages.store import StageStore
from harness_architectures.gpt2 import Gpt2, Gpt2Options

SUITE = """
name: made
architectures: {net: {use: gpt2, n_layers: 2, width: 16, heads: 2, attn_out_bias: false, vocabulary_padding: 100}}
benchmarks: {text: {path: text.txt, context: 16, eval_tokens: 400}}
training: {steps: 3, batch_size: 4, lr: 0.01}
evaluation: {checks: 1}
methods:
  dense:
  random: {density: 0.4, scope: [qkv, ffn_up, embedding]}
  genome: {scope: [attn_out, ffn_up], initial: genome.safetensors}
  soft: {use: genome, scope: [attn_out, ffn_up], initial: genome.safetensors, evaluation: {masks: soft}}
"""
DOCUMENT = Path(__file__).parents[2] / "docs" / "speed.md"
TEXT = DataSpec("language", (16,), 256, examples=8, tokens=16)
METHODS = ("dense", "random", "genome", "soft")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a suite that has been run."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "data").mkdir()
    (folder / "data" / "text.txt").write_text("".join(f"{i} apples and {i * i} pears. " for i in range(400)))
    (folder / "made.yaml").write_text(SUITE)
    g = torch.Generator().manual_seed(0)
    shapes = {"affinity": (8, 8), "compatibility": (8, 8), "band_type_base": (4, 8), "band_type_grad": (4, 8)}
    genome = {name: torch.randn(shape, generator=g) for name, shape in shapes.items()}
    scalars = {"connection_scale": torch.tensor(3.0), "depth_penalty": torch.tensor(-3.0)}
    save_file(genome | scalars, folder / "genome.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_DATA", str(folder / "data"))
        patch.setenv("HARNESS_DEVICE", "cpu")
        patch.chdir(folder)
        torch.set_num_threads(1)
        cli.main(["run", "made.yaml", "--workers", "1"], standalone_mode=False)
        yield folder


def record(folder: Path, suite: str, label: str) -> dict[str, Any]:
    (path,) = (folder / "results" / suite / "cells").glob(f"*.{label}.*")
    found = ResultStore(folder / "results").record(suite, path.stem)
    assert isinstance(found, CellRecord)
    return found.content()


def export(method: str, to: Path, *more: str) -> None:
    cli.main(["export", f"made/main.net.text.{method}.", "--to", str(to), *more], standalone_mode=False)


@pytest.fixture(scope="module")
def exported(made: Path) -> dict[str, Path]:
    folders = {method: made / f"exported_{method}" for method in METHODS}
    for method, folder in folders.items():
        export(method, folder)
    return folders


def test_exports_hold_the_effective_weights_and_their_masks(made: Path, exported: dict[str, Path]) -> None:
    for method in METHODS:
        found, cell = read(exported[method]), record(made, "made", method)
        weights, masks = found.weights(), found.masks()
        nonzero = sum(int(tensor.count_nonzero()) for tensor in weights.values())
        size = sum(tensor.numel() for tensor in weights.values())
        assert nonzero / size == pytest.approx(cell["density"]["total"])
        assert size == cell["architecture"]["parameters"]
        assert found.manifest.source.path == cell["cell"]
        config = json.loads((exported[method] / "config.json").read_text())
        assert config["architecture"]["plugin"] == "gpt2"
        assert config["preprocessing"] == {"inputs": {"tokenizer": config["data"]["tokenizer"]}}
        if method in ("dense", "soft"):
            assert masks is None
        else:
            assert masks is not None
            assert masks.kept == {name: c["kept"] for name, c in cell["density"]["connections"].items()}
            assert masks.density < 1
    state = StageStore(made / "results" / ".work").state(record(made, "made", "random")["stages"][-1])
    assert all(torch.equal(read(exported["random"]).weights()[n], t) for n, t in state["weights"].items())
    assert "genome.affinity" in read(exported["genome"]).method_tensors()


@pytest.fixture(scope="module")
def again(made: Path, exported: dict[str, Path]) -> Path:
    """The same folder, after the exports have been evaluated without training."""
    options = "use: gpt2, n_layers: 2, width: 16, heads: 2, attn_out_bias: false, vocabulary_padding: 100"
    networks = ", ".join(f"from_{m}: {{{options}, weights: {exported[m]}}}" for m in METHODS)
    genome = f"scope: [attn_out, ffn_up], initial: {exported['genome']}, frozen: true"
    (made / "again.yaml").write_text(
        "benchmarks: {text: {path: text.txt, context: 16, eval_tokens: 400}}\n"
        "training: {steps: 0, batch_size: 4}\nevaluation: {checks: 1}\nexperiments:\n"
        f"  scores: {{architectures: {{{networks}}}, scope: all, methods: [stored_mask]}}\n"
        f"  transfer: {{architectures: {{net: {{{options}}}}}, methods: {{genome: {{{genome}}}}}}}\n"
    )
    cli.main(["run", "again.yaml", "--workers", "1"], standalone_mode=False)
    return made


def test_exports_score_in_another_suite_what_they_scored(again: Path) -> None:
    for method in METHODS:
        second, first = record(again, "again", f"from_{method}"), record(again, "made", method)
        assert second["metrics"]["loss"]["value"] == pytest.approx(first["metrics"]["loss"]["value"], abs=1e-6)
        if method in ("random", "genome"):
            assert second["density"]["kept"] < second["density"]["size"]
            for name, theirs in first["density"]["connections"].items():
                assert second["density"]["connections"][name]["kept"] == theirs["nonzero"]


def test_an_exported_genome_is_a_place_to_start_from(again: Path) -> None:
    first, second = (record(again, suite, "genome")["density"] for suite in ("made", "again"))
    connections = [{n: c["kept"] for n, c in of["connections"].items()} for of in (first, second)]
    assert connections[0] == connections[1]
    assert 0 < first["mask"] < 1


@pytest.mark.parametrize("method", METHODS)
def test_transformers_reads_the_hf_layout(made: Path, exported: dict[str, Path], tmp_path: Path, method: str) -> None:
    from transformers import GPT2LMHeadModel

    from harness import DataSpec
    from harness_architectures.gpt2 import Gpt2, Gpt2Options

    export(method, tmp_path / "hf", "--format", "hf")
    theirs, report = GPT2LMHeadModel.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    found = read(exported[method])
    assert found.manifest.architecture is not None
    options = Gpt2Options.model_validate(found.manifest.architecture.options)
    ours = Gpt2(options, DataSpec("language", (16,), 256, 1)).build()
    ours.load_state_dict(found.weights())
    ids = torch.randint(256, (3, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(ids), theirs.eval()(ids).logits, atol=1e-5, rtol=0)
    if (tmp_path / "hf" / "masks.safetensors").exists():
        weights = load_file(tmp_path / "hf" / "model.safetensors")
        for name, keep in load_file(tmp_path / "hf" / "masks.safetensors").items():
            assert keep.shape == weights[name].shape
            assert not keep.all()
            assert not weights[name][~keep].any()
    else:
        assert method in ("dense", "soft")
    cli.main(["import", "gpt2_hf", str(tmp_path / "hf"), "--name", f"back_{method}"], standalone_mode=False)
    back = read(f"back_{method}").weights()
    assert torch.equal(back["blocks.1.attn.qkv.weight"], found.weights()["blocks.1.attn.qkv.weight"])


def test_plain_safetensors(made: Path, exported: dict[str, Path], tmp_path: Path) -> None:
    export("random", tmp_path / "plain", "--format", "safetensors")
    names = ["config.json", "masks.safetensors", "model.safetensors"]
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == names
    for name in names[1:]:
        assert (tmp_path / "plain" / name).read_bytes() == (exported["random"] / name).read_bytes()


def test_a_suite_with_an_old_key_is_exported_with_a_warning(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "made.yaml").write_text(SUITE + "budgets: {short: {}}\n")
    shutil.copy(made / "genome.safetensors", tmp_path)
    export("random", tmp_path / "x", "--suite", str(tmp_path / "made.yaml"))
    assert "'budgets' is now called 'profiles'" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["random", "genome", "soft"])
def test_a_compact_export_computes_what_was_scored(
    made: Path, exported: dict[str, Path], tmp_path: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The three lines of the documentation, in a process that cannot import the harness."""
    folder = tmp_path / "small"
    export(method, folder, "--compact", "--batch", "3")
    printed = capsys.readouterr().out
    assert "times as fast" in printed and "with zeros" in printed and str(folder) in printed
    summary = json.loads((folder / "compact.json").read_text())
    assert summary["preprocessing"]["inputs"]["tokenizer"]
    assert summary["inputs"] == [3, 16] and summary["bytes"] == (folder / "model.safetensors").stat().st_size
    assert all(
        layer["csr_times_as_fast"]["low"] > 1 for layer in summary["linear_layers"].values() if layer["runs"] == "csr"
    )
    whole = Gpt2(Gpt2Options(n_layers=2, width=16, heads=2, attn_out_bias=False, vocabulary_padding=100), TEXT).build()
    whole.load_state_dict(load_file(exported[method] / "model.safetensors"))
    inputs = torch.randint(256, (5, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.save((inputs, whole.eval()(inputs)), tmp_path / "expected.pt")
    (lines,) = re.findall(r"```python\n(import runpy\n.*?)```", DOCUMENT.read_text(), re.DOTALL)
    script = "import sys, torch; sys.modules['harness'] = None; inputs, expected = torch.load('expected.pt')\n"
    check = "torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)"
    code = f"{script}{lines}{check}"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_compact_export_of_16_bits_is_half_as_large(
    made: Path, exported: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {}
    for precision in ("fp32", "bf16"):
        export("random", tmp_path / precision, "--compact", "--batch", "3", "--precision", precision)
        summary = json.loads((tmp_path / precision / "compact.json").read_text())
        assert summary["precision"] == {"fp32": "float32", "bf16": "bfloat16"}[precision]
        sizes[precision] = sum(
            t.nbytes
            for n, t in load_file(tmp_path / precision / "model.safetensors").items()
            if not n.endswith(".bits")
        )
    assert 2 * sizes["bf16"] == sizes["fp32"]
    assert "beside the masked network, both in bfloat16" in capsys.readouterr().out


def test_a_compact_export_as_onnx_computes_what_was_scored(
    made: Path, exported: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    if torch.__version__.startswith("2.6."):
        pytest.skip("torch 2.6 writes no products of a free number of tokens")
    folder = tmp_path / "small_onnx"
    monkeypatch.setenv("COLUMNS", "80")
    export("random", folder, "--compact", "--format", "onnx")
    printed = capsys.readouterr().out
    load = f'onnxruntime.InferenceSession("{folder}/model.onnx").run(None, {{"inputs": array}})'
    assert f"  load        {load}" in printed.splitlines(), "code to be copied is never wrapped"
    assert "all dense: ONNX has no operator for compressed rows" in printed and "times as fast" not in printed
    assert sorted(path.name for path in folder.iterdir()) == ["compact.json", "model.onnx"]
    summary = json.loads((folder / "compact.json").read_text())
    assert ".random.d0.4.s0" in summary["cell"] and summary["bytes"] == (folder / "model.onnx").stat().st_size
    whole = Gpt2(Gpt2Options(n_layers=2, width=16, heads=2, attn_out_bias=False, vocabulary_padding=100), TEXT).build()
    whole.load_state_dict(load_file(exported["random"] / "model.safetensors"))
    inputs = torch.randint(256, (5, 16), generator=torch.Generator().manual_seed(0))
    (lines,) = re.findall(r"```python\n(import onnxruntime\n.*?)```", DOCUMENT.read_text(), re.DOTALL)
    scope: dict[str, Any] = {"inputs": inputs.numpy()}
    monkeypatch.chdir(tmp_path)
    exec(lines, scope)
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(scope["outputs"]), whole.eval()(inputs), rtol=1e-5, atol=1e-5)


def test_a_compact_export_has_two_formats(made: Path, tmp_path: Path, monkeypatch: Any) -> None:
    with pytest.raises(UserError, match="leave out --format hf, or take --format onnx"):
        export("random", tmp_path / "x", "--compact", "--format", "hf")
    with pytest.raises(UserError, match="is one of --compact: give both"):
        export("random", tmp_path / "x", "--format", "onnx")
    for options in (
        ["--precision", "bf16"],
        ["--batch", "8"],
        ["--device", "cuda"],
        ["--compact", "--format", "onnx", "--device", "cuda"],
    ):
        with pytest.raises(UserError, match="say how --compact measures: leave them out"):
            export("random", tmp_path / "x", *options)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds no GPU here"):
        export("random", tmp_path / "x", "--compact", "--device", "cuda")
    monkeypatch.setattr("harness.extras.find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(UserError, match=r"onnx needs onnxscript, .*: pip install 'sparsity-harness\[onnx\]'"):
        export("random", tmp_path / "x", "--compact", "--format", "onnx")


def test_what_cannot_be_exported_is_said(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'hf'"):
        export("dense", tmp_path / "x", "--format", "hff")
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="there already"):
        export("dense", tmp_path / "there")
    with pytest.raises(UserError, match="it has changed since"):
        export("dense", tmp_path / "x", "--set", "training.lr=0.02")
    with pytest.raises(UserError, match="name its file with --suite"):
        export("dense", tmp_path / "x", "--suite", "nowhere.yaml")
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]


def test_weights_that_are_gone_are_said_to_be(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "results", tmp_path / "results")
    shutil.rmtree(tmp_path / "results" / ".work" / "stages")
    words = ["--results", str(tmp_path / "results")]
    with pytest.raises(UserError, match=r"harness run made\.yaml .* --only .*method=random,density=0\.4,.* --force"):
        export("random", tmp_path / "x", *words)
    assert not (tmp_path / "x").exists()
