"""YAML read safely, with the line and column of every value, so that errors can point at them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ValidationError

from harness.errors import SuiteError, UserError
from harness.storage.reading import read_bytes
from harness.suites import yaml_tree
from harness.suites.wrong_value import Loc as Loc
from harness.suites.wrong_value import wrong_values

SHOWN = 160
"""Characters of a line that a message shows, around its place."""


class Renames(NamedTuple):
    """Old name -> new name of keys at the top of a file, and the version from which the old ones are unknown."""

    names: Mapping[str, str]
    until: str


NO_RENAMES = Renames({}, "")


class YamlSource:
    """A parsed YAML file with overrides: its content as plain values, and where each of them stands.

    Args:
        path: the file.
        overrides: ``a.b=value`` each, as given to ``--set``; values are YAML.
        renames: keys that may still have an old name.

    Attributes:
        content: the whole file, overrides included, under the new names.
        outdated: for each place that has an old name: where it is, the new name, until when the old one works.

    Raises:
        SuiteError: if the file cannot be read, is not YAML, is no mapping, repeats a key, or has one under both names.
        UserError: for an override that is no ``key=value``, or a path through something that is no mapping.
    """

    def __init__(self, path: Path, overrides: Sequence[str] = (), renames: Renames = NO_RENAMES) -> None:
        self.path = path
        self.outdated: list[str] = []
        self._renames = renames
        try:
            self._text = read_bytes(path, 4 * yaml_tree.LENGTH).decode("utf-8-sig")
        except OSError as error:
            raise SuiteError(f"cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SuiteError(f"cannot read {path}: it is not UTF-8 text ({error.reason})") from error
        try:
            root = yaml_tree.compose(self._text)
            if not isinstance(root, yaml.MappingNode):
                raise SuiteError(f"{path}: a suite is a mapping of keys, this file is {_kind(root)}")
            self._root: yaml.MappingNode = root
            self._rename(root)
            self.content: dict[str, Any] = yaml_tree.value(root)
        except yaml_tree.YamlError as error:
            raise SuiteError(self._at(error.mark, str(error))) from error
        self._overrides: dict[Loc, str | Loc] = {}
        self._check_overrides(overrides)
        for text in overrides:
            self.override(text)

    def override(self, text: str) -> None:
        """Set a value by ``a.b=value``; the value is YAML.

        Raises:
            UserError: if it is no ``key=value``, or leads through something that is no mapping.
        """
        path, equals, value = text.partition("=")
        if not equals or not all(path.split(".")):
            raise UserError(f"--set takes key=value, for example --set training.steps=100, not '{text}'")
        parsed = yaml_tree.plain_value(value, f"--set {path}=")
        first, dot, rest = path.partition(".")
        if new := self._renames.names.get(first):
            path = f"{new}{dot}{rest}"
            self.outdated.append(f"--set {text}: {self._old_name(first, new)}")
        self.replace(path, parsed, f"--set {text}")

    def replace(self, path: str, value: Any, origin: str | Loc) -> None:
        """Put ``value`` at a dotted ``path``; errors about it name ``origin``, a text or a place in the file.

        Raises:
            UserError: if the path leads through something that is no mapping.
        """
        *outer, last = path.split(".")
        self.content = node = dict(self.content)
        for step in outer:
            inner = node.get(step)
            if inner is not None and not isinstance(inner, dict):
                raise self._from(origin, f"'{step}' is {_kind(inner)} and no mapping, it cannot have '{last}'", True)
            node[step] = dict(inner or {})
            node = node[step]
        if outer[-1:] == ["training"] and last in ("epochs", "steps"):
            node.pop("epochs", None), node.pop("steps", None)  # either stands for the other
        node[last] = value
        self._overrides[(*outer, last)] = origin

    def overridden(self) -> dict[Loc, Any]:
        """Path and value of each override."""
        return {path: self._value(path) for path in self._overrides}

    def error(self, loc: Loc, message: str, at_key: bool = False) -> UserError:
        """An error that points at the value at ``loc`` (or its key, or the nearest thing around it)."""
        for path, origin in self._overrides.items():
            if loc[: len(path)] == path or (path[: len(loc)] == loc != () and _missing(self._root, loc)):
                return self._from(origin, message, at_key)
        return self._from(loc, message, at_key)

    def validation_error(
        self,
        error: ValidationError,
        model: type[BaseModel],
        locate: Callable[[Loc], Loc],
        known: Callable[[Loc], Sequence[str]],
    ) -> UserError:
        """One error for what pydantic found; at most the first five.

        Args:
            error: what was raised.
            model: what was validated.
            locate: where in the file pydantic's location stands.
            known: the keys that are allowed beside the one at a location.
        """
        found = islice(wrong_values(error, model, known), 5)
        return SuiteError("\n".join(str(self.error(locate(loc), text, at_key)) for loc, text, at_key in found))

    def _from(self, origin: str | Loc, message: str, at_key: bool) -> UserError:
        if isinstance(origin, str):
            return UserError(f"{origin}: {message}")
        return SuiteError(self._at(self._mark(origin, at_key), message))

    def _rename(self, root: yaml.MappingNode) -> None:
        """Give keys their new names in the tree itself, so that errors about them still find their places."""
        keys = {key.value: key for key, _ in root.value}
        for old, new in self._renames.names.items():
            if key := keys.get(old):
                if new in keys:
                    raise SuiteError(self._at(key.start_mark, _both(old, new)))
                self.outdated.append(self._at(key.start_mark, self._old_name(old, new)))
                key.value = new

    def _check_overrides(self, overrides: Sequence[str]) -> None:
        given = {re.split(r"[.=]", text)[0]: text for text in overrides}
        for old, new in self._renames.names.items():
            if old in given and new in given:
                raise UserError(f"--set {given[old]}: {_both(old, new)}")

    def _old_name(self, old: str, new: str) -> str:
        return f"the key '{old}' is now called '{new}'; the old name works until version {self._renames.until}"

    def _value(self, path: Loc) -> Any:
        value: Any = self.content
        for step in path:
            value = value[step]
        return value

    def _at(self, mark: Any, message: str) -> str:
        if mark is None:
            return f"{self.path}: {message}"
        lines = self._text.split("\n")
        line = lines[mark.line].rstrip("\r") if mark.line < len(lines) else ""
        number, column = str(mark.line + 1), mark.column
        if len(line) > SHOWN:
            first = max(0, min(column - SHOWN // 2, len(line) - SHOWN))
            line, column = line[first : first + SHOWN], column - first
        # Tabs stay tabs, so that the caret stands below its character whatever their width.
        caret = re.sub(r"[^\t]", " ", line[:column]).ljust(column) + "^"
        return (
            f"{self.path}:{number}:{mark.column + 1}: {message}\n  {number} | {line}\n  {' ' * len(number)} | {caret}"
        )

    def _mark(self, loc: Loc, at_key: bool) -> Any:
        """Mark of what is at ``loc``; steps that are not there (pydantic's own, for union members) are left out."""
        node: yaml.Node = self._root
        mark = node.start_mark
        for step in loc:
            if found := _found(node, step):
                key, node = found
                mark = (node if isinstance(node, yaml.ScalarNode) and node.value and not at_key else key).start_mark
        return mark


def _found(node: yaml.Node, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Key and value of one step into a node; a name in a list is an item of that name, or one with that key."""
    if isinstance(node, yaml.MappingNode):
        merged = [value for key, value in node.value if key.value == "<<"]
        own = [(key, value) for key, value in node.value if key.value == str(step)]
        return own[0] if own else next(filter(None, (_found(value, step) for value in merged)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        return (node.value[step],) * 2 if step < len(node.value) else None
    if isinstance(node, yaml.SequenceNode):
        return next(filter(None, (_found(item, step) for item in node.value)), None)
    return (node, node) if node.value == step else None


def _missing(node: yaml.Node, loc: Loc) -> bool:
    """Whether the first step of ``loc`` is not in the file."""
    return _found(node, loc[0]) is None


def _both(old: str, new: str) -> str:
    return f"'{old}' is the old name of '{new}', and both are given: leave out '{old}'"


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    return "a list" if isinstance(value, list | yaml.SequenceNode) else "a single value"
