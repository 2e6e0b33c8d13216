"""What a suite file says, read and validated: every error with its line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from harness.core.benchmark import Benchmark, Metric
from harness.core.data import DataSpec
from harness.core.returned import require_kind, require_list
from harness.errors import DataMissing, SuiteError, Unsupported, UserError, unknown_name
from harness.interchange import bundle
from harness.suites.cell import Key, Part, Tuned
from harness.suites.named_files import NamedFiles
from harness.suites.schema import (
    RENAMES,
    BudgetMatch,
    CellRef,
    Evaluation,
    Experiment,
    Match,
    Named,
    Selector,
    SuiteFile,
    Training,
    layered,
    over_shared,
)
from harness.suites.slurm_options import SlurmOptions, known_keys
from harness.suites.sweeps import SweepError, Variant, swept
from harness.suites.trials import Trial, trial_name
from harness.suites.tune import Tune
from harness.suites.yaml_source import Loc, YamlSource

if TYPE_CHECKING:
    from harness.core.data import Split
    from harness.registry.plugins import Registry

ToldT = TypeVar("ToldT")
NESTED: Mapping[str | int, type[BaseModel]] = {
    "training": Training,
    "evaluation": Evaluation,
    "tune": Tune,
    "include": Selector,
    "exclude": Selector,
    "source": CellRef,
    "match": CellRef,
    "density": Match,
    "budget": BudgetMatch,
}
"""Key of an experiment or a method -> what may stand below it."""


def _known_at_the_top(loc: Loc) -> Sequence[str]:
    return tuple((Selector if loc[:1] == ("agreements",) and len(loc) > 1 else SuiteFile).model_fields)


class Declaration:
    """What a suite declares: its experiments, and the plugins' instances behind them; not expanded into cells.

    Args:
        folder: that relative paths are relative to; None is that of the file.

    Attributes:
        dry: only to see what it would do: data that are not here are taken as their options describe them, and
            noted in ``missing`` (what -> why). Cells then have other names than they will have; those of which
            nothing can be said are left out, and noted in ``unplanned``.
        outdated: what to tell the user: places with old names of keys, see :class:`YamlSource`.
        experiments: by name; the trials of one that is tuned are experiments of their own, before it.
        trials: the latter by their names.
        rows: experiment -> the rows of sweeps by their names.
        choices: the trials that were chosen, by number.
    """

    def __init__(
        self,
        path: Path,
        registry: Registry,
        overrides: Sequence[str] = (),
        dry: bool = False,
        folder: Path | None = None,
    ) -> None:
        self.registry = registry
        self.dry = dry
        self.missing: dict[str, str] = {}
        self.unplanned: set[Key] = set()
        self.path = path
        self._folder = (folder or path.parent).resolve()
        self._yaml = source = YamlSource(path, overrides, RENAMES)
        self.outdated = source.outdated
        top = self._top()
        self._check_profiles(top.profiles)
        self.name = top.name or _name_of(source.path)
        if top.profile is not None:
            self._apply(top.profile, top.profiles)
            self.name = f"{self.name}-{top.profile}"
            top = self._top()
        self.description = top.description.strip()
        self.slurm = self._slurm(top.slurm)
        self.agreements = top.agreements
        self.networks = top.networks
        self._own: dict[str, dict[str, Any]] = top.experiments or {"main": {}}
        self._in_file = bool(top.experiments)
        self._benchmarks: dict[tuple[str, str], Benchmark[Any]] = {}
        self._parts: dict[tuple[str, str, str], Part] = {}
        self.choices: Mapping[Tuned, int] = {}
        self.trials: dict[str, Trial] = {}
        self.rows: dict[str, Mapping[str, Variant]] = {}
        self._asked: dict[str, Sequence[int]] = {}
        self.experiments = {label: self._experiment(label) for label in self._own}
        if self.slurm is not None and any(self.rows.values()):
            methods = {row: asked for label, asked in self.slurm.methods.items() for row in self.rows_of(label)}
            self.slurm = self.slurm.model_copy(update={"methods": methods})

    @property
    def reported(self) -> dict[str, Experiment]:
        """The experiments that the file names, without trials."""
        return {name: experiment for name, experiment in self.experiments.items() if name not in self.trials}

    def tuning(self, experiment: str) -> list[Trial]:
        """The trials of an experiment; none where nothing is tuned."""
        return [trial for trial in self.trials.values() if trial.of == experiment]

    def rows_of(self, label: str) -> list[str]:
        """The methods that a label stands for: rows of a sweep, else itself."""
        found = [name for rows in self.rows.values() for name, row in rows.items() if row.label == label]
        return list(dict.fromkeys(found)) or [label]

    def names_of(self, experiment: str) -> set[str]:
        """What methods of an experiment may be called: their labels, of sweeps also the rows."""
        rows = self.rows.get(experiment, {})
        return {*self.experiments[experiment].methods, *(row.label for row in rows.values())}

    def settled_in(self, experiment: str, architecture: str, benchmark: str, label: str) -> str:
        """The experiment that holds a method's settings on a network and a benchmark: of the trial that was chosen.

        It is the experiment itself where nothing is tuned, where nothing has been chosen yet, and for the default.
        """
        trained_on = self.experiments[experiment].train_on or benchmark
        number = self.choices.get(Tuned(experiment, architecture, trained_on, label), 1)
        return experiment if number == 1 else trial_name(experiment, number)

    def spec(self, part: Part) -> DataSpec:
        """Shape of a benchmark's training data."""
        return self._told(part, _spec, lambda benchmark: benchmark.expected())

    def examples(self, part: Part, split: Split) -> int | None:
        """How many examples of a split a benchmark scores, as far as that is known."""
        return self._told(part, lambda benchmark: _examples(benchmark, split), lambda _: None)

    def fingerprint(self, part: Part) -> str:
        """What identifies a benchmark's data."""
        return self._told(part, _fingerprint, lambda _: "missing")

    def benchmark(self, part: Part) -> Benchmark[Any]:
        """The benchmark behind a part; one instance per plugin and options."""
        key = (part.plugin, part.options.model_dump_json())
        if key not in self._benchmarks:
            self._benchmarks[key] = self.registry.get("benchmark", part.plugin)(part.options)
        return self._benchmarks[key]

    def benchmarks(self) -> Iterator[tuple[Part, Benchmark[Any]]]:
        """Every benchmark that the suite names."""
        for name, experiment in self.experiments.items():
            for label in experiment.benchmarks:
                part = self.part("benchmark", name, label)
                yield part, self.benchmark(part)

    def part(self, kind: Literal["architecture", "method", "benchmark"], experiment: str, label: str) -> Part:
        """The plugin behind a label, with its options validated.

        Raises:
            SuiteError: if there is no such plugin, or it does not take these options.
        """
        if kind != "method" and experiment in self.trials:
            experiment = self.trials[experiment].of  # the same networks and data
        if (kind, experiment, label) in self._parts:
            return self._parts[kind, experiment, label]
        section = f"{kind}s"
        entry: Named = getattr(self.experiments[experiment], section)[label]
        plugin = entry.use or label
        try:
            cls = self.registry.get(kind, plugin)
        except UserError as error:
            raise self.error(experiment, (section, label, *(["use"] if entry.use else [])), str(error)) from error
        try:
            options = cls.Options.model_validate(entry.options)
        except ValidationError as error:
            keys = (*cls.Options.model_fields, *type(entry).model_fields)
            raise self._yaml.validation_error(
                error,
                cls.Options,
                lambda loc: self._locate(experiment, (section, label, *loc)),
                lambda loc: keys if len(loc) == 1 else (),
            ) from error
        identity: dict[str, Any] = {**self.registry.identity(kind, plugin), "options": _hashed(options)}
        files = NamedFiles(self._folder)
        options = files.options(options)
        weights: str | None = getattr(entry, "weights", None)
        if weights is not None:
            weights = files.place(weights, bundle.MANIFEST)
        try:
            with files.explained():
                if content := cls.content(options) if kind != "benchmark" else None:
                    identity["content"] = content
                if weights is not None:
                    identity["weights"] = bundle.read(weights).digest
        except UserError as error:
            if self.dry and isinstance(error, DataMissing):
                raise
            where = (section, label, "weights") if weights is not None else (section, label)
            raise self.error(experiment, where, str(error)) from error
        inverted: bool = getattr(entry, "inverted", False)
        if inverted:
            identity["inverted"] = True
        part = Part(label, plugin, options, identity, files, weights, inverted)
        self._parts[kind, experiment, label] = part
        return part

    def error(self, experiment: str, loc: Loc, message: str, at_key: bool = False) -> UserError:
        """An error about a key of an experiment, pointing to its value, or to the key itself."""
        return self._yaml.error(self._locate(experiment, loc), message, at_key)

    def validation_error(self, experiment: str, base: Loc, error: ValidationError, model: type[BaseModel]) -> UserError:
        """The error for what pydantic found below ``base`` in an experiment, where ``model`` was validated."""
        return self._yaml.validation_error(
            error, model, lambda loc: self._locate(experiment, (*base, *loc)), lambda loc: _known((*base, *loc))
        )

    def _told(
        self,
        part: Part,
        ask: Callable[[Benchmark[Any]], ToldT],
        otherwise: Callable[[Benchmark[Any]], ToldT],
    ) -> ToldT:
        """What a benchmark says of its data; ``otherwise`` on a dry run while they are not here.

        Raises:
            SuiteError: for what it refuses, with the line of its label.
            DataMissing: as well, for data that can be had.
        """
        benchmark = self.benchmark(part)
        try:
            with part.files.explained():
                return ask(benchmark)
        except Unsupported:
            raise
        except UserError as error:
            name = next(experiment for (_, experiment, _), known in self._parts.items() if known is part)
            told = self.error(name, ("benchmarks", part.label), f"benchmark '{part.label}': {error}")
            if not (isinstance(error, DataMissing) and _to_be_had(benchmark)):
                raise told from error
            if not self.dry:
                raise DataMissing(str(told)) from error
            self.missing[part.label] = str(error)
            return otherwise(benchmark)

    def _top(self) -> SuiteFile:
        try:
            return SuiteFile.model_validate(self._yaml.content)
        except ValidationError as error:
            raise self._yaml.validation_error(error, SuiteFile, lambda loc: loc, _known_at_the_top) from error

    def _check_profiles(self, profiles: Mapping[str, Mapping[str, Any]]) -> None:
        """No profile sets a key that there is not, chosen or not."""
        for profile, settings in profiles.items():
            for path in settings:
                steps = path.split(".")
                known: Mapping[str, Any] = SuiteFile.model_fields
                for step in steps[:2]:
                    if step not in known:
                        raise self._yaml.error(
                            ("profiles", profile, path), unknown_name("key", step, known), at_key=True
                        )
                    if step not in ("training", "evaluation", "tune"):
                        break
                    known = NESTED[step].model_fields

    def _apply(self, profile: str, profiles: Mapping[str, Mapping[str, Any]]) -> None:
        """Put a profile's settings in place, except where ``--set`` has a say."""
        if profile not in profiles:
            raise self._yaml.error(("profile",), unknown_name("profile", profile, profiles))
        given = list(self._yaml.overridden())
        for path, value in profiles[profile].items():
            steps = tuple(path.split("."))
            if not any(other[: len(steps)] == steps or steps[: len(other)] == other for other in given):
                self._yaml.replace(path, value, ("profiles", profile, path))

    def _slurm(self, section: Any) -> SlurmOptions | None:
        """What the suite wants of a cluster, if it says so."""
        if section is None:
            return None
        try:
            return SlurmOptions.model_validate(section)
        except ValidationError as error:
            raise self._yaml.validation_error(error, SlurmOptions, lambda loc: ("slurm", *loc), known_keys) from error

    def _experiment(self, label: str) -> Experiment:
        """The experiment's own keys over the shared ones; a ``--set`` of a shared key goes over both."""
        own = self._own[label]
        merged = over_shared(self._yaml.content, own)
        for path, value in self._yaml.overridden().items():
            key = str(path[0])
            if key in own and key in ("architectures", "methods", "benchmarks"):
                text = f"it has {key} of its own, write --set experiments.{label}.{'.'.join(map(str, path))}=..."
                raise self._yaml.error(path, f"this does not reach experiment '{label}': {text}")
            if key in own:
                merged[key] = layered(merged[key], {str(path[1]): value}) if len(path) > 1 else value
        try:
            written_out, self.rows[label], self._asked[label] = swept(merged, self.registry)
        except SweepError as error:
            raise self.error(label, ("methods", error.label), str(error)) from None
        try:
            return Experiment.model_validate(written_out)
        except ValidationError as error:
            raise self.validation_error(label, (), error, Experiment) from error

    def _locate(self, experiment: str, loc: Loc) -> Loc:
        """Where a key of an experiment stands: in a ``--set``, under the experiment, or among the shared keys."""
        if experiment in self.trials:
            experiment = self.trials[experiment].of
        if loc[:1] == ("methods",) and (row := self.rows.get(experiment, {}).get(str(loc[1]) if loc[1:] else "")):
            loc = ("methods", row.label, *loc[2:])
        if loc[:1] == ("questions",) and loc[1:] and (places := self._asked.get(experiment)):
            loc = ("questions", places[int(loc[1])], *loc[2:])
        shared = self._yaml.content
        if not self._in_file or any(loc[: len(path)] == path for path in self._yaml.overridden()):
            return loc
        key, inner = (*loc, None, None)[:2]
        own = self._own[experiment]
        mine = key in own and not (
            key in ("training", "evaluation")
            and isinstance(shared.get(key), dict)
            and isinstance(own[key], dict)
            and inner in shared[key]
            and inner not in own[key]
        )
        return loc if key in shared and not mine else ("experiments", experiment, *loc)


def _spec(benchmark: Benchmark[Any]) -> DataSpec:
    found = benchmark.spec()
    require_kind(found, DataSpec, f"{type(benchmark).__name__}.spec()")
    require_list(benchmark.metrics, Metric, f"{type(benchmark).__name__}.metrics", '(Metric("loss", "nats", "min"),)')
    return found


def _examples(benchmark: Benchmark[Any], split: Split) -> int | None:
    found = benchmark.examples(split)
    if found is not None:
        require_kind(found, Integral, f"{type(benchmark).__name__}.examples('{split}')")
    return found


def _fingerprint(benchmark: Benchmark[Any]) -> str:
    found = benchmark.fingerprint()
    require_kind(found, str, f"{type(benchmark).__name__}.fingerprint()")
    return found


def _to_be_had(benchmark: Benchmark[Any]) -> bool:
    """Whether ``harness data prepare`` may mend that data are missing: not where the options are wrong."""
    files = benchmark.files()
    return type(benchmark).prepare is not Benchmark.prepare and not (files and all(path.exists() for path in files))


def _hashed(options: BaseModel) -> dict[str, Any]:
    """The options that enter hashes: all, unless a field's ``json_schema_extra`` says otherwise.

    ``{"hashed": False}`` leaves a field out, ``{"hashed": "unless_none"}`` while it is None: a new option that
    does nothing by default then leaves older results valid.
    """
    hashed = options.model_dump(mode="json")
    for name, field in type(options).model_fields.items():
        rule = field.json_schema_extra.get("hashed", True) if isinstance(field.json_schema_extra, dict) else True
        if rule is False or (rule == "unless_none" and hashed[name] is None):
            hashed.pop(name)
    return hashed


def _known(loc: Loc) -> Sequence[str]:
    """The keys that are allowed beside the last step of ``loc``."""
    for step in reversed(loc[:-1]):
        if step in NESTED:
            return tuple(NESTED[step].model_fields)
    return tuple(Experiment.model_fields)


def _name_of(path: Path) -> str:
    try:
        return str(SuiteFile(name=path.stem).name)
    except ValidationError:
        raise SuiteError(
            f"{path}: results go into a folder named after the suite, and '{path.stem}' does not do as its name: give "
            "the key 'name' (letters, digits, _ and -), or rename the file"
        ) from None
