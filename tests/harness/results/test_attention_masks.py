"""Masks on the scores of attention: what they compute, who may have them, what records say; by the documents' code."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness import Band, Connection, CurrentMasks, DataSpec, Masks, MethodContext, NoOptions
from harness.cli.export import _bundle
from harness.errors import Unsupported, UserError
from harness.testing import check_architecture, check_method
from harness.training.weights import Weights

SUITE = {
    "architectures": "{attending: {}}",
    "benchmarks": "digits",
    "training": "{steps: 20, batch_size: 16, lr: 0.02, weight_decay: 0.1, clip_norm: 1.0}",
}


@pytest.fixture
def code(attention_plugin: str) -> dict[str, Any]:
    scope: dict[str, Any] = {}
    exec(attention_plugin, scope)
    return scope


def weights_of(code: dict[str, Any]) -> tuple[nn.Module, Any, Weights, Tensor, Tensor]:
    """In float64: a network, its gates, its weights, and a batch."""
    torch.manual_seed(0)
    module = code["Rows"]().double().eval()
    architecture = code["Attending"]
    seen, _ = architecture.connections(architecture)
    method = code["Gates"](None)
    scope = (seen,)
    method.attach(MethodContext(module, scope, {}, CurrentMasks(scope), None, None, 0, torch.device("cpu")))
    method.gates = {name: nn.Parameter(0.1 * gate.detach().double()) for name, gate in method.gates.items()}
    inputs, targets = torch.randn(6, 1, 8, 8, dtype=torch.float64), torch.randint(10, (6,))
    return module, method, Weights(module, scope, None, method), inputs, targets


def test_the_documents_code_keeps_its_contract(code: dict[str, Any]) -> None:
    check_architecture(code["Attending"])
    network = code["Attending"](NoOptions(), DataSpec("classification", (1, 8, 8), 10, examples=32))
    check_method(code["Gates"], architecture=network)
    check_method(code["SoftGates"], architecture=network)
    check_method(code["Windowed"], architecture=network, density=0.5)


def test_the_gradient_of_gates_is_the_finite_difference(code: dict[str, Any]) -> None:
    module, method, weights, inputs, targets = weights_of(code)
    gate = method.gates["seen"]

    def loss() -> Tensor:
        weights.materialise()
        found: Tensor = module(inputs, targets)
        return found

    loss().backward()
    weights.pull_back()
    assert module.get_buffer("seen").grad is None
    assert gate.grad is not None and float(gate.grad.abs().min()) > 1e-6
    for row, column in product(range(8), range(8)):
        values = []
        for step in (1e-5, -2e-5):
            gate.data[row, column] += step
            values.append(float(loss().detach()))
        gate.data[row, column] += 1e-5
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(float(gate.grad[row, column]), rel=1e-6, abs=1e-10)


def test_nobody_but_the_method_knows_the_bias(code: dict[str, Any]) -> None:
    module, _, weights, _, _ = weights_of(code)
    weights.materialise()
    assert bool(module.get_buffer("seen").any())
    assert set(weights.trained) == {name for name, _ in module.named_parameters()} and "seen" not in weights.trained
    assert "seen" not in weights.state() and weights.zeros() == {} and weights.raw == {}
    assert weights.inputs["seen"].count_nonzero() == 0


def test_closed_keys_have_no_share_and_a_query_without_keys_sees_all(code: dict[str, Any]) -> None:
    """As where scores of closed keys are minus infinity; the row without any is that of no mask at all."""
    module, _, weights, inputs, _ = weights_of(code)
    mask = torch.rand(8, 8, generator=torch.Generator().manual_seed(1)) < 0.5
    mask[3] = False
    assert mask[[0, 1, 2, 4, 5, 6, 7]].any(1).all()
    query, key, value = module.get_submodule("qkv")(inputs[:, 0]).chunk(3, 2)
    scores = query @ key.transpose(1, 2) / 8**0.5
    bias = torch.where(mask, 0.0, float("-inf"))
    bias[3] = 0
    by_hand = module.get_submodule("head")(((scores + bias).softmax(2) @ value).mean(1))
    with weights.evaluating("hard", Masks({"seen": mask})) as network:
        torch.testing.assert_close(network(inputs), by_hand, rtol=0, atol=1e-12)
    assert bool(module.get_buffer("seen").count_nonzero() == 0), "afterwards it is as before"
    held = Weights(module, weights.connections, Masks({"seen": mask}))
    assert module(inputs).isfinite().all()
    torch.testing.assert_close(module(inputs), by_hand, rtol=0, atol=1e-12)
    held.hold(Masks({"seen": torch.ones(8, 8, dtype=torch.bool)}))
    assert bool(module.get_buffer("seen").count_nonzero() == 0)
    assert not module.get_buffer("seen").requires_grad


def test_queries_rows_and_heads_find_their_axes() -> None:
    module = nn.Module()
    module.weight = nn.Parameter(torch.ones(1))
    module.register_buffer("bias", torch.zeros(3, 2, 4), persistent=False)  # heads, queries, keys
    bands = Band("keys", 4, 0), Band("queries", 2, 1)
    heads = Connection("m", "bias", "m", *bands, (2, 4, 3), out_axis=1, in_axis=2, kind="attention")
    mask = torch.ones(2, 4, 3, dtype=torch.bool)
    mask[1, 2, 0] = False
    Weights(module, (heads,), Masks({"m": mask}))
    assert module.get_buffer("bias").nonzero().tolist() == [[0, 1, 2]]


def test_records_count_attention_apart(lab, attention_plugin: str) -> None:
    here = lab(attention_plugin)
    soft = here.records("{m: {use: gates}}", **SUITE)["m"]
    parameters = 8 * 24 + 24 + 8 * 10 + 10
    assert soft["architecture"]["parameters"] == parameters
    density = soft["density"]
    assert (density["size"], density["kept"], density["connections"]) == (0, 0, {})
    assert density["attention"]["size"] == 64 and density["attention"]["connections"].keys() == {"seen"}
    assert (
        density["attention"]["kept"]
        == 64 * density["attention"]["mask"]
        == density["attention"]["connections"]["seen"]["kept"]
    )
    hard = here.records("{m: {use: windowed, density: 0.5}}", **SUITE)["m"]["density"]
    assert (hard["size"], hard["kept"], hard["mask"]) == (80, 40, 0.5)
    assert (hard["attention"]["size"], hard["attention"]["kept"]) == (64, 36 - 6)
    dense = here.records("{m: {use: dense}}", **SUITE)["m"]["density"]
    assert dense["attention"]["mask"] == dense["mask"] == 1


def test_what_a_method_leaves_in_the_network_is_counted(lab, attention_plugin: str) -> None:
    """64 soft gates beside 306 weights; where the final masks are hard, the gates were for training alone."""
    here = lab(attention_plugin)
    soft = here.records("{m: {use: soft_gates}}", **SUITE)["m"]
    assert soft["density"]["added"] == {"gates": 64} and soft["method"]["trained_only"] == {}
    assert soft["density"]["total"] == (306 + 64) / 306 and soft["architecture"]["parameters"] == 306
    hard = here.records("{m: {use: gates}}", **SUITE)["m"]
    assert hard["method"]["trained_only"] == {"own": 64} and hard["density"]["added"] == {}
    assert hard["density"]["total"] == 1
    dense = here.records("{m: {use: dense}}", **SUITE)["m"]
    assert dense["density"]["added"] == dense["method"]["trained_only"] == {}


def test_gates_are_trained_and_the_buffer_is_not_saved(lab, attention_plugin: str) -> None:
    here = lab(attention_plugin)
    planned = here.run(here.cells("{m: {use: gates}}", **SUITE)["m"])
    state = here.store.state(planned.stages[-1].hash)
    assert "seen" not in state["weights"]
    method = here.registry.get("method", "gates")(None)
    network = here.runner.restored(planned.stages[-1], planned.cell)
    method.attach(network.context)
    moved = (state["method"]["seen"] - method.gates["seen"].detach()).abs()
    assert float(moved.min()) > 0, "each of them has a gradient"


def test_other_methods_leave_attention_alone(lab, attention_plugin: str) -> None:
    here = lab(attention_plugin)
    density = here.records("{m: {use: random, density: 0.5}}", **SUITE)["m"]["density"]
    assert density["connections"].keys() == {"head"} and density["attention"] is None


def test_a_scope_that_names_attention_is_refused_for_other_methods(lab, attention_plugin: str) -> None:
    here = lab(attention_plugin)
    with pytest.raises(
        UserError, match=r"'rows' of 'attending' is of kind attention, and method 'm' masks weight only"
    ):
        here.cells("{m: {use: random, density: 0.5}}", scope="[rows, classifier]", **SUITE)
    assert here.cells("{m: {use: gates}, n: {use: dense}}", scope="[rows]", **SUITE).keys() == {"m", "n"}


# --- networks that do not do what their connection says -------------------------------------------


def test_a_bias_that_is_no_bias_on_scores_is_found(code: dict[str, Any]) -> None:
    class Unused(code["Rows"]):
        def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
            logits: Tensor = self.head(inputs.reshape(-1, 8, 8).mean(1))
            return logits if targets is None else cross_entropy(logits, targets)

    class Turned(code["Rows"]):
        def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
            query, key, value = self.qkv(inputs.reshape(-1, 8, 8)).chunk(3, dim=2)
            shares = (query @ key.transpose(1, 2) + self.seen.t()).softmax(2)
            logits: Tensor = self.head((shares @ value).mean(1))
            return logits if targets is None else cross_entropy(logits, targets)

    class Saved(code["Rows"]):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(8, 8))

    class Masking(code["Rows"]):
        def __init__(self) -> None:
            super().__init__()
            self.seen += 1

    for network, message in (
        (Unused, "'seen' changes nothing: add it to the scores"),
        (Turned, "with queries as rows"),
        (Saved, r"no buffer outside state_dict\(\) 'seen'"),
        (Masking, "must be zeros"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_architecture(type("Faulty", (code["Attending"],), {"build": lambda self, cls=network: cls()}))


def test_what_no_format_holds_is_not_exported(lab, attention_plugin: str) -> None:
    here = lab(attention_plugin)
    planned = here.cells("{m: {use: gates}}", **SUITE)["m"]
    with pytest.raises(Unsupported, match="has attention masks, which no format holds"):
        _bundle(planned, here.network(planned), here.runner)
