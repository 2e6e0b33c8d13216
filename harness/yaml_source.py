"""YAML read safely, with the line and column of every value, so that errors can point at them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from harness.errors import SuiteError, unknown_name

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # libyaml is optional in PyYAML
    from yaml import SafeLoader  # type: ignore[assignment]

Loc = tuple[str | int, ...]


class YamlSource:
    """A parsed YAML file: its content as plain values, and where each of them stands.

    Raises:
        SuiteError: if the file cannot be read, is not YAML, is no mapping, or repeats a key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._text = path.read_text(encoding="utf8")
        except OSError as error:
            raise SuiteError(f"cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SuiteError(f"cannot read {path}: it is not UTF-8 text ({error.reason})") from error
        try:
            root = yaml.compose(self._text, Loader=SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or str(error)
            raise SuiteError(self._at(mark, f"this is not valid YAML: {problem}")) from error
        if not isinstance(root, yaml.MappingNode):
            raise SuiteError(f"{path}: a suite is a mapping of keys, this file is not")
        self._root: yaml.MappingNode = root
        self._reject_duplicates(self._root)
        loader = SafeLoader(self._text)
        try:
            self.content: dict[str, Any] = loader.get_single_data()
        except yaml.YAMLError as error:
            raise SuiteError(self._at(getattr(error, "problem_mark", None), str(error))) from error
        finally:
            loader.dispose()

    def error(self, loc: Loc, message: str) -> SuiteError:
        """An error that points at the value (or the nearest value around it) at ``loc``."""
        return SuiteError(self._at(self._mark(loc), message))

    def validation_error(self, base: Loc, error: ValidationError, known: Sequence[str] = ()) -> SuiteError:
        """One error for everything that pydantic found below ``base``; at most the first five."""
        texts = []
        for problem in error.errors()[:5]:
            loc: Loc = (*base, *problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                message = unknown_name("key", str(loc[-1]), known)
            elif "input" in problem and isinstance(problem["input"], str | int | float | bool):
                message = f"{loc[-1]}: {message}, not {problem['input']!r}"
            elif loc:
                message = f"{loc[-1]}: {message}"
            texts.append(self._at(self._mark(loc), message))
        return SuiteError("\n".join(texts))

    def _at(self, mark: Any, message: str) -> str:
        if mark is None:
            return f"{self.path}: {message}"
        line = self._text.splitlines()[mark.line] if mark.line < len(self._text.splitlines()) else ""
        number = str(mark.line + 1)
        caret = " " * (len(number) + mark.column) + "^"
        return f"{self.path}:{number}:{mark.column + 1}: {message}\n  {number} | {line}\n     {caret}"

    def _mark(self, loc: Loc) -> Any:
        """Mark of the value at ``loc``; where a step does not exist, of the last one that does."""
        node: yaml.Node = self._root
        mark = node.start_mark
        for step in loc:
            if isinstance(node, yaml.MappingNode):
                found = [(key, value) for key, value in node.value if key.value == str(step)]
                if not found:
                    continue  # pydantic adds steps of its own, for union members
                mark, node = found[0][0].start_mark, found[0][1]
                if isinstance(node, yaml.ScalarNode):
                    mark = node.start_mark
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                mark = node.start_mark
        return mark

    def _reject_duplicates(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, value in node.value:
                if key.value in seen:
                    raise SuiteError(self._at(key.start_mark, f"the key '{key.value}' is given twice"))
                seen.add(key.value)
                self._reject_duplicates(value)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._reject_duplicates(item)
