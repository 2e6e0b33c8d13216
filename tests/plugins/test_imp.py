import pytest

from harness import Prune, Rewind, Train, TrainingBudget, UserError
from harness.testing import check_method
from harness_magnitude.imp import Imp, ImpOptions


def test_weights_go_back_to_their_initial_values() -> None:
    again = Train(9, restart_data=True, hooks=False)
    assert Imp(ImpOptions(rounds=2)).program(TrainingBudget(9, 4, 0.64)) == [
        Train(9, hooks=False),
        *(Prune(exponent=0.5), Rewind(-1), again),
        *(Prune(exponent=1.0), Rewind(-1), again),
    ]


def test_weights_go_back_to_step_k_and_the_rest_is_repeated() -> None:
    rest = Train(90, begin=10, of=100, hooks=False)
    program = Imp(ImpOptions(rounds=1, to=0.1)).program(TrainingBudget(100, 4, 0.5))
    assert program == [Train(10, of=100, hooks=False), rest, Prune(), Rewind(0), rest]


def test_the_rate_alone_is_rewound() -> None:
    program = Imp(ImpOptions(rounds=1, rewind="rate")).program(TrainingBudget(100, 4, 0.5))
    assert program == [Train(100, hooks=False), Prune(), Train(100, restart_data=True, hooks=False)]
    late = Imp(ImpOptions(rounds=1, rewind="rate", to=0.25)).program(TrainingBudget(100, 4, 0.5))
    assert late == [Train(100, hooks=False), Prune(), Train(75, begin=25, of=100, hooks=False)]


@pytest.mark.parametrize(("density", "rounds"), [(0.8, 1), (0.512, 3), (0.1, 10), (0.02, 18), (1.0, 1), (0.95, 1)])
def test_each_round_removes_a_fifth_about(density: float, rounds: int) -> None:
    prunings = [phase for phase in Imp(ImpOptions()).program(TrainingBudget(9, 4, density)) if isinstance(phase, Prune)]
    assert [phase.exponent for phase in prunings] == [i / rounds for i in range(1, rounds + 1)]


def test_a_matched_density_needs_rounds() -> None:
    with pytest.raises(UserError, match="give rounds"):
        Imp(ImpOptions()).program(TrainingBudget(9, 4, None, matched=True))
    assert Imp(ImpOptions(rounds=3)).program(TrainingBudget(9, 4, None, matched=True))


@pytest.mark.parametrize("options", [{}, {"to": 0.2}, {"rewind": "rate"}, {"distribution": "uniform"}])
def test_conformance(options: dict[str, object]) -> None:
    check_method(Imp, options)
