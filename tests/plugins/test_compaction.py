"""Networks without dead units compute what the masked ones do, for every architecture."""

from __future__ import annotations

import copy
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from sparse_tensor_cores import emulate
from torch import nn

from harness import Architecture, DataSpec, Unsupported, outermost, peak_bytes, unit_masks
from harness.compaction.compact import compact, random_inputs
from harness.compaction.exported import write_export
from harness.compaction.fast import make_fast
from harness.compaction.kernels import choose_kernels
from harness.compaction.onnx_file import write_onnx
from harness.compaction.program import trace
from harness.compaction.timing import Speed
from harness.errors import HarnessError
from harness_architectures.gpt2 import Gpt2
from harness_architectures.gpt_rope import GptRope
from harness_architectures.mlp import Mlp
from harness_architectures.skip_mlp import SkipMlp
from harness_biogpt.architecture import Biogpt
from harness_ndna.band_cnn import BandCnn
from harness_ndna.band_transformer import BandTransformer
from harness_ndna.band_video import BandVideo
from harness_vision.lenet import LeNet
from harness_vision.resnet import ResNet
from harness_vision.vgg import Vgg

FLAT = DataSpec("classification", (20,), 4, examples=8)
PICTURES = DataSpec("classification", (3, 32, 32), 10, examples=8)
TOKENS = DataSpec("language", (16,), 32, examples=8, tokens=16)
TEXTS = DataSpec("text_classification", (12,), 2, examples=8, vocabulary=50)
FRAMES = DataSpec("video", (4, 8, 8), 0, examples=8)
SMALL = {"n_layers": 2, "width": 16, "heads": 4}
ENCODER = {"hidden": 16, "ffn": 32, "layers": 3, "heads": 4}

NETWORKS: dict[str, tuple[type[Architecture[Any]], dict[str, Any], DataSpec]] = {
    "mlp": (Mlp, {"hidden": [16, 15]}, FLAT),
    "skip_mlp": (SkipMlp, {"hidden": [16, 15, 9]}, FLAT),
    "skip_mlp without biases": (SkipMlp, {"hidden": [16, 15, 9], "bias": False}, FLAT),
    "gpt2": (Gpt2, SMALL, TOKENS),
    "gpt_rope": (GptRope, SMALL, TOKENS),
    "biogpt": (Biogpt, {"n_layers": 4, "width": 24}, TOKENS),
    "biogpt, two passes": (Biogpt, {"n_layers": 6, "width": 24, "n_passes": 2, "feedback_into": "layer"}, TOKENS),
    "biogpt, gated": (Biogpt, {"n_layers": 4, "width": 24, "branch_gate": True}, TOKENS),
    "biogpt, bare": (Biogpt, {"n_layers": 2, "width": 24, "soma_ffn": False, "branch_ffn": False}, TOKENS),
    "resnet": (ResNet, {"depth": 8, "width": 4}, PICTURES),
    "resnet, padded": (ResNet, {"depth": 8, "width": 4, "shortcut": "padding"}, PICTURES),
    "vgg": (Vgg, {"depth": 11, "width": 4}, PICTURES),
    "lenet": (LeNet, {"channels": [6, 8], "hidden": 40}, PICTURES),
    "band_cnn": (BandCnn, {"channels": [4, 4, 8, 8, 8, 8]}, PICTURES),
    "band_transformer": (BandTransformer, ENCODER, TEXTS),
    "band_video": (BandVideo, {**ENCODER, "patch": 4}, FRAMES),
}

CONVOLUTIONS = {"resnet", "resnet, padded", "vgg", "band_cnn"}
"""Networks whose one linear layer may be dense."""


def built(name: str) -> tuple[Architecture[Any], nn.Module]:
    """In float64 and evaluation mode, biases and running statistics far from their initial values."""
    cls, options, data = NETWORKS[name]
    architecture = cls(cls.Options.model_validate(options), data)
    torch.manual_seed(0)
    module = architecture.build().double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            if tensor.is_floating_point() and not (tensor.ndim == 2 and not isinstance(tensor, nn.Parameter)):
                tensor += 0.3 * torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
    return architecture, module


def close(module: nn.Module, architecture: Architecture[Any], how: str) -> None:
    """Mask half of all units, or all but a twentieth of the weights."""
    generator = torch.Generator().manual_seed(2)
    connections = [c for c in architecture.connections() if c.kind == "weight"]
    groups = [group for group in outermost(architecture.units()) if group.removable]
    kept = {group.name: torch.rand(group.count, generator=generator) < 0.5 for group in groups}
    masks: Any = unit_masks(connections, architecture.units(), kept)
    if how == "weights":
        masks = {c.name: torch.rand(c.shape, generator=generator) < 0.05 for c in connections if c.default}
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for c in connections:
            if c.name in masks:
                c.region(parameters[c.parameter]).mul_(masks[c.name])


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("how", ["units", "weights"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_compact_network_computes_what_the_masked_one_does(name: str, how: str) -> None:
    architecture, module = built(name)
    close(module, architecture, how)
    before = copy.deepcopy(module.state_dict())
    found = compact(architecture, module)
    inputs = random_inputs(architecture.data, 5)
    expected = module(inputs)
    assert float(expected.abs().max()) > 1e-3
    assert float((found.module(inputs) - expected).abs().max()) < 1e-10 * max(1.0, float(expected.abs().max()))
    assert size(found.module) < size(module) if how == "units" else size(found.module) <= size(module)
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())
    if how == "units":
        generator = torch.Generator().manual_seed(2)
        groups = [group for group in outermost(architecture.units()) if group.removable]
        asked = {g.name: max(1, int((torch.rand(g.count, generator=generator) < 0.5).sum())) for g in groups}
        assert all(left <= asked[group] for group, (left, _) in found.units.items())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_whole_network_stays_whole(name: str) -> None:
    architecture, module = built(name)
    found = compact(architecture, module)
    assert size(found.module) == size(module)
    assert all(left == of for left, of in found.units.values())
    assert not found.staying


@pytest.mark.parametrize("name", NETWORKS)
def test_a_traced_network_takes_any_number_of_examples(name: str) -> None:
    architecture, module = built(name)
    close(module, architecture, "weights")
    program = trace(module, architecture.data)
    for examples in (1, 7):
        inputs = random_inputs(architecture.data, 3, examples)
        if architecture.data.kind == "language":
            inputs = inputs[:, :9]
        if architecture.data.kind == "text_classification":
            inputs[:, 9:] = architecture.data.padding
        with torch.no_grad():
            torch.testing.assert_close(program(inputs), module(inputs), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_sparse_layers_compute_what_the_masked_network_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, wherever a linear layer is masked; what is read several times is kept once."""
    monkeypatch.setattr("harness.compaction.kernels.SMALLEST", 0)
    architecture, module = built(name)
    close(module, architecture, "weights")
    program = trace(module, architecture.data)
    found = choose_kernels(program, random_inputs(architecture.data, 1, 4), faster)
    sparse = [layer for layer in found.values() if layer.kernel == "csr"]
    assert sparse or name in CONVOLUTIONS
    layouts = [tensor.layout for _, tensor in program.named_buffers()]
    assert layouts.count(torch.sparse_csr) == len(sparse)
    inputs = random_inputs(architecture.data, 3, 5)
    expected = module(inputs)
    with torch.no_grad():
        assert float((program(inputs) - expected).abs().max()) < 1e-10 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize(("name", "norms", "left"), [("resnet", 9, 0), ("vgg", 8, 0), ("band_cnn", 21, 5)])
def test_batch_norms_go_into_convolutions(name: str, norms: int, left: int) -> None:
    """Five of band_cnn's are of sums of several."""
    architecture, module = built(name)
    assert sum(isinstance(part, nn.BatchNorm2d) for part in module.modules()) == norms
    program = trace(module, architecture.data)
    assert sum(node.target is torch.ops.aten.batch_norm.default for node in program.graph.nodes) == left
    inputs = random_inputs(architecture.data, 3)
    torch.testing.assert_close(program(inputs), module(inputs), rtol=1e-10, atol=1e-10)


def test_segments_outlive_cuts_and_are_no_graph() -> None:
    """Traces shrink with their branches; the number of segments depends on the text."""
    data, options = TOKENS, Biogpt.Options(n_layers=4, width=24, branch_gate=True, segment=6)
    architecture = Biogpt(options, data)
    torch.manual_seed(0)
    module = architecture.build().double().eval().requires_grad_(False)
    close(module, architecture, "units")
    found, inputs = compact(architecture, module), random_inputs(data, 5)
    assert size(found.module) < size(module)
    assert float((found.module(inputs) - module(inputs)).abs().max()) < 1e-10
    with pytest.raises(Unsupported, match="BiogptNetwork cannot be traced for any number of tokens"):
        trace(module, data)


def test_neurons_of_a_column_share_as_before_when_one_is_gone() -> None:
    """The softmax over neurons gives what it gave to the others, not all to those that are left."""
    architecture, module = built("biogpt")
    column = module.columns[0]  # type: ignore[index]
    width = column.norm.weight.numel()
    with torch.no_grad():
        column.neuron_weights.copy_(torch.tensor([1.0, -0.5]))
        column.projection[:, :width] = 0
    found = compact(architecture, module)
    assert found.units["layer0.neurons"] == (1, 2)
    assert len(found.module.columns[0].somas) == 1  # type: ignore[index]
    inputs = random_inputs(architecture.data, 5)
    assert float((found.module(inputs) - module(inputs)).abs().max()) < 1e-10


def faster(ways: Any, reference: str, device: torch.device) -> dict[str, Speed]:
    """A machine on which everything but the reference takes half the time."""
    return {name: Speed(1.0, 2.0, 1.9, 2.1) if name != reference else Speed(2.0, 1.0, 1.0, 1.0) for name in ways}


@pytest.mark.parametrize("name", ["mlp", "skip_mlp", "gpt2", "biogpt", "resnet", "band_video"])
def test_an_export_loads_in_plain_pytorch(name: str, tmp_path: Path) -> None:
    architecture, module = built(name)
    close(module, architecture, "weights")
    module.float()
    fast = make_fast(architecture, module, 3, timed=faster)
    write_export(tmp_path / "small", fast, "toy.s0", {"cell": "toy.s0"})
    inputs = random_inputs(architecture.data, 4, 5, torch.float32)
    with torch.no_grad():
        torch.save((inputs, module(inputs)), tmp_path / "expected.pt")
    script = f"""
import sys
sys.modules["harness"] = None
import runpy, torch
inputs, expected = torch.load({str(tmp_path / "expected.pt")!r})
network = runpy.run_path({str(tmp_path / "small" / "network.py")!r})["load"]()
torch.testing.assert_close(network(inputs), expected, rtol=1e-4, atol=1e-5)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_what_runs_on_sparse_tensor_cores_loads_where_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same numbers: layers of which two of every four weights are zero, in bfloat16."""
    data = DataSpec("classification", (64,), 4, examples=8)
    architecture = Mlp(Mlp.Options(hidden=[128, 64]), data)
    torch.manual_seed(0)
    module = architecture.build().eval().requires_grad_(False)
    weights = [parameter for parameter in module.parameters() if parameter.ndim == 2]
    for weight in weights[:2]:  # of the last one no unit would be read where all its four weights are zero
        weight.mul_(torch.rand(len(weight), weight.shape[1] // 4, 4).argsort(-1).argsort(-1).flatten(1) < 2)
    with monkeypatch.context() as patch:
        emulate(patch)
        fast = make_fast(architecture, module, 3, timed=faster, precision="bf16")
        assert [layer.kernel for layer in fast.layers.values()] == ["2:4", "2:4", "dense"]
        size = write_export(tmp_path / "small", fast, "toy.s0", {})
        assert peak_bytes(fast.program, fast.inputs) < sum(weight.nbytes for weight in weights) / 2
        inputs = torch.randn(5, 64).bfloat16()
        expected = fast.program(inputs)
    summary = json.loads((tmp_path / "small" / "compact.json").read_text())
    whole, halves = 128 + 64 + 4 + weights[-1].numel(), sum(weight.numel() // 2 for weight in weights[:2])
    assert summary["precision"] == "bfloat16"
    assert summary["parameters"] == whole + halves
    assert size < 2 * (whole + halves) + halves // 4 + 4096  # two bytes each, and two bits
    network = runpy.run_path(str(tmp_path / "small" / "network.py"))["load"](device="cpu")
    torch.testing.assert_close(network(inputs), expected, rtol=0.03, atol=0.03)


@pytest.mark.parametrize("name", ["mlp", "gpt_rope", "biogpt, bare", "resnet", "band_transformer"])
def test_an_onnx_file_computes_what_the_masked_network_does(name: str, tmp_path: Path) -> None:
    runtime = onnx_runtime()
    architecture, module = built(name)
    close(module, architecture, "units")
    module.float()
    if name in ("gpt_rope", "biogpt, bare") and torch.__version__.startswith("2.6."):
        with pytest.raises(Unsupported, match="cannot write this network: Cannot call numel"):
            write_onnx(tmp_path / "small", architecture, module, {})
        pytest.skip("torch 2.6 writes no products of a free number of tokens")
    compacted, written = write_onnx(tmp_path / "small", architecture, module, {"cell": "toy.s0"})
    whole = sum(parameter.nbytes for parameter in module.parameters())
    assert 4 * size(compacted.module) < written and 4 * size(compacted.module) < whole
    session = runtime.InferenceSession(tmp_path / "small" / "model.onnx")
    for examples in (1, 6):
        inputs = random_inputs(architecture.data, 4, examples, torch.float32)
        inputs = inputs[:, :9] if architecture.data.kind == "language" else inputs
        (found,) = session.run(None, {"inputs": inputs.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), module(inputs), rtol=1e-5, atol=1e-5)


def test_what_cannot_be_onnx_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx_runtime()
    architecture, module = built("mlp")
    module.float()
    with monkeypatch.context() as patch:
        patch.setattr(torch.onnx, "export", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(Unsupported, match="cannot write this network: division by zero"):
            write_onnx(tmp_path / "small", architecture, module, {})
    write = torch.onnx.export

    def other(program: Any, *args: Any, **kwargs: Any) -> Any:
        next(program.buffers()).add_(0.1)
        return write(program, *args, **kwargs)

    monkeypatch.setattr(torch.onnx, "export", other)
    with pytest.raises(HarnessError, match="is off by"):
        write_onnx(tmp_path / "small", architecture, module, {})
    assert not list(tmp_path.iterdir())


def onnx_runtime() -> Any:
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    return pytest.importorskip("onnxruntime")


def test_an_export_runs_sparse_layers_where_they_are_faster(tmp_path: Path) -> None:
    architecture = Mlp(Mlp.Options.model_validate({"hidden": [128, 128]}), DataSpec("classification", (64,), 4, 8))
    torch.manual_seed(0)
    module = architecture.build().eval().requires_grad_(False)
    with torch.no_grad():
        for layer in module.layers.values():  # type: ignore[union-attr, operator]
            layer.weight.mul_(torch.rand(layer.weight.shape) < 0.1)
    fast = make_fast(architecture, module, 3, timed=faster)
    kernels = {name: layer.kernel for name, layer in fast.layers.items()}
    assert kernels == {"layers_hidden1_weight": "csr", "layers_hidden2_weight": "csr", "layers_output_weight": "dense"}
    size = write_export(tmp_path / "small", fast, "toy.s0", {})
    network = runpy.run_path(str(tmp_path / "small" / "network.py"))["load"]()
    assert network.layers_hidden1_weight_sparse.layout == torch.sparse_csr
    inputs = torch.randn(7, 64)
    torch.testing.assert_close(network(inputs), module(inputs), rtol=1e-5, atol=1e-6)
    dense = sum(tensor.nbytes for tensor in module.parameters())
    assert size < 0.25 * dense + 2000
