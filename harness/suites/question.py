"""A question that a suite asks: one method against another."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_FORM = re.compile(r"(?P<method>\S+) against (?P<control>\S+)(?: at (?P<density>\S+))?")


class Question(BaseModel):
    """Whether a method is better than its control; what the answer is about, and tests are corrected over."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: str = Field(description="label of the method that is asked about")
    control: str = Field(description="label of the method that it is compared with")
    density: float | None = Field(
        None, ge=0, le=1, description="requested density in [0, 1]; null: wherever the two meet"
    )
    name: str | None = Field(None, description="what the suite calls the question")

    def __str__(self) -> str:
        at = "" if self.density is None else f" at {self.density:g}"
        return f"{self.method} against {self.control}{at}"

    @classmethod
    def asked(cls, value: Any) -> Any:
        """From a suite: ``METHOD against METHOD``, ``... at DENSITY``, either of them under a name.

        Raises:
            ValueError: if it is neither.
        """
        if isinstance(value, cls):
            return value
        name, text = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else (None, value)
        found = _FORM.fullmatch(" ".join(text.split())) if isinstance(text, str) else None
        density = _number(found["density"]) if found else None
        if not found or (found["density"] and density is None):
            raise ValueError(
                "a question is METHOD against METHOD, perhaps at DENSITY (a fraction between 0 and 1), perhaps under a "
                "name, for example 'rigl against random at 0.02' or {as published: genome against random}"
            )
        return cls(method=found["method"], control=found["control"], density=density, name=name)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None
