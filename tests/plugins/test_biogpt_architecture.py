"""BioGPT's sizes, maskable regions, options and messages."""

import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError
from torch import nn

import harness_biogpt
from harness import DataSpec, Unsupported, UserError
from harness_biogpt.architecture import Biogpt, BiogptOptions
from harness_biogpt.layout import cortical_layout, feedback_pairs


def biogpt(context=16, vocabulary=32, **options):
    data = DataSpec("language", (context,), vocabulary, 100, context)
    return Biogpt(BiogptOptions(**{"n_layers": 3, "width": 24} | options), data)


def count(architecture):
    with torch.device("meta"):
        return sum(p.numel() for p in architecture.build().parameters())


@pytest.fixture(scope="module")
def published():
    return biogpt(context=1024, vocabulary=50_304, n_layers=12, width=768)


def test_full_size_has_the_published_counts(published):
    assert count(published) == 294_532_636
    assert sum(map(sum, published.shape.layout)) == 168
    sizes = {}
    for connection in published.connections():
        sizes[connection.role] = sizes.get(connection.role, 0) + connection.size
    assert sizes["embedding"] == sizes["head"] == 50_304 * 768
    assert sizes["feedback"] == 4 * 3 * 768**2  # the 7.1M that one pass never trains
    assert sum(sizes.values()) - sizes["embedding"] == 254_803_968  # what the published pruning counts


def test_layout_follows_progress():
    assert cortical_layout(768, 12) == ((8, 8),) * 4 + ((8, 6, 4),) * 4 + ((4, 4),) * 4
    assert cortical_layout(768, 1) == ((8, 8),)
    assert cortical_layout(768, 2) == ((8, 8), (4, 4))
    assert cortical_layout(48, 4) == ((8, 8), (8, 6, 4), (8, 6, 4), (4, 4))
    assert cortical_layout(50, 3) == ((5, 5), (5, 5, 2), (2, 2))
    assert cortical_layout(7, 3) == ((7, 7), (7, 1, 1), (1, 1))
    assert cortical_layout(768, 3, multi_neuron=False) == ((8,), (8,), (4,))


def test_feedback_pairs_the_last_third_with_the_first():
    assert feedback_pairs(12) == ((8, 0), (9, 1), (10, 2), (11, 3))
    assert feedback_pairs(7) == ((5, 0), (6, 1))
    assert feedback_pairs(3) == ((2, 0),)
    assert feedback_pairs(2) == ()


@pytest.mark.parametrize(
    "options", [{}, {"n_passes": 2, "feedback_into": "layer"}, {"width": 20, "n_layers": 4, "branch_gate": True}]
)
def test_connections_cover_every_matrix_once(options):
    architecture = biogpt(**options)
    model = architecture.build()
    covered = {name: torch.zeros_like(p, dtype=torch.int) for name, p in model.named_parameters()}
    connections = architecture.connections()
    for connection in connections:
        region = connection.region(covered[connection.parameter])
        assert tuple(region.shape) == connection.shape
        region += 1
    for name, times in covered.items():
        maskable = times.dim() > 1 and name != "positions.weight" and "gate_weight" not in name
        assert times.eq(1 if maskable else 0).all(), name
    names = [connection.name for connection in connections]
    assert len(set(names)) == len(names)
    bands = {band for c in connections for band in (c.source, c.target)}
    assert len({band.name for band in bands}) == len(bands)
    assert {band.depth for band in bands} == set(range(architecture.options.n_layers + 2))
    plain = [c for c in connections if c.role not in ("conv", "branch_up", "branch_down")]
    assert all(c.shape == (c.target.size, c.source.size) for c in plain)
    for connection in connections:
        expected = {"embedding": False, "head": False, "feedback": "n_passes" in options}
        assert connection.default is expected.get(connection.role, True)
    within = [c for c in connections if c.name.startswith("layer1.")]
    assert {(c.source.depth, c.target.depth) for c in within} == {(1, 2)}


def test_masking_a_neurons_connections_silences_that_neuron_alone():
    architecture = biogpt()
    model = architecture.build()
    ids = torch.randint(32, (2, 16))
    parameters = dict(model.named_parameters())
    outputs = []
    model.columns[0].somas[1].register_forward_hook(lambda module, given, output: outputs.append(output))
    model.columns[0].somas[0].register_forward_hook(lambda module, given, output: outputs.append(output))
    model(ids)
    with torch.no_grad():
        for connection in architecture.connections():
            if connection.name.startswith("layer0.neuron1."):
                connection.region(parameters[connection.parameter]).zero_()
    model(ids)
    key = next(c for c in architecture.connections() if c.name == "layer0.neuron1.key")
    assert (key.parameter, key.rows) == ("columns.0.dendrites.0.qkv", (3 * 24, 4 * 24))
    assert outputs[1].abs().max() > 0 and outputs[3].abs().max() == 0
    assert torch.equal(outputs[0], outputs[2])


def test_weights_start_xavier_uniform_per_neuron():
    torch.manual_seed(0)
    model = biogpt(width=48).build()
    bounds = {
        "embedding.weight": (48, 32),
        "head.weight": (48, 32),
        "columns.0.dendrites.0.qkv": (48, 3 * 48),
        "columns.0.dendrites.0.conv_weight": (5 * 6, 5 * 48),
        "columns.0.dendrites.0.up.weight": (6, 96),
        "columns.0.dendrites.0.down.weight": (12, 48),
        "columns.0.projection": (48, 48),
        "columns.0.somas.1.up.weight": (48, 144),
        "feedback.2_to_0.gate.weight": (96, 48),
    }
    parameters = dict(model.named_parameters())
    for name, fans in bounds.items():
        largest, bound = parameters[name].abs().max().item(), (6 / sum(fans)) ** 0.5
        assert 0.97 * bound < largest <= bound, name
    for name, parameter in parameters.items():
        if name.endswith("bias") or "neuron_weights" in name:
            assert parameter.eq(0).all(), name
    decays = torch.cat([p.flatten() for name, p in parameters.items() if name.endswith("nmda_decay")])
    assert abs(decays.mean() - 0.9) < 0.02 and abs(decays.std() - 0.1) < 0.02


def test_one_pass_leaves_feedback_and_nmda_without_gradient():
    model = biogpt().build()
    ids = torch.randint(32, (2, 16))
    model(ids, ids).backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None}
    assert idle == {n for n, _ in model.named_parameters() if n.startswith("feedback.") or n.endswith("nmda_decay")}


def test_it_learns_a_repeating_text():
    torch.manual_seed(0)
    model = biogpt(n_layers=2).build()
    ids = torch.arange(17).remainder(5).repeat(4, 1)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = model(ids[:, :-1], ids[:, 1:])
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 3 and losses[-1] < 0.5


def test_scaled_keeps_the_branches_and_fits():
    full = biogpt(width=96)
    for parameters in (count(full), count(full) - 1, count(biogpt(width=48)) + 5):
        small = full.scaled(parameters)
        assert count(small) <= parameters
        assert small.shape.layout == full.shape.layout
        assert small.options.width % 24 == 0
        wider = small.options.width + 24
        assert wider > 96 or count(biogpt(width=wider)) > parameters
    assert full.scaled(10**9).options.width == 96
    with pytest.raises(Unsupported, match=r"cannot be made as small as 10 parameters: at its narrowest"):
        full.scaled(10)


def test_what_cannot_work_is_said():
    assert biogpt().unsupported() is None
    short = Biogpt(BiogptOptions(context=8), DataSpec("language", (16,), 32, 1, 16))
    assert "context of 8, shorter than the data's 16" in short.unsupported()
    assert "equal passes" in biogpt(n_layers=2, n_passes=2).unsupported()
    assert "equal passes" in biogpt(feedback=False, n_passes=2).unsupported()
    assert biogpt(segment=4).unsupported() is None
    assert "nmda: false has none" in biogpt(segment=4, nmda=False).unsupported()
    assert "language" in Biogpt(BiogptOptions(), DataSpec("classification", (4,), 2, 1)).unsupported()
    with pytest.raises(ValidationError, match="temporal_convolution"):
        BiogptOptions(temporal_convolution=False)
    ids = torch.zeros(1, 17, dtype=torch.long)
    with pytest.raises(UserError, match="17 tokens are more than this biogpt's context of 16"):
        biogpt().build()(ids)
    model = biogpt(nmda=False).build()
    with pytest.raises(UserError, match="takes no state"):
        model.with_state(ids[:, :4], model.initial_state(1))


def published_state(n_passes=1):
    """A small published state dict, by modules of the same names."""
    width, layers = 24, nn.ModuleList()
    for branches in ((8, 8), (8, 6, 4), (4, 4)):
        layer = nn.Module()
        layer.ln, layer.neurons, layer.neuron_projs = nn.LayerNorm(width), nn.ModuleList(), nn.ModuleList()
        layer.neuron_weights = nn.Parameter(torch.zeros(len(branches)))
        for b in branches:
            neuron = nn.Module()
            neuron.qkv = nn.Linear(width, 3 * width, bias=False)
            neuron.nmda_decay = nn.Parameter(torch.zeros(1, b, 1, width // b))
            neuron.temporal_conv = nn.Conv1d(width, width, 5, padding=4, groups=b)
            neuron.ff_up = nn.Conv1d(width, 2 * width, 1, groups=b)
            neuron.ff_down = nn.Conv1d(2 * width, width, 1, groups=b)
            neuron.branch_norm = nn.GroupNorm(b, width)
            neuron.soma_proj = nn.Linear(width, width, bias=False)
            neuron.ln_soma = nn.LayerNorm(width)
            neuron.soma_ffn = nn.Sequential(
                nn.Linear(width, 40), nn.GELU(), nn.Dropout(0.0), nn.Linear(40, width), nn.Dropout(0.0)
            )
            layer.neurons.append(neuron)
            layer.neuron_projs.append(nn.Linear(width, width, bias=False))
        layers.append(layer)
    feedback = nn.Module()
    feedback.proj, feedback.ln = nn.Linear(width, width, bias=False), nn.LayerNorm(width)
    feedback.gate = nn.Sequential(nn.Linear(2 * width, width), nn.Sigmoid())
    model = nn.Module()
    model.token_emb, model.pos_emb = nn.Embedding(32, width), nn.Embedding(16, width)
    model.layers, model.feedback_connections = layers, nn.ModuleDict({"fb_2_to_0": feedback})
    if n_passes > 1:
        model.pass_weights = nn.Parameter(torch.zeros(n_passes))
    model.ln_f, model.lm_head = nn.LayerNorm(width), nn.Linear(width, 32, bias=False)
    return model.state_dict()


def test_loading_reads_all_sizes_from_the_tensors_and_copies_them():
    state = published_state()
    model = harness_biogpt.load_published(state)
    assert model.shape.layout == ((8, 8), (8, 6, 4), (4, 4))
    assert (model.shape.vocabulary, model.shape.context, model.shape.width, model.shape.soma_units) == (32, 16, 24, 40)
    assert sum(p.numel() for p in model.parameters()) == sum(t.numel() for t in state.values())
    ids = torch.randint(32, (1, 16))
    before = model(ids)
    for tensor in state.values():
        tensor.zero_()
    assert torch.equal(model(ids), before)
    assert all(p.requires_grad and p.device.type == "cpu" for p in model.parameters())


@pytest.mark.parametrize(
    ("repair", "message"),
    [
        (lambda s: s.pop("layers.1.neurons.2.ff_up.bias"), r"is missing 'layers.1.neurons.2.ff_up.bias'"),
        (lambda s: s.pop("token_emb.weight"), r"is missing 'token_emb.weight'"),
        (lambda s: s.pop("layers.0.neurons.0.nmda_decay"), r"is missing 'layers.0.neurons.0.nmda_decay'"),
        (lambda s: s.update({"layers.0.gru.weight": torch.zeros(1)}), r"has unexpected 'layers.0.gru.weight'"),
        (lambda s: s.update({"feedback_connections.fb_9_to_0.ln.bias": torch.zeros(24)}), r"unexpected 'feedback_"),
        (lambda s: s.update({"lm_head.weight": torch.zeros(31, 24)}), r"'lm_head.weight' has shape \(31, 24\)"),
        (lambda s: s.update({"pos_emb.weight": torch.zeros(16)}), r"'pos_emb.weight' has shape \(16,\), must have 2"),
        (lambda s: s.update({"layers.0.neurons.0.nmda_decay": torch.zeros(1, 5, 1, 4)}), r"5 branches, .* divide 24"),
        (lambda s: s.update({"pass_weights": torch.zeros(2)}), r"unexpected 'pass_weights'; give n_passes=2"),
        (lambda s: s.update({"model_state_dict": {}}), r"whole checkpoint: .*checkpoint\['model_state_dict'\]"),
    ],
)
def test_loading_names_what_is_wrong(repair, message):
    state = dict(published_state())
    repair(state)
    with pytest.raises(UserError, match=message):
        harness_biogpt.load_published(state)


def test_loading_checks_the_number_of_passes():
    assert harness_biogpt.load_published(published_state(2), n_passes=2).pass_weights.shape == (2,)
    with pytest.raises(UserError, match=r"missing 'pass_weights'; give n_passes=1"):
        harness_biogpt.load_published(published_state(), n_passes=2)
    with pytest.raises(UserError, match="1 pass or 2"):
        harness_biogpt.load_published(published_state(), n_passes=3)


def test_registering_does_not_import_torch():
    code = (
        "import sys, harness_biogpt; entry, = harness_biogpt.harness_register_architectures(); "
        "assert entry.name == 'biogpt' and entry.target == 'harness_biogpt.architecture:Biogpt'; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'load_publishd'"):
        _ = harness_biogpt.load_publishd
