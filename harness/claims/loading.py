"""Reading files of claims: every error with its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from harness.claims import formulas
from harness.claims.schema import (
    Against,
    Arithmetic,
    Cells,
    Claim,
    Count,
    DataShape,
    Needs,
    Paper,
    Section,
    Size,
    Tolerance,
)
from harness.errors import UserError, unknown_name
from harness.suites.schema import RENAMES, Experiment, SuiteFile, over_shared
from harness.suites.sweeps import SweepError, swept
from harness.suites.yaml_source import Loc, YamlSource

if TYPE_CHECKING:
    from harness.registry.plugins import Registry

Suites = Mapping[str, Mapping[str, Experiment]]
_NESTED: Mapping[str, Sequence[type[BaseModel]]] = {
    "sections": (Section,),
    "claims": (Claim,),
    "measure": (Cells, Count, Arithmetic),
    "size": (Size,),
    "against": (Against,),
    "needs": (Needs,),
    "tolerance": (Tolerance,),
    "data": (DataShape,),
}
"""Key -> what may stand below it."""
_LABELS = ("architecture", "method", "benchmark")


def load_papers(folder: Path, suites: Path | None = None) -> dict[str, Paper]:
    """Name of the file (without ending) -> paper, sorted; ids are unique over all of them.

    Args:
        folder: where the ``*.yaml`` are.
        suites: folder of suite files; the names that the claims take from suites are looked up there. None, or a
            folder that is not there, looks up nothing.

    Raises:
        UserError: if there is none, or one is wrong, with file, line and column, and the nearest right name.
    """
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise UserError(f"no claims in {folder}: there is no .yaml file. Name the folder with --claims")
    known = _suites(suites) if suites is not None and suites.is_dir() else None
    papers: dict[str, Paper] = {}
    owners: dict[str, Path] = {}
    for path in paths:
        source = YamlSource(path)
        try:
            paper = Paper.model_validate(source.content)
        except ValidationError as error:
            raise source.validation_error(error, Paper, lambda loc: loc, _known) from error
        published = paper.published()
        for i, section in enumerate(paper.sections):
            for j, claim in enumerate(section.claims):
                where = ("sections", i, "claims", j)
                if claim.id in owners:
                    raise source.error((*where, "id"), f"the id '{claim.id}' is taken already, in {owners[claim.id]}")
                owners[claim.id] = path
                for k, measurement in enumerate(claim.measure):
                    if isinstance(measurement, Arithmetic):
                        for name in sorted(formulas.names(measurement.formula) - published.keys()):
                            at = (*where, "measure", k, "formula")
                            raise source.error(at, unknown_name("claim with a number", name, published))
                    if known is not None and isinstance(measurement, Cells):
                        _check_names(source, (*where, "measure", k), measurement, known)
        papers[path.stem] = paper
    return papers


def choose(papers: Mapping[str, Paper], names: Sequence[str]) -> dict[str, Paper]:
    """The papers of these names; all without names.

    Raises:
        UserError: for a name that no file has, with the nearest one.
    """
    for name in names:
        if name not in papers:
            raise UserError(unknown_name("paper", name, papers))
    return {name: paper for name, paper in papers.items() if not names or name in names}


def _suites(folder: Path) -> Suites:
    """Suite -> experiment -> its labels, of every profile; only plugins whose options are swept are imported."""
    from harness.registry.plugins import load

    registry = load()
    found: dict[str, Mapping[str, Experiment]] = {}
    for path in sorted(folder.glob("*.yaml")):
        source = YamlSource(path, renames=RENAMES)
        try:
            top = SuiteFile.model_validate(source.content)
            name = top.name or path.stem
            if top.profile is None:
                found[name] = _experiments(source.content, registry)
            for profile, settings in top.profiles.items():
                source = YamlSource(path, renames=RENAMES)
                for key, value in settings.items():
                    source.replace(key, value, ("profiles", profile, key))
                found[f"{name}-{profile}"] = _experiments(source.content, registry)
        except (ValidationError, SweepError) as error:
            raise UserError(f"{path} is no valid suite: `harness run {path} --dry-run` says what is wrong") from error
    return found


def _experiments(content: Mapping[str, Any], registry: Registry) -> dict[str, Experiment]:
    top = SuiteFile.model_validate(content)
    return {
        label: Experiment.model_validate(swept(over_shared(content, own), registry).experiment)
        for label, own in (top.experiments or {"main": {}}).items()
    }


def _check_names(source: YamlSource, where: Loc, cells: Cells, suites: Suites) -> None:
    """Every label of a measurement is one of its suite's.

    Raises:
        UserError: at the label's place.
    """
    if cells.suite not in suites:
        raise source.error((*where, "suite"), unknown_name("suite", cells.suite, suites))
    experiments = suites[cells.suite]
    for selected, inner in ((cells, where), *([(cells.other(), (*where, "against"))] if cells.against else [])):
        if selected.experiment not in experiments:
            text = unknown_name("experiment", selected.experiment, experiments, f"suite '{cells.suite}'")
            raise source.error((*inner, "experiment"), text)
        experiment = experiments[selected.experiment]
        for key in _LABELS:
            labels, label = getattr(experiment, f"{key}s"), getattr(selected, key)
            if label not in labels:
                raise source.error(
                    (*inner, key), unknown_name(key, label, labels, f"experiment '{selected.experiment}'")
                )
        asked = _asked(experiments, selected.experiment, selected.method)
        if selected.density is None and len(asked) > 1:
            raise source.error((*inner, "method"), f"'{selected.method}' has the densities {asked}: give density")
        if selected.density is not None and selected.density not in asked:
            text = f"'{selected.method}' is not asked for density {selected.density:g} but for {asked or 'none'}"
            raise source.error((*inner, "density"), text)


def _asked(experiments: Mapping[str, Experiment], experiment: str, method: str) -> list[float]:
    """The densities that a suite asks of a method: its own, or those of the method whose masks or weights it takes."""
    seen: set[tuple[str, str]] = set()
    while (experiment, method) not in seen and method in getattr(experiments.get(experiment), "methods", ()):
        seen.add((experiment, method))
        entry = experiments[experiment].methods[method]
        if isinstance(entry.density, list | float):
            return list(entry.density) if isinstance(entry.density, list) else [entry.density]
        if entry.source is None:
            break
        experiment, method = entry.source.experiment or experiment, entry.source.method
    return []


def _known(loc: Loc) -> Sequence[str]:
    """The keys that are allowed beside the last step of ``loc``."""
    for step in reversed(loc[:-1]):
        if step in _NESTED:
            return [name for model in _NESTED[str(step)] for name in model.model_fields]
    return tuple(Paper.model_fields)
