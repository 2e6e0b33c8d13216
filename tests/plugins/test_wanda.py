"""Wanda against loops over the formula, in float64; what both layer-wise methods share; and what is refused."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from layerwise import EXAMPLES, Convolutional, Examples, mixing, patches, pruned
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness import (
    Architecture,
    Band,
    Connection,
    DataSpec,
    DensityBudget,
    Finetune,
    NoOptions,
    Prune,
    Train,
    TrainingBudget,
    UserError,
)
from harness.errors import SuiteError
from harness.registry.plugins import load
from harness.stages.graph import compile_graph
from harness.suites.suite import load_suite
from harness.testing import check_method
from harness.testing.methods import build_network
from harness_architectures.mlp import Mlp, MlpOptions
from harness_post_training.owl import outlier_ratio, owl_densities
from harness_post_training.sparsegpt import SparseGpt, SparseGptOptions
from harness_post_training.wanda import Wanda, WandaOptions, top_k_by_row

REGISTRY = load()
VECTORS = DataSpec("classification", (8,), 4, EXAMPLES)
TEXT = DataSpec("language", (16,), 32, examples=8, tokens=16)


def wanda(**options: Any) -> Wanda:
    return Wanda(WandaOptions(samples=EXAMPLES, **options))


def perceptron() -> Mlp:
    return Mlp(MlpOptions(hidden=[6]), VECTORS)


def norms(inputs: Tensor) -> list[float]:
    """Of each input over all examples."""
    return [sum(float(x[j]) ** 2 for x in inputs) ** 0.5 for j in range(inputs.shape[1])]


def rows_of(weights: Tensor, inputs: Tensor, keep: int) -> Tensor:
    """The formula in loops: in each row the ``keep`` largest |w_ij| ||x_j||; ``keep`` is the same in every row."""
    mask, sizes = torch.zeros_like(weights, dtype=torch.bool), norms(inputs)
    for i in range(len(weights)):
        scores = [abs(float(weights[i, j])) * sizes[j] for j in range(weights.shape[1])]
        for j in sorted(range(len(scores)), key=lambda j: (-scores[j], j))[:keep]:
            mask[i, j] = True
    return mask


# --- the formula ------------------------------------------------------------------------------


def test_large_inputs_keep_small_weights() -> None:
    """|w| ||x|| = 1, 1.5, 0.4 and 2, 0.3, 1.2: magnitudes would keep the first of both rows."""
    weights = torch.tensor([[1.0, 0.5, 0.1], [2.0, 0.1, 0.3]], dtype=torch.float64)
    moments = torch.tensor([1.0, 9.0, 16.0], dtype=torch.float64)
    mask, new = wanda().prune(weights, moments, 2)
    assert mask.tolist() == [[False, True, False], [True, False, False]] and new is weights
    mask, _ = wanda(group="layer").prune(weights, moments, 3)
    assert mask.tolist() == [[False, True, False], [True, False, True]]


def test_a_two_layer_network_is_pruned_as_loops_say() -> None:
    """The second layer reads what the pruned first one gives: with the dense one its mask would be another."""
    examples = Examples(8)
    before, network = pruned(wanda(), Mlp(MlpOptions(hidden=[20]), VECTORS), 0.25, examples)
    masks = network.context.masks
    first, second = before["layers.hidden1.weight"], before["layers.output.weight"]
    expected = rows_of(first, examples.inputs, 2)
    assert torch.equal(masks["hidden1"], expected)
    hidden = [
        (examples.inputs @ weights.T + before["layers.hidden1.bias"]).relu() for weights in (first * expected, first)
    ]
    sparse, dense = (rows_of(second, read, 5) for read in hidden)
    assert not torch.equal(sparse, dense), "the example shows nothing"
    assert torch.equal(masks["output"], sparse)
    assert torch.equal(network.module.layers["output"].weight, second * sparse)
    assert torch.equal(network.module.layers["hidden1"].bias, before["layers.hidden1.bias"])


def test_what_is_left_over_goes_to_the_rows_whose_next_weight_is_largest() -> None:
    scores = torch.tensor([[5.0, 4, 3, 0], [9, 8, 1, 7], [2, 2, 2, 2]])
    assert top_k_by_row(scores, 8).tolist() == [
        [True, True, True, False],
        [True, True, False, True],
        [True, True, False, False],
    ]
    assert top_k_by_row(scores, 7).sum(1).tolist() == [2, 3, 2]
    assert [int(top_k_by_row(scores, k).sum()) for k in range(13)] == list(range(13))


@pytest.mark.parametrize("density", [0.0, 0.13, 0.5, 0.77, 1.0])
def test_counts_are_exact_in_rows_and_in_total(density: float) -> None:
    _, network = pruned(wanda(), perceptron(), density, Examples(8))
    kept = network.context.masks.kept
    assert sum(kept.values()) == round(density * 72)
    for name, mask in network.context.masks.items():
        rows = mask.sum(1).tolist()
        assert max(rows) - min(rows) <= 1, (name, rows)
        assert abs(kept[name] - density * mask.numel()) < 1


@pytest.mark.parametrize("layout", ["rows", "transposed"])
@pytest.mark.parametrize("method", [Wanda, SparseGpt])
def test_a_fused_matrix_is_pruned_as_its_parts(layout: str, method: type[Wanda]) -> None:
    options = {"samples": EXAMPLES}
    found = []
    for one in ("apart", layout):
        _, network = pruned(method(method.Options.model_validate(options)), mixing(one), 0.4, Examples(8))
        parameters = dict(network.module.named_parameters())
        found.append({c.name: c.region(parameters[c.parameter]).detach() for c in network.connections})
        assert sum(network.context.masks.kept.values()) == round(0.4 * 168)
    apart, fused = found
    for name, weights in apart.items():
        torch.testing.assert_close(fused[name], weights, rtol=1e-9, atol=1e-12, msg=name)
        assert torch.equal(fused[name] == 0, weights == 0), name


def test_a_convolution_reads_patches() -> None:
    examples = Examples(4, 5, 4)
    data = DataSpec("classification", (4, 5, 4), 4, EXAMPLES)
    before, network = pruned(wanda(), Convolutional(NoOptions(), data), 0.5, examples)
    read = torch.stack([patch.flatten() for patch in patches(examples.inputs)])
    expected = rows_of(before["conv.weight"].flatten(1), read, 12)
    assert torch.equal(network.context.masks["conv"].flatten(1), expected)
    _, network = pruned(wanda(pattern="2:4", indivisible="dense"), Convolutional(NoOptions(), data), 0.5, examples)
    assert (network.context.masks["conv"].sum(1) == 2).all()
    assert network.context.masks["out"].all(), "5 inputs"


def test_every_group_of_a_pattern_has_its_largest() -> None:
    examples = Examples(8)
    before, network = pruned(wanda(pattern="1:4"), Mlp(MlpOptions(hidden=[4]), VECTORS), 0.25, examples)
    weights, sizes = before["layers.hidden1.weight"], norms(examples.inputs)
    for i in range(4):
        for start in (0, 4):
            scores = [abs(float(weights[i, j])) * sizes[j] for j in range(start, start + 4)]
            group = network.context.masks["hidden1"][i, start : start + 4]
            assert group.tolist() == [score == max(scores) for score in scores]
    assert network.context.masks["output"].sum(1).tolist() == [1] * 4


# --- densities by outliers --------------------------------------------------------------------


def test_outliers_are_counted_against_the_mean() -> None:
    """The mean of 1, 1, 1, 1 and 1, 19 is 4: one of six is beyond 3 times it, none beyond 5 times."""
    scores = [torch.ones(4), torch.tensor([[1.0, 19.0]])]
    assert outlier_ratio(scores, 3) == 1 / 6
    assert outlier_ratio(scores, 5) == 0


def test_densities_of_owl_by_hand() -> None:
    """Shifts 0, 0.16, 0.04; equal sizes: mean 1/15. With sizes 2, 1, 1 the mean is 0.05."""
    found = owl_densities([0.01, 0.05, 0.02], [5, 5, 5], 0.3, 0.08)
    assert found == pytest.approx([0.3 - 1 / 15, 0.46 - 1 / 15, 0.34 - 1 / 15])
    assert owl_densities([0.01, 0.05, 0.02], [2, 1, 1], 0.3, 0.08) == pytest.approx([0.25, 0.41, 0.29])
    assert owl_densities([0.2, 0.2], [5, 5], 0.3, 0.08) == [0.3, 0.3]
    assert min(owl_densities([0.0, 1.0], [5, 5], 0.05, 0.08)) == 0


@pytest.mark.parametrize("density", [0.3, 0.61])
def test_owl_is_exact_in_total_and_measured_on_the_dense_network(density: float) -> None:
    examples = Examples(8)
    before, network = pruned(wanda(layers="owl", outlier=2.0), perceptron(), density, examples)
    hidden = (examples.inputs @ before["layers.hidden1.weight"].T + before["layers.hidden1.bias"]).relu()
    reads = {"hidden1": examples.inputs, "output": hidden}
    ratios = []
    for name, read in reads.items():
        weights, sizes = before[f"layers.{name}.weight"], norms(read)
        scores = [abs(float(w)) * size for row in weights for w, size in zip(row, sizes, strict=True)]
        ratios.append(sum(score > 2 * sum(scores) / len(scores) for score in scores) / len(scores))
    assert ratios[0] != ratios[1]
    shift = 0.16 if ratios[1] > ratios[0] else -0.16
    first = density - shift * 24 / 72 if shift > 0 else density - shift - (-shift) * 48 / 72
    kept = network.context.masks.kept
    assert sum(kept.values()) == round(density * 72)
    assert abs(kept["hidden1"] - first * 48) <= 1


# --- programs and refusals --------------------------------------------------------------------


def test_programs() -> None:
    train = Train(9, hooks=False)
    assert Wanda(WandaOptions()).program(TrainingBudget(9, 4, 0.3)) == [train, Prune(distribution="uniform")]
    recovered = Wanda(WandaOptions(pattern="2:4", recovery_steps=3, recovery_lr=1e-4))
    assert recovered.program(TrainingBudget(9, 4)) == [
        train,
        Prune(density=0.5, distribution="uniform"),
        Finetune(3, lr=1e-4),
    ]
    with pytest.raises(UserError, match=r"give a density.*or a pattern"):
        Wanda(WandaOptions()).program(TrainingBudget(9, 4))
    with pytest.raises(UserError, match=r"0\.3, and the pattern 2:4 makes it 0\.5"):
        SparseGpt(SparseGptOptions(pattern="2:4")).program(TrainingBudget(9, 4, 0.3))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"pattern": "2:4", "layers": "owl"}, "leave out pattern"),
        ({"pattern": "4:2"}, "keeps 1 to 2"),
        ({"samples": 0}, "greater than or equal to 1"),
        ({"group": "column"}, "row"),
        ({"blocks": 3}, "extra"),
    ],
)
def test_wrong_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        WandaOptions.model_validate(options)


@pytest.mark.parametrize(
    "options", [{"group": "layer"}, {"layers": "owl"}, {"recovery_steps": 4}, {"pattern": "1:4"}, {"samples": 3}]
)
@pytest.mark.parametrize("method", [Wanda, SparseGpt])
def test_the_contract_is_kept_with_other_options(method: type[Wanda], options: dict[str, Any]) -> None:
    if options.keys() <= method.Options.model_fields.keys():
        check_method(method, options)


def network(name: str, data: DataSpec, **options: Any) -> Architecture[Any]:
    cls = REGISTRY.get("architecture", name)
    built: Architecture[Any] = cls(cls.Options.model_validate(options), data)
    return built


SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 32}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gpt2", {"n_layers": 1, "width": 16, "heads": 2}),
        ("gpt_rope", {"n_layers": 1, "width": 16, "heads": 2}),
        ("hf", {"config": {"model_type": "gpt2", "n_layer": 1, "n_embd": 16, "n_head": 2}}),
        ("hf", {"config": {"model_type": "opt", "ffn_dim": 24, "word_embed_proj_dim": 16, **SIZES}}),
        ("hf", {"config": {"model_type": "gpt_neox", "intermediate_size": 24, **SIZES}}),
        ("hf", {"config": {"model_type": "llama", "intermediate_size": 24, **SIZES}}),
    ],
)
def test_language_models_are_supported(name: str, options: dict[str, Any]) -> None:
    architecture = network(name, TEXT, **options)
    scope = [c for c in architecture.connections() if c.default]
    assert Wanda(WandaOptions()).unsupported(architecture, scope) is None


@pytest.mark.parametrize(
    ("name", "data", "options", "roles", "text"),
    [
        (
            "skip_mlp",
            VECTORS,
            {"hidden": [4, 4]},
            None,
            r"'hidden1.from_input' is in no module .* roles dense, skip, classif",
        ),
        ("biogpt", TEXT, {"n_layers": 1, "width": 48}, None, "no weight of a layer with one input .* Dendrites"),
        ("gpt2", TEXT, {"n_layers": 1, "width": 16, "heads": 2}, "embedding", "looked up by whole numbers"),
        ("gpt_rope", TEXT, {"n_layers": 1, "width": 16, "heads": 2}, "head", "'head' is in no module that is called"),
    ],
)
def test_layers_whose_inputs_cannot_be_seen_are_refused(
    name: str, data: DataSpec, options: dict[str, Any], roles: str | None, text: str
) -> None:
    architecture = network(name, data, **options)
    scope = [c for c in architecture.connections() if (c.default if roles is None else c.role == roles)]
    reason = SparseGpt(SparseGptOptions()).unsupported(architecture, scope)
    assert reason is not None
    assert re.search(text, reason), reason


def test_what_only_running_tells_is_refused_then() -> None:
    """A network that calls a layer when it is planned, and not with its weights."""

    class Shy(Convolutional):
        def build(self) -> Any:
            built = super().build()
            conv = built.conv
            if not conv.weight.is_meta:
                built.forward = lambda inputs, targets=None: built.out(inputs.mean((2, 3))[:, :1].expand(-1, 5)).mean()
            return built

    shy = Shy(NoOptions(), DataSpec("classification", (4, 5, 4), 4, EXAMPLES))
    assert wanda().unsupported(shy, shy.connections()) is None
    with pytest.raises(UserError, match="'conv' is in no module that is called"):
        pruned(wanda(), shy, 0.5, Examples(4, 5, 4))


def test_the_network_runs_no_further_than_needed() -> None:
    """The last layer is called by the first example of the first depth, and by every one of its own."""
    calls: list[int] = []

    class Counted(Mlp):
        def build(self) -> Any:
            built = super().build()
            built.layers["output"].register_forward_hook(lambda *_: calls.append(1))
            return built

    pruned(wanda(), Counted(MlpOptions(hidden=[6]), VECTORS), 0.5, Examples(8))
    assert len(calls) == 1 + EXAMPLES


def test_a_layer_that_is_called_twice_is_seen_twice() -> None:
    class Repeating(Architecture[NoOptions]):
        kinds = ("classification",)

        def build(self) -> Any:
            class Net(nn.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.layer = nn.Linear(8, 8, bias=False)

                def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
                    logits = self.layer(3 * self.layer(inputs).tanh())[:, :4]
                    return logits if targets is None else cross_entropy(logits, targets)

            return Net()

        def connections(self) -> list[Connection]:
            return [Connection("layer", "layer.weight", "dense", Band("in", 8, 0), Band("out", 8, 1), (8, 8))]

    examples = Examples(8)
    before, network = pruned(wanda(), Repeating(NoOptions(), VECTORS), 0.5, examples)
    weights = before["layer.weight"]
    once = rows_of(weights, examples.inputs, 4)
    twice = rows_of(weights, torch.cat([examples.inputs, 3 * (examples.inputs @ weights.T).tanh()]), 4)
    assert not torch.equal(once, twice), "the example shows nothing"
    assert torch.equal(network.context.masks["layer"], twice)


def test_counts_of_another_cell_leave_no_choice_to_owl() -> None:
    method = wanda(layers="owl")
    context = build_network(method, perceptron(), "all", DensityBudget(36, 0.5, {"hidden1": 30, "output": 6}), None)
    with pytest.raises(UserError, match="not from both"):
        method._counts({"hidden1": 30, "output": 6}, context.context, [])


def test_one_dense_training_serves_every_density(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(
        "architectures: {mlp: {hidden: [8]}}\nbenchmarks: digits\nseeds: [0]\ntraining: {steps: 5}\n"
        "methods: {dense: {}, wanda: {density: [0.5, 0.3]}, sparsegpt: {density: 0.5}, magnitude: {density: 0.5}}\n"
    )
    cells = compile_graph(load_suite(path, REGISTRY).cells, REGISTRY).cells
    assert len({planned.stages[0].hash for planned in cells}) == 1
    path.write_text(path.read_text().replace("sparsegpt: {density: 0.5}", "sparsegpt: {}"))
    with pytest.raises(SuiteError, match=r"suite\.yaml:5.*give a density"):
        load_suite(path, REGISTRY).cells  # noqa: B018
