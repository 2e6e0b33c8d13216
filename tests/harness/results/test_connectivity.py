"""What a record says of a network's connectivity: dead units, empty connections, and outputs that do not vary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.core.connections import Band, Connection
from harness.core.data import DataSpec
from harness.core.masks import Masks
from harness.core.units import UnitGroup, UnitMember
from harness.errors import DataMissing
from harness.results import connectivity as module_under_test
from harness.results.connectivity import Probed, nonzero, opened, probe, structure
from harness.results.parsing import parse_record
from harness.results.record_parts import Connectivity
from harness.testing.toy import ToyArchitecture, ToyData

SPEC = DataSpec("classification", (8,), 4, 40)
TOY = ToyArchitecture(None, SPEC)  # type: ignore[arg-type]
CONNECTIONS = tuple(TOY.connections())


def full() -> Masks:
    return Masks({c.name: torch.ones(c.shape, dtype=torch.bool) for c in CONNECTIONS})


def found(masks: Masks, model: nn.Module | None = None) -> tuple[Any, ...]:
    model = TOY.build() if model is None else model
    count, dead, depends = structure(model, SPEC, CONNECTIONS, opened(model, CONNECTIONS, masks), TOY.units())
    return count, None if dead is None else (dead.dead, dead.of), depends


def test_a_dense_network_is_effective_as_a_whole() -> None:
    assert found(full()) == (256, (0, 24), True)


def test_units_without_incoming_or_without_outgoing_weights_are_dead() -> None:
    """Band 1 has 8 neurons, band 2 16. Of 64 + 128 + 64 weights, the dead neurons' are lost, on both sides."""
    masks = full()
    masks["layer0"][0] = False  # nothing enters neuron 0 of band 1: its 16 outgoing weights carry a bias
    masks["layer2"][:, :3] = False  # nobody reads three neurons of band 2: their 3 x 7 incoming weights, 0 out
    assert found(masks) == (256 - 8 - 16 - 3 * 7 - 3 * 4, (4, 24), True)


def test_a_cut_network_has_no_effective_weights_and_does_not_depend_on_its_inputs() -> None:
    masks = full()
    masks["layer1"][:] = False
    assert found(masks) == (0, (24, 24), False)


def test_masks_of_a_part_leave_the_rest_open() -> None:
    masks = full()
    masks["layer1"][:] = False
    model, part = TOY.build(), CONNECTIONS[1:2]
    kept = opened(model, part, masks)
    assert list(kept) == ["layers.1.weight"]
    assert structure(model, SPEC, part, kept, ())[:2] == (0, None)


def test_a_region_is_opened_within_its_parameter() -> None:
    bands = Band("a", 2, 0), Band("b", 3, 1)
    region = Connection("c", "weight", "dense", bands[0], bands[1], (3, 2), columns=(1, 3))
    mask = torch.tensor([[True, False], [False, False], [True, True]])
    kept = opened(nn.Linear(4, 3), [region], {"c": mask})["weight"]
    assert kept.int().tolist() == [[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]


def test_softly_masked_weights_count_unless_they_are_zero() -> None:
    model = TOY.build()
    with torch.no_grad():
        model.get_parameter("layers.0.weight")[2] = 0
        model.get_parameter("layers.1.weight").mul_(1e-30)
    kept = nonzero(model, CONNECTIONS)
    assert [int(mask.sum()) for mask in kept.values()] == [56, 128, 64]


def test_a_unit_of_which_one_side_is_unknown_is_judged_by_the_other() -> None:
    flags = {"w": torch.tensor([[True, False], [False, False]])}
    rows = UnitGroup("rows", "neuron", 2, (UnitMember("w", 0, "in"), UnitMember("b", 0, "own")))
    assert module_under_test._dead(rows, flags).tolist() == [False, True]
    unknown = UnitGroup("others", "neuron", 2, (UnitMember("buffer", 0, "in"),))
    assert module_under_test._dead(unknown, flags).tolist() == [False, False]


def test_what_cannot_be_known_is_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_under_test, "LARGEST", 100)
    assert found(full()) == (None, None, None)
    monkeypatch.undo()

    class Single(type(TOY.build())):  # type: ignore[misc]
        def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
            return super().forward(inputs.float(), targets)

    assert found(full(), Single(TOY.widths)) == (None, None, None)


class Constant(nn.Module):
    """Gives the same logits for all examples, but for ``wobble`` times one input."""

    def __init__(self, logits: Sequence[float], wobble: float) -> None:
        super().__init__()
        self.logits, self.wobble = nn.Parameter(torch.tensor(logits)), wobble

    def forward(self, inputs: Tensor) -> Tensor:
        return self.logits + self.wobble * inputs[:, :1]


@pytest.mark.parametrize(
    ("wobble", "expected"), [(0.0, (False, 1)), (1e-9, (False, 1)), (1e-3, (True, 1)), (1.0, (True, 1))]
)
def test_outputs_vary_by_more_than_rounding(wobble: float, expected: tuple[bool, int]) -> None:
    assert probe(Constant([1.0, 2.0, 0.5, 0.0], wobble), ToyData(SPEC), SPEC) == Probed(*expected)


def test_all_that_is_predicted_is_counted_in_pieces_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, data = TOY.build(), ToyData(SPEC)
    classes = len(set(model(data.batch(torch.arange(40))[0]).argmax(1).tolist()))
    assert classes > 1
    monkeypatch.setattr(module_under_test, "ENTRIES", 12)
    assert probe(model, data, SPEC) == Probed(True, classes)


def test_examples_are_spread_over_the_training_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data may be sorted by class: the first so many would be one class."""
    asked: list[int] = []

    class Data(ToyData):
        def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
            asked.extend(indices.tolist())
            return super().batch(indices)

    monkeypatch.setattr(module_under_test, "EXAMPLES", 4)
    probe(TOY.build(), Data(SPEC), SPEC)
    assert asked == [0, 13, 26, 39]


def test_of_texts_a_part_is_read_and_places_are_compared_with_themselves() -> None:
    class Places(nn.Module):
        """Logits differ from place to place, but not from text to text."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.places = nn.Embedding(9, 5), nn.Parameter(torch.randn(6, 5))

        def forward(self, tokens: Tensor) -> Tensor:
            assert tokens.shape[1] == 4
            return self.places[:4] + 0 * self.embedding(tokens)

    class Texts(ToyData):
        def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
            tokens = torch.randint(9, (len(indices), 6))
            return tokens, tokens

    texts = Texts(replace(SPEC, kind="language"))
    assert probe(Places(), texts, DataSpec("language", (4,), 5, 40, 6)) == Probed(False, None)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"depends_on_input": False, "varies": True}, "cut"),
        ({"depends_on_input": True, "varies": False, "predictions": 1}, "constant"),
        ({"depends_on_input": True, "varies": True, "predictions": 1}, "constant"),
        ({"depends_on_input": True, "varies": True, "predictions": 2}, None),
        ({"varies": True}, None),
        ({}, None),
    ],
)
def test_what_is_broken_has_a_word(given: dict[str, Any], word: str | None) -> None:
    assert Connectivity(size=4, **given).broken == word


def test_effective_density() -> None:
    assert Connectivity(size=8, effective=2).density == 0.25
    assert Connectivity(size=8).density is None


# --- in the record of a cell --------------------------------------------------------------------


def test_a_dense_cell_is_whole(lab: Any) -> None:
    found = lab().records("{d: {use: programmed, program: train_held}}")["d"]["connectivity"]
    assert found["effective"] == found["size"] == 194
    assert (found["empty"], found["dead_units"]) == ([], None)
    assert (found["depends_on_input"], found["varies"], found["predictions"]) == (True, True, 3)


CUT = """
from harness import Entry, Masks, Prune, SparsityMethod, Train, hookimpl


class Cut(SparsityMethod):
    takes_density = "never"

    def program(self, budget):
        return [Prune(density=0.5), Train(budget.steps, hooks=False)]

    def scores(self, context):
        return {c.name: context.weight(c).abs() for c in context.connections}

    def refine(self, masks, context):
        return Masks({c.name: masks[c.name] & False if "out" in c.name else masks[c.name] | True
                      for c in context.connections})


@hookimpl
def harness_register_methods():
    return [Entry("cut", Cut)]
"""


def test_a_network_without_a_way_out_is_cut(lab: Any) -> None:
    here = lab(CUT)
    (planned,) = here.cells("{m: {use: cut}}").values()
    record = parse_record(json.dumps(here.record(planned)).encode(), planned.id)
    found = record.connectivity
    assert found is not None and record.density.kept == 60 + 80
    assert (found.effective, found.empty, found.broken) == (0, ["out.first", "out.second"], "cut")
    assert (found.varies, found.predictions) == (False, 1)


def test_what_is_scored_softly_is_judged_with_all_its_weights(lab: Any) -> None:
    methods = "{s: {use: soft, program: train}}"
    soft = lab().records(methods, evaluation="{checks: 4, masks: soft}")["s"]
    hard = lab().records(methods)["s"]
    assert soft["density"]["kept"] == hard["density"]["kept"] < 194
    assert soft["connectivity"]["effective"] == 194
    assert hard["connectivity"]["effective"] <= hard["density"]["kept"]


def test_masks_on_attention_stay_in_place(lab: Any, attention_plugin: str) -> None:
    """Gates on attention are in no count of weights; the network is read whole, as its biases are."""
    here = lab(attention_plugin)
    suite = {"architectures": "{attending: {}}", "benchmarks": "digits", "training": "{steps: 3, batch_size: 16}"}
    (found,) = here.records("{gates: {}}", **suite).values()
    assert found["connectivity"]["depends_on_input"] and found["connectivity"]["varies"]
    assert found["connectivity"]["effective"] == found["connectivity"]["size"] == found["density"]["size"]


def test_without_training_data_only_the_structure_is_known(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here = lab()
    planned = here.run(here.cells("{d: {use: programmed, program: train_held}}")["d"])

    def missing(part: object) -> None:
        raise DataMissing("not on this machine")

    monkeypatch.setattr(here.runner, "training_data", missing)
    found = here.record(planned)["connectivity"]
    assert found["effective"] == 194 and found["varies"] is None and found["predictions"] is None


def test_scores_are_what_they_were_without_it(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither draws from the streams of others nor leaves a trace in the network."""
    here = lab()
    planned = here.run(here.cells("{s: {use: soft, program: train}}")["s"])
    first = here.record(planned)
    monkeypatch.setattr("harness.results.record.connectivity", lambda *_: None)
    assert here.record(planned)["metrics"] == first["metrics"]
