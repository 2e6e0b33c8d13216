"""Part of a schedule: the rates and examples of these steps of a whole training."""

from __future__ import annotations

import pytest
import torch

from harness import Finetune, Train
from harness.core.phases import total_steps
from harness.errors import UserError
from harness.stages.graph import _phase_text
from harness.testing import check_method
from harness.training.sampler import Sampler

PROGRAMS = """
import torch
from torch import nn
from pydantic import BaseModel, ConfigDict
from harness import Entry, ParameterGroup, SparsityMethod, Train, hookimpl

PROGRAMS = {
    "whole": [Train(45)],
    "parts": [Train(20, of=45), Train(25, begin=20, of=45)],
    "three": [Train(20, of=45), Train(5, begin=20, of=45), Train(20, begin=25)],
    "again": [Train(45), Train(25, begin=20, of=45)],
}
class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    program: str = "whole"

class Watching(SparsityMethod[Options]):
    Options = Options
    takes_density = "never"
    def program(self, budget):
        return PROGRAMS[self.options.program]
    def influences(self, phase):
        return {}
    def attach(self, context):
        self.own = nn.Parameter(torch.zeros(1))
    def parameter_groups(self):
        return [ParameterGroup([self.own], lr=0.5, schedule="same")]
    def regularizers(self, context):
        return {"own": self.own.sum()}
    def state_dict(self):
        return {"own": self.own.detach()}
    @torch.no_grad()
    def load_state_dict(self, state):
        self.own.copy_(state["own"])

@hookimpl
def harness_register_methods():
    return [Entry("watching", Watching)]
"""
STATELESS = "{steps: 45, batch_size: 16, optimizer: sgd, momentum: 0, lr: 0.05, warmup_steps: 4}"


class Recorded(list[list[int]]):
    """Examples of every batch, in the order in which they were read."""


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    found, indices = Recorded(), Sampler.indices

    def recording(self: Sampler, position: int, count: int) -> torch.Tensor:
        found.append(indices(self, position, count).tolist())
        return indices(self, position, count)

    monkeypatch.setattr(Sampler, "indices", recording)
    return found


def trained(lab, read: Recorded, program: str, training: str = STATELESS):
    """The network, the rates of every look, and the batches of each phase, of a program."""
    methods = f"{{m: {{use: watching, program: {program}}}}}"
    net = "{net: {dropout: 0, norm: false}}"
    (planned,) = lab.cells(methods, training=training, architectures=net, evaluation="{checks: 1}").values()
    read.clear()
    network = lab.network(planned)
    begins = [phase.begin for stage in planned.stages for phase in stage.phases]
    looks = lab.store.series(planned.stages[-1].hash)["loss"]
    return network, {begins[phase] + step: rate for phase, step, _, rate in looks}, list(read)


@pytest.mark.parametrize("program", ["parts", "three"])
def test_the_parts_are_the_whole(lab, read: Recorded, program: str) -> None:
    """Without dropout and with an optimizer that remembers nothing: weights to the bit."""
    lab_ = lab(PROGRAMS)
    whole, rates, batches = trained(lab_, read, "whole")
    parts, part_rates, part_batches = trained(lab_, read, program)
    assert part_batches == batches and len(batches) == 45
    assert part_rates[45] == rates[45] and part_rates[20] == rates[20]
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(tensor, parts.module.state_dict()[name]), name
    assert whole.position == parts.position == 45 * 16 and whole.spent.steps == parts.spent.steps == 45


def test_examples_and_rates_come_back(lab, read: Recorded) -> None:
    lab_ = lab(PROGRAMS)
    _, rates, batches = trained(lab_, read, "again")
    assert batches[45:] == batches[20:45]
    whole = trained(lab_, read, "whole")[1]
    assert rates[40] == whole[40] and rates[45] == whole[45]


def test_own_parameters_of_a_method_follow(lab, read: Recorded) -> None:
    """Adam on a constant gradient moves by the rate at each step, so that what it has moved is the sum of rates."""
    lab_ = lab(PROGRAMS)
    whole, parts = (trained(lab_, read, program)[0].method.own.detach() for program in ("whole", "parts"))
    torch.testing.assert_close(whole, parts)
    assert whole < -5


def test_the_example_reads_what_it_read_before(lab, read: Recorded, example) -> None:
    lab_ = lab(example("LateTickets", "late_tickets"))
    (planned,) = lab_.cells("{late_tickets: {density: 0.3}}", evaluation="{checks: 1}").values()
    network = lab_.network(planned)
    first, rest = read[:4], read[4:]
    assert len(first) == 4 and len(rest) == 4 * 36
    assert rest[:36] == rest[36:72] == rest[72:108] == rest[108:]
    assert sum(network.current.hard.kept.values()) == round(0.3 * 194)
    (dense,) = lab_.cells("{dense: {}}", evaluation="{checks: 1}").values()
    read.clear()
    lab_.network(dense)
    assert list(read) == first + rest[:36]


def test_the_example_keeps_its_contract(example) -> None:
    found: dict = {}
    exec(example("LateTickets", "late_tickets"), found)
    check_method(found["LateTickets"])


def test_steps_outside_a_schedule_are_refused() -> None:
    assert Train(25, begin=20).whole == 45 and Train(20, of=45).whole == 45
    assert total_steps([Train(20, of=45), Train(25, begin=20)]) == 45
    for wrong in ({"begin": 21, "of": 45}, {"begin": -1}, {"of": 24}):
        with pytest.raises(UserError, match="are no part of a schedule"):
            Train(25, **wrong)
    with pytest.raises(UserError):
        Finetune(25, begin=-1)


def test_a_whole_schedule_has_the_hash_that_it_always_had() -> None:
    text = (
        '{"hooks":false,"lr":null,"method":null,"restart_data":false,"schedule":null,"steps":5,"type":"Train",'
        '"weight_decay":null}'
    )
    assert _phase_text(None, Train(5, hooks=False)) == text
    assert '"of":9' in _phase_text(None, Train(5, hooks=False, of=9))
    assert '"begin":2' in _phase_text(None, Train(5, hooks=False, begin=2))
