"""Whatever is given in a suite in the wrong place is answered in plain words: what is allowed, and what was given."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, ValidationError

from harness.registry.plugins import load
from harness.suites.question import Question
from harness.suites.schema import (
    ArchitectureEntry,
    BudgetMatch,
    CellRef,
    Evaluation,
    Experiment,
    Match,
    MethodEntry,
    Named,
    Selector,
    SuiteFile,
    Training,
)
from harness.suites.slurm_options import SlurmOptions
from harness.suites.tune import Tune
from harness.suites.wrong_value import wrong_values

SECTIONS = (Training, Evaluation, Experiment, SuiteFile, ArchitectureEntry, MethodEntry, Named, Match, CellRef)
VALUES = (
    *(None, True, "word", "", 2.5, -3, 10**15, float("nan"), float("inf")),
    *([], [1, 2], ["a"], [[1]], [True], {}, {"a": 1}, {"a": "x"}, {"match": 3.5}),
)
JARGON = (
    "input should",
    "valid ",
    "instance of",
    "dictionary",
    "integer",
    "string",
    " tag",
    "parse",
    "tuple",
    "boolean",
    "<class",
)


def models() -> list[type[BaseModel]]:
    registry = load([])
    kinds = ("architecture", "method", "benchmark")
    options = [registry.get(kind, one.entry.name).Options for kind in kinds for one in registry.entries(kind)]
    return [*SECTIONS, BudgetMatch, Selector, Question, Tune, SlurmOptions, *dict.fromkeys(options)]


def told(model: type[BaseModel], **values: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(values)
    return [text for _, text, _ in wrong_values(caught.value, model, lambda _: ("known",))]


def test_no_field_answers_in_jargon() -> None:
    """Every field of the schema and of the options of every plugin, with values of all kinds."""
    kinds, answers = set(), 0
    for model in models():
        for field in model.model_fields:
            for value in VALUES:
                try:
                    model.model_validate({field: value})
                except ValidationError as error:
                    kinds |= {problem["type"] for problem in error.errors()}
                    own = [problem["type"] for problem in error.errors() if problem["type"] != "value_error"]
                    for _, text, _ in wrong_values(error, model, lambda _: ()) if own else ():
                        answers += 1
                        found = [word for word in JARGON if word in text.lower().replace(field, "")]
                        assert not found or " is " not in text, (model, field, value, text)
                        assert text and not text.startswith((":", " ")), (model, field, value, text)
    assert answers > 1000
    assert {"int_type", "int_from_float", "float_parsing", "literal_error", "tuple_type", "bool_parsing"} <= kinds
    assert {"model_type", "union_tag_invalid", "path_type", "string_pattern_mismatch", "finite_number"} <= kinds


@pytest.mark.parametrize(
    ("model", "values", "said"),
    [
        (MethodEntry, {"budget": "magnitude"}, "budget is a mapping like {match: magnitude}, not 'magnitude'"),
        (Training, {"steps": 2.5}, "steps is a whole number, at least 0 and at most 1,000,000,000,000, not 2.5"),
        (Training, {"lr": [1, 2]}, "lr is a number, above 0, not [1, 2]"),
        (Training, {"lr": float("inf")}, "lr is a number, above 0, not Infinity"),
        (Training, {"betas": [0.9]}, "betas is a list of 2, each a number, at least 0 and below 1, not [0.9]"),
        (Training, {"betas": [0.9, 1]}, "each of betas is a number, at least 0 and below 1, not 1"),
        (Training, {"compile": "maybe"}, "compile is true or false, not 'maybe'"),
        (Training, {"optimizer": "adma"}, "optimizer is 'adamw', 'adam' or 'sgd', not 'adma'"),
        (MethodEntry, {"note": {"a": 1}}, 'note is text, not {"a": 1}'),
        (MethodEntry, {"scope": {"a": 1}}, "scope is a list, each text or 'default' or 'all', not {\"a\": 1}"),
        (MethodEntry, {"published": "x"}, "published is a number or a mapping, not 'x'"),
        (Tune, {"trials": None}, "trials is a whole number, at least 2 and at most 10,000, not empty"),
        (Evaluation, {"chekcs": 3}, "unknown key 'chekcs'. Known: known."),
    ],
)
def test_what_is_allowed_is_said(model: type[BaseModel], values: dict[str, Any], said: str) -> None:
    assert told(model, **values) == [said]


class Widths(BaseModel):
    widths: Annotated[int, Field(ge=1)] | Annotated[list[int], Field(min_length=3, max_length=3)]


def test_a_union_has_one_answer() -> None:
    one_or_three = "widths is a whole number, at least 1 or a list of 3, each a whole number, not"
    assert told(Widths, widths=[1, 2]) == [f"{one_or_three} [1, 2]"]
    assert told(Widths, widths="x") == [f"{one_or_three} 'x'"]
    assert told(Selector, density="x") == ["density is a number or a list, each a number, not 'x'"]
