"""The head's loss in chunks against all logits at once, in float64 or by torch's own functions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import harness.core.head_loss
from harness import head_loss

ROWS, WIDTH, VOCABULARY, PADDED = 20, 8, 600, 640


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Chunks of 7 rows, the last one of 6: 20 rows are enough to be split."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setitem(harness.core.head_loss.ROWS, "cpu", 7)
    yield
    torch.set_num_threads(threads)


def drawn(dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Features, padded weight and targets, of which three are -100."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(PADDED, WIDTH, generator=generator, dtype=torch.float64).to(dtype)
    targets = torch.randint(VOCABULARY, (ROWS,), generator=generator)
    targets[[0, 9, 19]] = -100
    return features, weight, targets


def by_hand(features: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and gradients row by row in float64, from the definition."""
    x, w = features.double(), weight[:VOCABULARY].double()
    rows = [i for i, target in enumerate(targets.tolist()) if target != -100]
    total, by_x, by_w = 0.0, torch.zeros_like(x), torch.zeros_like(weight, dtype=torch.float64)
    for i in rows:
        logits = w @ x[i]
        p = (logits - logits.max()).exp()
        p /= p.sum()
        total -= float(p[targets[i]].log())
        p[targets[i]] -= 1
        by_x[i] = p @ w / len(rows)
        by_w[:VOCABULARY] += torch.outer(p, x[i]) / len(rows)
    return torch.tensor(total / len(rows), dtype=torch.float64), by_x, by_w


def plain(features: Tensor, weight: Tensor, targets: Tensor, vocabulary: int = VOCABULARY) -> Tensor:
    logits = F.linear(features, weight)[..., :vocabulary]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten())


def differentiated(way, features: Tensor, weight: Tensor, targets: Tensor, scale: float = 1.0):
    """The loss and both gradients."""
    x, w = features.detach().clone().requires_grad_(), weight.detach().clone().requires_grad_()
    loss = way(x, w, targets)
    (scale * loss).backward()
    return loss.detach(), x.grad, w.grad


def ours(features: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return head_loss(features, weight, targets, VOCABULARY)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_loss_and_gradients_are_those_of_the_definition(dtype: torch.dtype, tolerance: float) -> None:
    case = drawn(dtype)
    for found, expected in zip(differentiated(ours, *case), by_hand(*case), strict=True):
        assert found.dtype == dtype
        assert (found - expected).abs().max() < tolerance * max(1.0, float(expected.abs().max()))
    by_weight = differentiated(ours, *case)[2]
    assert by_weight[VOCABULARY:].eq(0).all() and by_weight[:VOCABULARY].ne(0).all()


def test_the_chunks_are_used_only_where_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    features, weight, targets = drawn()
    graph = head_loss(features.requires_grad_(), weight, targets, VOCABULARY).grad_fn
    assert "_SummedLoss" in str(graph.next_functions[0][0].next_functions)
    few = head_loss(features[:6].detach(), weight.requires_grad_(), targets[:6], VOCABULARY)
    small = head_loss(features.detach(), weight, targets.clamp(max=99), 100)
    assert {type(loss.grad_fn).__name__ for loss in (few, small)} == {"NllLossBackward0"}
    exact = plain(features.detach(), weight, targets.clamp(max=99), 100)
    assert torch.equal(small, exact)


def test_nothing_to_predict_is_nan_without_gradient_as_in_torch() -> None:
    features, weight, targets = drawn()
    nothing = torch.full_like(targets, -100)
    for found, expected in zip(
        differentiated(ours, features, weight, nothing), differentiated(plain, features, weight, nothing), strict=True
    ):
        assert torch.equal(found, expected) or (found.isnan() and expected.isnan())


@pytest.mark.parametrize("target", [-1, VOCABULARY, PADDED])
def test_targets_out_of_range_are_refused(target: int) -> None:
    features, weight, targets = drawn()
    targets[3] = target
    with pytest.raises((RuntimeError, IndexError), match="out of bounds"):
        ours(features, weight, targets)


def test_improbable_targets_keep_a_finite_loss() -> None:
    features, weight, targets = drawn()
    case = 40 * features, weight, targets
    loss, *gradients = differentiated(ours, *case)
    assert loss > 200  # far below the smallest float32 probability, exp(-103)
    for found, expected in zip((loss, *gradients), by_hand(*case), strict=True):
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_autocast_rounds_only_the_products() -> None:
    features, weight, targets = drawn()
    exact = by_hand(features, weight, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = differentiated(ours, features, weight, targets)
        expected = differentiated(plain, features, weight, targets)
    assert found[0].dtype == torch.float32 and abs(found[0] - expected[0]) < 1e-5
    for ours_, torchs, true in zip(found[1:], expected[1:], exact[1:], strict=True):
        assert ours_.dtype == torchs.dtype == torch.float32
        assert (ours_ - true).norm() < 1.2 * (torchs - true).norm() < 0.01 * true.norm()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        double = differentiated(ours, features.double(), weight.double(), targets)
    assert abs(double[0] - exact[0]) < 1e-12


def test_weights_in_bfloat16_get_gradients_in_bfloat16() -> None:
    features, weight, targets = drawn(torch.bfloat16)
    found, expected = (differentiated(way, features, weight, targets) for way in (ours, plain))
    assert found[0].dtype == torch.float32 and abs(found[0] - expected[0]) < 1e-5
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert one.dtype == torch.bfloat16
        assert (one - other).norm() < 0.01 * other.norm()


def test_only_what_is_wanted_gets_a_gradient() -> None:
    features, weight, targets = drawn()
    _, by_x, by_w = differentiated(ours, features, weight, targets)
    x = features.clone().requires_grad_()
    ours(x, weight, targets).backward()
    w = weight.clone().requires_grad_()
    ours(features, w, targets).backward()
    assert torch.equal(x.grad, by_x) and torch.equal(w.grad, by_w) and weight.grad is None
    assert ours(features, weight, targets).grad_fn is None
    with torch.no_grad():
        silent = ours(x, w, targets)
    assert not silent.requires_grad and torch.equal(silent, ours(features, weight, targets))


class Products(TorchDispatchMode):
    """Counts matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += "mm" in str(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("by_features", "by_weight", "grad", "products"),
    [(0, 0, 1, 1), (1, 1, 0, 1), (1, 0, 1, 2), (0, 1, 1, 2), (1, 1, 1, 3)],
)
def test_each_gradient_costs_a_product_and_evaluation_none(
    by_features: int, by_weight: int, grad: int, products: int
) -> None:
    features, weight, targets = drawn()
    features.requires_grad_(bool(by_features))
    weight.requires_grad_(bool(by_weight))
    with Products() as seen, torch.set_grad_enabled(bool(grad)):
        ours(features, weight, targets)
    assert seen.count == 3 * products  # three chunks


def test_a_graph_may_be_kept_and_a_tied_weight_collects_both_gradients() -> None:
    features, weight, targets = drawn(torch.float64)
    _, by_x, by_w = differentiated(ours, features, weight, targets)
    x, w = features.clone().requires_grad_(), weight.clone().requires_grad_()
    loss = ours(x, w, targets)
    (3 * loss).backward(retain_graph=True)
    assert (x.grad - 3 * by_x).abs().max() < 1e-12
    loss.backward()
    assert (x.grad - 4 * by_x).abs().max() < 1e-12 and (w.grad - 4 * by_w).abs().max() < 1e-12

    ids = torch.arange(ROWS) % VOCABULARY
    tied = [weight.clone().requires_grad_() for _ in range(2)]
    for table, way in zip(tied, (ours, plain), strict=True):
        way(F.embedding(ids, table).tanh(), table, targets).backward()
    assert (tied[0].grad - tied[1].grad).abs().max() < 1e-12


def test_features_may_be_views() -> None:
    features, weight, targets = drawn()
    view = features.view(4, 5, WIDTH).transpose(0, 1)
    turned = targets.view(4, 5).T
    assert not view.is_contiguous()
    loss, by_x, by_w = differentiated(
        lambda x, w, t: ours(x.transpose(0, 1), w, t), view.transpose(0, 1), weight, turned
    )
    expected = by_hand(features, weight, targets)
    assert abs(loss - expected[0]) < 1e-5
    assert (by_x.flatten(0, 1) - expected[1]).abs().max() < 1e-6 and (by_w - expected[2]).abs().max() < 1e-6


def test_bits_do_not_change_between_runs() -> None:
    first, second = (differentiated(ours, *drawn()) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.filterwarnings("ignore")
def test_compiling_changes_no_number() -> None:
    case = drawn(torch.float64)
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    for found, expected in zip(differentiated(compiled, *case, 0.25), differentiated(ours, *case, 0.25), strict=True):
        assert (found - expected).abs().max() < 1e-12


def test_the_logits_are_never_held_together() -> None:
    """128 MiB of logits: a step in a process of its own takes less than half of that."""
    code = """if True:
        import resource, torch
        from harness import head_loss
        torch.set_num_threads(1)
        def step(rows):
            features = torch.randn(rows, 16, requires_grad=True)
            weight = torch.randn(8192, 16, requires_grad=True)
            head_loss(features, weight, torch.zeros(rows, dtype=torch.long), 8192).backward()
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(-step(300) + step(4096))
    """
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 64
