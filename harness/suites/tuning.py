"""The experiments that tuning consists of: one for each trial, with every method of the experiment that is tuned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from harness.errors import UserError, unknown_name
from harness.suites.schema import CellRef, Experiment, Match, MethodEntry, Selector, Training, layered
from harness.suites.trials import Settings, Trial, common_draws, method_draws, trial_name
from harness.suites.tune import Tune
from harness.suites.wrong_value import wrong_values
from harness.suites.yaml_source import Loc

if TYPE_CHECKING:
    from harness.suites.declaration import Declaration

BUDGET = ("epochs", "steps", "batch_size")
"""Keys of training that decide how much of it there is: a trial with more would win by that."""


class Tuning:
    """Reads what a suite says of tuning one experiment, and writes the experiments of its trials.

    Raises (all of it):
        SuiteError: for whatever does not go together, with its line.
    """

    def __init__(self, suite: Declaration, name: str) -> None:
        self._suite = suite
        self._name = name
        self._experiment = suite.experiments[name]
        assert self._experiment.tune is not None
        self._tune: Tune = self._experiment.tune

    def trials(self) -> list[Trial]:
        """All of them, the default first."""
        self._check_seeds()
        tune, methods = self._tune, self._experiment.methods
        shared = self._shared()
        defaults = {label: self._defaults(entry) for label, entry in methods.items()}
        common = common_draws(tune.trials, shared, list(defaults.values()), tune.draw)
        settings: list[dict[str, Settings]] = [{label: {} for label in methods}]
        settings += [{} for _ in range(tune.trials - 1)]
        spaces: dict[str, dict[str, list[Any]]] = {}
        for label, entry in methods.items():
            own, default = self._own(label, entry)
            spaces[label] = {**shared, **own}
            try:
                draws = method_draws(label, tune.trials, common, own, default, tune.draw)
            except ValueError as error:
                raise self._error(("tune", "trials"), str(error)) from None
            for found, drawn in zip(settings[1:], draws, strict=True):
                found[label] = drawn
        trials = [Trial(self._name, number, found, spaces) for number, found in enumerate(settings, 1)]
        for trial in trials:
            if trial.name in self._suite.experiments:
                text = f"an experiment is called '{trial.name}', as the runs of trial {trial.number} are: rename it"
                raise self._error(("tune",), text)
        return trials

    def experiment(self, trial: Trial) -> Experiment:
        """The cells of a trial, as an experiment of their own."""
        experiment = self._experiment
        methods = {label: self._entry(label, trial.settings[label]) for label in experiment.methods}
        benchmarks = experiment.benchmarks
        if experiment.train_on in benchmarks:  # what is only scored chooses nothing
            benchmarks = {experiment.train_on: benchmarks[experiment.train_on]}
        selected = {"include": [self._of_trial(one) for one in experiment.include]}
        selected["exclude"] = [
            self._of_trial(one) for one in experiment.exclude if one.seed is None and one.density is None
        ]
        update = {"methods": methods, "benchmarks": benchmarks, "seeds": self._tune.seeds, "tune": None, **selected}
        return experiment.model_copy(update=update | {"questions": [], "smallest_difference": None})

    # --- what is drawn from ------------------------------------------------------------------

    def _check_seeds(self) -> None:
        if both := sorted({*self._tune.seeds} & {*self._experiment.seeds}):
            text = (
                f"seed{'s' if len(both) > 1 else ''} {', '.join(map(str, both))} of tuning would be reported as well, "
                "so that settings were chosen on the very runs that they are judged by: give tuning other seeds"
            )
            raise self._error(("tune", "seeds"), text)

    def _shared(self) -> dict[str, list[Any]]:
        """Options of training, with their values as training takes them."""
        found: dict[str, list[Any]] = {}
        for option, values in self._tune.space.items():
            where: Loc = ("tune", "space", option)
            if option not in Training.model_fields:
                known = [name for name in Training.model_fields if name not in BUDGET]
                text = unknown_name("option", option, known, "training")
                raise self._error(where, f"{text} A method's own options stand under 'space' of the method", True)
            if any(option in row.values for row in self._suite.rows[self._name].values()):
                text = f"'{option}' is swept over, so that each row has a value of its own: take it out of the space"
                raise self._error(where, text, True)
            if option in BUDGET:
                text = f"'{option}' decides how much training there is, which is the same for every trial: take it out"
                raise self._error(where, text, True)
            given = self._experiment.training.model_dump(exclude_unset=True)
            found[option] = [self._value(Training, given, option, value, where) for value in values]
        return found

    def _own(self, label: str, entry: MethodEntry) -> tuple[dict[str, list[Any]], Settings]:
        """Options of the method's plugin, with their values as it takes them; and the default ones."""
        if not entry.space:
            return {}, {}
        part = self._suite.part("method", self._name, label)
        cls = type(part.options)
        found: dict[str, list[Any]] = {}
        for option, values in entry.space.items():
            where: Loc = ("methods", label, "space", option)
            if option not in cls.model_fields:
                text = unknown_name("option", option, cls.model_fields, f"'{part.plugin}'")
                raise self._error(where, f"{text} Options of training stand under 'space' of 'tune'", True)
            row = self._suite.rows[self._name].get(label)
            if row is not None and option in row.values:
                raise self._error(where, f"'{option}' is swept over: take it out of one of the two", True)
            found[option] = [self._value(cls, entry.options, option, value, where) for value in values]
        default = part.record()["options"]
        named = {self._setting(option): values for option, values in found.items()}
        return named, {self._setting(option): default[option] for option in found}

    def _setting(self, option: str) -> str:
        """What an option of a method is called among settings, where training may have one of the same name."""
        return f"method.{option}" if option in self._tune.space else option

    def _defaults(self, entry: MethodEntry) -> Settings:
        """A method's own values of the options that all methods share."""
        given = layered(self._experiment.training.model_dump(exclude_unset=True), entry.training)
        try:
            training = Training.model_validate(given).model_dump(mode="json")
        except ValidationError:  # told where the method itself is read
            return {}
        return {option: training[option] for option in self._tune.space}

    def _value(self, cls: type[BaseModel], given: Mapping[str, Any], option: str, value: Any, where: Loc) -> Any:
        """A value as the model has it, which may make a number of a text."""
        try:
            return cls.model_validate({**given, option: value}).model_dump(mode="json")[option]
        except ValidationError as error:
            found = [(loc, text) for loc, text, _ in wrong_values(error, cls, lambda _: ())]
            _, message = next((one for one in found if option in one[0]), found[0])
            raise self._error(where, message) from error

    # --- the cells of a trial ----------------------------------------------------------------

    def _entry(self, label: str, settings: Settings) -> MethodEntry:
        """A method with a trial's settings; what it takes from other methods is of their first trial, their default.

        So all trials of a control have the density of one and the same network of a seed.
        """
        entry = self._experiment.methods[label]
        own = {option: settings[name] for option in entry.space if (name := self._setting(option)) in settings}
        shared = {option: value for option, value in settings.items() if option in self._tune.space}
        update: dict[str, Any] = {**own, "space": {}, "training": {**entry.training, **shared}}
        update["density"] = self._density(label, entry)
        if entry.source is not None:
            update["source"] = self._first(entry.source)
        return entry.model_copy(update=update)

    def _density(self, label: str, entry: MethodEntry) -> float | Match | None:
        """The density at which a method is tuned: that of ``tune``, or the only one that it has."""
        density, at = entry.density, self._tune.density
        if isinstance(density, Match):
            return density.model_copy(update={"match": self._first(density.match)})
        if density is None or at is not None:
            return None if density is None else at
        numbers = density if isinstance(density, list) else [density]
        if len(numbers) > 1:
            text = (
                f"'{label}' has the densities {', '.join(f'{number:g}' for number in numbers)}, and is tuned at one: "
                f"give it under tune, density: {numbers[len(numbers) // 2]:g}"
            )
            raise self._error(("methods", label, "density"), text)
        return numbers[0]

    def _first(self, ref: CellRef) -> CellRef:
        target = ref.experiment or self._name
        other = self._suite.experiments.get(target)
        tuned = other is not None and other.tune is not None
        return ref.model_copy(update={"experiment": trial_name(target, 1) if tuned else ref.experiment})

    def _of_trial(self, selector: Selector) -> Selector:
        """The same for trials: they have other seeds, one density, and perhaps fewer benchmarks."""
        update: dict[str, Any] = {"seed": None, "density": None}
        if self._name in selector.values("experiment"):
            update["experiment"] = None
        if self._experiment.train_on is not None:
            update["benchmark"] = None
        return selector.model_copy(update=update)

    def _error(self, loc: Loc, message: str, at_key: bool = False) -> UserError:
        return self._suite.error(self._name, loc, message, at_key)
