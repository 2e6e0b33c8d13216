"""What pydantic refuses, in the words of those who write suites: what is allowed, and what was given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from harness.errors import unknown_name
from harness.formatting import listed

Loc = tuple[str | int, ...]
Node = Mapping[str, Any]
"""A part of a JSON schema."""
_LONGEST = 60
"""Characters of a value that a message quotes."""
_OWN_WORDS = ("value_error", "assertion_error")
"""Types of problems whose text is the model's own."""


def wrong_values(
    error: ValidationError, model: type[BaseModel], known: Callable[[Loc], Sequence[str]]
) -> Iterator[tuple[Loc, str, bool]]:
    """Place, message, and whether it is about the key there, for each problem; one for all members of a union.

    Args:
        error: what validating ``model`` raised.
        model: whose fields say what is allowed.
        known: the keys that are allowed beside the one at a place.
    """
    told: set[tuple[Loc, str]] = set()
    for problem in error.errors():
        loc, text = _explained(problem, model, known)
        if (loc, text) not in told:
            told.add((loc, text))
            yield loc, text, problem["type"] == "extra_forbidden" or "[key]" in problem["loc"]


def wrong_value(error: ValidationError, model: type[BaseModel], known: Callable[[Loc], Sequence[str]]) -> str:
    """The first of :func:`wrong_values`, where there is no file to point into."""
    return next(text for _, text, _ in wrong_values(error, model, known))


def _explained(problem: Any, model: type[BaseModel], known: Callable[[Loc], Sequence[str]]) -> tuple[Loc, str]:
    # In brackets: what is no step of the file, but pydantic's "[key]" or the tag of a union's member.
    loc: Loc = tuple(step for step in problem["loc"] if not str(step).startswith("["))
    name = next((step for step in reversed(loc) if isinstance(step, str)), "")
    if problem["type"] == "extra_forbidden":
        return loc, unknown_name("key", name, known(loc))
    if problem["type"] == "missing" and not isinstance(loc[-1], int):
        return loc, f"the key '{name}' is missing"
    given = problem["input"]
    if problem["type"] in _OWN_WORDS:
        message = problem["msg"].partition(", ")[2]
        message = message if not name or message.startswith(f"{name} ") else f"{name}: {message}"
        return loc, f"{message}, not {given!r}" if isinstance(given, str | int | float | bool) else message
    if problem["type"] == "too_short" and problem["ctx"]["min_length"] == 1:
        return loc, f"{name}: give at least one"
    try:
        schema = model.model_json_schema()
    except PydanticInvalidForJsonSchema:  # a plugin's own type
        return loc, f"{name}: {problem['msg']}, not {_quoted(given)}"
    if problem["type"] == "missing":  # of a list that is too short, which was given as a whole
        loc = loc[:-1]
    place, node = _walked(schema, loc)
    name = next((step for step in reversed(place) if isinstance(step, str)), name)
    what = f"each of {name}" if place and isinstance(place[-1], int) else name
    return place, f"{what or 'this'} is {_words(node, schema, given)}, not {_quoted(given)}"


def _walked(schema: Node, loc: Loc) -> tuple[Loc, Node]:
    """The steps of ``loc`` that lead into the schema, and what is there; the rest is pydantic's, for union members."""
    node: Node = schema
    for at, step in enumerate(loc):
        found = next(filter(None, (_step(member, step) for member in _members(node, schema))), None)
        if found is None or sum(member.get("type") != "null" for member in node.get("anyOf", ())) > 1:
            return loc[:at], node
        node = found
    return loc, node


def _members(node: Node, schema: Node) -> list[Node]:
    """A union's members without null, of which nobody need be told; the node itself where it is none."""
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    members = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    found = [inner for member in members for inner in _members(member, schema)] or [node]
    return [member for member in found if member.get("type") != "null"]


def _step(node: Node, step: str | int) -> Node | None:
    if isinstance(step, int):
        inner: Any = [*node.get("prefixItems", ()), *[node.get("items")] * (step + 1)][step : step + 1]
        return next(iter(inner), None)
    inner = node.get("properties", {}).get(step, node.get("additionalProperties"))
    return inner if isinstance(inner, Mapping) else None


def _words(node: Node, schema: Node, given: Any = None) -> str:
    """What is allowed; ``given`` is used as an example where it lacks only its key."""
    texts = [_member(member, schema, given) for member in _members(node, schema)]
    return listed(list(dict.fromkeys(texts)), "or") or "left out"


def _member(node: Node, schema: Node, given: Any) -> str:
    if "const" in node or "enum" in node:
        return listed([_quoted(value) for value in node.get("enum", [node.get("const")])], "or")
    kind = node.get("type")
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _range(node)
    if kind == "string":
        text = "a path" if "path" in node.get("format", "") else "text"
        return text + (f" like {node['pattern']}" if "pattern" in node else "")
    if kind == "boolean":
        return "true or false"
    if kind == "array" and "prefixItems" in node:
        return f"a list of {len(node['prefixItems'])}, each {_words(node['prefixItems'][0], schema)}"
    if kind == "array":
        long = node.get("minItems", 0)
        of = f"a list of {long}" if long > 1 and long == node.get("maxItems") else "a list"
        return f"{of}, each {_words(node['items'], schema)}" if node.get("items") else of
    if kind == "object":
        return _mapping(node, given)
    return "something else"


def _range(node: Node) -> str:
    """``, at least 0 and below 1``."""
    signs = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    limits = [f"{word} {node[key]:,}" for key, word in signs.items() if key in node]
    return f", {' and '.join(limits)}" if limits else ""


def _mapping(node: Node, given: Any) -> str:
    keys, needed = list(node.get("properties", ())), node.get("required", ())
    if len(needed) == 1 and not isinstance(given, dict | list) and given is not None:
        return f"a mapping like {{{needed[0]}: {given}}}"
    if keys and not node.get("additionalProperties"):
        return f"a mapping with keys among {', '.join(keys)}"
    return "a mapping"


def _quoted(value: Any) -> str:
    """A value as a suite has it, in quotes where it is text."""
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST else f"{value[:_LONGEST]}...")
    text = "empty" if value is None else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
