"""In what two records of one cell agree: the one that stands, and the one of another run of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.results.cell_record import CellRecord
from harness.results.record_parts import Environment, MetricScore

ERRORS, SHARE = 3.0, 0.05
"""How far scores may be apart on another machine: standard errors over test examples, else a share of the score."""
MACHINE = ("device", "device_name", "machine", "cpu_capability", "torch", "threads", "processes", "packed")
"""What numbers depend on besides the code: equal runs on machines that are equal in these give equal bits."""
Weight = Literal["result", "account", "clock"]
"""A *result* is what the network and its scores are; an *account* also depends on how the code counts; what a *clock*
says is never the same."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One thing that two records say.

    Attributes:
        name: of the thing.
        was, now: what they say; None where one does not know.
        weight: see :data:`Weight`.
        tolerance: how far scores may be apart on another machine; None for what is no score, and not judged there.
    """

    name: str
    was: Any
    now: Any
    weight: Weight = "result"
    tolerance: float | None = None

    @property
    def equal(self) -> bool:
        """Whether both say the same, to the last bit."""
        return type(self.was) is type(self.now) and bool(self.was == self.now)

    @property
    def close(self) -> bool:
        """Whether they are equal, or numbers within the tolerance."""
        numbers = self.tolerance is not None and self.was is not None and self.now is not None
        return self.equal or (numbers and abs(self.was - self.now) <= self.tolerance)


def agreements(was: CellRecord, now: CellRecord) -> Iterator[Agreement]:
    """Everything that can be compared, scores first."""
    yield from _scores("test", was.metrics, now.metrics)
    yield from _scores("validation", was.validation, now.validation)
    if was.not_finite or now.not_finite:
        yield Agreement("scores that are not finite", was.not_finite, now.not_finite)
    for name in ("kept", "size", "mask", "nonzero", "soft"):
        yield Agreement(f"density: {name}", getattr(was.density, name), getattr(now.density, name))
    for name in ("kept", "nonzero", "soft"):
        yield Agreement(f"{name} in each connection", _connections(was, name), _connections(now, name))
    if was.density.attention or now.density.attention:
        yield Agreement("masks on attention", was.density.attention, now.density.attention)
    for name in ("steps", "examples"):
        yield Agreement(f"training: {name}", getattr(was.spent, name, None), getattr(now.spent, name, None))
    yield Agreement("parameters", was.architecture.parameters, now.architecture.parameters, "account")
    yield Agreement("density: total", was.density.total, now.density.total, "account")
    for name in ("training", "inference", "training_sparse", "inference_sparse"):
        old, new = (getattr(one.spent.flops if one.spent else None, name, None) for one in (was, now))
        yield Agreement(f"FLOPs: {name}", old, new, "account")


def environments(was: CellRecord, now: CellRecord) -> dict[str, tuple[str, str]]:
    """What was otherwise where the weights came about or where they were tested: name -> (then, now)."""
    found: dict[str, tuple[str, str]] = {}
    new = _plain(now.environment)
    for environment in (*(was.trained_by or ()), was.environment):
        for name, value in _plain(environment).items():
            if value != new.get(name):
                found.setdefault(name, (value, new.get(name, "unknown")))
    old = _plain(was.environment)
    return found | {name: ("unknown", new[name]) for name in new if name not in old and name in MACHINE}


def other_machine(differences: Mapping[str, tuple[str, str]]) -> list[str]:
    """Those of the differences that keep equal runs from giving equal bits, or may."""
    return [name for name in MACHINE if name in differences]


def failing(
    found: Iterable[Agreement], was: CellRecord, now: CellRecord, differences: Mapping[str, tuple[str, str]]
) -> list[Agreement]:
    """What must be equal, or close, and is not."""
    if not exact(now, differences):
        return [one for one in found if one.tolerance is not None and one.was is not None and not one.close]
    same = _same_code(was, now)
    binding = ("result", "account") if same else ("result",)
    return [one for one in found if one.was is not None and not one.equal and one.weight in binding]


def exact(now: CellRecord, differences: Mapping[str, tuple[str, str]]) -> bool:
    """Whether results must be equal to the last bit: on an equal machine that does not order sums as it likes."""
    return not other_machine(differences) and now.environment is not None and now.environment.device == "cpu"


def _same_code(was: CellRecord, now: CellRecord) -> bool:
    """Whether the harness is known to count as it did: the same revision without changes."""
    revisions = {one.environment.git if one.environment else None for one in (was, now)}
    revision = next(iter(revisions))
    return len(revisions) == 1 and revision is not None and not revision.endswith("+")


def _scores(split: str, was: Mapping[str, MetricScore], now: Mapping[str, MetricScore]) -> Iterator[Agreement]:
    for name in [*was, *(name for name in now if name not in was)]:
        old, new = was.get(name), now.get(name)
        error = max((score.stderr for score in (old, new) if score and score.stderr is not None), default=None)
        allowed = ERRORS * error if error is not None else SHARE * abs(old.value) if old else None
        values = old and old.value, new and new.value
        if (old or new) and any(score.timed for score in (old, new) if score):
            yield Agreement(f"{split} {name}", *values, "clock")
            continue
        yield Agreement(f"{split} {name}", *values, tolerance=allowed)
        if old and new and None not in (old.n, new.n) and old.n != new.n:
            yield Agreement(f"{split} {name}: n", old.n, new.n)


def _connections(record: CellRecord, name: str) -> dict[str, Any] | None:
    """One count of each connection; None where no connection has it."""
    found = {connection: getattr(counts, name) for connection, counts in record.density.connections.items()}
    return found if any(value is not None for value in found.values()) else None


def _plain(environment: Environment | None) -> dict[str, str]:
    """What is known of an environment, each as text; a processor that is only called 'cpu' is not known."""
    values = environment.model_dump(mode="json", exclude_none=True) if environment else {}
    if values:
        values |= {"processes": 1, "packed": 1} | values  # as it is where records do not say so
    if values.get("device_name") == values.get("device"):
        values.pop("device_name", None)
    plugins = values.pop("plugins", None) or {}
    texts = {name: str(value) for name, value in values.items() if name not in ("determinism", "host_cores")}
    return texts | {f"plugin {name}": str(version) for name, version in plugins.items()}
