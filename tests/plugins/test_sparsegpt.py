"""SparseGPT against optimal brain surgeon with explicit inverses, column by column, in loops and in float64."""

from typing import Any

import pytest
import torch
from layerwise import EXAMPLES, Convolutional, Examples, patches, pruned
from torch import Tensor

from harness import DataSpec, HarnessError, NOfM, NoOptions
from harness_architectures.mlp import Mlp, MlpOptions
from harness_post_training.sparsegpt import SparseGpt, SparseGptOptions
from harness_post_training.surgeon import surgeon

VECTORS = DataSpec("classification", (8,), 4, EXAMPLES)


def sparsegpt(**options: Any) -> SparseGpt:
    return SparseGpt(SparseGptOptions(samples=EXAMPLES, **options))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_elimination(
    weights: Tensor, hessian: Tensor, keep: int, *, block: int, damping: float, pattern: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor]:
    """What the paper says, without a Cholesky factor: the inverse of H among the columns left, each anew."""
    new, h = weights.clone(), hessian.clone()
    rows, columns = weights.shape
    for j in range(columns):
        if h[j, j] == 0:
            h[j, j] = 1
            new[:, j] = 0
    h += damping * h.diagonal().mean() * torch.eye(columns, dtype=h.dtype)
    left = [torch.linalg.inv(h[j:, j:]) for j in range(columns)]  # of column j and all after it
    mask = torch.ones(rows, columns, dtype=torch.bool)
    step = pattern[1] if pattern else block
    for begin in range(0, columns, block):
        for start in range(begin, min(begin + block, columns), step):
            group = range(start, min(start + step, columns))
            if pattern:
                for i in range(rows):
                    losses = {j: float(new[i, j] ** 2 / left[j][0, 0]) for j in group}
                    for j in sorted(losses, key=lambda j: (-losses[j], j))[pattern[0] :]:
                        mask[i, j] = False
            else:
                losses_of = {(i, j): float(new[i, j] ** 2 / left[j][0, 0]) for i in range(rows) for j in group}
                count = keep * group.stop // columns - keep * group.start // columns
                for i, j in sorted(losses_of, key=lambda at: (-losses_of[at], at))[count:]:
                    mask[i, j] = False
            for j in group:
                for i in range(rows):
                    if not mask[i, j]:
                        change = -new[i, j] / left[j][0, 0] * left[j][0]
                        for later in range(j, columns):
                            new[i, later] += change[later - j]
                        new[i, j] = 0
    return mask, new


# --- the formula ------------------------------------------------------------------------------


def test_by_hand() -> None:
    """H = (2 1; 1 2), weights 1, 1: [H^-1]_00 = 2/3 and, of the second alone, 1/2; losses 1.5 and 2.

    The first goes, and the second, which is left, makes the change H-orthogonal to itself: -1 + 2 (w - 1) = 0.
    """
    weights, hessian = torch.ones(1, 2, dtype=torch.float64), torch.tensor([[2.0, 1], [1, 2]], dtype=torch.float64)
    mask, new = surgeon(weights, hessian, 1, None, 128, 0.0)
    assert mask.tolist() == [[False, True]]
    torch.testing.assert_close(new, torch.tensor([[0, 1.5]], dtype=torch.float64))
    assert weights.tolist() == [[1, 1]] and hessian.tolist() == [[2, 1], [1, 2]], "given tensors stay as they are"


@pytest.mark.parametrize("block", [3, 4, 5, 128])
@pytest.mark.parametrize("keep", [0, 7, 25, 42, 60])
def test_masks_and_weights_are_those_of_elimination(block: int, keep: int) -> None:
    weights, read = random(5, 12), random(9, 12, seed=1)  # fewer samples than inputs
    hessian = 2 * read.T @ read / 9
    mask, new = surgeon(weights, hessian, keep, None, block, 0.01)
    expected, values = by_elimination(weights, hessian, keep, block=block, damping=0.01)
    assert torch.equal(mask, expected) and int(mask.sum()) == keep
    torch.testing.assert_close(new, values, rtol=1e-8, atol=1e-10)
    assert torch.equal(new == 0, ~mask)


@pytest.mark.parametrize(("text", "block"), [("2:4", 128), ("2:4", 4), ("1:3", 7), ("5:6", 4)])
def test_patterns_too(text: str, block: int) -> None:
    weights, read, pattern = random(5, 12), random(40, 12, seed=1), NOfM.of(text)
    hessian = 2 * read.T @ read / 40
    mask, new = surgeon(weights, hessian, 0, pattern, block, 0.01)
    expected, values = by_elimination(weights, hessian, 0, block=12, damping=0.01, pattern=(pattern.n, pattern.m))
    assert torch.equal(mask, expected)
    assert (mask.reshape(-1, pattern.m).sum(1) == pattern.n).all()
    torch.testing.assert_close(new, values, rtol=1e-8, atol=1e-10)


def test_with_one_block_the_rest_is_the_least_squares_solution_where_only_the_first_columns_go() -> None:
    """Removing columns 0 and 1 of every row: nothing was frozen before, so all that is left is optimal."""
    weights, read = random(3, 6), random(50, 6, seed=3)
    weights[:, :2] *= 1e-6
    hessian = read.T @ read
    mask, new = surgeon(weights, hessian, 12, None, 128, 0.0)
    assert not mask[:, :2].any() and mask[:, 2:].all()
    expected = torch.linalg.lstsq(read[:, 2:], read @ weights.T).solution.T
    torch.testing.assert_close(new[:, 2:], expected, rtol=1e-8, atol=1e-12)


def test_dead_inputs_lose_their_weights_first() -> None:
    read = random(30, 6, seed=2)
    read[:, 4] = 0
    weights = random(4, 6)
    weights[:, 4] = 100
    mask, new = surgeon(weights, read.T @ read, 20, None, 128, 0.01)
    assert not mask[:, 4].any() and mask[:, :4].all() and not new[:, 4].any()
    mask, new = surgeon(weights, read.T @ read, 22, None, 128, 0.01)
    assert int(mask.sum()) == 22 and not new[:, 4].any()


def test_a_hessian_that_cannot_be_inverted_says_what_to_do() -> None:
    read = random(2, 6)
    with pytest.raises(HarnessError, match=r"6 inputs are not positive definite with damping 0: give a larger"):
        surgeon(random(3, 6), -read.T @ read, 9, None, 128, 0.0)


# --- networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [0.3, 0.5, 0.77])
def test_a_two_layer_network_is_pruned_as_loops_say(density: float) -> None:
    """The second layer's Hessian is of what the pruned and updated first one gives."""
    examples = Examples(8)
    before, network = pruned(sparsegpt(block=4), Mlp(MlpOptions(hidden=[6]), VECTORS), density, examples)
    kept = network.context.masks.kept
    assert sum(kept.values()) == round(density * 72)
    read, found = examples.inputs, []
    for name in ("hidden1", "output"):
        hessian = sum((2 / EXAMPLES * torch.outer(x, x) for x in read), torch.zeros(()))
        weights = before[f"layers.{name}.weight"]
        mask, new = by_elimination(weights, hessian, kept[name], block=4, damping=0.01)
        assert torch.equal(network.context.masks[name], mask)
        module = network.module.layers[name]
        torch.testing.assert_close(module.weight, new, rtol=1e-8, atol=1e-10, check_stride=False)
        found.append(new)
        read = (read @ new.T + before[f"layers.{name}.bias"]).relu()
    dense = (examples.inputs @ before["layers.hidden1.weight"].T + before["layers.hidden1.bias"]).relu()
    _, other = by_elimination(before["layers.output.weight"], dense.T @ dense, kept["output"], block=4, damping=0.01)
    assert not torch.allclose(found[1], other), "the example shows nothing"


def test_a_convolution_is_a_matrix_of_patches() -> None:
    """Features in the order of the kernel's places, each with its inputs, so that a pattern's groups are inputs."""
    examples = Examples(4, 5, 4)
    data = DataSpec("classification", (4, 5, 4), 4, EXAMPLES)
    before, network = pruned(
        sparsegpt(pattern="2:4", indivisible="dense"), Convolutional(NoOptions(), data), 0.5, examples
    )
    read = torch.stack([patch.permute(1, 2, 0).flatten() for patch in patches(examples.inputs)])
    weights = before["conv.weight"].permute(0, 2, 3, 1).flatten(1)
    mask, new = by_elimination(weights, read.T @ read, 0, block=24, damping=0.01, pattern=(2, 4))
    found = network.module.conv.weight.detach().permute(0, 2, 3, 1).flatten(1)
    torch.testing.assert_close(found, new, rtol=1e-8, atol=1e-10)
    assert (network.context.masks["conv"].sum(1) == 2).all() and int(mask.sum()) == 60
    assert network.context.masks["out"].all()
    assert torch.equal(network.module.out.weight, before["out.weight"]), "5 inputs: dense"


def test_outputs_stay_nearer_than_by_masks_alone() -> None:
    examples = Examples(8)
    errors = {}
    for damping in (0.01, 1e9):  # so much damping that nothing makes up for anything
        before, network = pruned(sparsegpt(damping=damping), Mlp(MlpOptions(hidden=[6]), VECTORS), 0.5, examples)
        change = network.module.layers["hidden1"].weight.detach() - before["layers.hidden1.weight"]
        errors[damping] = float((examples.inputs @ change.T).square().sum())
    assert errors[0.01] < 0.7 * errors[1e9]
