"""Arithmetic over published numbers: what a paper's own numbers say of another one of its numbers."""

from __future__ import annotations

import ast
import math
import operator
import statistics
from collections.abc import Callable, Iterable, Mapping

_BINARY: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: Mapping[str, Callable[[Iterable[float]], float]] = {
    "min": min,
    "max": max,
    "mean": statistics.fmean,
}


def names(formula: str) -> set[str]:
    """The claims whose numbers a formula takes.

    Raises:
        ValueError: if it is no formula of numbers, ids of claims, ``+ - * / **``, brackets, ``min``, ``max`` and
            ``mean``.
    """
    found: set[str] = set()

    def number(name: str) -> float:
        found.add(name)
        return math.nan  # which no division by a difference of two claims is undefined for

    _value(formula, number)
    return found


def evaluate(formula: str, published: Mapping[str, float]) -> float:
    """The formula's number, finite.

    Args:
        published: id of a claim -> its published number; all that the formula names.

    Raises:
        ValueError: as for :func:`names`, and where it has no finite number.
    """
    value = _value(formula, published.__getitem__)
    if not math.isfinite(value):
        raise ValueError(f"'{formula}' is {value}")
    return value


def _value(formula: str, number: Callable[[str], float]) -> float:
    try:
        return float(_walk(ast.parse(formula.strip(), mode="eval").body, number))
    except SyntaxError as error:
        raise ValueError(f"'{formula}' is no formula: {error.msg}") from error
    except (ArithmeticError, TypeError) as error:  # (-1) ** 0.5 is complex
        raise ValueError(f"'{formula}' has no number: {error}") from error


def _walk(node: ast.expr, number: Callable[[str], float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return float(value)  # of integers, 9 ** 9 ** 9 would never end
        case ast.Name(id=name):
            return number(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_walk(operand, number)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_walk(left, number), _walk(right, number))
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as args, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name]([_walk(argument, number) for argument in args])
    raise ValueError(
        f"'{ast.unparse(node)}' may not stand in a formula: numbers, ids of claims, + - * / **, brackets, "
        f"{', '.join(_FUNCTIONS)} may"
    )
