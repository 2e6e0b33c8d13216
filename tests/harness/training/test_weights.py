"""Raw and effective weights, against naive autograd in float64."""

import copy
from collections.abc import Mapping
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from harness import Band, Connection, Masks, NoOptions, SparsityMethod
from harness.core.phases import Train
from harness.suites.schema import Training
from harness.training.optimizers import Optimizers
from harness.training.weights import Weights

IN, A, B, OUT = Band("in", 5, 0), Band("a", 4, 1), Band("b", 3, 2), Band("out", 2, 3)
CONNECTIONS = (
    Connection("a", "a.weight", "dense", IN, A, (4, 5)),
    Connection("b.in", "b.weight", "skip", IN, B, (3, 5), columns=(0, 5)),
    Connection("b.a", "b.weight", "dense", A, B, (3, 4), columns=(5, 9)),
    Connection("turned", "turned", "dense", B, OUT, (2, 3), out_axis=1, in_axis=0),
    Connection("frozen", "frozen.weight", "dense", B, B, (3, 3)),
    Connection("part", "head.weight", "head", OUT, OUT, (1, 2), rows=(1, 2)),
)


class Net(nn.Module):
    """A fused parameter, a transposed one, a frozen one, one that is only partly in scope, biases."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 4), nn.Linear(9, 3)
        self.turned = nn.Parameter(torch.empty(3, 2))
        self.frozen = nn.Linear(3, 3).requires_grad_(False)
        self.head = nn.Linear(2, 2)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.double()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(generator=generator)

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Tensor:
        a = self.a(x).tanh()
        b = self.frozen(self.b(torch.cat([x, a], 1)).tanh()).tanh()
        y: Tensor = self.head((b @ self.turned).tanh())
        return y if targets is None else (y - targets).square().mean()


class Gated(SparsityMethod[NoOptions]):
    """Effective weight = raw * sigmoid(a gate per row and column); its price uses the very same gates."""

    mode = "composed"

    def __init__(self) -> None:
        super().__init__(NoOptions())
        generator = torch.Generator().manual_seed(1)
        self.rows = {
            c.name: nn.Parameter(torch.randn(c.shape[0], 1, generator=generator).double()) for c in CONNECTIONS
        }
        self.columns = {
            c.name: nn.Parameter(torch.randn(c.shape[1], generator=generator).double()) for c in CONNECTIONS
        }
        self.gates: dict[str, Tensor] = {}

    @property
    def own(self) -> dict[str, nn.Parameter]:
        rows = {f"{name}.rows": p for name, p in self.rows.items()}
        return {**rows, **{f"{name}.columns": p for name, p in self.columns.items()}}

    def compose(self, connection: Connection, raw: Tensor) -> Tensor:
        gate = torch.sigmoid(self.rows[connection.name] + self.columns[connection.name])
        self.gates[connection.name] = gate
        return raw * gate

    def price(self) -> Tensor:
        return torch.stack([gate.square().sum() for gate in self.gates.values()]).sum() * 0.01


def batch(examples: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return (
        torch.randn(examples, 5, generator=generator, dtype=torch.float64),
        torch.randn(examples, 2, generator=generator, dtype=torch.float64),
    )


def some_masks(seed: int = 3, density: float = 0.5) -> Masks:
    generator = torch.Generator().manual_seed(seed)
    return Masks({c.name: torch.rand(c.shape, generator=generator) < density for c in CONNECTIONS})


def whole(masks: Masks, net: Net) -> dict[str, Tensor]:
    """Masks of whole parameters, written out by hand; True where no connection is."""
    full = {name: torch.ones_like(p, dtype=torch.bool) for name, p in net.named_parameters()}
    full["a.weight"] = masks["a"]
    full["b.weight"] = torch.cat([masks["b.in"], masks["b.a"]], 1)
    full["turned"] = masks["turned"].t()
    full["frozen.weight"] = masks["frozen"]
    full["head.weight"] = torch.cat([torch.ones(1, 2, dtype=torch.bool), masks["part"]])
    return full


def parameter_state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def close(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is None and b is None
    return bool(((a - b).norm() <= 1e-10 * b.norm()).all())


# --- composed ---------------------------------------------------------------------------------


def naive(net: Net, method: Gated, loss: bool, price: bool) -> dict[str, Tensor | None]:
    """Gradients of loss (over the whole batch at once) + price by plain autograd through everything."""
    raw = {n: p.detach().clone().requires_grad_(p.requires_grad) for n, p in net.named_parameters()}
    own = {n: p.detach().clone().requires_grad_() for n, p in method.own.items()}
    gates = {c.name: torch.sigmoid(own[f"{c.name}.rows"] + own[f"{c.name}.columns"]) for c in CONNECTIONS}
    effective = dict(raw)
    effective["a.weight"] = raw["a.weight"] * gates["a"]
    effective["b.weight"] = raw["b.weight"] * torch.cat([gates["b.in"], gates["b.a"]], 1)
    effective["turned"] = raw["turned"] * gates["turned"].t()
    effective["frozen.weight"] = raw["frozen.weight"] * gates["frozen"]
    ones = torch.ones(1, 2, dtype=torch.float64)
    effective["head.weight"] = raw["head.weight"] * torch.cat([ones, gates["part"]])
    total = torch.zeros((), dtype=torch.float64)
    if loss:
        total = total + functional_call(net, effective, batch())
    if price:
        total = total + 0.01 * torch.cat([gate.square().reshape(-1) for gate in gates.values()]).sum()
    wanted = {n: t for n, t in {**raw, **own}.items() if t.requires_grad}
    found = dict(zip(wanted, torch.autograd.grad(total, list(wanted.values()), allow_unused=True), strict=True))
    return {name: found.get(name) for name in [*raw, *own]}


@pytest.mark.parametrize("micro_batches", [1, 4])
@pytest.mark.parametrize("price", [False, True])
def test_composed_gradients_equal_naive_autograd(micro_batches: int, price: bool) -> None:
    net, method = Net(), Gated()
    expected = naive(net, method, loss=True, price=price)
    # A frozen parameter gets no gradient from the loss, and the module cannot pass one to its gates.
    without_frozen = {name for name in expected if name.startswith("frozen.rows") or name.startswith("frozen.columns")}
    weights = Weights(net, CONNECTIONS, None, method)
    for _ in range(2):  # the second step must not see anything of the first
        for p in [*weights.trained.values(), *method.own.values()]:
            p.grad = None
        weights.materialise()
        x, y = batch()
        for part_x, part_y in zip(x.chunk(micro_batches), y.chunk(micro_batches), strict=True):
            (net(part_x, part_y) / micro_batches).backward()
        weights.pull_back(method.price() if price else None)
        found = {**{n: p.grad for n, p in weights.trained.items()}, **{n: p.grad for n, p in method.own.items()}}
        for name, gradient in expected.items():
            if name not in without_frozen:
                assert close(found[name], gradient), name
    assert all(net.get_parameter(name).grad is None for name in weights.raw)
    assert not weights.raw["frozen.weight"].requires_grad and weights.raw["frozen.weight"].grad is None
    for name in without_frozen:
        priced = naive(net, method, loss=False, price=price)[name] if price else None
        assert close(found[name], priced), name


def test_composed_module_holds_effective_weights_and_leaves_the_rest_alone() -> None:
    net, method = Net(), Gated()
    before = parameter_state(net)
    weights = Weights(net, CONNECTIONS, None, method)
    identities = {name: id(p) for name, p in net.named_parameters()}
    weights.materialise()
    gate = torch.sigmoid(method.rows["b.a"] + method.columns["b.a"])
    assert torch.allclose(net.b.weight[:, 5:], before["b.weight"][:, 5:] * gate, rtol=1e-14, atol=0)
    assert torch.equal(net.head.weight[:1], before["head.weight"][:1])
    assert torch.equal(net.a.bias, before["a.bias"])
    assert identities == {name: id(p) for name, p in net.named_parameters()}
    assert torch.equal(weights.raw["b.weight"], before["b.weight"])
    assert {n: t.tolist() for n, t in weights.state().items()} == {n: t.tolist() for n, t in before.items()}


class Untouched(SparsityMethod[NoOptions]):
    """Its effective weights are the raw ones, not even copied."""

    mode = "composed"

    def compose(self, connection: Connection, raw: Tensor) -> Tensor:
        return raw


def test_a_composed_method_that_changes_nothing_trains_as_a_dense_network() -> None:
    dense, composed = Net(), Net()
    networks = [Weights(dense, CONNECTIONS), Weights(composed, CONNECTIONS, None, Untouched(NoOptions()))]
    for weights in networks:
        optimizer = torch.optim.SGD(weights.trained.values(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            weights.materialise()
            weights.module(*batch()).backward()
            weights.pull_back()
            optimizer.step()
    first, second = (weights.state() for weights in networks)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(weight.data_ptr() != composed.get_parameter(name).data_ptr() for name, weight in weights.raw.items())


def test_composed_pull_back_without_any_gradient_is_harmless() -> None:
    weights = Weights(Net(), CONNECTIONS, None, Gated())
    weights.materialise()
    weights.pull_back()
    assert all(raw.grad is None for raw in weights.raw.values())


# --- projected --------------------------------------------------------------------------------


def training(optimizer: str, **more: Any) -> Training:
    return Training.model_validate({"steps": 30, "optimizer": optimizer, "lr": 0.05, "clip_norm": 1.0, **more})


def step(weights: Weights, optimizers: Optimizers, number: int) -> None:
    optimizers.zero_grad()
    weights.module(*batch()).backward()
    weights.pull_back()
    optimizers.step(number)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_projected_training_equals_naive_masked_autograd(optimizer: str) -> None:
    """Against where(mask, w, 0) under autograd, with torch's unfused optimizers, decay and clipping."""
    masks, settings = some_masks(), training(optimizer, weight_decay=0.1, momentum=0.9)
    net, reference = Net(), Net()
    weights = Weights(net, CONNECTIONS, masks)
    optimizers = Optimizers(weights.owned(False), (), settings, Train(30))

    keep = whole(masks, reference)
    raw = {n: nn.Parameter(p.detach() * keep[n], p.requires_grad) for n, p in reference.named_parameters()}
    groups = [
        {"params": [p for p in raw.values() if p.requires_grad and p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in raw.values() if p.requires_grad and p.ndim == 1], "weight_decay": 0.0},
    ]
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    own: Any = {"momentum": 0.9} if optimizer == "sgd" else {}
    naive_optimizer = kinds[optimizer](groups, lr=0.05, foreach=False, **own)
    for number in range(30):
        step(weights, optimizers, number)
        for c in CONNECTIONS:
            assert (c.region(net.get_parameter(c.parameter))[~masks[c.name]] == 0).all()
        for group in naive_optimizer.param_groups:
            group["lr"] = 0.05 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * number / 30, dtype=torch.float64)).item())
        naive_optimizer.zero_grad()
        functional_call(reference, {n: torch.where(keep[n], p, 0.0) for n, p in raw.items()}, batch()).backward()
        norm = torch.cat([p.grad.reshape(-1) for p in raw.values() if p.grad is not None]).norm()
        for p in raw.values():
            if p.grad is not None:
                p.grad *= min(1.0, 1.0 / (norm.item() + 1e-6))
        naive_optimizer.step()
    for name, parameter in net.named_parameters():
        assert close(parameter, raw[name]), name
    assert not close(net.a.weight, Net().a.weight)


@pytest.mark.parametrize("poison", [float("inf"), float("-inf"), float("nan"), 1e30])
def test_gradients_of_masked_entries_do_no_harm_and_do_not_count(poison: float) -> None:
    masks = some_masks()
    net = Net()
    weights = Weights(net, CONNECTIONS, masks)
    optimizers = Optimizers(weights.owned(False), (), training("sgd", momentum=0, schedule="constant"), Train(5))
    before = parameter_state(net)
    for name, keep in whole(masks, net).items():
        if net.get_parameter(name).requires_grad:
            # As backward() does: a gradient lies in memory as its parameter does.
            net.get_parameter(name).grad = torch.empty_like(before[name]).copy_(torch.where(keep, 0.01, poison))
    weights.pull_back()
    optimizers.step(0)
    for name, keep in whole(masks, net).items():
        moved = net.get_parameter(name)
        assert torch.isfinite(moved).all()
        if moved.requires_grad:  # the norm of what is active is far below 1: no clipping
            assert torch.allclose(moved, torch.where(keep, before[name] - 0.05 * 0.01, 0.0), rtol=1e-14)


class Dense(SparsityMethod[NoOptions]):
    dense_updates = True


def test_dense_updates_reach_every_weight_and_masks_clear_them_afterwards() -> None:
    """Ten steps of plain Adam, each followed by zeros; the state of masked entries is that of any other."""
    masks, net, reference = some_masks(), Net(), Net()
    weights = Weights(net, CONNECTIONS, masks, Dense(NoOptions()))
    assert len(weights.owned(lasting=True)) == len(list(net.parameters()))  # none of them compact
    optimizers = Optimizers(weights.owned(False), (), training("adam", clip_norm=None, schedule="constant"), Train(12))
    keep = whole(masks, reference)
    naive = torch.optim.Adam([p for p in reference.parameters() if p.requires_grad], lr=0.05)
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            parameter.mul_(keep[name])
    for number in range(10):
        step(weights, optimizers, number)
        weights.clear()
        naive.zero_grad()
        reference(*batch()).backward()
        naive.step()
        with torch.no_grad():
            for name, parameter in reference.named_parameters():
                parameter.mul_(keep[name])
    for (name, parameter), expected in zip(net.named_parameters(), reference.parameters(), strict=True):
        assert close(parameter, expected), name
        for key in ("exp_avg", "exp_avg_sq") if parameter.requires_grad else ():
            assert close(optimizers.all[0].state[parameter][key], naive.state[expected][key]), (name, key)
    step(weights, optimizers, 10)
    moved = net.a.weight.detach().clone()
    assert bool(moved[~masks["a"]].any())
    state = optimizers.all[0].state[net.a.weight]["exp_avg"].clone()
    weights.hold(Masks({**masks, "a": ~masks["a"]}), optimizers.reset)
    assert torch.equal(net.a.weight, moved * ~masks["a"])  # what opens stays where the step has put it
    assert torch.equal(optimizers.all[0].state[net.a.weight]["exp_avg"], state)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_holding_clears_inf_and_nan_weights_in_every_type(dtype: torch.dtype) -> None:
    layer = nn.Linear(4, 3).to(dtype)
    c = Connection("c", "weight", "dense", A, B, (3, 4))
    mask = torch.tensor([[True, False, True, False]] * 3)
    with torch.no_grad():
        layer.weight[:, 1], layer.weight[:, 3] = torch.inf, torch.nan
    kept = layer.weight.detach().clone()
    weights = Weights(layer, [c], Masks({"c": mask}))
    assert torch.equal(layer.weight[mask], kept[mask])
    assert (layer.weight[~mask] == 0).all()
    assert weights.zeros() == {"c": 6}
    layer.weight.grad = torch.full((3, 4), torch.nan, dtype=dtype).masked_fill(mask, 2.0)
    weights.pull_back()
    assert layer.weight.grad.tolist() == torch.where(mask, 2.0, 0.0).tolist()


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_changed_entries_lose_their_optimizer_state_and_closed_ones_stay_closed(optimizer: str) -> None:
    first, second = some_masks(3), some_masks(4)
    net = Net()
    weights = Weights(net, CONNECTIONS, first)
    optimizers = Optimizers(weights.owned(False), (), training(optimizer), Train(30))
    for number in range(5):
        step(weights, optimizers, number)
    state = {name: optimizers.all[0].state[p] for name, p in net.named_parameters() if p.requires_grad}
    before = {name: {k: v.clone() for k, v in s.items()} for name, s in state.items()}
    values = parameter_state(net)
    weights.hold(second, optimizers.reset)
    old, new = whole(first, net), whole(second, net)
    for name in state:
        changed = old[name] != new[name]
        for key, value in state[name].items():
            if value.shape == changed.shape:
                assert (value[changed] == 0).all()
                assert torch.equal(value[~changed], before[name][key][~changed])
                assert name.endswith("bias") or (before[name][key][changed] != 0).any()
            else:
                assert torch.equal(value, before[name][key])
        assert torch.equal(net.get_parameter(name), torch.where(new[name] & old[name], values[name], 0.0))
    # Nothing but momentum moves the weights now, and it must not move what is closed.
    for number in range(5, 15):
        for p in weights.trained.values():
            p.grad = torch.zeros_like(p) if p.requires_grad else None
        optimizers.step(number)
        assert all((net.get_parameter(name)[~new[name]] == 0).all() for name in new)


def test_holding_over_a_dense_start_resets_what_closes() -> None:
    net = Net()
    weights = Weights(net, CONNECTIONS)
    optimizers = Optimizers(weights.owned(False), (), training("adamw"), Train(30))
    for number in range(3):
        step(weights, optimizers, number)
    masks = Masks({**some_masks(), "frozen": torch.ones(3, 3, dtype=torch.bool)})
    weights.hold(masks, optimizers.reset)
    keep = whole(masks, net)["b.weight"]
    average = optimizers.all[0].state[net.b.weight]["exp_avg"]
    assert (average[~keep] == 0).all() and (average[keep] != 0).all()
    weights.hold(Masks.full(CONNECTIONS), optimizers.reset)
    assert (average[~keep] == 0).all() and (average[keep] != 0).all()
    step(weights, optimizers, 3)
    assert weights.zeros() == dict.fromkeys([c.name for c in CONNECTIONS], 0)


def test_what_opens_and_what_closes_is_reset() -> None:
    net, seen = Net(), dict[int, Tensor]()
    first, second = some_masks(3), some_masks(4)
    weights = Weights(net, CONNECTIONS, first)
    weights.hold(second, lambda parameter, changed: seen.update({id(parameter): changed}))
    old, new = whole(first, net), whole(second, net)
    for name in ("a.weight", "b.weight", "turned"):
        changed = seen[id(net.get_parameter(name))]
        assert torch.equal(changed, old[name] != new[name])
        assert (changed & new[name]).any() and (changed & old[name]).any()


def test_dense_weights_are_left_alone() -> None:
    net = Net()
    before = parameter_state(net)
    weights = Weights(net, CONNECTIONS)
    weights.materialise()
    net(*batch()).backward()
    gradient = net.a.weight.grad
    weights.pull_back()
    assert net.a.weight.grad is gradient and weights.masks is None
    assert weights.current.full.density == 1.0
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_projected_regularizer_adds_its_gradient_before_the_mask() -> None:
    masks = some_masks()
    net = Net()
    weights = Weights(net, CONNECTIONS, masks)
    weights.pull_back(net.a.weight.square().sum() + net.a.weight.sum())
    assert net.a.weight.grad is not None
    assert torch.allclose(net.a.weight.grad, torch.where(masks["a"], 2 * net.a.weight.detach() + 1, 0.0))


# --- evaluation, copies, state ----------------------------------------------------------------


@pytest.mark.parametrize("how", ["hard", "soft"])
@pytest.mark.parametrize("training_mode", [True, False])
def test_evaluating_a_composed_network_restores_everything(how: Literal["hard", "soft"], training_mode: bool) -> None:
    net, method = Net(), Gated()
    weights = Weights(net, CONNECTIONS, None, method)
    weights.materialise()
    net.train(training_mode)
    effective, masks = parameter_state(net), some_masks()
    raw = {name: p.detach().clone() for name, p in weights.raw.items()}

    def check() -> None:
        with weights.evaluating(how, masks if how == "hard" else None) as module:
            assert not module.training and not torch.is_grad_enabled()
            if how == "soft":
                assert all(torch.equal(module.get_parameter(n), effective[n]) for n in raw)
            else:
                keep = whole(masks, net)
                assert all(torch.equal(module.get_parameter(n), raw[n] * keep[n]) for n in raw)
                assert weights.zeros() == {n: m.numel() - masks.kept[n] for n, m in masks.items()}
            raise KeyError("on the way")

    with pytest.raises(KeyError):
        check()
    assert net.training is training_mode and torch.is_grad_enabled()
    assert all(torch.equal(tensor, effective[name]) for name, tensor in net.state_dict().items())
    assert all(torch.equal(p, raw[name]) for name, p in weights.raw.items())
    net(*batch()).backward()  # the graph of the step is still whole
    weights.pull_back()
    assert weights.raw["a.weight"].grad is not None


def test_hard_evaluation_clears_weights_that_are_not_finite() -> None:
    net, masks = Net(), some_masks()
    weights = Weights(net, CONNECTIONS, None, Gated())
    with torch.no_grad():
        weights.raw["a.weight"][~masks["a"]] = torch.inf
    with weights.evaluating("hard", masks) as module:
        assert torch.isfinite(module(batch()[0])).all()


def test_copies_and_state_dicts_hold_effective_weights() -> None:
    masks = some_masks()
    for method in (None, Gated()):
        net = Net()
        weights = Weights(net, CONNECTIONS, masks if method is None else None, method)
        weights.materialise()
        expected = net(batch()[0])
        assert torch.equal(copy.deepcopy(net)(batch()[0]), expected)
        other = Net(seed=9)
        other.load_state_dict(net.state_dict())
        assert torch.equal(other(batch()[0]), expected)
    assert weights.nonzero_total() == sum(p.numel() for p in net.parameters())


def test_recounts() -> None:
    masks = some_masks()
    net = Net()
    weights = Weights(net, CONNECTIONS, masks)
    assert weights.zeros() == {name: int((~mask).sum()) for name, mask in masks.items()}
    with torch.no_grad():
        net.b.weight[0, 0] = 0
        net.a.bias[0] = 0
    zeros = int((~masks["b.in"]).sum()) + bool(masks["b.in"][0, 0])
    assert weights.zeros()["b.in"] == zeros
    assert weights.nonzero_total() == sum(p.numel() for p in net.parameters()) - sum(weights.zeros().values()) - 1


def test_state_and_load_round_trip_with_buffers() -> None:
    masks = some_masks()
    for method in (None, Gated()):
        weights = Weights(Net(), CONNECTIONS, masks if method is None else None, method)
        weights.materialise()
        with torch.no_grad():
            weights.module.count += 7
        saved = {name: tensor.clone() for name, tensor in weights.state().items()}
        again = Weights(Net(seed=5), CONNECTIONS, masks if method is None else None, method)
        again.load(saved)
        assert again.state().keys() == weights.module.state_dict().keys()
        assert all(torch.equal(tensor, saved[name]) for name, tensor in again.state().items())
        assert again.module.count == 7
        # What a checkpoint holds also fits a module that no one has wrapped yet.
        Net().load_state_dict(saved)
    with pytest.raises(ValueError, match="do not fit"):
        again.load({**saved, "surplus": torch.zeros(1)})


def test_loading_weights_keeps_masked_entries_at_zero() -> None:
    masks = some_masks()
    weights = Weights(Net(), CONNECTIONS, masks)
    weights.load(parameter_state(Net(seed=5)))
    assert weights.zeros() == {name: int((~mask).sum()) for name, mask in masks.items()}


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(3, 3, bias=False)
        self.head = nn.Linear(3, 3, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.embedding(x).tanh())
        return y


class Halved(SparsityMethod[NoOptions]):
    mode = "composed"

    def effective(self, raw: Mapping[str, Tensor], connections: Any) -> Mapping[str, Tensor]:
        return {name: value * 0.5 for name, value in raw.items()}


def test_tied_weights_are_saved_raw_under_both_names() -> None:
    torch.manual_seed(0)
    net = Tied()
    original = net.embedding.weight.detach().clone()
    weights = Weights(net, [Connection("e", "embedding.weight", "embedding", B, B, (3, 3))], None, Halved(NoOptions()))
    weights.materialise()
    assert torch.equal(net.head.weight, original * 0.5)
    state = weights.state()
    assert torch.equal(state["embedding.weight"], original) and torch.equal(state["head.weight"], original)
    assert list(weights.trained) == ["embedding.weight"]
    other = Tied()
    other.load_state_dict(state)
    assert torch.equal(other.embedding.weight, original)
    x = torch.randn(5, 3)
    net(x).square().sum().backward()
    weights.pull_back()
    leaf = original.clone().requires_grad_()
    ((x @ (leaf * 0.5).t()).tanh() @ (leaf * 0.5).t()).square().sum().backward()
    assert torch.allclose(weights.raw["embedding.weight"].grad, leaf.grad, rtol=1e-5, atol=1e-6)
