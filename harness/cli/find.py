"""Which cell or suite a user means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.results.store import ResultStore

_CANDIDATES = 20
_HASH = r"\.[0-9a-f]{8,}$"


def find_cell(store: ResultStore, wanted: str) -> tuple[str, str]:
    """Suite and name of one cell, planned or done.

    An exact name goes before one that lacks the hash, that before a prefix, and a prefix before any other part; of
    several the one that the suite, as it was last planned, asks for.

    Raises:
        UserError: if no cell or more than one fits.
    """
    from harness.errors import UserError

    names, current = [], set()
    for suite in store.suites():
        plan = store.plan(suite)
        current |= {f"{suite}/{cell}" for cell in (plan.cells if plan else ())}
        names += [f"{suite}/{cell}" for cell in sorted({*store.names(suite), *(plan.cells if plan else ())})]
    wanted = wanted.removesuffix(".json")
    fits = (
        lambda name: wanted in (name, name.partition("/")[2]),
        lambda name: wanted in ((whole := name.rpartition(".")[0]), whole.partition("/")[2]),  # s1 is not s10
        lambda name: name.startswith(wanted) or name.partition("/")[2].startswith(wanted),
        lambda name: wanted in name,
    )
    for fit in fits:
        found = [name for name in names if fit(name)]
        if len(found) > 1 and len(asked := [name for name in found if name in current]) == 1:
            found = asked
        if len(found) == 1:
            suite, _, cell = found[0].partition("/")
            return suite, cell
        if found:
            more = f"\n  and {len(found) - _CANDIDATES} more" if len(found) > _CANDIDATES else ""
            listed = "".join(f"\n  {name}" for name in found[:_CANDIDATES])
            raise UserError(f"'{wanted}' fits {len(found)} runs, give more of the name:{listed}{more}")
    if not names:
        raise UserError(f"no results in {store.root}: run a suite first, or name the folder with --results")
    near = _nearest(wanted, names)
    if not near:
        suites = ", ".join(store.suites())
        raise UserError(
            f"unknown run '{wanted}', and none of {len(names)} in {store.root} is near it. Suites: {suites}"
        )
    raise UserError(
        f"unknown run '{wanted}'. Did you mean '{near[0]}'? Known: {', '.join(near)}. "
        f"({len(names)} runs in {store.root}; these are the nearest.)"
    )


def is_file(wanted: str) -> bool:
    """Whether a suite is named by its file."""
    return wanted.endswith((".yaml", ".yml"))


def find_suites(store: ResultStore, wanted: Iterable[str]) -> list[str]:
    """The suites with results that are meant: each by its name, or by its file, which means all profiles of it.

    Raises:
        UserError: if one has no results, or its file is none.
    """
    from harness.errors import UserError, unknown_name

    known = store.suites()
    found: dict[str, None] = {}
    for one in wanted:
        names = names_of_file(Path(one)) if is_file(one) else [one]
        if not (here := [name for name in names if name in known]):
            if is_file(one) and Path(one).is_file():
                said = " or ".join(names)
                raise UserError(f"{one} has no results in {store.root}, where they would be in {said}: run it first")
            raise UserError(unknown_name("suite", names[0], known) + f" Looked in {store.root}.")
        found |= dict.fromkeys(here)
    return list(found)


def find_suite(store: ResultStore, wanted: str) -> str:
    """The one suite that is meant.

    Raises:
        UserError: as :func:`find_suites`, and if a file has results of several profiles.
    """
    from harness.errors import UserError

    found = find_suites(store, [wanted])
    if len(found) > 1:
        raise UserError(f"{wanted} has results of several profiles, name one: {', '.join(found)}")
    return found[0]


def names_of_file(path: Path) -> Sequence[str]:
    """What the results of a suite's file may be called: those of the profile that it chooses first."""
    if not path.is_file():
        return [path.stem]
    from harness.suites.schema import RENAMES
    from harness.suites.yaml_source import YamlSource

    content = YamlSource(path, (), RENAMES).content
    name, profiles = content.get("name") or path.stem, content.get("profiles")
    chosen = content.get("profile")
    others = [one for one in profiles if one != chosen] if isinstance(profiles, dict) else []
    return [f"{name}-{one}" if one else str(name) for one in dict.fromkeys([chosen, None, *others])]


def _nearest(wanted: str, names: list[str]) -> list[str]:
    """Those in which each word of the name is near one, by all but the hash, and the suite where none was given."""
    import difflib
    import re

    shown = names if "/" in wanted else [name.partition("/")[2] for name in names]
    stems = {re.sub(_HASH, "", name): name for name in reversed(shown)}
    words = [word for word in re.split(r"[./]", re.sub(_HASH, "", wanted)) if len(word) > 2]  # 6 of d0.6 says little
    near = [
        stem
        for stem in stems
        if all(difflib.get_close_matches(word, re.split(r"[./]", stem), n=1, cutoff=0.5) for word in words)
    ]
    return [stems[stem] for stem in difflib.get_close_matches(wanted, near, n=5, cutoff=0)]
