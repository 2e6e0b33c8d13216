"""Kinds of options that several commands have."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import click

from harness.errors import unknown_name


class Choice(click.Choice[str]):
    """One of some words; an error for another one has the nearest right one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word.

        Raises:
            BadParameter: for any other.
        """
        if value not in self.choices:
            self.fail(unknown_name("choice", str(value), self.choices), param, ctx)
        return str(value)


class DensityOption(click.ParamType[float]):
    """A fraction of weights in [0, 1]."""

    name = "density"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The density.

        Raises:
            BadParameter: for anything else; of percent with the fraction that they are.
        """
        text = str(value).strip()
        hint = ""
        with suppress(ValueError):
            number = float(text.removesuffix("%"))
            if 0 <= number <= 1 and not text.endswith("%"):
                return number
            hint = f": for {number:g} % write {number / 100:g}" if 0 <= number <= 100 else ""
        return self.fail(f"a density is a number between 0 and 1, not '{text}'{hint}", param, ctx)
