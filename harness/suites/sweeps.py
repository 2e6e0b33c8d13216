"""Plain sweeps: a list for an option that is a number makes a row for each of its values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from math import isfinite, prod
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

from harness.errors import UserError
from harness.suites.question import Question
from harness.suites.schema import Experiment, Training, labelled

if TYPE_CHECKING:
    from harness.registry.plugins import Registry

REFERENCES = ("density", "source", "budget", "controls")
"""Keys of a method under which it may name another one."""
MOST_ROWS = 10_000
STEPS = ("epochs", "steps")


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of a sweep: the label in the suite, and the value of each option that it is swept over."""

    label: str
    values: Mapping[str, float]


class SweepError(ValueError):
    """Sweeps that do not go together; ``label`` is the method's in the suite."""

    def __init__(self, label: str, text: str) -> None:
        super().__init__(text)
        self.label = label


class Swept(NamedTuple):
    """An experiment without sweeps.

    Attributes:
        experiment: as YAML has it, with a method for each value.
        rows: what these methods stand for, by their names.
        questions: of each question its place among those that the suite has; empty where nothing is swept.
    """

    experiment: Mapping[str, Any]
    rows: Mapping[str, Variant] = {}
    questions: Sequence[int] = ()


def swept(experiment: Mapping[str, Any], registry: Registry) -> Swept:
    """An experiment as YAML has it with a method for each value.

    Options of training are swept for every method, but for those that give the option themselves. What is no list of
    numbers, or no option that is a number, is left as it is. A method that names a swept one has as many rows: each
    names the row that has its values.

    Raises:
        SweepError: for a value that the method which is named does not have.
    """
    training = experiment.get("training")
    try:
        methods = labelled(experiment.get("methods"))
    except ValueError:  # told where the experiment is validated
        return Swept(experiment)
    if not isinstance(training, dict) or not isinstance(methods, dict):
        return Swept(experiment)
    if not all(isinstance(entry, dict) for entry in methods.values()):
        return Swept(experiment)
    sweep = _Sweep(training, methods, registry)
    return sweep.experiment(experiment) if sweep.variants else Swept(experiment)


class _Sweep:
    """The sweeps of one experiment.

    An axis is ``training.OPTION``, or an option of the method's plugin.
    """

    def __init__(
        self, training: Mapping[str, Any], methods: Mapping[str, Mapping[str, Any]], registry: Registry
    ) -> None:
        self._methods = methods
        self._registry = registry
        self._shared = {f"training.{key}": value for key, value in training.items() if _is_sweep(Training, key, value)}
        self._own = {label: dict(self._axes(entry)) for label, entry in methods.items()}
        self.variants = {
            label: rows for label in methods if (axes := self._all(label)) for rows in [self._rows(label, axes)]
        }

    def experiment(self, experiment: Mapping[str, Any]) -> Swept:
        """The experiment without lists, and its rows."""
        methods: dict[str, Any] = {}
        found: dict[str, Variant] = {}
        for label, entry in self._methods.items():
            for name, variant in self.variants.get(label, {label: None}).items():
                if name in methods or (name != label and name in self._methods):
                    raise SweepError(label, f"a row of the sweep is called '{name}', and so is another one: rename it")
                methods[name] = entry if variant is None else self._entry(label, entry, variant)
                if variant is not None:
                    found[name] = Variant(label, {axis.removeprefix("training."): v for axis, v in variant.items()})
        training = dict(experiment["training"])
        for axis, values in self._shared.items():
            training[axis.removeprefix("training.")] = values[0]
        changed: dict[str, Any] = {"methods": methods, "training": training}
        baseline = experiment.get("baseline", Experiment.model_fields["baseline"].default)
        if isinstance(baseline, str) and baseline in self.variants:
            changed["baseline"] = next(iter(self.variants[baseline]))
        asked: list[tuple[int, Any]] = []
        if isinstance(questions := experiment.get("questions"), list):
            asked = [(place, one) for place, question in enumerate(questions) for one in self._questions(question)]
            changed["questions"] = [one for _, one in asked]
        for key in ("include", "exclude"):
            if isinstance(selectors := experiment.get(key), list):
                changed[key] = [self._selector(one) for one in selectors]
        return Swept({**experiment, **changed}, found, [place for place, _ in asked])

    # --- axes --------------------------------------------------------------------------------

    def _axes(self, entry: Mapping[str, Any]) -> Iterator[tuple[str, list[float]]]:
        """What is swept of a method itself."""
        own = entry.get("training")
        given = own if isinstance(own, dict) else {}
        steps = {f"training.{key}" for key in STEPS}
        fixed = {f"training.{key}" for key in given} | (steps if "budget" in entry or steps & given.keys() else set())
        yield from ((axis, values) for axis, values in self._shared.items() if axis not in fixed)
        yield from ((f"training.{key}", value) for key, value in given.items() if _is_sweep(Training, key, value))
        options = {key: value for key, value in entry.items() if isinstance(value, list) and key != "density"}
        if options and (model := self._options(entry)) is not None:
            yield from ((key, value) for key, value in options.items() if _is_sweep(model, key, value))

    def _options(self, entry: Mapping[str, Any]) -> type[BaseModel] | None:
        label = next(label for label, other in self._methods.items() if other is entry)
        try:
            options: type[BaseModel] = self._registry.get("method", entry.get("use") or label).Options
        except UserError:  # told where the plugin is asked for
            return None
        return options

    def _all(self, label: str, above: tuple[str, ...] = ()) -> dict[str, list[float]]:
        """Axes of a method, and those of the methods that it names."""
        found = dict(self._own[label])
        for _, other in self._named(label) if label not in above else ():
            for axis, values in self._all(other, (*above, label)).items():
                if axis not in found and self._fixes(label, axis):
                    option = axis.removeprefix("training.")
                    text = f"'{label}' has one {option} and names '{other}', which is swept over it: name a row of it"
                    raise SweepError(label, text)
                found.setdefault(axis, values)
        return found

    def _fixes(self, label: str, axis: str) -> bool:
        """Whether a method gives an option itself, as one number."""
        entry = self._methods[label]
        key = axis.removeprefix("training.")
        given = entry.get("training") if axis.startswith("training.") else entry
        return isinstance(given, dict) and key in given

    def _named(self, label: str) -> Iterator[tuple[str, str]]:
        """The methods of the same experiment that a method names, with the key under which it does."""
        for key in REFERENCES:
            value = self._methods[label].get(key)
            ref = value.get("match") if isinstance(value, dict) and key in ("density", "budget") else value
            other = ref.get("method") if isinstance(ref, dict) and "experiment" not in ref else ref
            if isinstance(other, str | int) and str(other) in self._methods and str(other) != label:
                yield key, str(other)

    # --- rows --------------------------------------------------------------------------------

    def _rows(self, label: str, axes: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
        """Name of each row -> its values."""
        if (number := prod(map(len, axes.values()))) > MOST_ROWS:
            raise SweepError(label, f"the sweeps of '{label}' are {number:,} rows, and at most {MOST_ROWS:,} are made")
        rows = (dict(zip(axes, values, strict=True)) for values in product(*axes.values()))
        return {_name(label, values): values for values in rows}

    def _entry(self, label: str, entry: Mapping[str, Any], values: Mapping[str, float]) -> dict[str, Any]:
        """A method with the values of a row."""
        made = {"use": label, **entry}
        for axis, value in values.items():
            if axis not in self._own[label]:
                continue
            if axis.startswith("training."):
                own = made.get("training")
                made["training"] = {**(own if isinstance(own, dict) else {}), axis.removeprefix("training."): value}
            else:
                made[axis] = value
        for key, other in self._named(label):
            rows = self._fitting(other, values)
            if not rows:
                have = ", ".join(self.variants[other])
                text = f"'{_name(label, values)}' names '{other}', which has no such row; it has {have}"
                raise SweepError(label, text)
            made[key] = _renamed(made[key], rows[0])
        return made

    def _fitting(self, label: str, values: Mapping[str, float]) -> list[str]:
        """The rows of a method that have these values, of the options that both are swept over."""
        rows = self.variants.get(label)
        if rows is None:
            return [label]
        return [name for name, own in rows.items() if all(own[axis] == values[axis] for axis in own.keys() & values)]

    # --- what names methods ------------------------------------------------------------------

    def _questions(self, value: Any) -> list[Any]:
        """A question, once for each pair of rows that have the same values."""
        try:
            question: Question = Question.asked(value)
        except ValueError:  # told where the experiment is validated
            return [value]
        if not {question.method, question.control} & self.variants.keys():
            return [value]
        single = {name: own for rows in self.variants.values() for name, own in rows.items() if name == question.method}
        rows = self.variants.get(question.method) or single or {question.method: {}}

        def one(row: str, control: str) -> Question:
            name = question.name and (f"{question.name}: {row}" if len(rows) > 1 else question.name)
            return question.model_copy(update={"method": row, "control": control, "name": name})

        return [one(row, name) for row, own in rows.items() for name in self._fitting(question.control, own)]

    def _selector(self, value: Any) -> Any:
        """A selector that names a method means all of its rows."""
        if not isinstance(value, dict) or "method" not in value:
            return value
        names = value["method"] if isinstance(value["method"], list) else [value["method"]]
        return {**value, "method": [row for name in names for row in self.variants.get(name, [name])]}


def _is_sweep(model: type[BaseModel], key: str, value: Any) -> bool:
    """Whether a value is several numbers for an option that takes one."""
    numbers = isinstance(value, list) and all(isinstance(v, int | float) and type(v) is not bool for v in value)
    field = model.model_fields.get(key)
    if not numbers or field is None or not value or len(set(value)) < len(value) or not all(map(isfinite, value)):
        return False
    kinds = set(_kinds(field.annotation)) - {NoneType}
    return bool(kinds) and kinds <= {int, float}


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is a union of."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for one in get_args(annotation):
            yield from _kinds(one)
    else:
        yield origin or annotation


def _name(label: str, values: Mapping[str, float]) -> str:
    """``magnitude-lr-1e-3``: with neither dots nor signs that a name of a cell or a selector gives a meaning."""
    own = {axis for axis in values if not axis.startswith("training.")}
    parts = [label]
    for axis, value in values.items():
        option = axis.removeprefix("training.")
        parts.append(f"{axis.replace('.', '-') if axis != option and option in own else option}-{_spelled(value)}")
    return "-".join(parts)


def meant(label: str, known: Iterable[str]) -> list[str]:
    """The method of that label, else those that are called like rows of its sweep, among known ones.

    The value of a row may be written as one likes: ``set-lr-0.01`` is ``set-lr-1e-2``.
    """
    names = list(known)
    row = re.compile(rf"{re.escape(label)}(-[A-Za-z_-]+-{_NUMBER})+")
    found = [label] if label in names else [name for name in names if row.fullmatch(name)]
    return found or [name for name in names if name == _respelled(label)]


def _respelled(label: str) -> str:
    """A label with its numbers as rows of sweeps have them."""
    return re.sub(r"(?<=-)-?\d+(\.\d+)?(e-?\d+)?(?=-|$)", lambda number: _spelled(float(number[0])), label)


_NUMBER = r"-?\d+(e-?\d+)?"


def _spelled(value: float) -> str:
    """``64``, ``1e-3``, ``25e-2``."""
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    return f"{'-' if sign else ''}{''.join(map(str, digits))}e{exponent}"


def _renamed(value: Any, row: str) -> Any:
    """What names a method, with a row in its place."""
    if isinstance(value, str):
        return row
    key = "match" if "match" in value else "method"
    return {**value, key: row if key == "method" else _renamed(value["match"], row)}
