"""What layers read, against the layers themselves: products of what was seen with weights are what they give."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from layerwise import EXAMPLES, Convolutional, Examples
from pruning import Bench
from torch import Tensor

from harness import Architecture, DataSpec, NoOptions, Unsupported, unseen_inputs, watch_inputs
from harness.registry.plugins import load
from harness.testing import check_method
from harness_architectures.mlp import Mlp, MlpOptions
from harness_architectures.skip_mlp import SkipMlp, SkipMlpOptions
from harness_dense.method import Dense

pytestmark = pytest.mark.usefixtures("float64")

VECTORS = DataSpec("classification", (8,), 4, EXAMPLES)
PICTURES = DataSpec("classification", (4, 5, 4), 4, EXAMPLES)


def bench(architecture: Architecture[Any], *shape: int) -> Bench:
    return Bench(Dense(Dense.Options()), architecture, Examples(*shape), 0.5)


def watched(found: Bench, batches: int = 2, **given: Any) -> dict[str, Tensor]:
    """What each layer reads over some batches, with gradients asked for."""
    read: dict[str, list[Tensor]] = {c.parameter: [] for c in found.connections}
    with found.calibrating() as context:
        watch_inputs(
            context, found.connections, context.batches(batches), lambda name, x: read[name].append(x.clone()), **given
        )
    return {name: torch.cat(parts) for name, parts in read.items()}


def batches_of(found: Bench, count: int = 2) -> Tensor:
    with found.calibrating() as context:
        return torch.cat([inputs for inputs, _ in context.batches(count)])


def test_a_perceptron_reads_its_inputs_and_what_its_neurons_give() -> None:
    found = bench(Mlp(MlpOptions(hidden=[6]), VECTORS), 8)
    read, inputs = watched(found), batches_of(found)
    assert torch.equal(read["layers.hidden1.weight"], inputs)
    hidden = found.context.model.layers["hidden1"](inputs).relu()
    torch.testing.assert_close(read["layers.output.weight"], hidden.detach())
    assert not any(x.requires_grad for x in read.values())
    assert all(p.grad is None for p in found.context.model.parameters())


def test_weights_in_place_of_the_networks_are_run() -> None:
    found = bench(Mlp(MlpOptions(hidden=[6]), VECTORS), 8)
    weights = {"layers.hidden1.weight": torch.zeros(6, 8)}
    bias = found.context.model.layers["hidden1"].bias.relu().detach()
    assert torch.equal(watched(found, weights=weights)["layers.output.weight"], bias.expand(16, 6))
    assert bool(found.context.model.layers["hidden1"].weight.any())


def test_a_convolution_reads_patches_in_the_shape_of_its_weights() -> None:
    found = bench(Convolutional(NoOptions(), PICTURES), 4, 5, 4)
    conv = found.context.model.conv
    read = watched(found)["conv.weight"]
    assert read.shape[1:] == conv.weight.shape[1:]
    outputs = conv(batches_of(found)) - conv.bias[:, None, None]
    expected = outputs.movedim(1, -1).flatten(0, 2)
    torch.testing.assert_close(torch.einsum("pikl,oikl->po", read, conv.weight), expected)


def test_a_batch_goes_no_further_than_what_is_watched() -> None:
    found, ran = bench(Mlp(MlpOptions(hidden=[6]), VECTORS), 8), Counter[str]()
    found.context.model.layers["output"].register_forward_hook(lambda *_: ran.update(["output"]))
    with found.calibrating() as context:
        first = [c for c in found.connections if c.name == "hidden1"]
        watch_inputs(context, first, context.batches(3), lambda name, x: ran.update([name]))
    assert ran == {"layers.hidden1.weight": 3, "output": 1}, "the first batch shows that each is called once"


def test_what_cannot_be_seen_is_said_before_and_refused_then() -> None:
    architecture = SkipMlp(SkipMlpOptions(hidden=[6]), VECTORS)
    reason = unseen_inputs(architecture, architecture.connections())
    assert reason is not None and "is in no module that is called" in reason
    with pytest.raises(Unsupported, match="is in no module that is called"):
        watched(bench(architecture, 8))
    mlp = Mlp(MlpOptions(hidden=[6]), VECTORS)
    assert unseen_inputs(mlp, mlp.connections()) is None


def test_the_method_of_the_page_scores_by_weights_and_inputs(tmp_path: Path) -> None:
    """docs/how_to/own_score.md: |w| times the mean |x|, by a loop; and it is short."""
    page = Path(__file__).parents[3] / "docs/how_to/own_score.md"
    text = page.read_text(encoding="utf8").split("# weight_times_input.py\n")[1].split("```")[0]
    assert len(text.splitlines()) <= 30
    path = tmp_path / "weight_times_input.py"
    path.write_text(text)
    method = load([path]).get("method", "weight_times_input")
    check_method(method)
    found = Bench(method(method.Options()), Mlp(MlpOptions(hidden=[6]), VECTORS), Examples(8), 0.5)
    scores, inputs = found.scores(), batches_of(found, 8)
    hidden = found.context.model.layers["hidden1"](inputs).relu().detach()
    for name, read in (("hidden1", inputs), ("output", hidden)):
        weights = found.context.model.layers[name].weight.detach()
        for i, j in ((0, 0), (3, 5), (1, 2)):
            mean = sum(abs(float(x[j])) for x in read) / len(read)
            assert float(scores[name][i, j]) == pytest.approx(abs(float(weights[i, j])) * mean, rel=1e-9)
