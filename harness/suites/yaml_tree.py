"""The one place where YAML is read: bounded, plain values only, failing in one way and with a place."""

from __future__ import annotations

import re
from typing import Any

import yaml

from harness.errors import UserError

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # libyaml is optional in PyYAML
    from yaml import SafeLoader  # type: ignore[assignment]

LENGTH = 1_000_000
"""Characters of one text."""
DEPTH = 50
"""Mappings and lists within each other."""
NODES = 100_000
"""Values that aliases and merge keys may stand for in all."""
DIGITS = 40
"""Characters of a number."""
LARGEST = 2**63
"""Whole numbers lie between its negative and it, exclusively: what 64 bits hold."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_YAML = "tag:yaml.org,2002:"
_TEXT = "tag:yaml.org,2002:str"


class YamlError(ValueError):
    """Text that is not read; ``mark`` is where (``line`` and ``column`` from 0), None where that is not known."""

    def __init__(self, problem: str, mark: Any = None) -> None:
        super().__init__(problem)
        self.mark = mark


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
    Loader.add_implicit_resolver(f"{_YAML}{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def compose(text: str) -> yaml.Node | None:
    """The tree of a text, None of an empty one; keys are names, whatever they look like.

    Raises:
        YamlError: if it is no YAML, too large, or says what a plain value cannot mean: tags, control characters,
            loops, keys that are repeated or no names.
    """
    if len(text) > LENGTH:
        raise YamlError(f"this has {len(text):,} characters, and at most {LENGTH:,} are read")
    try:
        _check_events(text)
        root: yaml.Node | None = yaml.compose(text, Loader)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        if (mark := getattr(error, "problem_mark", None)) and text[mark.index : mark.index + 1] == "\t":
            problem = "a tab: YAML is indented by spaces"
        raise YamlError(f"this is not valid YAML: {problem}", getattr(error, "problem_mark", None)) from error
    except UnicodeError as error:
        raise YamlError("this is not valid YAML: it has half a character (a lone surrogate)") from error
    if root is not None:
        _size(root, {})
    return root


def value(root: yaml.Node | None) -> Any:
    """What a tree of :func:`compose` stands for, in plain values.

    Raises:
        YamlError: for a merge key with something that is no mapping.
    """
    if root is None:
        return None
    loader = Loader("")
    try:
        return loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        raise YamlError(f"this is not valid YAML: {error.problem}", error.problem_mark) from error
    finally:
        loader.dispose()


def plain_value(text: str, option: str) -> Any:
    """The value of ``option`` (``--set a=``, say) on the command line, read as YAML.

    Raises:
        UserError: with the option and what is wrong.
    """
    try:
        return value(compose(text))
    except YamlError as error:
        shown = text if len(text) <= 60 else f"{text[:60]}..."
        raise UserError(f"{option}{shown}: {error}") from error


def _check_events(text: str) -> None:
    """What has to be known before there is a tree: how deep it goes, and what was written with a tag."""
    depth = 0
    for event in yaml.parse(text, Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH:
                raise YamlError(
                    f"this lies in {DEPTH} mappings and lists, and deeper nesting is not read", event.start_mark
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if tag := getattr(event, "tag", None):
            shown = tag.replace(_YAML, "!!")[:40]
            raise YamlError(f"tags ({shown}) are not read: write a plain value, text in quotes", event.start_mark)


def _size(node: yaml.Node, known: dict[yaml.Node, int | None]) -> int:
    """How many values a node stands for, aliases written out; refuses what no value can be made of."""
    if node in known:
        if (size := known[node]) is None:
            raise YamlError("this contains itself, through an alias", node.start_mark)
        return size
    known[node] = None
    size = 1
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(node)
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError("a key must be a plain name", key.start_mark)
            if key.tag != f"{_YAML}merge":
                key.tag = _TEXT
            _check_scalar(key)
            if key.value in seen:
                raise YamlError(f"the key '{key.value}' is given twice", key.start_mark)
            seen.add(key.value)
            size += _size(item, known)
    else:
        size += sum(_size(item, known) for item in node.value)
    if size > NODES:
        raise YamlError(f"with its aliases written out this is more than {NODES:,} values", node.start_mark)
    known[node] = size
    return size


def _check_scalar(node: yaml.ScalarNode) -> None:
    if found := _CONTROL.search(node.value):
        raise YamlError(f"text must not have control characters, and this has {found[0]!r}", node.start_mark)
    kind = node.tag.removeprefix(_YAML)
    if kind in ("int", "float") and len(node.value) > DIGITS:
        raise YamlError(f"a number has at most {DIGITS} characters, and this has {len(node.value):,}", node.start_mark)
    if kind == "int" and abs(int(node.value)) >= LARGEST:
        raise YamlError(f"whole numbers lie between -{LARGEST - 1} and {LARGEST - 1}", node.start_mark)
