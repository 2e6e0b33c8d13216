"""YAML read safely, with the line and column of every value, so that errors can point at them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from harness.errors import SuiteError, UserError, unknown_name

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # libyaml is optional in PyYAML
    from yaml import SafeLoader  # type: ignore[assignment]

Loc = tuple[str | int, ...]


class Loader(SafeLoader):
    """Plain values by the core rules of YAML 1.2.

    PyYAML follows YAML 1.1, where ``1e-3`` is text, ``no`` is false, ``010`` is 8 and ``1:30`` is 90.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
    ("merge", r"<<", ["<"]),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


class YamlSource:
    """A parsed YAML file with overrides: its content as plain values, and where each of them stands.

    Args:
        path: the file.
        overrides: ``a.b=value`` each, as given to ``--set``; values are YAML.

    Raises:
        SuiteError: if the file cannot be read, is not YAML, is no mapping, or repeats a key.
        UserError: for an override that is no ``key=value``, or a path through something that is no mapping.
    """

    def __init__(self, path: Path, overrides: Sequence[str] = ()) -> None:
        self.path = path
        try:
            self._text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise SuiteError(f"cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SuiteError(f"cannot read {path}: it is not UTF-8 text ({error.reason})") from error
        loader = Loader(self._text)
        try:
            root = loader.get_single_node()
            if not isinstance(root, yaml.MappingNode):
                raise SuiteError(f"{path}: a suite is a mapping of keys, this file is {_kind(root)}")
            self._root: yaml.MappingNode = root
            self._reject_duplicates(root, set())
            self.content: dict[str, Any] = loader.construct_document(root)
        except yaml.YAMLError as error:
            problem = getattr(error, "problem", None) or str(error).splitlines()[0]
            mark = getattr(error, "problem_mark", None)
            raise SuiteError(self._at(mark, f"this is not valid YAML: {problem}")) from error
        finally:
            loader.dispose()
        self._overrides: dict[Loc, str] = {}
        for text in overrides:
            self._override(text)

    def overridden(self, *start: str) -> dict[Loc, Any]:
        """The overrides whose path begins with ``start``: path -> value."""
        return {path: self._value(path) for path in self._overrides if path[: len(start)] == start}

    def error(self, loc: Loc, message: str, at_key: bool = False) -> UserError:
        """An error that points at the value at ``loc`` (or its key, or the nearest thing around it)."""
        for path, text in self._overrides.items():
            if loc[: len(path)] == path:
                return UserError(f"--set {text}: {message}")
        return SuiteError(self._at(self._mark(loc, at_key), message))

    def validation_error(
        self, error: ValidationError, locate: Callable[[Loc], Loc], known: Callable[[Loc], Sequence[str]]
    ) -> UserError:
        """One error for what pydantic found; at most the first five.

        Args:
            error: what was raised.
            locate: where in the file pydantic's location stands.
            known: the keys that are allowed beside the one at a location.
        """
        texts = []
        for problem in error.errors()[:5]:
            loc = tuple(step for step in problem["loc"] if step != "[key]")
            name = next((step for step in reversed(loc) if isinstance(step, str)), "")
            message = problem["msg"].removeprefix("Value error, ")
            at_key = problem["type"] == "extra_forbidden" or len(loc) < len(problem["loc"])
            if problem["type"] == "extra_forbidden":
                message = unknown_name("key", name, known(loc))
            elif problem["type"] == "missing":
                message = f"the key '{name}' is missing"
            elif problem["type"] == "too_short":
                message = f"{name}: give at least one"
            elif isinstance(problem["input"], str | int | float | bool):
                message = f"{name}: {message}, not {problem['input']!r}"
            elif name:
                message = f"{name}: {message}"
            texts.append(str(self.error(locate(loc), message, at_key)))
        return SuiteError("\n".join(texts))

    def _override(self, text: str) -> None:
        path, equals, value = text.partition("=")
        steps = path.split(".")
        if not equals or not all(steps):
            raise UserError(f"--set takes key=value, for example --set training.steps=100, not '{text}'")
        *outer, last = steps
        self.content = node = dict(self.content)
        for step in outer:
            inner = node.get(step)
            if inner is not None and not isinstance(inner, dict):
                raise UserError(f"--set {text}: '{step}' is {_kind(inner)} and no mapping, it cannot have '{last}'")
            node[step] = node = dict(inner or {})
        try:
            node[last] = yaml.load(value, Loader)  # noqa: S506 (a safe loader)
        except yaml.YAMLError as error:
            raise UserError(f"--set {text}: '{value}' is not a YAML value") from error
        self._overrides[tuple(steps)] = text

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
        number = str(mark.line + 1)
        # Tabs stay tabs, so that the caret stands below its character whatever their width.
        caret = re.sub(r"[^\t]", " ", line[: mark.column]).ljust(mark.column) + "^"
        return f"{self.path}:{number}:{mark.column + 1}: {message}\n  {number} | {line}\n  {' ' * len(number)} | {caret}"

    def _mark(self, loc: Loc, at_key: bool) -> Any:
        """Mark of what is at ``loc``; where a step does not exist, of the last one that does."""
        node: yaml.Node = self._root
        mark = node.start_mark
        for step in loc:
            if isinstance(node, yaml.MappingNode):
                # Steps that are not there: pydantic's own, for union members, and what merge keys bring.
                for key, value in node.value:
                    if key.value == str(step):
                        at_value = isinstance(value, yaml.ScalarNode) and not at_key
                        mark, node = (value if at_value else key).start_mark, value
                        break
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                mark = node.start_mark
        return mark

    def _reject_duplicates(self, node: yaml.Node, visited: set[int]) -> None:
        if id(node) in visited:  # an alias; it may even be inside of what it stands for
            return
        visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise SuiteError(self._at(key.start_mark, "a key must be a plain name"))
                if key.value in seen:
                    raise SuiteError(self._at(key.start_mark, f"the key '{key.value}' is given twice"))
                seen.add(key.value)
                self._reject_duplicates(value, visited)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._reject_duplicates(item, visited)


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    return "a list" if isinstance(value, list | yaml.SequenceNode) else "a single value"
