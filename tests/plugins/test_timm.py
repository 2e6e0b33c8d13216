"""Classifiers of timm: what can be masked in them, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pydantic import ValidationError
from stage_runs import finish
from torch import nn

from harness import DataSpec, UserError
from harness.registry.plugins import load
from harness.results.flops import forward_flops
from harness.stages.graph import compile_graph
from harness.suites.suite import load_suite
from harness.testing import check_architecture
from harness_vision.timm_model import Timm, TimmOptions

timm = pytest.importorskip("timm", reason="timm is not installed")

torch.set_num_threads(1)
SMALL_VIT = {"patch_size": 4, "depth": 2, "embed_dim": 48}
MODELS: dict[str, dict[str, Any]] = {
    "resnet18": {},
    "vit_tiny_patch16_224": SMALL_VIT,
    "mobilenetv3_small_050": {},
    "convnext_atto": {"depths": [1, 1, 1, 1]},
    "deit_tiny_distilled_patch16_224": {"depth": 2},
    "beit_base_patch16_224": {"depth": 1, "embed_dim": 48},
    "test_nfnet": {},
    "test_coatnet": {},
}
"""With arguments that make them small. BEiT adds to what a layer computes without calling it; NFNet standardises its
weights."""


def pictures(side: int = 32, channels: int = 3) -> DataSpec:
    return DataSpec("classification", (channels, side, side), 10, 100)


def of(model: str, data: DataSpec | None = None, **arguments: Any) -> Timm:
    return Timm(TimmOptions(model=model, arguments=arguments), data or pictures())


@pytest.mark.parametrize("model", MODELS)
def test_contract(model: str) -> None:
    check_architecture(Timm, {"model": model, "arguments": MODELS[model]}, data=pictures())


@pytest.mark.parametrize("model", MODELS)
def test_every_linear_layer_and_convolution_is_a_connection(model: str) -> None:
    architecture = of(model, **MODELS[model])
    modules = {
        name: module
        for name, module in architecture.build().named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d))
    }
    found = {c.parameter.removesuffix(".weight"): c for c in architecture.connections()}
    assert found.keys() == modules.keys()
    for name, c in found.items():
        assert c.shape == tuple(modules[name].weight.shape) and name == f"model.{c.name}"
        assert c.source.size == c.shape[1] * getattr(modules[name], "groups", 1) and c.target.size == c.shape[0]
        assert c.target.depth == c.source.depth + 1
    depths = [c.target.depth for c in architecture.connections()]
    assert depths == sorted(depths) and set(depths) == set(range(1, max(depths) + 1))


def test_roles() -> None:
    vit = Counter(c.role for c in of("vit_tiny_patch16_224").connections())
    assert vit == {"conv": 1, "qkv": 12, "attn_out": 12, "ffn_up": 12, "ffn_down": 12, "classifier": 1}
    convnext = Counter(c.role for c in of("convnext_atto").connections())
    assert convnext == {"conv": 16, "ffn_up": 12, "ffn_down": 12, "classifier": 1}
    two = of("deit_tiny_distilled_patch16_224", depth=1).connections()
    assert [c.name for c in two if c.role == "classifier"] == ["head", "head_dist"]


def test_a_resnets_projections_lie_beside_its_blocks() -> None:
    found = {c.name: (c.source.depth, c.target.depth) for c in of("resnet18").connections()}
    assert found["conv1"] == (0, 1) and found["fc"] == (17, 18)
    for group, start in ((2, 5), (3, 9), (4, 13)):
        assert found[f"layer{group}.0.downsample.0"] == found[f"layer{group}.0.conv1"] == (start, start + 1)
        assert found[f"layer{group}.0.conv2"] == (start + 1, start + 2)


def test_the_network_is_timms_own() -> None:
    torch.manual_seed(3)
    ours = of("test_vit", pictures(32, 1)).build().eval()
    torch.manual_seed(3)
    theirs = timm.create_model("test_vit", num_classes=10, in_chans=1, img_size=(32, 32)).eval()
    x = torch.randn(2, 1, 32, 32)
    assert torch.equal(ours(x), theirs(x))
    targets = torch.tensor([3, 9])
    assert torch.allclose(ours(x, targets), nn.functional.cross_entropy(theirs(x), targets))


def test_planning_draws_no_random_numbers_and_counts_operations() -> None:
    state = torch.get_rng_state()
    architecture = of("resnet18", pictures(64))
    assert architecture.unsupported() is None and architecture.connections()
    assert torch.equal(torch.get_rng_state(), state)
    counted = forward_flops(architecture, architecture.data)
    linear = {c.name: c.size for c in architecture.connections()}
    sides = {"conv1": 32, "layer1": 16, "layer2": 8, "layer3": 4, "layer4": 2, "fc": 1}
    by_hand = sum(2 * size * sides[name.partition(".")[0]] ** 2 for name, size in linear.items())
    assert counted.total == by_hand
    assert counted.sparse(architecture.connections(), dict.fromkeys(linear, 0.5)) == by_hand / 2


def test_what_is_refused() -> None:
    with pytest.raises(UserError, match=r"unknown timm model 'resnet_18'\. Did you mean resnet18 or .*list_models"):
        of("resnet_18").unsupported()
    with pytest.raises(UserError, match="unknown timm model 'hf_hub:owner/x'"):
        of("hf_hub:owner/x").build()
    assert "pictures (channels, height, width), not (784,)" in str(
        of("resnet18", DataSpec("classification", (784,), 10, 1)).unsupported()
    )
    assert "takes classification data, not language" in str(
        of("resnet18", DataSpec("language", (8,), 10, 1, 8)).unsupported()
    )
    small = str(of("efficientformer_l1", pictures(30)).unsupported())
    assert small.startswith("cannot take pictures of 3x30x30: running timm's efficientformer_l1 gives ")
    wrong = str(of("resnet18", bredth=2).unsupported())
    assert "building timm's resnet18 with {'bredth': 2} gives TypeError" in wrong and "bredth" in wrong


@pytest.mark.parametrize("name", ["num_classes", "pretrained", "checkpoint_path", "features_only"])
def test_arguments_that_are_not_the_suites(name: str) -> None:
    with pytest.raises(ValidationError, match=f"'{name}' .*: leave it out"):
        TimmOptions(model="resnet18", arguments={name: 1})


@pytest.mark.parametrize("model", ["test_resnet", "test_efficientnet", "vit_tiny_patch16_224"])
def test_methods_train_it(tmp_path: Path, model: str) -> None:
    methods: dict[str, Any] = {
        "random": {"density": 0.2},
        "magnitude": {"density": 0.2, "recovery_steps": 1},
        "rigl": {"density": 0.2, "interval": 1},
    }
    grouped = model == "test_efficientnet"
    described = {
        "architectures": {"net": {"use": "timm", "model": model, "arguments": MODELS.get(model, {})}},
        "benchmarks": ["digits"],
        "training": {"steps": 3, "batch_size": 8, "lr": 0.01},
        "evaluation": {"checks": 1},
        "methods": methods if grouped else {**methods, "genome": {}},
    }
    path, registry = tmp_path / "suite.yaml", load()
    path.write_text(yaml.safe_dump(described))
    for cell in compile_graph(load_suite(path, registry).cells, registry).cells:
        finish(tmp_path / "work", registry, cell)
    described["methods"] = {"genome": {}}
    path.write_text(yaml.safe_dump(described))
    if grouped:
        with pytest.raises(UserError, match="is grouped: not every target unit has a weight per source unit"):
            load_suite(path, registry)
