"""Values that nobody should write, and small damages to those that are right."""

from __future__ import annotations

import json
import random
from typing import Any

WORDS = [
    "",
    "a",
    "null",
    "true",
    "é",
    "日本",
    "a b",
    "%s",
    "{}",
    "[/b]",
    "[red]x",
    "../x",
    "~",
    "-",
    "text",
    "#",
    "'",
    '"',
]
CONTROLS = ["\x1b[31m", "\0", "\x07", "\r\n", "\u2028", "\ufeff", "\x9b", "\x85"]
NUMBERS = [
    "-1",
    "0",
    "1e400",
    "-1e400",
    ".nan",
    ".inf",
    "-.inf",
    "1e-320",
    "9223372036854775807",
    "9223372036854775808",
]
NUMBERS += [
    "100000000000",
    "1" * 5_000,
    "0.1" + "0" * 5_000 + "1",
    "1_000",
    "0x10",
    "1e9",
    "2147483648",
    "0.5",
    "3",
    "+5",
]


def wild_text(r: random.Random, controls: bool = False) -> str:
    """A piece of text."""
    pieces = WORDS + CONTROLS if controls else WORDS
    return "".join(r.choice(pieces) for _ in range(r.randint(0, 6))) * r.choice([1, 1, 1, 1, 200])


def wild_yaml(r: random.Random) -> str:
    """A value as YAML, mostly one that is valid."""
    kind = r.randrange(14)
    if kind < 4:
        return r.choice(NUMBERS)
    if kind < 6:
        return json.dumps(wild_text(r, controls=True))
    if kind == 6:
        depth = r.choice([1, 40, 60, 900, 5_000, 100_000])
        opening, closing = r.choice([("[", "]"), ("{a: ", "}")])
        return opening * depth + r.choice(["", closing * depth])
    if kind == 7:
        return "[" + ", ".join(wild_yaml(r) for _ in range(r.randint(0, 3))) + "]"
    if kind == 8:
        return (
            "{" + ", ".join(f"{r.choice(['a', 'use', 'match', 'method', '3'])}: {wild_yaml(r)}" for _ in range(2)) + "}"
        )
    if kind == 9:
        return r.choice(["!!int", "!!python/name:os.system", "!x", "!!binary", "!!set", "!"]) + " " + r.choice(WORDS)
    if kind == 10:
        return "&a [*a]" if r.random() < 0.3 else "{<<: " + r.choice(["3", "[1]", "{a: 1}", "&b {<<: *b}"]) + "}"
    if kind == 11:
        return "[" + ", ".join(r.choice(NUMBERS[:14]) for _ in range(3)) + "]"
    if kind == 12:
        return r.choice(
            ["dense", "random", "all", "default", "test", "hard", "match: x", "{match: random}", "{match: dense}"]
        )
    return r.choice(["*x", "? ", "a: b: c", "[", "}", "'", "%", "@", "`", "\t", "|", ">", "- ", "\udcff", "\ud800"])


def damaged(r: random.Random, content: bytes) -> bytes:
    """Bytes that are cut, changed, doubled, or have something in them."""
    start = r.randrange(len(content) + 1)
    end = min(len(content), start + r.choice([0, 1, 2, 8, 100]))
    foreign = r.choice(
        [b"", b"\0", b"\xff", b"\xed\xa0\x80", b"\x1b[2J", b"[" * 3_000, b'"', b"1" * 5_000, content[:50]]
    )
    how = r.randrange(4)
    if how == 0:
        return content[:start]
    if how == 1:
        return content[:start] + foreign + content[end:]
    if how == 2:
        return content[:start] + bytes(r.randrange(256) for _ in range(end - start)) + content[end:]
    return content[:start] + content[start:end] * 2 + content[end:]


def changed_json(r: random.Random, value: Any) -> Any:
    """A tree with one of its values replaced, renamed or left out."""
    wild = [
        None,
        True,
        -1,
        2**63,
        10**400,
        1e308,
        "",
        "\x1b[2J",
        "\ud800",
        "[/b]",
        "x" * 100_000,
        [],
        {},
        [[]],
        {"a": None},
    ]
    if isinstance(value, dict) and value and r.random() < 0.85:
        key = r.choice(sorted(value))
        changed = dict(value)
        if r.random() < 0.1:
            del changed[key]
        elif r.random() < 0.05:
            changed[r.choice(["x", "\x1b", ""])] = changed.pop(key)
        else:
            changed[key] = changed_json(r, value[key])
        return changed
    if isinstance(value, list) and value and r.random() < 0.85:
        index = r.randrange(len(value))
        return [*value[:index], changed_json(r, value[index]), *value[index + 1 :]]
    if r.random() < 0.1:
        deep: Any = 0
        for _ in range(r.choice([50, 300, 900])):
            deep = [deep]
        return deep
    return r.choice(wild)
