"""BioGPT's numbers, against the published formulation written out neuron by neuron, branch by branch."""

import math

import pytest
import torch
from torch.nn import functional as F

import harness_biogpt
from harness import DataSpec
from harness_biogpt.architecture import Biogpt, BiogptOptions
from harness_biogpt.temporal import by_convolution, by_products

VOCABULARY, CONTEXT, BATCH = 11, 6, 2
LAYOUTS = {
    24: [(8, 8)] * 2 + [(8, 6, 4)] * 2 + [(4, 4)] * 2,
    20: [(5, 5)] * 2 + [(5, 5, 4)] * 2 + [(4, 4)] * 2,
}
PAIRS = [(4, 0), (5, 1)]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def published_state(width, n_passes=1, seed=0, dtype=torch.float64):
    """Random tensors under the published names."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape, scale=0.3, shift=0.0):
        return (torch.randn(*shape, generator=g, dtype=torch.float64) * scale + shift).to(dtype)

    state = {"token_emb.weight": draw(VOCABULARY, width), "pos_emb.weight": draw(CONTEXT, width)}
    for i, layer in enumerate(LAYOUTS[width]):
        at = f"layers.{i}."
        state |= {at + "ln.weight": draw(width, shift=1), at + "ln.bias": draw(width)}
        state[at + "neuron_weights"] = draw(len(layer))
        for j, b in enumerate(layer):
            d, n = width // b, f"{at}neurons.{j}."
            state[f"{at}neuron_projs.{j}.weight"] = draw(width, width)
            state |= {n + "qkv.weight": draw(3 * width, width), n + "nmda_decay": draw(1, b, 1, d, shift=0.9)}
            state |= {n + "temporal_conv.weight": draw(width, d, 5), n + "temporal_conv.bias": draw(width)}
            state |= {n + "ff_up.weight": draw(2 * width, d, 1), n + "ff_up.bias": draw(2 * width)}
            state |= {n + "ff_down.weight": draw(width, 2 * d, 1), n + "ff_down.bias": draw(width)}
            state |= {n + "branch_norm.weight": draw(width, shift=1), n + "branch_norm.bias": draw(width)}
            state |= {n + "soma_proj.weight": draw(width, width)}
            state |= {n + "ln_soma.weight": draw(width, shift=1), n + "ln_soma.bias": draw(width)}
            state |= {n + "soma_ffn.0.weight": draw(3 * width, width), n + "soma_ffn.0.bias": draw(3 * width)}
            state |= {n + "soma_ffn.3.weight": draw(width, 3 * width), n + "soma_ffn.3.bias": draw(width)}
    for late, early in PAIRS:
        at = f"feedback_connections.fb_{late}_to_{early}."
        state |= {at + "proj.weight": draw(width, width), at + "gate.0.weight": draw(width, 2 * width)}
        state |= {at + "gate.0.bias": draw(width), at + "ln.weight": draw(width, shift=1), at + "ln.bias": draw(width)}
    if n_passes > 1:
        state["pass_weights"] = draw(n_passes)
    return state | {
        "ln_f.weight": draw(width, shift=1),
        "ln_f.bias": draw(width),
        "lm_head.weight": draw(VOCABULARY, width),
    }


def layer_norm(x, weight, bias):
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / ((x - mean).pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def naive_neuron(state, at, branches, x, trace):
    """One neuron; ``trace`` is (batch, width) or None. A part whose names are absent is left out."""
    context, width = x.shape[1:]
    d = width // branches
    query, key, value = (x @ state[at + "qkv.weight"].T).split(width, dim=2)
    decay = None if trace is None else torch.sigmoid(state[at + "nmda_decay"].reshape(width))
    attended = []
    for b in range(branches):
        own = slice(b * d, (b + 1) * d)
        v = value[..., own] if trace is None else value[..., own] + (trace * decay)[:, None, own]
        rows = []
        for t in range(context):
            scores = torch.stack([(query[:, t, own] * key[:, s, own]).sum(-1) for s in range(t + 1)], -1)
            weights = torch.softmax(scores / math.sqrt(d), -1)
            rows.append(sum(weights[:, s, None] * v[:, s] for s in range(t + 1)))
        attended.append(torch.stack(rows, 1))
    y = torch.cat(attended, 2)
    if at + "ff_up.weight" in state:
        mixed = y.transpose(1, 2)
        if at + "temporal_conv.weight" in state:
            weight, bias = state[at + "temporal_conv.weight"], state[at + "temporal_conv.bias"]
            mixed = mixed + F.conv1d(F.pad(mixed, (4, 4)), weight, bias, groups=branches)[:, :, :context]
        up = gelu(F.conv1d(mixed, state[at + "ff_up.weight"], state[at + "ff_up.bias"], groups=branches))
        down = F.conv1d(up, state[at + "ff_down.weight"], state[at + "ff_down.bias"], groups=branches)
        y = y + down.transpose(1, 2)
    if at + "branch_norm.weight" in state:
        weight, bias = state[at + "branch_norm.weight"], state[at + "branch_norm.bias"]
        parts = [slice(b * d, (b + 1) * d) for b in range(branches)]
        y = torch.cat([layer_norm(y[..., own], weight[own], bias[own]) for own in parts], 2)
    if at + "gate_weight" in state:
        weight, bias = state[at + "gate_weight"], state[at + "gate_bias"]
        gates = [2 / (1 + torch.exp(-(x @ weight[b]) - bias[b])) for b in range(branches)]
        y = torch.cat([y[..., b * d : (b + 1) * d] * gates[b][..., None] for b in range(branches)], 2)
    after = None if trace is None else decay * trace + (1 - decay) * y[:, -1]
    y = y @ state[at + "soma_proj.weight"].T
    if at + "soma_ffn.0.weight" in state:
        hidden = layer_norm(y, state[at + "ln_soma.weight"], state[at + "ln_soma.bias"])
        hidden = gelu(hidden @ state[at + "soma_ffn.0.weight"].T + state[at + "soma_ffn.0.bias"])
        y = y + hidden @ state[at + "soma_ffn.3.weight"].T + state[at + "soma_ffn.3.bias"]
    return y, after


def naive(state, layout, ids, n_passes=1, traces=None, into_layer=False):
    """The published formulation: logits, and the traces after the last pass."""

    def run(x, late):
        outputs, after = [], []
        for i, layer in enumerate(layout):
            for source, target in PAIRS:
                if late is not None and i == (target if into_layer else 0):
                    at = f"feedback_connections.fb_{source}_to_{target}."
                    fed = late[source] @ state[at + "proj.weight"].T
                    gate = torch.cat([x, fed], 2) @ state[at + "gate.0.weight"].T + state[at + "gate.0.bias"]
                    x = x + torch.sigmoid(gate) * layer_norm(fed, state[at + "ln.weight"], state[at + "ln.bias"])
            at = f"layers.{i}."
            h = layer_norm(x, state[at + "ln.weight"], state[at + "ln.bias"])
            weights = torch.softmax(state[at + "neuron_weights"], 0)
            after.append([])
            for j, branches in enumerate(layer):
                trace = None if traces is None else traces[i][:, j]
                y, new = naive_neuron(state, f"{at}neurons.{j}.", branches, h, trace)
                x = x + weights[j] * (y @ state[f"{at}neuron_projs.{j}.weight"].T)
                after[-1].append(new)
            outputs.append(x)
        return outputs, after

    start = state["token_emb.weight"][ids] + state["pos_emb.weight"][: ids.shape[1]]
    outputs, after = run(start, None)
    x = outputs[-1]
    if n_passes > 1:
        weights = torch.softmax(state["pass_weights"], 0)
        x = weights[0] * x
        for p in range(1, n_passes):
            outputs, after = run(start, outputs)
            x = x + weights[p] * outputs[-1]
    logits = layer_norm(x, state["ln_f.weight"], state["ln_f.bias"]) @ state["lm_head.weight"].T
    return logits, None if traces is None else [torch.stack(layer, 1) for layer in after]


def unstacked(tensors, layout):
    """Our names -> published names, by cutting the stacked tensors; names that are absent are left out."""
    found = {}

    def put(name, ours, cut=lambda tensor: tensor):
        if tensors.get(ours) is not None:
            found[name] = cut(tensors[ours])

    for theirs, ours in {"token_emb": "embedding", "pos_emb": "positions", "lm_head": "head", "ln_f": "norm"}.items():
        put(f"{theirs}.weight", f"{ours}.weight")
    put("ln_f.bias", "norm.bias")
    put("pass_weights", "pass_weights")
    for late, early in PAIRS:
        there, here = f"feedback_connections.fb_{late}_to_{early}.", f"feedback.{late}_to_{early}."
        for theirs, ours in {"proj": "projection", "gate.0": "gate", "ln": "norm"}.items():
            put(f"{there}{theirs}.weight", f"{here}{ours}.weight")
            put(f"{there}{theirs}.bias", f"{here}{ours}.bias")
    for i, layer in enumerate(layout):
        there, here = f"layers.{i}.", f"columns.{i}."
        width = tensors[here + "norm.weight"].shape[0]
        put(there + "neuron_weights", here + "neuron_weights")
        put(there + "ln.weight", here + "norm.weight")
        put(there + "ln.bias", here + "norm.bias")
        runs = [[j] for j in range(len(layer))] if layer == (8, 6, 4) else None
        runs = runs or ([[0, 1], [2]] if layer == (5, 5, 4) else [list(range(len(layer)))])
        for r, run in enumerate(runs):
            for place, j in enumerate(run):
                n, dendrites, soma = f"{there}neurons.{j}.", f"{here}dendrites.{r}.", f"{here}somas.{j}."
                d, count = width // layer[j], len(run)

                def rows(tensor, place=place, count=count):
                    size = tensor.shape[0] // count
                    return tensor[place * size : (place + 1) * size]

                put(
                    n + "qkv.weight",
                    dendrites + "qkv",
                    lambda t, place=place, count=count, width=width: torch.cat(
                        [t[(p * count + place) * width :][:width] for p in range(3)]
                    ),
                )
                put(n + "nmda_decay", dendrites + "nmda_decay", lambda t, d=d, rows=rows: rows(t).view(1, -1, 1, d))
                put(n + "temporal_conv.weight", dendrites + "conv_weight", rows)
                put(n + "temporal_conv.bias", dendrites + "conv_bias", rows)
                for part in ("up", "down"):
                    put(f"{n}ff_{part}.weight", f"{dendrites}{part}.weight", lambda t, rows=rows: rows(t)[..., None])
                    put(f"{n}ff_{part}.bias", f"{dendrites}{part}.bias", rows)
                for kind in ("weight", "bias"):
                    put(f"{n}gate_{kind}", f"{dendrites}gate_{kind}", rows)
                    put(f"{n}branch_norm.{kind}", f"{dendrites}norm_{kind}", rows)
                    put(f"{n}ln_soma.{kind}", f"{soma}norm.{kind}")
                    put(f"{n}soma_ffn.0.{kind}", f"{soma}up.{kind}")
                    put(f"{n}soma_ffn.3.{kind}", f"{soma}down.{kind}")
                put(n + "soma_proj.weight", soma + "projection.weight")
                put(
                    f"{there}neuron_projs.{j}.weight",
                    here + "projection",
                    lambda t, j=j, width=width: t[:, j * width : (j + 1) * width],
                )
    return found


def tokens(seed=0, context=CONTEXT):
    return torch.randint(VOCABULARY, (BATCH, context), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("width", "n_passes"), [(24, 1), (24, 2), (20, 2)])
def test_published_weights_give_the_published_logits_and_gradients(width, n_passes):
    state = {name: tensor.requires_grad_() for name, tensor in published_state(width, n_passes).items()}
    expected, _ = naive(state, LAYOUTS[width], tokens(), n_passes)
    loss = F.cross_entropy(expected.flatten(0, 1), tokens(1).flatten())
    gradients = dict(zip(state, torch.autograd.grad(loss, list(state.values()), allow_unused=True), strict=True))

    model = harness_biogpt.load_published({n: t.detach() for n, t in state.items()}, n_passes=n_passes)
    assert (model(tokens()) - expected).abs().max() < 1e-10
    ours = model(tokens(), tokens(1))
    assert ours.shape == () and abs(ours - loss) < 1e-12
    ours.backward()
    found = unstacked({name: p.grad for name, p in model.named_parameters()}, LAYOUTS[width])
    assert found.keys() == {name for name, gradient in gradients.items() if gradient is not None}
    for name, gradient in found.items():
        assert (gradient - gradients[name]).abs().max() < 1e-11, name


def test_float32_stays_within_1e_4():
    state = published_state(24, 2)
    expected, _ = naive(state, LAYOUTS[24], tokens(), 2)
    model = harness_biogpt.load_published({n: t.float() for n, t in state.items()}, n_passes=2)
    assert model(tokens()).dtype == torch.float32
    assert (model(tokens()) - expected).abs().max() < 1e-4
    exact = harness_biogpt.load_published(state, n_passes=2)
    for network in (model, exact):
        network(tokens(), tokens(1)).backward()
    for (name, one), other in zip(model.named_parameters(), exact.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or (one.grad - other.grad).norm() < 1e-5 * max(other.grad.norm(), 1.0), name


def random_model(**options):
    torch.manual_seed(0)
    data = DataSpec("language", (CONTEXT,), VOCABULARY, 10, CONTEXT)
    model = Biogpt(BiogptOptions(n_layers=6, width=24, **options), data).build().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


PARTS_OFF = [
    {"temporal_conv": False},
    {"branch_ffn": False},
    {"branch_norm": False},
    {"soma_ffn": False},
    {"multi_neuron": False},
    {"nmda": False},
    {"feedback": False},
    {"n_passes": 2, "feedback_into": "layer"},
    {"n_passes": 3},
    {"branch_gate": True},
    {"temporal_conv": False, "branch_ffn": False, "branch_norm": False, "soma_ffn": False, "nmda": False},
]


@pytest.mark.parametrize("options", PARTS_OFF, ids=lambda options: ",".join(options))
def test_each_part_can_be_left_out(options):
    model = random_model(**options)
    layout = [layer[:1] if "multi_neuron" in options else layer for layer in LAYOUTS[24]]
    state = unstacked(dict(model.named_parameters()), layout)
    assert any("gate_weight" in name for name in state) is ("branch_gate" in options)
    expected, _ = naive(state, layout, tokens(), options.get("n_passes", 1), into_layer="feedback_into" in options)
    assert (model(tokens()) - expected).abs().max() < 1e-10


@pytest.mark.parametrize("n_passes", [1, 2])
def test_nmda_traces_enter_the_values_and_come_back(n_passes):
    state = published_state(20, n_passes)
    model = harness_biogpt.load_published(state, n_passes=n_passes)
    g = torch.Generator().manual_seed(5)
    traces = tuple(torch.randn(BATCH, len(layer), 20, generator=g, dtype=torch.float64) for layer in LAYOUTS[20])
    expected, after = naive(state, LAYOUTS[20], tokens(), n_passes, traces)
    logits, found = model.with_state(tokens(), traces)
    assert (logits - expected).abs().max() < 1e-10
    assert max((a - b).abs().max() for a, b in zip(found, after, strict=True)) < 1e-10
    assert (logits - model(tokens())).abs().max() > 1e-3
    silent, started = model.with_state(tokens(), model.initial_state(BATCH))
    assert torch.equal(silent, model(tokens()))
    assert all(trace.abs().max() > 0 for trace in started)


def test_gates_start_at_one_and_learn():
    data = DataSpec("language", (CONTEXT,), VOCABULARY, 10, CONTEXT)
    models = []
    for gated in (None, True):
        torch.manual_seed(0)
        models.append(Biogpt(BiogptOptions(n_layers=6, width=24, branch_gate=gated), data).build())
    plain, gated = models
    assert torch.equal(gated(tokens()), plain(tokens()))
    gated(tokens(), tokens(1)).backward()
    gates = {name: p for name, p in gated.named_parameters() if "gate_" in name}
    assert len(gates) == 2 * (4 + 2 * 3)  # four columns with one run of equal neurons, two with three
    assert all(p.eq(0).all() and p.grad.abs().max() > 0 for p in gates.values())


@pytest.mark.parametrize("n_passes", [1, 2])
def test_segments_pass_the_traces_on(n_passes):
    """Three windows of two tokens, each with the state of the one before; attention does not reach across."""
    model = random_model(n_passes=n_passes, segment=2, branch_gate=True)
    model.load_state_dict({**model.state_dict(), "positions.weight": model.positions.weight[:2].detach().repeat(3, 1)})
    ids, state, parts = tokens(), model.initial_state(BATCH), []
    for start in range(0, CONTEXT, 2):
        logits, state = model.with_state(ids[:, start : start + 2], state)
        parts.append(logits)
    found = model(ids)
    assert (found - torch.cat(parts, 1)).abs().max() < 1e-12
    layout = LAYOUTS[24]
    published = unstacked(dict(model.named_parameters()), layout)
    _, after = naive(
        published, layout, ids[:, :2], n_passes, [torch.zeros(BATCH, len(layer), 24).double() for layer in layout]
    )
    expected, _ = naive(published, layout, ids[:, 2:4], n_passes, after)
    assert (found[:, 2:4] - expected).abs().max() < 1e-10
    assert (model(ids[:, :3]) - found[:, :3]).abs().max() < 1e-12
    unseen, _ = model.with_state(ids[:, 2:4], model.initial_state(BATCH))
    assert (found[:, 2:4] - unseen).abs().max() > 1e-3


def test_segments_take_the_positions_of_the_text():
    model = random_model(segment=2)
    before = model(tokens())
    with torch.no_grad():
        model.positions.weight[2, 0] += 1
    changed = (model(tokens()) - before).abs().amax((0, 2))
    assert changed[:2].max() == 0 and changed[2:].min() > 1e-6


@pytest.mark.parametrize("options", [{}, {"segment": 2}, {"segment": 2, "n_passes": 2, "branch_gate": True}])
def test_checkpointing_changes_no_number(options):
    """States go through three windows, and gradients back through all of them and into the first state."""
    runs, calls = [], []
    for checkpointing in (False, True):
        model = random_model(checkpointing=checkpointing, **options)
        calls.append([])
        model.columns[3].register_forward_pre_hook(lambda module, given: calls[-1].append(given))
        state = tuple(torch.full_like(trace, 0.3).requires_grad_() for trace in model.initial_state(BATCH))
        first, loss, results = state, model(tokens(), tokens(1)), []
        for seed in range(3):
            logits, state = model.with_state(tokens(seed), state)
            loss = loss + F.cross_entropy(logits.flatten(0, 1), tokens(seed + 1).flatten())
            results += [logits, *state]
        kept = [tensor.detach().clone() for tensor in results]
        before = len(calls[-1])
        loss.backward()
        assert len(calls[-1]) == before * (2 if checkpointing else 1)
        assert all(torch.equal(one, other) for one, other in zip(kept, results, strict=True))
        gradients = [p.grad for p in (*model.parameters(), *first)]
        assert all(p.grad.abs().max() > 0 for p in first)
        runs.append([*kept, *gradients])
    for one, other in zip(*runs, strict=True):
        assert (one is None) == (other is None)
        assert one is None or (one - other).abs().max() < 1e-12


@pytest.mark.parametrize("n_passes", [1, 2])
def test_no_position_sees_a_later_one(n_passes):
    model = harness_biogpt.load_published(published_state(24, n_passes), n_passes=n_passes)
    ids = tokens()
    before = model(ids)
    for t in range(CONTEXT):
        changed = ids.clone()
        changed[:, t:] = (changed[:, t:] + 1) % VOCABULARY
        after = model(changed)
        assert (after[:, :t] - before[:, :t]).abs().max() < 1e-12 if t else True
        assert (after[:, t] - before[:, t]).abs().max() > 1e-6
        assert (model(ids[:, : t + 1]) - before[:, : t + 1]).abs().max() < 1e-12


@pytest.mark.parametrize("shape", [(2, 9, 3, 4), (1, 2, 1, 5), (3, 1, 4, 1)])
def test_both_ways_of_convolving_agree_with_explicit_sums(shape):
    context, branches, units = shape[1:]
    g = torch.Generator().manual_seed(0)
    x = torch.randn(*shape, generator=g, dtype=torch.float64)
    weight = torch.randn(branches * units, units, 5, generator=g, dtype=torch.float64)
    bias = torch.randn(branches * units, generator=g, dtype=torch.float64)
    expected = bias.view(branches, units).expand(shape).clone()
    for t in range(context):
        for back in range(min(t, 4) + 1):
            for b in range(branches):
                expected[:, t, b] += x[:, t - back, b] @ weight[b * units : (b + 1) * units, :, 4 - back].T
    results = []
    for way in (by_convolution, by_products):
        leaves = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
        y = way(*leaves)
        assert (y - expected).abs().max() < 1e-12
        results.append(torch.autograd.grad((y * torch.arange(y.numel()).view(shape)).sum(), leaves))
    for one, other in zip(*results, strict=True):
        assert (one - other).abs().max() < 1e-9


def test_bfloat16_autocast_keeps_the_loss_in_float32():
    model = harness_biogpt.load_published({n: t.float() for n, t in published_state(24).items()})
    exact = model(tokens(), tokens(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(tokens(), tokens(1))
    assert loss.dtype == torch.float32
    assert abs(loss - exact) < 0.1
