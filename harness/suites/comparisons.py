"""What a suite compares with what: its questions, and which method is the control of which."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from harness.errors import UserError, unknown_name
from harness.suites.question import Question
from harness.suites.schema import Experiment, Match

if TYPE_CHECKING:
    from harness.core.method import SparsityMethod
    from harness.suites.declaration import Declaration
    from harness.suites.expansion import Expansion

Place = tuple[str, str, int, str]
"""Where two methods can be compared: architecture, benchmark, seed, protocol."""


class Comparisons(BaseModel):
    """What one experiment compares; kept in the plan, part of no hash."""

    model_config = ConfigDict(frozen=True)

    questions: list[Question] = Field([], description="those that the suite asks, else each method against its control")
    asked: bool = Field(False, description="whether the suite names its questions")
    smallest_difference: dict[str, float] = Field(
        {}, description="benchmark: smallest difference that matters, in the unit of its primary metric"
    )
    controls: dict[str, str] = Field({}, description="control: method that it is a control of")
    control_of: dict[str, str] = Field({}, description="method: the control that it is compared with first")
    control_methods: list[str] = Field([], description="all methods that are there as controls")
    baselines: dict[str, str] = Field(
        {}, description="method: what it is compared with, where that is another row of a sweep than the baseline"
    )
    curves: dict[str, str] = Field(
        {}, description="method whose density is matched: the same method over densities of its own"
    )


def comparisons(suite: Declaration, expansion: Expansion) -> dict[str, Comparisons]:
    """For every experiment of a suite what it compares.

    Raises:
        SuiteError: for a question that has no answer, with its line.
    """
    return {name: _Reading(suite, expansion, name).comparisons() for name in suite.reported}


class _Reading:
    """Reads one experiment."""

    def __init__(self, suite: Declaration, expansion: Expansion, name: str) -> None:
        self._suite = suite
        self._expansion = expansion
        self._references = expansion.references
        self._name = name
        self._experiment: Experiment = suite.experiments[name]
        self._controls: dict[str, str] = {}
        self._are_controls = [label for label in self._experiment.methods if self._is_control(label)]
        for label in self._are_controls:
            if (controlled := self._controlled(label)) is not None:
                self._controls[label] = controlled

    def comparisons(self) -> Comparisons:
        control_of = {
            label: control
            for label in self._experiment.methods
            if label not in self._are_controls and (control := self._control(label)) is not None
        }
        self._check()
        asked, difference = self._experiment.questions, self._experiment.smallest_difference
        if isinstance(difference, float):
            difference = dict.fromkeys(self._experiment.benchmarks, difference)
        return Comparisons(
            questions=asked or list(self._default(control_of)),
            asked=bool(asked),
            smallest_difference=difference or {},
            controls=self._controls,
            control_of=control_of,
            control_methods=self._are_controls,
            baselines={
                label: own
                for label in self._experiment.methods
                if (own := self._baseline(label)) != self._experiment.baseline
            },
            curves={label: curve for label in self._experiment.methods if (curve := self._curve(label)) is not None},
        )

    # --- controls ----------------------------------------------------------------------------

    def _is_control(self, label: str) -> bool:
        plugin = self._suite.part("method", self._name, label).plugin
        cls: type[SparsityMethod[Any]] = self._suite.registry.get("method", plugin)
        entry = self._experiment.methods[label]
        return cls.control or entry.inverted or entry.controls is not None

    def _controlled(self, label: str) -> str | None:
        """The method that a control takes density or masks from, through other controls; or what it says itself.

        Where that stands in another experiment: the one here that begins from the same.
        """
        methods = self._experiment.methods
        own = methods[label].controls
        if own is not None:
            if own == label or own not in methods:
                text = unknown_name("method to control", own, self._suite.names_of(self._name) - {label})
                raise self._suite.error(self._name, ("methods", label, "controls"), text)
            return own
        if methods[label].inverted:
            return next((other for other in methods if self._upright(other, label)), None)
        target = self._target(label)
        if target is None:
            return None
        if target[0] != self._name:
            rivals = (other for other in methods if other not in self._are_controls)
            return next((other for other in rivals if self._target(other) == target), None)
        return self._controlled(target[1]) if target[1] in self._are_controls else target[1]

    def _upright(self, other: str, label: str) -> bool:
        """Whether a method does the same as an inverted one, the right way round."""
        one, two = (self._suite.part("method", self._name, of) for of in (other, label))
        return not one.inverted and (one.plugin, one.options) == (two.plugin, two.options)

    def _target(self, label: str) -> tuple[str, str] | None:
        """(experiment, method) that a method takes its density from, else its masks or weights."""
        for key, ref in self._references.of(self._name, label):
            return self._references.target(self._name, label, key, ref)
        return None

    def _control(self, label: str) -> str | None:
        """A method's control: its own one, one with density or masks from the same method, one of equal densities."""
        target, controls = self._target(label), self._are_controls
        candidates = [
            *(control for control in controls if self._controls.get(control) == label),
            *(control for control in controls if target is not None and self._target(control) == target),
            *(control for control in controls if self._shared(label, control)),
        ]
        fitting = (control for control in candidates if self._alike(label, control))
        return next((control for control in fitting if self._places(label, control)), None)

    def _baseline(self, label: str) -> str:
        """What a method is compared with: where the baseline is swept, its row with the method's own values."""
        baseline, rows = self._experiment.baseline, self._suite.rows[self._name]
        its_rows = [name for name, row in rows.items() if baseline in rows and row.label == rows[baseline].label]
        return next((name for name in its_rows if label in rows and self._alike(label, name)), baseline)

    def _alike(self, one: str, other: str) -> bool:
        """Whether two methods have the same values of what both are swept over."""
        first, second = (rows.values if (rows := self._suite.rows[self._name].get(of)) else {} for of in (one, other))
        return all(first[axis] == second[axis] for axis in first.keys() & second.keys())

    def _curve(self, label: str) -> str | None:
        """The method that does the same at several densities of its own."""
        methods, mine = self._experiment.methods, self._experiment.methods[label]
        if not isinstance(mine.density, Match) or mine.density.by == "per_layer":
            return None
        part = self._suite.part("method", self._name, label)
        for other, entry in methods.items():
            settings = {"training", "evaluation", "scope", "budget", "source"}
            alike = entry.model_dump(include=settings) == mine.model_dump(include=settings)
            same = self._suite.part("method", self._name, other).identity == part.identity
            if same and alike and isinstance(entry.density, list):
                return other
        return None

    def _default(self, control_of: dict[str, str]) -> Iterator[Question]:
        """Each control against what it controls, every other method against its control, or the baseline."""
        for method in self._experiment.methods:
            baseline = self._baseline(method)
            own = [control for control, controlled in self._controls.items() if controlled == method]
            if (method == baseline and not own) or method in self._are_controls:
                continue
            others = own or [control_of.get(method, baseline)]
            for other in others:
                if other in self._experiment.methods and other != method and self._places(method, other):
                    yield Question(method=method, control=other)

    # --- questions ---------------------------------------------------------------------------

    def _check(self) -> None:
        """Every question is about two methods that meet, once; differences are of benchmarks that there are."""
        experiment = self._experiment
        pairs: dict[tuple[frozenset[str], float | None], int] = {}
        for index, question in enumerate(experiment.questions):
            for label in (question.method, question.control):
                if label not in experiment.methods:
                    raise self._error(index, unknown_name("method", label, self._suite.names_of(self._name)))
            if question.method == question.control:
                raise self._error(index, f"'{question}' compares a method with itself: name two")
            same = (frozenset((question.method, question.control)), question.density)
            if same in pairs:
                raise self._error(index, f"'{question}' is asked twice, first as question {pairs[same] + 1}")
            pairs[same] = index
            self._check_density(index, question)
            if not self._places(question.method, question.control, question.density):
                raise self._error(
                    index,
                    f"'{question}' has no answer: the two have no architecture, benchmark, seed and protocol in common",
                )
        difference = experiment.smallest_difference
        for benchmark in difference if isinstance(difference, dict) else ():
            if benchmark not in experiment.benchmarks:
                text = unknown_name("benchmark", benchmark, experiment.benchmarks)
                raise self._suite.error(self._name, ("smallest_difference", benchmark), text, at_key=True)

    def _check_density(self, index: int, question: Question) -> None:
        """A density that both have been given, or one of them while the other's is its own."""
        of = {label: self._numbers(label) for label in (question.method, question.control)}
        given = [f"'{label}' has {', '.join(f'{d:g}' for d in numbers)}" for label, numbers in of.items() if numbers]
        if question.density is None:
            if len(given) == 2 and not self._shared(question.method, question.control):
                raise self._error(index, f"'{question}' has no answer: no density is in both; {', '.join(given)}")
        elif not given:
            text = "both have a density of their own or a matched one: leave out 'at'"
            raise self._error(index, f"'{question}' names a density, and {text}")
        elif any(numbers and question.density not in numbers for numbers in of.values()):
            raise self._error(index, f"'{question}' is about a density that the suite has not: {', '.join(given)}")

    def _error(self, index: int, text: str) -> UserError:
        name = self._experiment.questions[index].name
        return self._suite.error(self._name, ("questions", index, *([name] if name else [])), text)

    # --- where methods meet ------------------------------------------------------------------

    def _densities(self, label: str) -> list[float | None]:
        """Those that a method's cells are asked for; None stands for its own, as 1 does alone: that is dense."""
        densities = self._references.densities(self._name, label)
        return [None] if densities == [1.0] else densities

    def _numbers(self, label: str) -> list[float]:
        return [density for density in self._densities(label) if density is not None]

    def _shared(self, one: str, other: str) -> set[float]:
        return {*self._numbers(one)} & {*self._numbers(other)}

    def _places(self, one: str, other: str, density: float | None = None) -> set[Place]:
        """Where both methods have a cell: at that density, or at one that both have; None is a density of its own."""
        return {
            place
            for place, mine in self._cells(one).items()
            for theirs in [self._cells(other).get(place, set())]
            if any((a == b or a is None or b is None) and density in (None, a, b) for a in mine for b in theirs)
        }

    def _cells(self, label: str) -> dict[Place, set[float | None]]:
        """Where a method has cells, and with which densities."""
        protocol = self._expansion.evaluation(self._name, label).protocol
        found: dict[Place, set[float | None]] = {}
        for arch in self._experiment.architectures:
            for bench in self._experiment.benchmarks:
                for key in self._references.keys(self._name, arch, bench, label):
                    density = key.density if key.density in self._densities(label) else None
                    found.setdefault((arch, bench, key.seed, protocol), set()).add(density)
        return found
