"""What the conformance checks share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from harness.registry.plugins import Kind, contract_problem

Options = Mapping[str, Any] | BaseModel | None
CPU = torch.device("cpu")


def require(condition: bool, text: str) -> None:
    """Raise AssertionError with ``text``; an assert statement would vanish under ``python -O``."""
    if not condition:
        raise AssertionError(text)


def require_json(what: str, value: Any) -> None:
    """Raise AssertionError unless the value can be written as JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{what} cannot be written as JSON: {error}") from error


def maker(kind: Kind, cls: type[Any], options: Options) -> Callable[..., Any]:
    """Check the class itself and its options; returns a function that makes instances with them."""
    problem = contract_problem(kind, cls)
    require(problem is None, f"{cls!r} {problem}")
    try:
        validated = cls.Options.model_validate({} if options is None else options)
    except ValidationError as error:
        raise AssertionError(f"{cls.__name__} refuses options {options}: {error}") from error
    require_json(f"{cls.__name__}.Options", validated.model_dump(mode="json"))
    return lambda *arguments: cls(validated, *arguments)


def equal(a: Any, b: Any) -> bool:
    """Whether two nested states are the same to the bit, types of tensors included."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)
