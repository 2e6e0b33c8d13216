"""From a suite file to cells: every combination fully resolved, every error with its line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from harness.errors import HarnessError, UserError, unknown_name
from harness.method import TrainingBudget
from harness.phases import total_steps
from harness.suite_schema import (
    CellRef,
    Evaluation,
    Experiment,
    Match,
    Named,
    Schema,
    Selector,
    SuiteFile,
    Training,
)
from harness.yaml_source import Loc, YamlSource

if TYPE_CHECKING:
    from harness.architecture import Architecture
    from harness.benchmark import Benchmark
    from harness.connections import Connection
    from harness.method import SparsityMethod
    from harness.plugins import Registry

SchemaT = TypeVar("SchemaT", bound=Schema)
Key = tuple[str, str, str, str, float | None, int]
"""(experiment, architecture, benchmark, method, density, seed): what names a cell within a suite."""


@dataclass(frozen=True, slots=True)
class Part:
    """One plugin with its options: what a label in a suite stands for.

    ``identity`` holds plugin, version, hashed options (and a single-file plugin's source digest).
    """

    label: str
    plugin: str
    options: BaseModel
    identity: Mapping[str, Any]

    def record(self) -> dict[str, Any]:
        """For result files: label, plugin, version, options."""
        return {
            "label": self.label,
            "plugin": self.plugin,
            "version": self.identity["version"],
            "options": self.options.model_dump(mode="json"),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One fully resolved combination; what a leaderboard row averages over seeds.

    ``density`` is the number that the suite asks for, or None where the method or another cell decides.
    ``match`` and ``source`` name other cells of the same suite by key.
    """

    suite: str
    experiment: str
    architecture: str
    benchmark: str
    method: str
    density: float | None
    seed: int
    architecture_part: Part
    benchmark_part: Part
    training_part: Part
    method_part: Part
    fingerprint: str
    benchmark_fingerprint: str
    scope: tuple[str, ...] | Literal["default", "all"]
    training: Training
    evaluation: Evaluation
    match: Key | None
    match_by: Literal["hard", "soft", "per_layer"]
    source: Key | None
    published: float | None
    note: str | None

    @property
    def key(self) -> Key:
        """What names this cell within its suite."""
        return (self.experiment, self.architecture, self.benchmark, self.method, self.density, self.seed)

    @property
    def steps(self) -> int:
        """Optimizer steps of one training."""
        assert self.training.steps is not None
        return self.training.steps

    @property
    def scope_name(self) -> str:
        """For reports: ``maskable``, or with the roles it is limited to."""
        if self.scope == "default":
            return "maskable"
        return f"maskable[{self.scope if isinstance(self.scope, str) else ','.join(self.scope)}]"

    def in_scope(self, connections: Iterable[Connection]) -> tuple[Connection, ...]:
        """The connections that the cell's method controls."""
        if self.scope == "default":
            return tuple(c for c in connections if c.default)
        return tuple(c for c in connections if self.scope == "all" or c.role in self.scope)


class Suite:
    """A loaded suite: its cells, and the plugins' instances behind them.

    Use :func:`load_suite`.
    """

    def __init__(self, source: YamlSource, registry: Registry, overrides: Sequence[str] = ()) -> None:
        self.registry = registry
        self._yaml = source
        self.path = source.path
        content = _overridden(source.content, overrides)
        try:
            top = SuiteFile.model_validate(content)
        except ValidationError as error:
            raise source.validation_error((), error, tuple(SuiteFile.model_fields)) from error
        self.name = top.name or source.path.stem
        self.description = top.description.strip()
        shared = {k: v for k, v in content.items() if k in Experiment.model_fields}
        self.experiments: dict[str, Experiment] = {}
        self._locations: dict[str, Loc] = {}
        for label, own in (top.experiments or {"main": {}}).items():
            self._locations[label] = ("experiments", label) if top.experiments else ()
            self.experiments[label] = self._experiment(label, shared, own or {})
        self._benchmarks: dict[tuple[str, str], Benchmark[Any]] = {}
        self._parts: dict[tuple[str, str, str], Part] = {}

    @property
    def baseline(self) -> str:
        """The method that others are compared with."""
        return next(iter(self.experiments.values())).baseline

    @cached_property
    def cells(self) -> list[Cell]:
        """Every cell, in order of the file; seeds innermost."""
        return [cell for label in self.experiments for cell in self._expand(label)]

    def benchmark(self, part: Part) -> Benchmark[Any]:
        """The benchmark behind a part; one instance per part."""
        key = (part.plugin, part.options.model_dump_json())
        if key not in self._benchmarks:
            self._benchmarks[key] = self.registry.get("benchmark", part.plugin)(part.options)
        return self._benchmarks[key]

    def benchmarks(self) -> Iterator[tuple[str, Benchmark[Any]]]:
        """Every benchmark that the suite names, with its label."""
        for name, experiment in self.experiments.items():
            for label in experiment.benchmarks:
                yield label, self.benchmark(self._part("benchmark", name, label))

    # --- reading -----------------------------------------------------------------------------

    def _experiment(self, label: str, shared: Mapping[str, Any], own: Mapping[str, Any]) -> Experiment:
        merged = {**shared, **own}
        for key in ("training", "evaluation"):
            if isinstance(shared.get(key), dict) and isinstance(own.get(key), dict):
                merged[key] = {**shared[key], **own[key]}
        try:
            return Experiment.model_validate(merged)
        except ValidationError as error:
            raise self._yaml.validation_error(self._base(label, error), error, _known_keys(error)) from error

    def _base(self, label: str, error: ValidationError) -> Loc:
        """Where an experiment's key stands: under the experiment, else among the shared keys."""
        location = self._locations[label]
        first = error.errors()[0]["loc"]
        own: Any = self._yaml.content
        for step in location:
            own = (own or {}).get(step)
        return location if not first or (isinstance(own, dict) and first[0] in own) else ()

    def _error(self, experiment: str, loc: Loc, message: str) -> UserError:
        own = (self._yaml.content.get("experiments") or {}).get(experiment) or {}
        base = self._locations[experiment] if loc and loc[0] in own else ()
        return self._yaml.error((*base, *loc), message)

    def _part(self, kind: Literal["architecture", "method", "benchmark"], experiment: str, label: str) -> Part:
        if (kind, experiment, label) in self._parts:
            return self._parts[kind, experiment, label]
        section = f"{kind}s"
        entries: dict[str, Named] = getattr(self.experiments[experiment], section)
        if label not in entries:
            raise self._error(experiment, (section,), unknown_name(kind, label, entries))
        entry = entries[label]
        plugin = entry.use or label
        loc = (section, label)
        try:
            cls = self.registry.get(kind, plugin)
            options = cls.Options.model_validate(entry.options)
        except ValidationError as error:
            known = [*cls.Options.model_fields, *(k for k in type(entry).model_fields)]
            base = (*self._locations[experiment], *loc)
            own = (self._yaml.content.get("experiments") or {}).get(experiment) or {}
            raise self._yaml.validation_error(base if section in own else loc, error, known) from error
        except UserError as error:
            raise self._error(experiment, loc, str(error)) from error
        hashed = options.model_dump(mode="json")
        for name, field in cls.Options.model_fields.items():
            if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("hashed") is False:
                hashed.pop(name)
        identity = {**self.registry.identity(kind, plugin), "options": hashed}
        part = Part(label, plugin, options, identity)
        self._parts[kind, experiment, label] = part
        return part

    # --- expanding ---------------------------------------------------------------------------

    def _expand(self, name: str) -> Iterator[Cell]:
        experiment = self.experiments[name]
        for method in experiment.methods:
            self._check_uses(name, method)
        if experiment.baseline not in experiment.methods and "baseline" in experiment.model_fields_set:
            raise self._error(name, ("baseline",), unknown_name("method", experiment.baseline, experiment.methods))
        for arch in experiment.architectures:
            for bench in experiment.benchmarks:
                for method in experiment.methods:
                    yield from self._expand_method(name, arch, bench, method)

    def _expand_method(self, name: str, arch: str, bench: str, label: str) -> Iterator[Cell]:
        experiment = self.experiments[name]
        entry = experiment.methods[label]
        benchmark = self._part("benchmark", name, bench)
        trained = self._part("benchmark", name, experiment.train_on) if experiment.train_on else benchmark
        data = self.benchmark(trained)
        training = self._training(name, label, bench)
        evaluation = self._override(name, label, "evaluation", experiment.evaluation, entry.evaluation)
        part = self._part("method", name, label)
        scope = entry.scope if entry.scope is not None else experiment.scope
        scope_key = scope if isinstance(scope, str) else tuple(scope)
        architecture = self._part("architecture", name, arch)
        self._check_support(name, label, architecture, trained, part, scope_key)
        published = entry.published.get(bench) if isinstance(entry.published, dict) else entry.published
        match = entry.density if isinstance(entry.density, Match) else None
        fingerprint = data.fingerprint()
        scored = self.benchmark(benchmark).fingerprint()
        for density in self._densities(name, label, ()):
            for seed in experiment.seeds:
                own = (name, arch, bench)
                cell = Cell(
                    suite=self.name,
                    experiment=name,
                    architecture=arch,
                    benchmark=bench,
                    method=label,
                    density=density,
                    seed=seed,
                    architecture_part=architecture,
                    benchmark_part=benchmark,
                    training_part=trained,
                    method_part=part,
                    fingerprint=fingerprint,
                    benchmark_fingerprint=scored,
                    scope=scope_key,
                    training=training,
                    evaluation=evaluation,
                    match=self._resolve(own, label, match.match, density, seed, "density") if match else None,
                    match_by=match.by if match else "hard",
                    source=self._resolve(own, label, entry.source, density, seed, "source") if entry.source else None,
                    published=published,
                    note=entry.note,
                )
                if experiment.include and not any(s.matches(cell) for s in experiment.include):
                    continue
                if not any(s.matches(cell) for s in experiment.exclude):
                    yield cell

    def _check_uses(self, name: str, label: str) -> None:
        """Density and source are given exactly where the method takes them."""
        entry = self.experiments[name].methods[label]
        cls: type[SparsityMethod[Any]] = self.registry.get("method", self._part("method", name, label).plugin)
        for key, given, use in (
            ("density", entry.density is not None, cls.takes_density),
            ("source", entry.source is not None, cls.takes_source),
        ):
            if use == "required" and not given:
                example = "0.1, [0.3, 0.1] or {match: METHOD, by: hard}" if key == "density" else "METHOD"
                raise self._error(name, ("methods", label), f"method '{label}' needs a {key}: {key}: {example}")
            if use == "never" and given:
                raise self._error(name, ("methods", label, key), f"method '{label}' takes no {key}: remove it")

    def _check_support(
        self, name: str, label: str, arch: Part, bench: Part, method: Part, scope: tuple[str, ...] | str
    ) -> None:
        memo = (name, label, arch.label, bench.label)
        if memo in self.__dict__.setdefault("_supported", set()):
            return
        architecture: Architecture[Any] = self.registry.get("architecture", arch.plugin)(
            arch.options, self.benchmark(bench).spec()
        )
        if reason := architecture.unsupported():
            raise self._error(name, ("architectures", arch.label), f"architecture '{arch.label}' {reason}")
        connections = architecture.connections()
        roles = {c.role for c in connections}
        if not isinstance(scope, str):
            for role in scope:
                if role not in roles:
                    where: Loc = ("methods", label, "scope")
                    if self.experiments[name].methods[label].scope is None:
                        where = ("scope",)
                    raise self._error(name, where, unknown_name(f"role of '{arch.label}'", role, roles))
        chosen = [c for c in connections if scope == "all" or (c.default if scope == "default" else c.role in scope)]
        instance: SparsityMethod[Any] = self.registry.get("method", method.plugin)(method.options)
        if reason := instance.unsupported(architecture, chosen):
            raise self._error(name, ("methods", label), f"method '{label}' on '{arch.label}': {reason}")
        self.__dict__["_supported"].add(memo)

    def _training(self, name: str, label: str, bench: str, seen: tuple[str, ...] = ()) -> Training:
        """The training of a method on a benchmark, with its number of steps resolved."""
        experiment = self.experiments[name]
        entry = experiment.methods[label]
        training = self._override(name, label, "training", experiment.training, entry.training)
        if entry.budget is not None:
            other = entry.budget.match
            if other not in experiment.methods:
                raise self._error(name, ("methods", label, "budget"), unknown_name("method", other, experiment.methods))
            if other in seen or other == label:
                chain = " -> ".join((*seen, label, other))
                raise self._error(name, ("methods", label, "budget"), f"cyclic budget: {chain}")
            theirs = self._training(name, other, bench, (*seen, label))
            method = self.registry.get("method", self._part("method", name, other).plugin)
            budget = TrainingBudget(theirs.steps or 0, theirs.batch_size)
            steps = total_steps(method(self._part("method", name, other).options).program(budget))
        elif training.epochs is not None:
            trained = experiment.train_on or bench
            examples = self.benchmark(self._part("benchmark", name, trained)).spec().examples
            steps = -(-round(training.epochs * examples) // training.batch_size)
        elif training.steps is not None:
            steps = training.steps
        else:
            raise self._error(name, ("training",), "training needs a budget: epochs or steps")
        return training.model_copy(update={"steps": max(1, steps), "epochs": None})

    def _override(self, name: str, label: str, key: str, shared: SchemaT, own: Mapping[str, Any]) -> SchemaT:
        if not own:
            return shared
        base = shared.model_dump(exclude_unset=True)
        if {"epochs", "steps"} & own.keys():
            base = {k: v for k, v in base.items() if k not in ("epochs", "steps")}
        try:
            return type(shared).model_validate({**base, **own})
        except ValidationError as error:
            location = ("methods", label, key)
            raise self._yaml.validation_error(
                (*self._method_base(name), *location), error, tuple(type(shared).model_fields)
            ) from error

    def _method_base(self, name: str) -> Loc:
        own = (self._yaml.content.get("experiments") or {}).get(name) or {}
        return self._locations[name] if "methods" in own else ()

    def _densities(self, name: str, label: str, seen: tuple[str, ...]) -> list[float | None]:
        """The densities over which a method's cells are spread: its own, or those of the cell it refers to."""
        entry = self.experiments[name].methods[label]
        ref = entry.density.match if isinstance(entry.density, Match) else entry.source
        step = f"{name}.{label}"
        if step in seen:
            chain = " -> ".join(part.partition(".")[2] for part in (*seen[seen.index(step) :], step))
            key = "density" if isinstance(entry.density, Match) else "source"
            raise self._error(name, ("methods", label, key), f"cyclic match: {chain}; a cell cannot wait for itself")
        if ref is not None:
            target, method = self._target(name, label, ref)
            return self._densities(target, method, (*seen, step))
        if isinstance(entry.density, list):
            return list(entry.density)
        return [entry.density if isinstance(entry.density, float) else None]

    def _target(self, name: str, label: str, ref: CellRef) -> tuple[str, str]:
        """(experiment, method) that a reference means, checked to exist."""
        where: Loc = ("methods", label)
        target = ref.experiment or name
        if target not in self.experiments:
            raise self._error(name, where, unknown_name("experiment", target, self.experiments))
        if ref.method not in self.experiments[target].methods:
            raise self._error(name, where, unknown_name("method", ref.method, self.experiments[target].methods))
        return target, ref.method

    def _resolve(
        self, own: tuple[str, str, str], label: str, ref: CellRef, density: float | None, seed: int, key: str
    ) -> Key:
        """The key of the cell that a reference means, checked to exist in the suite."""
        name, arch, bench = own
        target, method = self._target(name, label, ref)
        experiment = self.experiments[target]
        where: Loc = ("methods", label, key)
        chosen = []
        for kind, given, mine, known in (
            ("architecture", ref.architecture, arch, experiment.architectures),
            ("benchmark", ref.benchmark, bench, experiment.benchmarks),
        ):
            value = given or (mine if mine in known or len(known) > 1 else next(iter(known)))
            if value not in known:
                raise self._error(name, where, unknown_name(f"{kind} of experiment '{target}'", value, known))
            chosen.append(value)
        if seed not in experiment.seeds:
            raise self._error(
                name, where, f"experiment '{target}' has no seed {seed} to match; it has {experiment.seeds}"
            )
        return (target, chosen[0], chosen[1], method, density, seed)


def _overridden(content: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The content with ``--set a.b=value`` applied; values are YAML.

    Raises:
        UserError: for text that is no ``key=value``, or a path through something that is no mapping.
    """
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise UserError(f"--set takes key=value, for example --set training.steps=100, not '{override}'")
        *outer, last = path.split(".")
        content = node = dict(content)
        for step in outer:
            inner = node.get(step)
            if inner is not None and not isinstance(inner, dict):
                raise UserError(f"--set {override}: '{step}' is not a mapping, it cannot have '{last}'")
            node[step] = dict(inner or {})
            node = node[step]
        try:
            node[last] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"--set {override}: '{text}' is not a YAML value") from error
    return content


def _known_keys(error: ValidationError) -> tuple[str, ...]:
    """The keys that are allowed where an unknown one was found."""
    for problem in error.errors():
        if problem["type"] == "extra_forbidden":
            first = problem["loc"][0]
            if len(problem["loc"]) == 1:
                return tuple(Experiment.model_fields)
            return tuple({"training": Training, "evaluation": Evaluation}.get(str(first), Selector).model_fields)
    return ()


def load_suite(path: Path, registry: Registry, overrides: Sequence[str] = ()) -> Suite:
    """Read, validate and expand a suite file.

    Raises:
        SuiteError: with file, line and column, what is allowed, and the nearest right name.
        DataMissing: if the number of training examples is not known without data that is missing.
    """
    suite = Suite(YamlSource(path), registry, overrides)
    if not suite.cells:
        raise HarnessError(f"{path}: include and exclude leave no cells")
    return suite
