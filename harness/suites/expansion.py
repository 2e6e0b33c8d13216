"""From a suite to its cells: every combination fully resolved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from harness.core.connections import Connection, weights_among
from harness.core.densities import DensityBudget
from harness.core.method import TrainingBudget
from harness.core.phases import Inherit, Phase, Train
from harness.core.returned import require_list
from harness.errors import DataMissing, Unsupported, UserError, unknown_name
from harness.interchange import bundle
from harness.interchange.fit import require_fit
from harness.suites.cell import Cell, Key, Part, Scope, in_scope, program_of
from harness.suites.references import References, place
from harness.suites.schema import MOST_CELLS, Evaluation, Experiment, Match, MethodEntry, Schema, Training, layered
from harness.suites.trials import trial_name
from harness.suites.yaml_source import Loc

if TYPE_CHECKING:
    from harness.core.architecture import Architecture
    from harness.core.data import DataSpec, Split
    from harness.core.method import SparsityMethod
    from harness.suites.declaration import Declaration

SchemaT = TypeVar("SchemaT", bound=Schema)
Above = tuple[tuple[str, str], ...]
"""(experiment, method) of those that wait for a budget."""


class Expansion:
    """Expands a suite.

    Raises (all of it):
        SuiteError: for whatever does not go together, with its line.
    """

    def __init__(self, suite: Declaration) -> None:
        self._suite = suite
        self._registry = suite.registry
        self.references = References(suite)
        self._fitting: set[tuple[str, str]] = set()

    def cells(self) -> list[Cell]:
        """Every cell, in order of the file; seeds innermost."""
        for name, experiment in self._suite.experiments.items():
            self._check_names(name, experiment)
        self._check_number()
        cells: list[Cell] = []
        for name, experiment in self._suite.experiments.items():
            for arch in experiment.architectures:
                for bench in experiment.benchmarks:
                    for method in experiment.methods:
                        try:
                            cells += self._cells(name, arch, bench, method)
                        except DataMissing as error:
                            if not self._suite.dry:
                                raise
                            if not {bench, experiment.train_on} & self._suite.missing.keys():  # weights, say
                                self._suite.missing[arch] = str(error)
                            self._suite.unplanned.update(self.references.keys(name, arch, bench, method))
        keys = {cell.key for cell in cells}
        for cell in cells:
            for key, target in (("density", cell.match), ("source", cell.source)):
                if target is not None and target not in keys:
                    density = f", density {target.density:g}" if target.density is not None else ""
                    raise self._suite.error(
                        cell.experiment,
                        place(cell.method, key),
                        f"method '{cell.method}' refers to '{target.method}' ({target.architecture}, "
                        f"{target.benchmark}{density}, seed {target.seed}), which include and exclude leave out",
                    )
        return cells

    def _cells(self, name: str, arch: str, bench: str, label: str) -> Iterator[Cell]:
        """The cells of one method on one architecture and benchmark."""
        suite, experiment = self._suite, self._suite.experiments[name]
        entry = experiment.methods[label]
        keys = self.references.keys(name, arch, bench, label)
        if not keys:
            return
        architecture = suite.part("architecture", name, arch)
        benchmark = suite.part("benchmark", name, bench)
        trained = suite.part("benchmark", name, experiment.train_on or bench)
        method = suite.part("method", suite.settled_in(name, arch, bench, label), label)
        self._check_choosing(name, trained)
        if not suite.benchmark(benchmark).metrics:
            if bench == experiment.train_on:
                return
            raise suite.error(name, ("benchmarks", bench), f"benchmark '{bench}' has no scores: give it to train_on")
        training = self._training(name, arch, bench, label)
        evaluation = self.evaluation(name, label)
        scope = entry.scope if entry.scope is not None else experiment.scope
        roles: Scope = tuple(scope) if isinstance(scope, list) else scope
        spec = self._spec(name, trained)
        match = entry.density if isinstance(entry.density, Match) else None
        densities = dict.fromkeys(key.density for key in keys)
        self._check_support(name, architecture, method, spec, roles, densities if match is None else ())
        if benchmark is not trained:
            network = self._registry.get("architecture", architecture.plugin)(architecture.options, spec)
            if reason := suite.benchmark(benchmark).unsupported(network):
                raise suite.error(name, ("benchmarks", bench), f"benchmark '{bench}' cannot score '{arch}': {reason}")
        if evaluation.select != "final" and not suite.benchmark(trained).metrics:
            text = (
                f"select is '{evaluation.select}', but '{trained.label}' has no scores to select by: give select: final"
            )
            raise suite.error(name, ("evaluation", "select"), text)
        self._check_examples(name, benchmark, trained, evaluation)
        for density in densities:
            budget = TrainingBudget(training.steps or 0, training.batch_size, density, match is not None)
            trainings = self._trainings(name, label, method, budget)
            self._check_looks(name, label, trainings, evaluation)
            self._check_repeat(name, label, trained, spec, sum(trainings) * budget.batch_size)
        fingerprints = suite.fingerprint(trained), suite.fingerprint(benchmark)
        published = entry.published
        if isinstance(published, Mapping):
            published = published.get(bench, published.get(arch))
        for key in keys:
            yield Cell(
                suite.name,
                *key,
                architecture_part=architecture,
                benchmark_part=benchmark,
                training_part=trained,
                method_part=method,
                fingerprint=fingerprints[0],
                benchmark_fingerprint=fingerprints[1],
                scope=roles,
                training=training,
                evaluation=evaluation,
                match=self.references.key(key, "density", match.match) if match else None,
                match_by=match.by if match else "hard",
                source=self.references.key(key, "source", entry.source) if entry.source else None,
                published=published,
                note=entry.note,
                trial=suite.trials.get(name),
            )

    def evaluation(self, name: str, label: str) -> Evaluation:
        """How a method's cells are tested: the experiment's way, with what the method overrides."""
        experiment = self._suite.experiments[name]
        return self._merged(name, label, "evaluation", experiment.evaluation, experiment.methods[label].evaluation)

    # --- checks ------------------------------------------------------------------------------

    def _check_number(self) -> None:
        """There are not more cells than a results folder can be read with."""
        number = sum(
            len(experiment.architectures) * len(experiment.benchmarks) * len(experiment.seeds) * densities
            for name, experiment in self._suite.experiments.items()
            for densities in [sum(len(self.references.densities(name, label)) for label in experiment.methods)]
        )
        if number > MOST_CELLS:
            raise UserError(
                f"{self._suite.path}: this is {number:,} runs, and at most {MOST_CELLS:,} go into one suite: ask for "
                "fewer seeds, densities or trials, or divide it"
            )

    def _check_choosing(self, name: str, trained: Part) -> None:
        """Trials can be chosen among by validation data."""
        experiment, metrics = self._suite.experiments[name], self._suite.benchmark(trained).metrics
        if name not in self._suite.trials:
            return
        lacks = "none" if not metrics else f"'{metrics[0].name}', which does not judge"
        if not metrics or metrics[0].direction == "none":
            text = f"settings are chosen by the first score of the validation data, and '{trained.label}' has {lacks}"
            raise self._suite.error(name, ("tune",), text)
        if self._suite.examples(trained, "validation") == 0:
            text = f"settings are chosen by validation data, and '{trained.label}' has no validation examples"
            raise self._suite.error(name, ("tune",), f"{text}: give it some, or take out tune")
        for label in experiment.methods:
            if self.evaluation(name, label).select == "best_test":
                text = f"settings are chosen by validation data, and '{label}' is scored where the test data are best"
                raise self._suite.error(name, ("tune",), f"{text}: give it another 'select', or take out tune")

    def _check_names(self, name: str, experiment: Experiment) -> None:
        """What refers to a label refers to one that exists, and methods get what they take."""
        for method, entry in experiment.methods.items():
            self._check_uses(name, method, entry)
            self.references.check_cycle(name, method)
        if experiment.baseline not in experiment.methods and "baseline" in experiment.model_fields_set:
            text = unknown_name("method", experiment.baseline, self._suite.names_of(name))
            raise self._suite.error(name, ("baseline",), text)
        if experiment.train_on is not None and experiment.train_on not in experiment.benchmarks:
            raise self._suite.error(
                name, ("train_on",), unknown_name("benchmark", experiment.train_on, experiment.benchmarks)
            )
        others = self._suite.experiments.values()
        known = {
            "experiment": set(self._suite.experiments),
            **{key: {label for e in others for label in getattr(e, f"{key}s")} for key in _LABELLED},
        }
        for section in ("include", "exclude"):
            for index, selector in enumerate(getattr(experiment, section)):
                for key, labels in known.items():
                    for label in selector.values(key):
                        if label not in labels:
                            raise self._suite.error(name, (section, index, key), unknown_name(key, label, labels))

    def _check_uses(self, name: str, label: str, entry: MethodEntry) -> None:
        """Density and source are given exactly where the method takes them."""
        cls: type[SparsityMethod[Any]] = self._registry.get("method", self._suite.part("method", name, label).plugin)
        for key, given, use in (
            ("density", entry.density is not None, cls.takes_density),
            ("source", entry.source is not None, cls.takes_source),
        ):
            if use == "required" and not given:
                example = "0.1, [0.3, 0.1] or {match: METHOD, by: hard}" if key == "density" else "METHOD"
                raise self._suite.error(name, ("methods", label), f"method '{label}' needs a {key}: {key}: {example}")
            if use == "never" and given:
                raise self._suite.error(
                    name, ("methods", label, key), f"method '{label}' takes no {key}: remove it", at_key=True
                )
        experiment = self._suite.experiments[name]
        labels = {*experiment.benchmarks, *experiment.architectures}
        for of in entry.published if isinstance(entry.published, Mapping) else ():
            if of not in labels:
                text = unknown_name("benchmark or architecture", of, labels)
                raise self._suite.error(name, ("methods", label, "published", of), text, at_key=True)

    def _check_support(
        self, name: str, arch: Part, method: Part, spec: DataSpec, scope: Scope, densities: Iterable[float | None]
    ) -> None:
        """The architecture takes the data, and the method works on the architecture, at each density that is known."""
        architecture: Architecture[Any] = self._registry.get("architecture", arch.plugin)(arch.options, spec)
        if reason := architecture.unsupported():
            raise self._suite.error(name, ("architectures", arch.label), f"architecture '{arch.label}' {reason}")
        self._check_weights(name, arch, architecture)
        connections = architecture.connections()
        try:
            require_list(connections, Connection, f"{type(architecture).__name__}.connections()", "[Connection(...)]")
        except UserError as error:
            raise self._suite.error(
                name, ("architectures", arch.label), f"architecture '{arch.label}': {error}"
            ) from error
        instance: SparsityMethod[Any] = self._registry.get("method", method.plugin)(method.options)
        where: Loc
        kinds = {role: {c.kind for c in connections if c.role == role} for role in {c.role for c in connections}}
        for role in () if isinstance(scope, str) else scope:
            own = self._suite.experiments[name].methods[method.label].scope is not None
            where = ("methods", method.label, "scope") if own else ("scope",)
            if role not in kinds:
                raise self._suite.error(name, where, unknown_name("role", role, kinds, f"'{arch.label}'"))
            if not kinds[role] & instance.kinds:
                text = (
                    f"'{role}' of '{arch.label}' is of kind {' and '.join(sorted(kinds[role]))}, and method "
                    f"'{method.label}' masks {' and '.join(sorted(instance.kinds))} only: give it a scope without it"
                )
                raise self._suite.error(name, where, text)
        connections = in_scope(scope, connections, instance.kinds)
        what = f"method '{method.label}' on '{arch.label}'"
        if reason := instance.unsupported(architecture, connections):
            raise self._suite.error(name, ("methods", method.label), f"{what}: {reason}")
        for density in densities:
            if density is not None:
                try:
                    instance.adapt(architecture, connections, DensityBudget.of(density, weights_among(connections)))
                except Unsupported as error:
                    where = ("methods", method.label, "density")
                    raise self._suite.error(name, where, f"{what}, density {density:g}: {error}") from error

    def _check_weights(self, name: str, arch: Part, architecture: Architecture[Any]) -> None:
        """Imported weights are those of the network, as far as it can be built without memory."""
        if arch.weights is None or (name, arch.label) in self._fitting:
            return
        import torch  # late: only suites with such weights need it to be planned

        self._fitting.add((name, arch.label))
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            try:
                module = architecture.build()
            except Exception:  # whatever a network does that needs memory; the run compares them again
                return
        try:
            require_fit(module, bundle.read(arch.weights).shapes(), arch.files.as_written(arch.weights))
        except UserError as error:
            raise self._suite.error(name, ("architectures", arch.label, "weights"), str(error)) from error

    def _check_examples(self, name: str, scored: Part, trained: Part, evaluation: Evaluation) -> None:
        """There is something to score, and something to choose a checkpoint by where one is chosen."""
        if self._suite.examples(scored, "test") == 0:
            text = f"benchmark '{scored.label}' has no test examples to score: give it some, or leave it out"
            raise self._suite.error(name, ("benchmarks", scored.label), text)
        split: Split = "test" if evaluation.select == "best_test" else "validation"
        if evaluation.select != "final" and self._suite.examples(trained, split) == 0:
            text = f"select is '{evaluation.select}', but '{trained.label}' has no {split} examples to choose by: "
            raise self._suite.error(name, ("evaluation", "select"), f"{text}give it some, or select: final")

    def _check_looks(self, name: str, label: str, trainings: Sequence[int], evaluation: Evaluation) -> None:
        """Checkpoints are chosen among those of the last training, as many for every method."""
        if evaluation.select != "final" and any(trainings) and trainings[-1] < evaluation.checks:
            text = (
                f"method '{label}' would choose among {trainings[-1]} checkpoints, one a step of its last training, "
                f"and others among {evaluation.checks}: give evaluation.checks: {max(1, trainings[-1])} to all of "
                "them, a longer last training, or select: final"
            )
            raise self._suite.error(name, ("evaluation", "select"), text)

    def _check_repeat(self, name: str, label: str, trained: Part, spec: DataSpec, examples: int) -> None:
        """There are training examples; and where they are not meant to be repeated, enough for the whole program."""
        if examples and spec.examples < 1:
            text = f"benchmark '{trained.label}' has no training examples: give it some, or training.steps: 0"
            raise self._suite.error(name, ("benchmarks", trained.label), text)
        if examples > spec.examples and not self._suite.benchmark(trained).allow_repeat:
            passes = examples / max(1, spec.examples)
            text = (
                f"method '{label}' trains on {examples * spec.tokens:,} tokens, and '{trained.label}' has "
                f"{spec.examples * spec.tokens:,}: {passes:.1f} epochs. Prepare more, train less, or give "
                f"allow_repeat: true to '{trained.label}'"
            )
            raise self._suite.error(name, ("benchmarks", trained.label), text)

    # --- training ----------------------------------------------------------------------------

    def _training(self, name: str, arch: str, bench: str, label: str, above: Above = ()) -> Training:
        """The training of a method on a network and a benchmark, with its number of steps resolved."""
        suite, experiment = self._suite, self._suite.experiments[name]
        settled = suite.experiments[suite.settled_in(name, arch, bench, label)].methods[label]
        entry = experiment.methods[label]
        training = self._merged(name, label, "training", experiment.training, settled.training)
        if entry.budget is not None:
            steps = self._matched_steps(name, arch, bench, label, entry.budget.match, above)
        elif training.epochs is not None:
            spec = self._spec(name, self._suite.part("benchmark", name, experiment.train_on or bench))
            steps = max(1, -(-round(training.epochs * spec.examples) // training.batch_size))
        elif training.steps is not None:
            steps = training.steps
        else:
            raise self._suite.error(name, ("training",), "training needs a budget: epochs or steps")
        return training.model_copy(update={"steps": steps, "epochs": None})

    def _matched_steps(self, name: str, arch: str, bench: str, label: str, other: str, above: Above) -> int:
        """Optimizer steps of another method's whole program, the longest where it has several densities.

        In trials that program is the other's default one, whose density is taken as well.
        """
        if name in self._suite.trials:
            name = trial_name(self._suite.trials[name].of, 1)
        experiment = self._suite.experiments[name]
        where: Loc = ("methods", label, "budget", "match")
        if other not in experiment.methods:
            raise self._suite.error(name, where, unknown_name("method", other, self._suite.names_of(name)))
        above = (*above, (name, label))
        if (name, other) in above:
            chain = " -> ".join(method for _, method in (*above, (name, other)))
            raise self._suite.error(name, where, f"cyclic budget: {chain}")
        if {"epochs", "steps"} & experiment.methods[label].training.keys():
            raise self._suite.error(name, where, f"method '{label}' has a budget and training steps: give one of them")
        densities = self.references.densities(name, other)
        keys = (Key(name, arch, bench, other, density, experiment.seeds[0]) for density in densities)
        return max(self._steps(key, above) for key in keys)

    def _steps(self, key: Key, above: Above) -> int:
        """Optimizer steps of a cell's whole program and, where that takes over weights, of what they come from."""
        name, arch, bench, label, density, _ = key
        entry = self._suite.experiments[name].methods[label]
        training = self._training(name, arch, bench, label, above)
        part = self._suite.part("method", self._suite.settled_in(name, arch, bench, label), label)
        matched = isinstance(entry.density, Match)
        budget = TrainingBudget(training.steps or 0, training.batch_size, density, matched)
        steps = sum(self._trainings(name, label, part, budget))
        if entry.source is not None and any(
            isinstance(one, Inherit) for one in self._program(name, label, part, budget)
        ):
            steps += self._steps(self.references.key(key, "source", entry.source), (*above, (name, label)))
        return steps

    def _trainings(self, name: str, label: str, part: Part, budget: TrainingBudget) -> list[int]:
        """Optimizer steps of each training of a method's program, which must exist."""
        return [phase.steps for phase in self._program(name, label, part, budget) if isinstance(phase, Train)]

    def _program(self, name: str, label: str, part: Part, budget: TrainingBudget) -> Sequence[Phase]:
        method: SparsityMethod[Any] = self._registry.get("method", part.plugin)(part.options)
        try:
            return program_of(part, method, budget)
        except UserError as error:
            raise self._suite.error(name, ("methods", label), str(error)) from error

    def _merged(self, name: str, label: str, key: str, shared: SchemaT, own: Mapping[str, Any]) -> SchemaT:
        """A method's own settings over the experiment's."""
        if not own:
            return shared
        try:
            return type(shared).model_validate(layered(shared.model_dump(exclude_unset=True), own))
        except ValidationError as error:
            raise self._suite.validation_error(name, ("methods", label, key), error, type(shared)) from error

    def _spec(self, name: str, part: Part) -> DataSpec:
        try:
            return self._suite.spec(part)
        except (NotImplementedError, Unsupported) as error:
            text = f"benchmark '{part.label}' cannot be trained on ({error}): name one that can under train_on"
            raise self._suite.error(name, ("benchmarks", part.label), text) from error


_LABELLED = ("architecture", "method", "benchmark")
