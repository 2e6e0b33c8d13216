from harness import Finetune, Prune, Train, TrainingBudget
from harness.core.architecture import NoOptions
from harness_dense import harness_register_methods
from harness_dense.method import Dense


def test_one_training_without_hooks() -> None:
    assert Dense(NoOptions()).program(TrainingBudget(steps=7, batch_size=2)) == [Train(7, hooks=False)]


def test_takes_neither_density_nor_source() -> None:
    assert (Dense.takes_density, Dense.takes_source) == ("never", "never")


def test_registers_under_its_name() -> None:
    (entry,) = harness_register_methods()
    assert (entry.name, entry.target) == ("dense", "harness_dense.method:Dense")


def test_phases_differ_by_type() -> None:
    """Guards what sharing relies on: a fine-tuning is not a training, nor a pruning."""
    assert len({Train(7, hooks=False), Finetune(7), Prune()}) == 3
