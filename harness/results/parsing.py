"""What the bytes of result files mean: checked here, once, whoever reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from harness.errors import CorruptFile
from harness.results.cell_record import SCHEMA, CellRecord
from harness.results.suite_plan import SuitePlan
from harness.results.upgrading import upgrade
from harness.stages.series import Series
from harness.storage.reading import parse_json

REPAIR = ": delete it and run the suite again"
_LONGEST = 120  # characters of what the model says

Model = TypeVar("Model", bound=BaseModel)


def parse_record(content: bytes, cell: str) -> CellRecord:
    """The record of ``cell`` in a file's content, upgraded to the present schema.

    Raises:
        CorruptFile: if it cannot be counted, with the reason in one line that goes on from the file's name.
    """
    found = _json(content, REPAIR)
    if not isinstance(found, dict) or "schema" not in found:
        raise CorruptFile("is not a result record")
    schema = found["schema"]
    if type(schema) is int and schema > SCHEMA:
        raise CorruptFile(
            f"has schema {schema!r:.20}, written by a newer version of the harness: update it to read this"
        )
    if type(schema) is not int or schema < 1:
        raise CorruptFile(f"has schema {schema!r:.60}, this version reads 1 to {SCHEMA}")
    record = _valid(CellRecord, upgrade(found))
    if record.cell != cell:  # else one cell could be counted twice
        raise CorruptFile(f"holds another cell's record: {record.cell!r:.100}")
    return record


def parse_series(content: bytes) -> Series:
    """The curves in a file's content.

    Raises:
        CorruptFile: if they are not as the harness writes them, with the reason.
    """
    try:
        return Series.model_validate_json(content)
    except ValidationError as error:
        raise CorruptFile(_reason(error, _json(content, REPAIR))) from None


def parse_plan(content: bytes) -> SuitePlan:
    """The plan in a file's content.

    Raises:
        CorruptFile: if it is none, with the reason.
    """
    return _valid(SuitePlan, _json(content))


def _json(content: bytes, repair: str = "") -> Any:
    try:
        return parse_json(content)
    except CorruptFile:
        raise CorruptFile(f"is not complete JSON{repair}") from None


def _valid(model: type[Model], content: Any) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise CorruptFile(_reason(error, content)) from None


def _reason(error: ValidationError, content: Any) -> str:
    """One line: the keys that are missing, else the first key that is wrong and why."""
    errors = error.errors(include_url=False, include_context=False)
    if missing := [_key(error["loc"], content) for error in errors if error["type"] == "missing"]:
        return f"lacks {', '.join(sorted(missing))}"
    first = errors[0]
    text = " ".join(first["msg"].removeprefix("Value error, ").split())[:_LONGEST]
    key = _key(first["loc"], content)
    if first["type"] == "value_error":
        return f"has a wrong {key}: {text}" if key else text
    if not key:
        return "is no object"
    return f"has {key} {first['input']!r:.40}: {text[:1].lower()}{text[1:]}"


def _key(loc: Sequence[int | str], content: Any) -> str:
    """``density.mask``: the way through the content; steps that only pydantic knows are left out."""
    steps: list[str] = []
    for number, step in enumerate(loc, 1):
        inside = isinstance(content, dict) and step in content
        inside |= isinstance(content, list) and isinstance(step, int) and step < len(content)
        if not inside and number < len(loc):
            break
        if inside or isinstance(content, dict | list):
            steps.append(" ".join(str(step).split())[:60])
        content = content[step] if inside else None
    return ".".join(steps)
