"""Networks that are scored together."""

from __future__ import annotations

import math

import pytest
import torch

from harness import Ensemble, LanguageNetwork, NoOptions, Prune, SparsityMethod, Train
from harness.core.densities import DensityBudget
from harness.core.head_loss import head_loss
from harness.errors import Unsupported, UserError, WrongCount
from harness.results.record import evaluated
from harness.stages.scored import log_mean_softmax, mean_prediction
from harness.testing import check_method

PROGRAMS = """
from pydantic import BaseModel, ConfigDict
from harness import Ensemble, Entry, Prune, SparsityMethod, Train, hookimpl

HELD = {"hooks": False}
NESTED = [Train(20, **HELD), Prune(density=0.3), Train(10, **HELD), Prune(density=0.2), Train(10, **HELD)]
PROGRAMS = {
    "pair": [*NESTED, Ensemble((2, 4))],
    "larger": NESTED[:3],
    "smaller": NESTED,
    "heavy": [*NESTED, Ensemble((0, 2))],
    "early": [Train(5, **HELD), Train(5, **HELD), Ensemble((0, 1)), Train(5, **HELD)],
    "no_end": [*NESTED, Ensemble((1, 2))],
}

class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    program: str

class Programs(SparsityMethod[Options]):
    Options = Options
    takes_density = "never"
    def program(self, budget):
        return PROGRAMS[self.options.program]
    def influences(self, phase):
        return {}
    def scores(self, context):
        return {c.name: context.weight(c).abs() for c in context.connections}

@hookimpl
def harness_register_methods():
    return [Entry("programs", Programs)]
"""


def programs(*names: str) -> str:
    return "{" + ", ".join(f"{name}: {{use: programs, program: {name}}}" for name in names) + "}"


def test_the_mean_of_probabilities_is_scored_and_all_weights_are_counted(lab) -> None:
    lab_ = lab(PROGRAMS)
    cells = lab_.cells(programs("pair", "larger", "smaller"))
    larger, smaller = (lab_.network(cells[name]) for name in ("larger", "smaller"))
    lab_.run(cells["pair"])
    scored = lab_.runner.scored(cells["pair"])
    inputs = torch.rand(16, *larger.architecture.data.inputs)
    with lab_.runner.predicting(scored, "hard") as model, torch.no_grad():
        mean = (larger.module.eval()(inputs).softmax(-1) + smaller.module.eval()(inputs).softmax(-1)) / 2
        torch.testing.assert_close(model(inputs).exp(), mean)
    found, masks = evaluated(cells["pair"], lab_.runner, lab_.registry, torch.device("cpu")), scored.masks
    record, one = found.record.content(), lab_.record(cells["larger"])
    density, kept = record["density"], round(0.3 * 194) + round(0.2 * 194)
    assert (density["kept"], density["size"]) == (kept, 194) and density["mask"] == kept / 194
    assert density["nonzero"] == pytest.approx(kept / 194) and density["scope"] == "maskable"
    assert sum(row["kept"] for row in density["connections"].values()) == kept
    assert {name.split(":")[0] for name in density["connections"]} == {"1", "2"} == {n[0] for n in masks}
    assert record["method"]["members"] == 2 and one["method"]["members"] == 1
    assert record["architecture"]["parameters"] == one["architecture"]["parameters"]
    ones = sum(int(torch.count_nonzero(p)) for n in (larger, smaller) for p in n.module.parameters())
    assert density["total"] == pytest.approx(ones / one["architecture"]["parameters"])
    flops, single = record["spent"]["flops"], one["spent"]["flops"]
    assert flops["inference"] == 2 * single["inference"] and record["spent"]["steps"] == 40
    other = lab_.record(cells["smaller"])["spent"]["flops"]["inference_sparse"]
    assert flops["inference_sparse"] == pytest.approx(single["inference_sparse"] + other)
    assert masks is not None and found.masks is not None and masks.digest() == found.masks.digest()


def test_members_of_language_networks_are_averaged_behind_their_heads() -> None:
    class Tiny(LanguageNetwork):
        def __init__(self, seed: int) -> None:
            super().__init__()
            torch.manual_seed(seed)
            self.context, self.vocabulary = 4, 5
            self.table, self.head = torch.nn.Embedding(5, 3), torch.nn.Linear(3, 7, bias=False)

        def states(self, inputs):
            return [self.table(inputs)]

        def normed(self, state):
            return state

        @property
        def head_weight(self):
            return self.head.weight

    members = [Tiny(1), Tiny(2)]
    model, inputs = mean_prediction(members, real=False), torch.tensor([[0, 1, 2, 4], [3, 3, 1, 0]])
    assert isinstance(model, LanguageNetwork) and (model.context, model.vocabulary) == (4, 5)
    wanted = torch.stack([member(inputs).softmax(-1) for member in members]).mean(0)
    torch.testing.assert_close(model(inputs).exp(), wanted)
    torch.testing.assert_close(model.logits(model.features(inputs)[:, 1]).exp(), wanted[:, 1])
    targets = torch.tensor([[1, 2, 4, -100], [3, 1, 0, -100]])
    known = targets != -100
    loss = -wanted[known].gather(1, targets[known][:, None]).log().mean()
    torch.testing.assert_close(model(inputs, targets), loss)
    single = mean_prediction(members[:1], real=False)
    assert single is members[0]
    torch.testing.assert_close(
        single(inputs, targets), head_loss(single.features(inputs), single.head_weight, targets, 5)
    )
    for part in ("states", "normed"):
        with pytest.raises(Unsupported, match="score its members one by one"):
            getattr(model, part)(inputs)


def test_numbers_are_averaged_as_they_are() -> None:
    members = [torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)]
    inputs = torch.rand(5, 3)
    mean = (members[0](inputs) + members[1](inputs)) / 2
    torch.testing.assert_close(mean_prediction(members, real=True)(inputs), mean)


def test_probabilities_are_averaged_where_some_are_nearly_zero() -> None:
    one, other = torch.tensor([0.0, -200.0]), torch.tensor([-200.0, 0.0])
    assert log_mean_softmax([one, other]).tolist() == pytest.approx([math.log(0.5)] * 2)
    assert log_mean_softmax([one, one])[1] == pytest.approx(-200.0)


@pytest.mark.parametrize("per_connection", [None, {"a": 4, "b": 1, "c": 2}])
def test_shares_add_up(per_connection) -> None:
    budget = DensityBudget(7, 0.5, per_connection)
    shares = [budget.share(i, 3) for i in range(3)]
    assert sum(share.keep for share in shares) == 7 and all(share.requested == 0.5 / 3 for share in shares)
    if per_connection is None:
        assert [share.keep for share in shares] == [3, 2, 2]
    else:
        assert [share.per_connection for share in shares] == [
            {"a": 2, "b": 1, "c": 1},
            {"a": 1, "b": 0, "c": 1},
            {"a": 1, "b": 0, "c": 0},
        ]
    assert budget.share(0, 1) == budget


def test_more_weights_than_one_network_has_are_refused(lab) -> None:
    with pytest.raises(WrongCount, match=r"2 networks of the ensemble keep 252 weights, one network has 194"):
        lab(PROGRAMS).records(programs("heavy"))


def test_nothing_goes_on_from_an_ensemble(lab) -> None:
    lab_ = lab(PROGRAMS)
    with pytest.raises(UserError, match=r"method 'early': phase 2, Ensemble.* must be the last one"):
        lab_.cells(programs("early"))
    with pytest.raises(UserError, match="phase 1 is no earlier training phase: its end is not kept"):
        lab_.cells(programs("no_end"))
    with pytest.raises(Unsupported, match="'heir' refers to 'pair', which ends with several networks"):
        lab_.cells("{pair: {use: programs, program: pair}, heir: {source: pair}}")
    for wrong in ((), (1,), (1, 1)):
        with pytest.raises(UserError, match="at least two training phases, and none twice"):
            Ensemble(wrong)


def test_the_example(lab, example) -> None:
    source = example("SparseEnsemble", "ensemble")
    lab_ = lab(source)
    (record,) = lab_.records("{ensemble: {density: 0.3}}").values()
    assert record["density"]["kept"] == 3 * (round(0.3 * 194) // 3) and record["density"]["requested"] == 0.3
    assert record["density"]["other_count"] == (
        None if round(0.3 * 194) % 3 == 0 else "three networks with one mask keep a multiple of three"
    )
    assert record["spent"]["steps"] == 40 + 3 * 10 and record["method"]["members"] == 3
    found: dict = {}
    exec(source, found)
    check_method(found["SparseEnsemble"])


def test_conformance_counts_all_members() -> None:
    class Unshared(SparsityMethod[NoOptions]):
        def program(self, budget):
            return [Train(5, hooks=False), Prune(), Train(5, hooks=False), Train(5, hooks=False), Ensemble((2, 3))]

        def scores(self, context):
            return {c.name: context.weight(c).abs() for c in context.connections}

    with pytest.raises(AssertionError, match="asked to keep exactly"):
        check_method(Unshared)


def test_effective_weights_of_all_networks_are_counted_against_one(lab) -> None:
    records = lab(PROGRAMS).records(programs("pair", "larger", "smaller"))
    pair, larger, smaller = (records[name]["connectivity"] for name in ("pair", "larger", "smaller"))
    assert pair["effective"] == larger["effective"] + smaller["effective"] > 0
    assert pair["size"] == larger["size"] == smaller["size"]
    assert pair["varies"] and pair["predictions"] > 1
    assert pair["empty"] == [f"1:{name}" for name in larger["empty"]] + [f"2:{name}" for name in smaller["empty"]]
