"""Seeds as a suite gives them: a list, or how many."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

MOST_SEEDS = 10_000
Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1, max_length=MOST_SEEDS)]


def seeds_from(value: Any, first: int = 0) -> Any:
    """A list of seeds as given, or as many as a number says, from ``first``.

    Raises:
        ValueError: for none, too many, or one twice.
    """
    number = isinstance(value, int) and not isinstance(value, bool)
    if not (number and value >= 1) and not isinstance(value, list):
        raise ValueError("seeds is a number of seeds, at least 1, or a list of them")
    if number:
        if value > MOST_SEEDS:
            raise ValueError(f"seeds is a number of at most {MOST_SEEDS:,} seeds; the one seed {value} is [{value}]")
        return list(range(first, first + value))
    if isinstance(value, list) and len(set(map(repr, value))) < len(value):
        raise ValueError("each seed can be given only once")
    return value
