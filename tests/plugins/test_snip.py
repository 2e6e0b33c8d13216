import pytest
import torch
from pruning import Bench
from torch import Tensor

from harness import DataSpec, NoOptions, Prune, Train, TrainingBudget, top_k
from harness.testing.toy import ToyArchitecture, ToyData
from harness_architectures.gpt2 import Gpt2, Gpt2Options
from harness_initialisation.at_initialisation import AtInitialisationOptions
from harness_initialisation.calibration import CalibratedOptions, balanced
from harness_initialisation.magnitude_at_init import MagnitudeAtInit
from harness_initialisation.snip import Snip

pytestmark = pytest.mark.usefixtures("float64")

SPEC = DataSpec("classification", (8,), 4, examples=64)
TOY = ToyArchitecture(NoOptions(), SPEC)
LANGUAGE = DataSpec("language", (6,), 11, examples=20, tokens=6)


class Tokens:
    """Random windows and the tokens that come next."""

    def __init__(self) -> None:
        self.tokens = torch.randint(11, (20, 7), generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return 20

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.tokens[indices, :-1], self.tokens[indices, 1:]


def bench(density: float = 0.25, **options: object) -> Bench:
    return Bench(Snip(CalibratedOptions.model_validate(options)), TOY, ToyData(SPEC), density)


@torch.no_grad()
def sensitivities(bench: Bench, batches: int, size: int | None = None) -> dict[str, Tensor]:
    """d sum of losses / d c of every weight c w at c = 1, by central differences: one weight after the other."""
    found = {c.name: torch.zeros(c.shape) for c in bench.connections}
    with bench.calibrating() as context:
        data = list(context.batches(batches, size))
        for c in bench.connections:
            region = c.region(context.model.get_parameter(c.parameter))
            for index in torch.ones(c.shape).nonzero().tolist():
                place, weight = tuple(index), region[tuple(index)].item()
                sides = []
                for factor in (1 + 1e-5, 1 - 1e-5):
                    region[place] = factor * weight
                    sides.append(sum(context.loss(*batch).item() for batch in data))
                region[place] = weight
                found[c.name][place] = (sides[0] - sides[1]) / 2e-5
    return found


def test_scores_are_the_sensitivity_of_the_loss_to_each_connection() -> None:
    found = bench(batches=3)
    expected = sensitivities(found, 3)
    for name, score in found.scores().items():
        torch.testing.assert_close(score, expected[name].abs(), rtol=1e-5, atol=1e-9)


def test_gradients_are_summed_before_their_absolute_value() -> None:
    """Batches that pull a weight both ways count less than each of them alone."""
    summed = bench(batches=2).scores()
    with bench().calibrating() as context:
        each = []
        for batch in context.batches(2):
            context.model.zero_grad()
            context.loss(*batch).backward()
            each.append({c.name: (context.weight(c) * context.gradient(c)).abs() for c in context.connections})
    for name, score in summed.items():
        apart = each[0][name] + each[1][name]
        assert (score <= apart + 1e-12).all() and (score < 0.5 * apart).any()


def test_the_highest_are_kept_over_all_layers() -> None:
    found = bench(density=0.1)
    flat = torch.cat([score.reshape(-1) for score in found.scores().values()])
    (masks,) = found.prune()
    assert torch.equal(torch.cat([mask.reshape(-1) for mask in masks.values()]), top_k(flat, 26))
    assert sum(masks.kept.values()) == found.budget.keep == round(0.1 * 256) == 26


def test_counts_by_layer_where_asked() -> None:
    (masks,) = bench(density=0.25, distribution="uniform").prune()
    assert masks.kept == {"layer0": 16, "layer1": 32, "layer2": 16}


def test_program_and_what_determines_it() -> None:
    method = Snip(CalibratedOptions(distribution="erk", batches=2))
    assert method.program(TrainingBudget(9, 4, 0.1)) == [Prune(distribution="erk"), Train(9, hooks=False)]
    assert method.influences(Prune()) == {"batches": 2, "batch_size": None, "per_class": None}


def test_how_much_is_looked_at() -> None:
    found = bench(batches=3, batch_size=5)
    found.prune()
    assert (found.network.spent.calibration_batches, found.network.spent.calibration_examples) == (3, 15)


def test_classes_can_be_balanced() -> None:
    """Of 64 examples in calibration order the first five of each class."""
    with bench().calibrating() as context:
        ((inputs, targets),) = context.batches(1, 64)
        chosen, classes = balanced(context, 5)
    expected = torch.cat([(targets == label).nonzero()[:5, 0] for label in range(4)]).sort().values
    assert torch.equal(chosen, inputs[expected]) and torch.equal(classes, targets[expected])
    assert classes.bincount().tolist() == [5, 5, 5, 5]


def test_balanced_classes_come_from_as_many_batches_as_it_takes() -> None:
    spec = DataSpec("classification", (8,), 4, examples=1000)
    data = ToyData(spec)
    data._targets[:] = 0
    data._targets[::50] = torch.arange(20) % 3 + 1  # 20 in 1000: seven or six of each of three classes
    found = Bench(Snip(CalibratedOptions(per_class=4)), ToyArchitecture(NoOptions(), spec), data, 0.1)
    with found.calibrating() as context:
        inputs, targets = balanced(context, 4)
        order = torch.cat([some for some, _ in context.batches(1, 1000)])
    assert targets.bincount().tolist() == [4, 4, 4, 4]
    places = [(order == row).all(1).nonzero().item() for row in inputs]
    assert places == sorted(places)


def test_a_rare_class_gives_what_it_has() -> None:
    data = ToyData(SPEC)
    data._targets[:] = torch.arange(64) % 3
    data._targets[7] = 3
    found = Bench(Snip(CalibratedOptions(per_class=1)), TOY, data, 0.1)
    with found.calibrating() as context:
        inputs, targets = balanced(context, 1)  # batches of 40 examples: the second one would begin anew after 24
        assert targets.bincount().tolist() == [1, 1, 1, 1]
        _, targets = balanced(context, 30)
    assert targets.bincount().tolist() == [22, 20, 21, 1] and len(inputs.unique(dim=0)) == 4


def test_scores_of_balanced_classes() -> None:
    found = bench(per_class=5)
    with found.calibrating() as context:
        context.loss(*balanced(context, 5)).backward()
        expected = {c.name: (context.weight(c) * context.gradient(c)).abs() for c in context.connections}
    for name, score in found.scores().items():
        torch.testing.assert_close(score, expected[name])


def test_language_networks_are_pruned_by_their_own_loss() -> None:
    network = Gpt2(Gpt2Options(n_layers=1, width=8, heads=2), LANGUAGE)
    method = Snip(CalibratedOptions(batches=2))
    assert method.unsupported(network, network.connections()) is None
    found = Bench(method, network, Tokens(), 0.2, batch_size=4)
    scores = found.scores()
    name = found.connections[0].name
    expected = sensitivities_at(found, [(0, 0), (3, 5)])
    assert [scores[name][place].item() for place in ((0, 0), (3, 5))] == pytest.approx(expected, rel=1e-4)
    (masks,) = found.prune()
    assert sum(masks.kept.values()) == found.budget.keep


@torch.no_grad()
def sensitivities_at(bench: Bench, places: list[tuple[int, int]]) -> list[float]:
    """The same for single weights of the first connection, two batches."""
    with bench.calibrating() as context:
        data = list(context.batches(2))
        region = bench.connections[0].region(context.model.get_parameter(bench.connections[0].parameter))
        found = []
        for place in places:
            weight, sides = region[place].item(), []
            for factor in (1 + 1e-4, 1 - 1e-4):
                region[place] = factor * weight
                sides.append(sum(context.loss(*batch).item() for batch in data))
            region[place] = weight
            found.append(abs(sides[0] - sides[1]) / 2e-4)
    return found


def test_tokens_have_no_classes() -> None:
    network = Gpt2(Gpt2Options(n_layers=1, width=8, heads=2), LANGUAGE)
    reason = Snip(CalibratedOptions(per_class=10)).unsupported(network, network.connections())
    assert reason == "per_class needs classes, and the data is language: leave it out, give batches"


def test_magnitudes_before_training() -> None:
    found = Bench(MagnitudeAtInit(AtInitialisationOptions()), TOY, ToyData(SPEC), 0.1)
    weights = torch.cat([found.context.weight(c).abs().reshape(-1) for c in found.connections])
    (masks,) = found.prune()
    kept = torch.cat([mask.reshape(-1) for mask in masks.values()])
    assert int(kept.sum()) == 26 and weights[kept].min() > weights[~kept].max()
    assert found.method.influences(Prune()) == {}
    assert found.network.spent.calibration_batches == 0
