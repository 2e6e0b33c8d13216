"""Kinds of numbers that files hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Fraction = Annotated[float, Field(ge=0, le=1)]
WholeNumber = Annotated[int, Field(ge=0, lt=2**63)]
