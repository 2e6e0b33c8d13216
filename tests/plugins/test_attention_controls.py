"""Controls of attention masks on small digits: what they take from the cell that they control."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from stage_runs import CPU, finish, runner_of

from harness.errors import UserError
from harness.registry.plugins import Registry, load
from harness.results.record import evaluated
from harness.stages.graph import PlannedCell, compile_graph
from harness.stages.network import Network
from harness.suites.suite import load_suite

FILMS = """
import torch
from harness import Benchmark, DataSpec, Entry, Measurement, Metric, hookimpl


class Data:
    def __init__(self, seed):
        self.frames = torch.rand(40, 5, 6, 6, generator=torch.Generator().manual_seed(seed))
    def __len__(self):
        return 40
    def batch(self, indices):
        return self.frames[indices, :-1], self.frames[indices, -1]


class Films(Benchmark):
    metrics = (Metric("error", "mean over pixels", "min"),)
    protocol = "error on 40 films"
    def spec(self):
        return DataSpec("video", (4, 6, 6), 36, 40)
    def training_data(self, device):
        return Data(0)
    def evaluate(self, model, split, device):
        frames = Data(1 if split == "test" else 2).frames
        return {"error": Measurement.mean((model(frames[:, :-1]) - frames[:, -1]).square().mean((1, 2)))}


@hookimpl
def harness_register_benchmarks():
    return [Entry("films", Films)]
"""
METHODS = {
    "g": {"use": "genome", "lr": 0.05, "attention": {"lr": 0.05}},
    "seen": {"use": "genome", "attention": {"lr": 0.05}, "scope": ["temporal_attention", "spatial_attention"]},
    "hard": {"use": "random", "density": {"match": "g", "by": "hard"}, "attention": "matched"},
    "layers": {"use": "random", "density": {"match": "g", "by": "per_layer"}, "attention": "matched"},
    "soft": {"use": "random", "density": {"match": "g", "by": "soft"}, "attention": "matched"},
    "alone": {
        "use": "random",
        "density": {"match": "seen", "by": "soft"},
        "attention": "matched",
        "scope": ["temporal_attention", "spatial_attention"],
    },
    "other": {"use": "random", "density": 0.5, "attention": {"temporal_attention": 0.5, "spatial_attention": 0.25}},
    "shuffle": {"source": "other"},
    "reinit": {"source": "other"},
    "continued": {"source": "other"},
    "open": {"use": "magnitude_at_init", "density": 0.5},
    "shuffle_open": {"use": "shuffle", "source": "open"},
    "continued_open": {"use": "continued", "source": "open"},
}


class Here:
    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.folder = folder
        (folder / "films.py").write_text(FILMS)
        self.registry: Registry = load([folder / "films.py"])

    def cells(self, methods: dict[str, Any]) -> dict[str, PlannedCell]:
        path = self.folder / "suite.yaml"
        suite = {
            "architectures": {"net": {"use": "band_video", "hidden": 8, "layers": 2, "heads": 2, "ffn": 8, "patch": 3}},
            "benchmarks": ["films"],
            "seeds": [3],
            "training": {"steps": 6, "batch_size": 8, "lr": 0.01},
            "methods": methods,
        }
        path.write_text(yaml.safe_dump(suite, sort_keys=False))
        graph = compile_graph(load_suite(path, self.registry).cells, self.registry)
        return {planned.cell.method: planned for planned in graph.cells}

    def network(self, planned: PlannedCell) -> Network:
        return runner_of(self.folder, self.registry).restored(planned.stages[-1], planned.cell)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Here:
    return Here(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def cells(here: Here) -> dict[str, PlannedCell]:
    found = here.cells(METHODS)
    for planned in found.values():
        finish(here.folder, here.registry, planned)
    return found


@pytest.fixture(scope="module")
def record(here: Here, cells: dict[str, PlannedCell]) -> Callable[[str], Any]:
    runner = runner_of(here.folder, here.registry)
    return lambda name: evaluated(cells[name], runner, here.registry, CPU).record


@pytest.mark.parametrize("name", ["hard", "layers", "soft"])
def test_random_masks_take_the_counts_of_attention_from_the_cell_they_match(
    name: str, here: Here, cells: dict[str, PlannedCell], record: Callable[[str], Any]
) -> None:
    theirs, ours = (record(label).density.attention.connections for label in ("g", name))
    masks = here.network(cells[name]).hard_masks()
    assert masks is not None
    for connection, rows in (("temporal", 4), ("spatial", 4)):
        asked = theirs[connection].kept if name != "soft" else round(theirs[connection].soft * theirs[connection].size)
        assert ours[connection].kept == asked
        keys = masks[connection].sum(1)
        assert int(keys.sum()) == asked and int(keys.max() - keys.min()) <= 1 and len(keys) == rows
    assert name != "soft" or 0 < ours["temporal"].kept < 16


def test_a_genome_of_attention_alone_leaves_weights_dense(
    here: Here, cells: dict[str, PlannedCell], record: Callable[[str], Any]
) -> None:
    seen, alone = record("seen"), record("alone")
    assert seen.density.size == alone.density.size == 0 and seen.connectivity.broken is None
    assert seen.density.attention.connections.keys() == {"temporal", "spatial"}
    assert set(seen.method.trained_only) == {"genome of temporal", "genome of spatial"}
    soft = seen.density.attention.connections["spatial"]
    assert alone.density.attention.connections["spatial"].kept == round(soft.soft * soft.size)
    begun = here.cells({"seen": METHODS["seen"]})["seen"]
    fresh = here.registry.get("method", "genome")(begun.cell.method_part.options)
    network = here.network(cells["seen"])
    fresh.attach(network.context)
    assert fresh.soft_densities() != network.method.soft_densities(), "it is trained"


def test_controls_take_masks_of_attention_with_them(here: Here, cells: dict[str, PlannedCell]) -> None:
    given, shuffled, same, heir = (
        here.network(cells[name]).hard_masks() for name in ("other", "shuffle", "reinit", "continued")
    )
    assert given is not None and shuffled is not None and same is not None and heir is not None
    for name in ("temporal", "spatial"):
        assert torch.equal(shuffled[name].sum(1), given[name].sum(1)), "of each query as many keys"
        assert not torch.equal(shuffled[name], given[name])
        assert torch.equal(same[name], given[name]) and torch.equal(heir[name], given[name])


def test_attention_that_the_source_does_not_mask_is_open(here: Here, cells: dict[str, PlannedCell]) -> None:
    given, shuffled, heir = (
        here.network(cells[name]).hard_masks() for name in ("open", "shuffle_open", "continued_open")
    )
    assert given is not None and shuffled is not None and heir is not None
    assert "temporal" not in given
    assert bool(shuffled["temporal"].all()) and bool(heir["spatial"].all())
    assert shuffled["head"].sum() == given["head"].sum() and torch.equal(heir["head"], given["head"])


def test_what_has_nothing_to_match_is_refused(here: Here) -> None:
    with pytest.raises(UserError, match="attention: matched takes another cell's counts: give density"):
        here.cells({"m": {"use": "random", "density": 0.5, "attention": "matched"}})
    matched = {"use": "random", "density": {"match": "o", "by": "hard"}, "attention": "matched"}
    named = here.cells({"o": METHODS["open"], "m": matched})
    finish(here.folder, here.registry, named["o"])
    with pytest.raises(UserError, match="finds no mask on 'temporal' in the cell whose density is taken"):
        finish(here.folder, here.registry, named["m"])


def test_attention_by_a_soft_mask_is_kept_beside_the_hard_one(
    here: Here, cells: dict[str, PlannedCell], tmp_path: Path
) -> None:
    from harness.results import mask_pictures

    runner = runner_of(here.folder, here.registry)
    for name in ("g", "other"):
        found = evaluated(cells[name], runner, here.registry, CPU)
        assert found.masks is not None
        (tmp_path / name).write_bytes(mask_pictures.packed(found.masks, found.connections, None, found.attention))
        read = mask_pictures.read((tmp_path / name).read_bytes())
        network = here.network(cells[name])
        if name == "g":
            biases = network.method.effective(network.begin_phase(True).inputs, network.connections)
        for each in ("temporal", "spatial"):
            connection = next(c for c in network.connections if c.name == each)
            mask = read[each]
            assert mask.attention is not None and mask.shape[0] == mask.attention.shape[0]
            assert torch.allclose(torch.from_numpy(mask.attention).mean(1), torch.ones(mask.shape[0]), atol=2e-3)
            if name == "g":
                bias = connection.region(biases[connection.parameter]).detach()
                assert torch.allclose(torch.from_numpy(mask.attention), bias.softmax(1) * bias.shape[1], atol=2e-3)
            assert (mask.soft is not None) == (name == "g")
        assert (read["temporal"].grid, read["spatial"].grid) == ((4,), (2, 2))
