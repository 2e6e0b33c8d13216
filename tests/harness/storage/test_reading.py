"""Files that anybody may have put there: what is read, what is refused, and that it never takes for ever."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.errors import CorruptFile
from harness.storage.reading import parse_json, read_bytes, read_object


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "link").symlink_to("a")
    assert read_bytes(tmp_path / "a") == read_bytes(tmp_path / "link", 7) == b"content"


def test_what_is_no_file_or_too_large_is_an_os_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "large").write_bytes(b"12345678")
    for name, message in (
        ("pipe", "a pipe or a device"),
        ("loop", "symbolic links"),
        ("none", "No such file"),
        (".", "directory"),
    ):
        with pytest.raises(OSError, match=message):
            read_bytes(tmp_path / name)
    with pytest.raises(OSError, match="a pipe or a device"):
        read_bytes(Path("/dev/zero"))
    with pytest.raises(OSError, match="it has 8 bytes, and at most 7 are read"):
        read_bytes(tmp_path / "large", 7)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 100_000, b'{"a":' * 10_000, b"9" * 5_000, b'"\\ud800"', b'"\xff"', b"{'a': 1}", b"\0"],
    ids=["empty", "half", "nested list", "nested object", "long number", "half a character", "bytes", "quotes", "nul"],
)
def test_what_is_no_json_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match="is no JSON that can be read") as caught:
        parse_json(content)
    assert len(str(caught.value)) < 200
    (tmp_path / "a").write_bytes(content)
    assert read_object(tmp_path / "a") is None


@pytest.mark.parametrize("whole", [False, True], ids=["alone", "among others"])
@pytest.mark.parametrize("code", [*range(8, 160, 9), 8, 12, 13, 27, 127, 155, 0x2028, 0x202E, 0x2069])
def test_characters_that_a_terminal_obeys_are_shown_and_not_sent(code: int, whole: bool) -> None:
    character, rest = chr(code), {"b": ["line\nline\tTab", "\\u001b", "\u00e9", 1.5, None]} if whole else {}
    safe = character.isprintable()
    said = {character: character} | rest
    for text in (json.dumps(said), json.dumps(said, ensure_ascii=False)):
        shown = character if safe else ascii(character)[1:-1]
        for content in (text, text.encode()):
            assert parse_json(content) == {shown: shown} | rest
