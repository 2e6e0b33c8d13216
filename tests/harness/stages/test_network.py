"""The network of a stage: which counts a matched cell gets, and what it finds of its source."""

from __future__ import annotations

import pytest
import torch

from harness import Band, Connection, DensityBudget
from harness.core.connection_density import ConnectionDensity
from harness.errors import HarnessError
from harness.stages.network import initial_module, matched

GENERATOR = "wide: {use: soft, program: train}"


def kept_of(lab, matched: str, **keys: str):
    """The soft cell's network, the matched cell's, and the matched cell's record."""
    here = lab()
    cells = here.cells(f"{{{GENERATOR}, other: {matched}}}", **keys)
    wide = here.network(cells["wide"])
    record = here.record(cells["other"])
    return wide, here.network(cells["other"]), record


def test_a_hard_match_has_the_others_count_to_one_weight(lab) -> None:
    wide, other, record = kept_of(lab, "{use: random, density: {match: wide, by: hard}}")
    source, own = wide.context.masks, other.context.masks
    assert sum(own.kept.values()) == sum(source.kept.values()) == record["density"]["kept"] < 194
    assert own.kept != source.kept
    assert record["density"]["requested"] == source.density


def test_a_soft_match_has_the_soft_density(lab) -> None:
    wide, other, record = kept_of(lab, "{use: random, density: {match: wide, by: soft}}")
    soft = wide.method.soft_densities()
    mean = sum(soft[c.name] * c.size for c in wide.connections) / 194
    source, own = wide.context.masks, other.context.masks
    assert sum(own.kept.values()) == round(194 * mean) != sum(source.kept.values())
    assert record["density"]["requested"] == pytest.approx(mean)


def test_a_soft_match_counts_weights_or_pairs() -> None:
    theirs = {  # kernels of nine weights, half open, and a fifth of as many pairs without kernels
        "conv": ConnectionDensity((4, 5, 3, 3), 0, 0.5),
        "dense": ConnectionDensity((2, 2), 0, 0.2),
    }
    own = [Connection("c", "c", "dense", Band("a", 10, 0), Band("b", 10, 1), (10, 10))]
    over_weights = (0.5 * 180 + 0.2 * 4) / 184
    assert matched("soft", theirs, own) == DensityBudget(round(100 * over_weights), over_weights)
    over_pairs = (0.5 * 20 + 0.2 * 4) / 24
    assert matched("soft_pairs", theirs, own) == DensityBudget(45, pytest.approx(over_pairs))


def test_a_match_by_layer_has_every_count(lab) -> None:
    wide, other, _ = kept_of(lab, "{use: random, density: {match: wide, by: per_layer}}")
    source, own = wide.context.masks, other.context.masks
    assert own.kept == source.kept and own.digest() != source.digest()


def test_a_match_in_another_scope_is_scaled(lab) -> None:
    wide, other, _ = kept_of(lab, "{use: random, density: {match: wide, by: hard}, scope: [dense]}")
    source, own = wide.context.masks, other.context.masks
    assert sum(own.sizes.values()) == 140
    assert sum(own.kept.values()) == round(140 * sum(source.kept.values()) / 194)
    with pytest.raises(HarnessError, match="can only be taken from a run with the same connections"):
        kept_of(lab, "{use: random, density: {match: wide, by: per_layer}, scope: [dense]}")


def test_counts_come_from_a_file_that_cannot_be_changed_unseen(lab) -> None:
    here = lab()
    cells = here.cells(f"{{{GENERATOR}, other: {{use: random, density: {{match: wide}}}}}}")
    here.run(cells["wide"])
    stage = cells["wide"].stages[-1].hash
    path = here.store.folder(stage) / "stage.json"
    text = path.read_text()
    for digit in "123456789":
        changed = text.replace('"kept": ', f'"kept": {digit}', 1)
        path.write_text(changed)
        assert here.store.manifest(stage) is None and here.store.damaged(stage) == path
        with pytest.raises(HarnessError, match="is not finished"):
            here.run(cells["other"])
    path.write_text(text)
    assert here.store.damaged(stage) is None
    here.run(cells["other"])


def test_a_source_is_what_the_other_cell_left(lab) -> None:
    here = lab()
    cells = here.cells("{first: {use: programmed, program: prune, density: 0.5}, heir: {source: first}}")
    first = here.network(cells["first"])
    source = here.runner._builder._source(cells["heir"].stages[-1], first.connections)
    assert source is not None and first.current.hard is not None
    assert source.masks.digest() == first.current.hard.digest() and source.spent["steps"] == 70
    assert {name: row.kept for name, row in source.densities.items()} == first.current.hard.kept
    assert all(row.mean == row.hard == row.kept / row.size for row in source.densities.values())
    for name, tensor in first.module.state_dict().items():
        assert torch.equal(source.weights[name], tensor)


def test_all_methods_of_a_seed_start_from_the_same_weights(lab) -> None:
    here = lab()
    for planned in here.graph("{a: {use: programmed, program: nothing}, b: {use: soft, program: train}}").cells:
        stage = planned.stages[0]
        network = here.runner._builder.build(stage, here.runner.benchmark(stage.cell.training_part).spec())
        assert_equal(network.module.state_dict(), initial_module(network.architecture, 3).state_dict())
        assert_equal(network.initial().state_dict(), network.module.state_dict())
        assert not torch.equal(network.initial(1).state_dict()["first.weight"], network.module.first.weight)


def assert_equal(one, other) -> None:
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
