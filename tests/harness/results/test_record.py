"""The record of a cell: counted in what was scored, checked against what was asked for, with its provenance."""

from __future__ import annotations

import json

import pytest
import torch
from pydantic import BaseModel

from harness.errors import Diverged, WrongCount
from harness.results.cell_record import CellRecord
from harness.results.parsing import parse_record
from harness.results.record import failed


def count_of(lab, difference: int, options: str = "", density: str = "0.5", more: str = "") -> dict:
    methods = f"{{{more}m: {{use: other_count, difference: {difference}, {options} density: {density}}}}}"
    return lab().records(methods)["m"]


@pytest.mark.parametrize("difference", [-1, 1, 10])
def test_another_count_than_asked_for_fails_with_both_numbers(lab, difference: int) -> None:
    text = rf"asked to keep 97 of 194 weights \(density 0.5\), the final masks keep {97 + difference} .*'m' gives no"
    with pytest.raises(WrongCount, match=text):
        count_of(lab, difference)


def test_everything_kept_where_a_tenth_was_asked_for_is_no_result(lab) -> None:
    with pytest.raises(WrongCount, match=r"asked to keep 19 of 194 weights .*, the final masks keep 194 \(density 1\)"):
        lab().records("{m: {use: programmed, program: train_held, density: 0.1}}")


def test_a_count_that_the_method_explains_is_recorded_with_the_reason(lab) -> None:
    density = count_of(lab, -3, "reason: three go,")["density"]
    assert density["kept"] == 94 and density["requested"] == 0.5 and density["other_count"] == "three go"
    assert count_of(lab, 0, "reason: three go,")["density"]["other_count"] is None


def test_counts_by_layer_are_each_checked(lab) -> None:
    """One more in the first and one fewer in the last leave the sum as it was."""
    matched = {"density": "{match: wide, by: per_layer}", "more": "wide: {use: soft, program: train}, "}
    with pytest.raises(WrongCount, match=r"asked to keep \d+ of 60 weights in first \("):
        count_of(lab, 1, "elsewhere: -1,", **matched)
    assert count_of(lab, 1, "elsewhere: -1,")["density"]["kept"] == 97
    count_of(lab, 0, **matched)


def test_zeros_are_recounted_in_the_weights_not_in_the_masks(lab) -> None:
    here = lab()
    planned = here.run(here.cells("{m: {use: programmed, program: prune, density: 0.5}}")["m"])
    stage = planned.stages[-1].hash
    before = here.record(planned)["density"]
    second = before["connections"]["second"]
    assert before["nonzero"] == 0.5 and second["nonzero"] == second["kept"] and second["role"] == "dense"
    state, manifest = here.store.state(stage), here.store.manifest(stage)
    weight = state["weights"]["second.weight"]
    weight.view(-1)[weight.view(-1).nonzero()[:5]] = 0
    here.store.finish(stage, state, here.store.series(stage), manifest)
    after = here.record(planned)["density"]
    assert after["kept"] == before["kept"] == 97 and after["mask"] == 0.5
    assert after["nonzero"] == pytest.approx((97 - 5) / 194)
    assert after["connections"]["second"]["nonzero"] == second["nonzero"] - 5
    assert round((before["total"] - after["total"]) * here.record(planned)["architecture"]["parameters"]) == 5


def test_what_is_tested_softly_has_no_zeros(lab) -> None:
    methods = "{m: {use: soft, program: train}}"
    hard = lab().records(methods)["m"]["density"]
    soft = lab().records(methods, evaluation="{checks: 1, masks: soft}")["m"]["density"]
    assert hard["mask"] == soft["mask"] < 1
    assert soft["nonzero"] == 1 and hard["nonzero"] == pytest.approx(hard["mask"])
    assert 0 < soft["soft"] < 1 and soft["soft"] != soft["mask"]


@pytest.mark.parametrize("owns", [True, False])
def test_a_method_owns_the_function_of_its_final_network(lab, owns: bool) -> None:
    """Hard evaluation of soft thresholds is that of the trained network only where the method says what it computes."""
    methods = f"{{m: {{use: soft_threshold, owns: {str(owns).lower()}}}}}"
    hard = lab().records(methods)["m"]
    soft = lab().records(methods, evaluation="{checks: 4, masks: soft}")["m"]
    assert (hard["metrics"]["loss"]["value"] == soft["metrics"]["loss"]["value"]) is owns
    assert hard["method"].get("final_differs") == (None if owns else "thresholds are left out")
    assert soft["method"]["final_differs"] is None
    assert 0 < hard["density"]["kept"] < 194
    assert hard["density"]["nonzero"] == pytest.approx(hard["density"]["mask"])


def test_trained_by_and_tested_by(lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun with one version, ended with another, tested with a third."""
    here = lab()
    first, second = here.cells("{m: {use: programmed, program: prune, density: 0.5}}")["m"].stages
    cells = here.cells("{m: {use: programmed, program: prune, density: 0.5}}")

    def with_torch(version: str) -> None:
        monkeypatch.setattr("harness.stages.runner.describe", lambda device: {"torch": version, "device": "cpu"})

    with_torch("1")
    here.runner.run(first)
    with_torch("2")
    here.runner.run(second)
    with_torch("3")
    record = here.record(cells["m"])
    assert [environment["torch"] for environment in record["trained_by"]] == ["1", "2"]
    assert record["environment"]["torch"] == "3"
    (known,) = here.store.manifest(first.hash)["trained_by"]
    assert record["trained_by"][0].items() >= known.items() and known["torch"] == "1"
    plugins = record["environment"]["plugins"]
    assert len(plugins["toy_plugin"]) == 64 and record["trained_by"][0]["plugins"] == plugins
    heir = here.record(here.cells("{m: {use: programmed, program: prune, density: 0.5}, heir: {source: m}}")["heir"])
    assert [environment["torch"] for environment in heir["trained_by"]] == ["1", "2", "3"]


def test_the_environment_names_machine_and_plugins(lab) -> None:
    record = lab().records("{m: {use: random, density: 0.5}}")["m"]
    here = record["environment"]
    assert here["torch"] == torch.__version__.split("+")[0] and here["device"] == "cpu" and here["processes"] == 1
    assert here["device_name"] and here["plugins"].keys() == {"toy_plugin", "sparsity-harness"}
    assert record["trained_by"] == [here]
    json.dumps(record, allow_nan=False)


def test_what_was_not_trained_here_was_trained_by_nobody(lab) -> None:
    assert lab().records("{m: {use: programmed, program: nothing}}")["m"]["trained_by"] == []


def test_failures_say_why(lab) -> None:
    here = lab()
    planned = here.cells("{m: {use: random, density: 0.5}}")["m"]
    diverged = failed(planned, here.registry, Diverged(7, float("nan")))
    assert diverged.status == "diverged" and diverged.metrics == {} and diverged.spent is None
    assert diverged.failure.step == 7 and diverged.failure.message == "the loss became nan at step 7"
    assert failed(planned, here.registry, WrongCount("both")).status == "failed"
    told = failed(planned, here.registry, {"type": "X", "message": "m", "label": "net"}).failure
    assert (told.type, told.message, told.step) == ("X", "m", None) and told.model_extra == {"label": "net"}


def test_what_is_written_is_what_is_read_with_no_key_that_the_model_does_not_know(lab) -> None:
    here = lab()
    planned = here.cells("{m: {use: random, density: 0.5}}")["m"]
    for content in (here.record(planned), failed(planned, here.registry, WrongCount("both")).content()):
        record = parse_record(json.dumps(content).encode(), planned.id)
        assert record.content() == content and content["schema"] == 2 and content.keys() == keys(CellRecord)
        for part in ("density", "architecture", "method", "benchmark", "training_data"):
            assert content[part].keys() == keys(type(getattr(record, part)))


def keys(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


CORNER = """
from harness import Entry, Masks, SparsityMethod, hookimpl


class Corner(SparsityMethod):
    takes_density = "never"

    def after_step(self, context):
        masks = {name: mask.clone() for name, mask in Masks.full(context.connections).items()}
        masks["conv"][0] = False
        masks["conv"][1, 0, 1:] = False
        return Masks(masks)


@hookimpl
def harness_register_architectures():
    return [Entry("convolutional", Convolutional, "one convolution")]


@hookimpl
def harness_register_methods():
    return [Entry("corner", Corner, "one kernel gone, and two rows of another")]
"""


def test_pairs_are_counted_beside_weights(lab, documented) -> None:
    """Of four kernels one is gone; another, of which a row is left, is a pair all the same."""
    suite = {"architectures": "{convolutional: {}}", "benchmarks": "digits", "training": "{steps: 2, batch_size: 4}"}
    here = lab(documented("Convolutional") + CORNER)
    density = here.records("{m: {use: corner}}", **suite)["m"]["density"]
    assert (density["kept"], density["size"]) == (36 - 9 - 6 + 1440, 36 + 1440)
    assert density["pairs"] == {"kept": 3 + 1440, "size": 4 + 1440, "soft": None}
    dense = here.records("{m: {use: dense}}", **suite)["m"]["density"]
    assert dense["pairs"] == {"kept": 1444, "size": 1444, "soft": None}
    genome = here.records("{m: {use: genome}}", **suite)["m"]["density"]
    softs = [row["soft"] for row in genome["connections"].values()]
    assert genome["pairs"]["soft"] == pytest.approx((4 * softs[0] + 1440 * softs[1]) / 1444)
    assert genome["pairs"]["soft"] != pytest.approx(genome["soft"], rel=1e-6), "that is over weights"


def test_what_counts_weights_has_no_pairs(lab) -> None:
    density = lab().records("{m: {use: programmed, program: prune, density: 0.5}}")["m"]["density"]
    assert density["pairs"] is None and density["attention"] is None and density["added"] == {}
