"""YAML with places: what is read, what is refused, and where errors point."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import SuiteError, UserError
from harness.suites.yaml_source import YamlSource


def source(tmp_path: Path, text: str | bytes, *overrides: str) -> YamlSource:
    path = tmp_path / "s.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return YamlSource(path, overrides)


def refused(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(SuiteError) as caught:
        source(tmp_path, text)
    return str(caught.value).replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 0.001),
        ("-2E+3", -2000.0),
        (".5", 0.5),
        ("3.", 3.0),
        ("12", 12),
        ("-0", 0),
        (".inf", float("inf")),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        # YAML 1.1 takes these for false, 8, 90, a date and an octal number.
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("'1e-3'", "1e-3"),
        ('"null"', "null"),
    ],
)
def test_plain_values_follow_yaml_1_2(tmp_path, written, value):
    found = source(tmp_path, f"a: {written}\n").content["a"]
    assert found == value and type(found) is type(value)


def test_no_is_an_ordinary_key(tmp_path):
    assert source(tmp_path, "no: 1\nyes: 2\n").content == {"no": 1, "yes": 2}


def test_a_leading_zero_means_nothing(tmp_path):
    assert source(tmp_path, "a: 010\n").content["a"] == 10


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path):
    read = source(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read.content == {"a": 1, "b": 2}
    assert str(read.error(("b",), "wrong")).replace(str(tmp_path), "") == "/s.yaml:2:4: wrong\n  2 | b: 2\n    |    ^"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "/s.yaml: a suite is a mapping of keys, this file is empty"),
        (b"# only a comment\n", "/s.yaml: a suite is a mapping of keys, this file is empty"),
        (b"- a\n- b\n", "/s.yaml: a suite is a mapping of keys, this file is a list"),
        (b"just words\n", "/s.yaml: a suite is a mapping of keys, this file is a single value"),
        (b"a: \xff\xfe\n", "cannot read /s.yaml: it is not UTF-8 text (invalid start byte)"),
        (b"a: 1\na: 2\n", "/s.yaml:2:1: the key 'a' is given twice\n  2 | a: 2\n    | ^"),
        (b"a:\n  - {b: 1, c: 2, b: 3}\n", "/s.yaml:2:18: the key 'b' is given twice"),
        (b"a:\n\t- 1\n", "/s.yaml:2:1: this is not valid YAML: a tab: YAML is indented by spaces"),
        (b"a:\n  b:\n  \t- 1\n", "/s.yaml:3:3: this is not valid YAML: a tab: YAML is indented by spaces"),
        ("a: \u00e4\n\tb: 1\n".encode(), "/s.yaml:2:1: this is not valid YAML: a tab: YAML is indented by spaces"),
        (b"a: [1, 2\nb: 3\n", "/s.yaml:2:2: this is not valid YAML: "),
        (b"a: 'x\n", "this is not valid YAML: found unexpected end of stream"),
        (b"a: 1\n---\nb: 2\n", "this is not valid YAML: but found another document"),
        (b"a: *nowhere\n", "/s.yaml:1:4: this is not valid YAML: found undefined alias"),
        (b"a: \x00\n", "this is not valid YAML: "),
        (b"? [x, y]\n: 1\n", "/s.yaml:1:3: a key must be a plain name"),
        (b"a: !!python/object/apply:os.system ['true']\n", "tags (!!python/object/apply:os.system) are not read"),
        (b"a: !!python/name:os.system\n", "tags (!!python/name:os.system) are not read"),
        (b"a: !mine 3\n", "/s.yaml:1:4: tags (!mine) are not read: write a plain value, text in quotes\n"),
        (b"a: !!int foo\n", "/s.yaml:1:4: tags (!!int) are not read"),
        (b"a:\n  - b: " + b"[" * 60 + b"]" * 60, "/s.yaml:2:55: this lies in 50 mappings and lists"),
        (b"a: " + b"[" * 100_000, "this lies in 50 mappings and lists"),
        (b"a: " + b"{x: " * 5_000, "this lies in 50 mappings and lists"),
        (b"- " * 5_000, "this lies in 50 mappings and lists"),
        (b"a: " + b"1" * 41, "/s.yaml:1:4: a number has at most 40 characters, and this has 41"),
        (b"a: 1." + b"1" * 5_000, "a number has at most 40 characters, and this has 5,002"),
        (b"a: 9223372036854775808", "whole numbers lie between -9223372036854775807 and 9223372036854775807"),
        (b'a: "\\x1b[31m"', "/s.yaml:1:4: text must not have control characters, and this has '\\x1b'"),
        (b'"\\0": 1', "text must not have control characters"),
        (b'a: "\\ud800"', "this is not valid YAML: "),
        (b"a: " + b"x" * 1_000_000, "this has 1,000,003 characters, and at most 1,000,000 are read"),
        (b"a: {<<: 3}", "this is not valid YAML: "),
        (b"a: &x\n  b: *x\n", "/s.yaml:1:4: this contains itself, through an alias"),
        (b"a: &x {<<: *x}\n", "this contains itself, through an alias"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, text, message):
    assert message in refused(tmp_path, text)


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path):
    with pytest.raises(SuiteError, match=r"cannot read .*none\.yaml: No such file"):
        YamlSource(tmp_path / "none.yaml")
    with pytest.raises(SuiteError, match=r"cannot read .*: Is a directory"):
        YamlSource(tmp_path)


def test_tags_that_execute_are_not_executed(tmp_path):
    victim = tmp_path / "touched"
    refused(tmp_path, f"a: !!python/object/apply:pathlib.Path.touch [{victim}]\n")
    assert not victim.exists()


def test_keys_are_names_whatever_they_look_like(tmp_path):
    found = source(tmp_path, "2024: {010: 1, true: 2, null: 3, ~: 4, 1e3: 5}").content
    assert found == {"2024": {"010": 1, "true": 2, "null": 3, "~": 4, "1e3": 5}}


def doubling(times: int) -> str:
    aliases = [f"a{i}: &a{i} {{l: *a{i - 1}, r: *a{i - 1}}}" for i in range(1, times)]
    return "\n".join(["a0: &a0 {x: 1}", *aliases])


def test_aliases_of_aliases_do_not_take_exponential_time(tmp_path):
    assert len(source(tmp_path, doubling(12)).content) == 12
    assert "with its aliases written out this is more than 100,000 values" in refused(tmp_path, doubling(60))


def test_merge_keys_of_merge_keys_do_not_take_exponential_time(tmp_path):
    lines = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 10)]
    assert "/s.yaml:6:14: with its aliases written out" in refused(tmp_path, "\n".join(lines))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a=[[" + "[" * 100_000, "deeper nesting is not read"),
        ("a=!!int foo", "--set a=!!int foo: tags (!!int) are not read"),
        ("a=" + "9" * 5_000, "a number has at most 40 characters, and this has 5,000"),
        ("a=\udcff", "half a character"),
        ("a=\x1b[2J", "is not valid YAML"),
        ("a={b: 1, b: 2}", "the key 'b' is given twice"),
    ],
)
def test_values_of_options_pass_the_same_place(tmp_path, override, message):
    with pytest.raises(UserError) as caught:
        source(tmp_path, "a: 1", override)
    assert message in str(caught.value) and len(str(caught.value)) < 300


def test_a_pipe_is_no_suite(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(SuiteError, match="it is a pipe or a device, no file"):
        YamlSource(tmp_path / "pipe.yaml")


BASE = """\
base: &base
  lr: 1e-3
  deep: {a: 1}
own:
  <<: *base
  steps: 5
items: [one, {two: {b: 2}}]
"""


def test_merge_keys_and_anchors(tmp_path):
    assert source(tmp_path, BASE).content["own"] == {"lr": 0.001, "deep": {"a": 1}, "steps": 5}


@pytest.mark.parametrize(
    ("loc", "at_key", "place"),
    [
        (("own", "steps"), False, "6:10"),
        (("own", "steps"), True, "6:3"),
        (("own",), False, "4:1"),
        (("own", "lr"), False, "2:7"),  # brought by the merge key
        (("own", "deep", "a"), False, "3:13"),
        (("own", "nothing"), False, "4:1"),
        (("nothing",), False, "1:1"),
        ((), False, "1:1"),
        (("items", 0), False, "7:9"),
        (("items", "one"), False, "7:9"),
        (("items", "two", "b"), False, "7:24"),
        (("items", 9), False, "7:1"),
        (("own", "float", "steps"), False, "6:10"),  # a step of pydantic's own
    ],
)
def test_places(tmp_path, loc, at_key, place):
    text = str(source(tmp_path, BASE).error(loc, "here", at_key))
    assert text.startswith(f"{tmp_path}/s.yaml:{place}: here\n")
    shown, caret = text.splitlines()[1:]
    line, column = map(int, place.split(":"))
    assert shown == f"  {line} | {BASE.splitlines()[line - 1]}"
    assert caret.index("^") - caret.index("|") - 2 == column - 1


def test_the_caret_stands_below_its_character_after_tabs_and_wide_text(tmp_path):
    text = str(source(tmp_path, "a: {\t\u00e4\u00f6: 1,\tb: x}\n").error(("a", "b"), "here"))
    _, shown, caret = text.splitlines()
    assert shown[caret.index("^")] == "x" and caret.count("\t") == 2


def test_line_numbers_of_two_digits_keep_the_caret_in_place(tmp_path):
    text = str(source(tmp_path, "\n" * 11 + "abc: xyz\n").error(("abc",), "here"))
    assert text.splitlines()[1:] == ["  12 | abc: xyz", "     |      ^"]


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = 1


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: Inner = Inner()
    rate: float = 0.5
    must: int


def test_a_validation_error_names_every_problem_with_its_place(tmp_path):
    read = source(tmp_path, "inner: {size: big}\nrtae: 1\n")
    with pytest.raises(ValidationError) as caught:
        Model.model_validate(read.content)
    text = str(read.validation_error(caught.value, Model, lambda loc: loc, lambda loc: list(Model.model_fields)))
    lines = text.replace(str(tmp_path), "").splitlines()
    assert lines[0].startswith("/s.yaml:1:15: size is a whole number, not 'big'")
    assert lines[3] == "/s.yaml:1:1: the key 'must' is missing"
    assert lines[6] == "/s.yaml:2:1: unknown key 'rtae'. Did you mean 'rate'? Known: inner, must, rate."
    assert lines[7:] == ["  2 | rtae: 1", "    | ^"]


def test_overrides_change_the_content_and_not_the_file_or_each_other(tmp_path):
    read = source(tmp_path, BASE, "own.lr=1e-2", "new.deep.key=[1, no]", "items=", "own.deep.a=7")
    assert read.content["own"] == {"lr": 0.01, "deep": {"a": 7}, "steps": 5}
    assert read.content["base"] == {"lr": 0.001, "deep": {"a": 1}}
    assert read.content["new"] == {"deep": {"key": [1, "no"]}} and read.content["items"] is None
    assert read.overridden()[("own", "lr")] == 0.01


def test_an_override_of_steps_replaces_epochs(tmp_path):
    assert source(tmp_path, "training: {epochs: 2}\n", "training.steps=3").content["training"] == {"steps": 3}
    assert source(tmp_path, "a: {epochs: 2}\n", "a.steps=3").content["a"] == {"epochs": 2, "steps": 3}


def test_an_error_in_an_override_points_to_it_and_not_to_the_file(tmp_path):
    read = source(tmp_path, BASE, "own.lr=-1")
    assert str(read.error(("own", "lr"), "too small")) == "--set own.lr=-1: too small"
    assert "s.yaml:6:10" in str(read.error(("own", "steps"), "too small"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps", "--set takes key=value, for example --set training.steps=100, not 'steps'"),
        ("=3", "--set takes key=value"),
        ("a..b=3", "--set takes key=value"),
        ("own.lr.x=3", "--set own.lr.x=3: 'lr' is a single value and no mapping, it cannot have 'x'"),
        ("items.x=3", "--set items.x=3: 'items' is a list and no mapping, it cannot have 'x'"),
        ("own.lr=[1", "--set own.lr=[1: this is not valid YAML: did not find expected"),
        ("own.lr=!!python/name:os.system", "tags (!!python/name:os.system) are not read"),
    ],
)
def test_overrides_that_cannot_be_meant_are_refused(tmp_path, override, message):
    with pytest.raises(UserError) as caught:
        source(tmp_path, BASE, override)
    assert message in str(caught.value)


@pytest.mark.parametrize("before", [0, 50, 900])
def test_of_a_long_line_the_part_around_the_place_is_shown(tmp_path: Path, before: int) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"a: {{{'b' * before}x: !tag 1, c: {'d' * 100_000}}}\n")
    with pytest.raises(SuiteError) as raised:
        YamlSource(path, [])
    said, line, caret = str(raised.value).split("\n")
    assert len(line) < 200 and line[caret.index("^") :].startswith("!tag 1")
    assert said.startswith(f"{path}:1:{before + 8}: ")
