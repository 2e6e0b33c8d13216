"""What tasks lm-evaluation-harness has: read from its YAML files, because importing it takes seconds."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from harness import UserError
from harness.extras import require

_NAME = re.compile(rb"""^["']?(task|group)["']?:[ \t]*["']?([^\s"'#][^"'#\r\n]*?)["']?[ \t]*(?:\#.*)?\r?$""", re.M)

_GROUP_KEYS = {"group", "group_alias", "task", "aggregate_metric_list", "metadata"}


class Function(str):
    """A ``!function module.name`` of a task file, not imported."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Task:
    """One task: its name, its file, and the file's content with everything it includes."""

    name: str
    path: Path
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Group:
    """A group whose scores are aggregated: its file and content, the groups in it, and all tasks below it."""

    name: str
    path: Path
    config: Mapping[str, Any]
    groups: tuple[Group, ...]
    tasks: tuple[Task, ...]


def find(name: str) -> Task | Group:
    """The task or group of a name, found in milliseconds where a folder is called like it.

    Raises:
        UserError: if there is none, with the nearest names; or for a tag, which names tasks without a common score.
        NotInstalled: without lm-evaluation-harness.
    """
    root = tasks_folder()
    return _find(root, name, root, {})


def tasks_folder() -> Path:
    """Where lm-evaluation-harness keeps its task files."""
    require("lm_eval", what="the benchmark lm_eval")
    spec = find_spec("lm_eval")  # finds it without importing it
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "tasks"


def _find(root: Path, name: str, near: Path, overrides: Mapping[str, Any]) -> Task | Group:
    path = _path(root, name, near)
    if path is None:
        raise UserError(_unknown(root, name))
    config = load(path)
    if "group" not in config or "class" in config:
        return Task(name, path, {**config, **overrides})
    passed = {key: value for key, value in config.items() if key not in _GROUP_KEYS} | dict(overrides)
    children = [child for member in config.get("task") or () for child in _members(root, path, member, passed)]
    groups = tuple(child for child in children if isinstance(child, Group))
    tasks: dict[str, Task] = {}
    for child in children:
        for task in child.tasks if isinstance(child, Group) else (child,):
            tasks.setdefault(task.name, task)
    return Group(name, path, config, groups, tuple(tasks.values()))


def _members(
    root: Path, path: Path, member: str | Mapping[str, Any], overrides: Mapping[str, Any]
) -> Iterator[Task | Group]:
    """The tasks and groups that one entry of a group's list stands for, with what the group sets for them."""
    if isinstance(member, str):
        name = member
    else:
        overrides = {**overrides, **{key: value for key, value in member.items() if key not in _GROUP_KEYS}}
        inner = member.get("task")
        if isinstance(inner, list):  # a group defined within the group
            for part in inner:
                yield from _members(root, path, part, overrides)
            return
        name = member.get("group") or member["task"]
    near = root / path.relative_to(root).parts[0]
    tagged = _tags(near).get(name) or ([] if _path(root, name, near) else _tagged(root, name))
    for found in sorted(tagged) or [name]:
        yield _find(root, found, near, overrides)


def _path(root: Path, name: str, near: Path) -> Path | None:
    return next((found for folder in _folders(root, name, near) if (found := _names(folder).get(name))), None)


def _folders(root: Path, name: str, near: Path) -> list[Path]:
    """The folders of all tasks, those first where the name is most likely found."""
    plain = _plain(name)

    def likeness(folder: Path) -> tuple[bool, int, str]:
        other = _plain(folder.name)
        common = next((i for i, (a, b) in enumerate(zip(plain, other, strict=False)) if a != b), len(other))
        return folder != near, -common, folder.name

    return sorted((path for path in root.iterdir() if path.is_dir()), key=likeness)


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


@functools.cache
def _names(folder: Path) -> dict[str, Path]:
    """Every task and group of a folder and those below it; of equal names the first file's, as lm-eval does."""
    names: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.yaml")):
        found = {kind: name.decode() for kind, name in reversed(_NAME.findall(path.read_bytes()))}
        if name := found.get(b"group", found.get(b"task")):
            names.setdefault(name, path)
    return names


@functools.cache
def _tags(folder: Path) -> dict[str, list[str]]:
    """The tasks of each tag in a folder."""
    tags: dict[str, list[str]] = {}
    for name, path in _names(folder).items():
        config = load(path)
        given = config.get("tag") or []
        if "group" not in config:
            for tag in [given] if isinstance(given, str) else given:
                tags.setdefault(tag, []).append(name)
    return tags


def _tagged(root: Path, name: str) -> list[str]:
    """The tasks of a tag, wherever they are."""
    found = []
    for folder in _folders(root, name, root):
        # Only files in which the word stands can have it as a tag: parsing all takes seconds.
        if any(name.encode() in path.read_bytes() for path in folder.rglob("*yaml")):
            found += _tags(folder).get(name, [])
    return found


def _unknown(root: Path, name: str) -> str:
    if tagged := sorted(_tagged(root, name)):
        members = ", ".join(tagged[:20]) + " ..." * (len(tagged) > 20)
        return f"lm_eval: '{name}' is a tag of tasks without a common score: name one of {members}."
    names = [known for folder in _folders(root, name, root) for known in _names(folder)]
    near = difflib.get_close_matches(name, [known for known in names if known[:1] == name[:1]], n=5, cutoff=0.6)
    hint = f"Did you mean {' or '.join(repr(known) for known in near)}? " if near else ""
    return f"lm_eval: unknown task '{name}'. {hint}`lm-eval ls tasks` lists all {len(names):,} tasks and groups."


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml is ten times as fast
    """YAML with functions by name."""


_Loader.add_constructor("!function", lambda loader, node: Function(loader.construct_scalar(node)))


@functools.cache
def load(path: Path) -> Mapping[str, Any]:
    """A task file's content over that of the files it includes."""
    own: dict[str, Any] = yaml.load(path.read_bytes(), Loader=_Loader)  # noqa: S506 - derived from SafeLoader
    includes = own.pop("include", None) or []
    merged: dict[str, Any] = {}
    for include in [includes] if isinstance(includes, str) else includes:
        merged |= load((path.parent / include).resolve())
    return merged | own
