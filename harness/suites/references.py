"""Which cells the methods of a suite name: of whom they take a density, masks or weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import unknown_name
from harness.suites.cell import Key
from harness.suites.schema import CellRef, Experiment, Match
from harness.suites.yaml_source import Loc

if TYPE_CHECKING:
    from harness.suites.declaration import Declaration


class References:
    """Follows ``match`` and ``source`` through a suite's experiments.

    Raises (all of it):
        SuiteError: for what refers to nothing, or to itself, with its line.
    """

    def __init__(self, suite: Declaration) -> None:
        self._suite = suite

    def of(self, name: str, label: str) -> list[tuple[str, CellRef]]:
        """The cells that a method names, with the key under which it does."""
        entry = self._suite.experiments[name].methods[label]
        match = [("density", entry.density.match)] if isinstance(entry.density, Match) else []
        return match + ([("source", entry.source)] if entry.source is not None else [])

    def densities(self, name: str, label: str) -> list[float | None]:
        """The densities over which a method's cells are spread: its own, or those of the cell it refers to."""
        density = self._suite.experiments[name].methods[label].density
        if isinstance(density, list):
            return list(density)
        if isinstance(density, float):
            return [density]
        references = self.of(name, label)
        return self.densities(*self.target(name, label, *references[0])) if references else [None]

    def keys(self, name: str, arch: str, bench: str, label: str) -> list[Key]:
        """The cells of a method that ``include`` and ``exclude`` leave in; seeds innermost."""
        experiment = self._suite.experiments[name]
        return [
            key
            for density in self.densities(name, label)
            for seed in experiment.seeds
            if _chosen(experiment, key := Key(name, arch, bench, label, density, seed))
        ]

    def target(self, name: str, label: str, key: str, ref: CellRef) -> tuple[str, str]:
        """(experiment, method) that a reference means, checked to exist."""
        target = ref.experiment or name
        for kind, value, known in (
            ("experiment", target, self._suite.experiments),
            ("method", ref.method, getattr(self._suite.experiments.get(target), "methods", ())),
        ):
            if value not in known:
                # A sweep's label means its rows in its own experiment alone.
                names = self._suite.names_of(name) if kind == "method" and target == name else known
                raise self._suite.error(name, (*place(label, key), kind), unknown_name(kind, value, names))
        return target, ref.method

    def key(self, own: Key, key: str, ref: CellRef) -> Key:
        """The key of the cell that a reference means; what it does not name is as in the cell that refers."""
        target, method = self.target(own.experiment, own.method, key, ref)
        experiment = self._suite.experiments[target]
        where = place(own.method, key)
        labels: dict[str, str] = {}
        for kind in ("architecture", "benchmark"):
            known = getattr(experiment, f"{kind}s")
            mine = getattr(own, kind)
            labels[kind] = getattr(ref, kind) or (mine if mine in known or len(known) > 1 else next(iter(known)))
            if labels[kind] not in known:
                text = unknown_name(kind, labels[kind], known, f"experiment '{target}'")
                raise self._suite.error(own.experiment, where, text)
        if own.seed not in experiment.seeds:
            text = f"experiment '{target}' has no seed {own.seed} to refer to; it has {experiment.seeds}"
            raise self._suite.error(own.experiment, where, text)
        densities = self.densities(target, method)
        density = own.density if own.density in densities else densities[0]
        if len(densities) > 1 and density != own.density:
            text = f"'{method}' has the densities {densities}, and none is {own.density}: which one is meant?"
            raise self._suite.error(own.experiment, where, text)
        return Key(target, labels["architecture"], labels["benchmark"], method, density, own.seed)

    def check_cycle(self, name: str, label: str, above: tuple[tuple[str, str], ...] = ()) -> None:
        """No cell waits for itself."""
        step = (name, label)
        if step in above:
            chain = " -> ".join(method for _, method in (*above[above.index(step) :], step))
            key, _ = self.of(name, label)[0]
            text = f"cyclic match: {chain}; a run cannot wait for itself"
            raise self._suite.error(name, ("methods", label, key), text)
        for key, ref in self.of(name, label):
            self.check_cycle(*self.target(name, label, key, ref), above=(*above, step))


def place(label: str, key: str) -> Loc:
    """Where the reference of a method under ``density`` or ``source`` stands in its experiment."""
    return ("methods", label, "density", "match") if key == "density" else ("methods", label, key)


def _chosen(experiment: Experiment, key: Key) -> bool:
    """Whether ``include`` and ``exclude`` leave a cell in."""
    included = not experiment.include or any(s.matches(key) for s in experiment.include)
    return included and not any(s.matches(key) for s in experiment.exclude)
