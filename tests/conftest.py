"""What the tests of more than one folder need."""

from __future__ import annotations

import gzip
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

EVIL = '</script><script>window.__pwned=1;alert(1)</script><img src=x onerror="window.__pwned=1">\'`${1}{{script}}'
"""Would run in a page that shows text as HTML, in an element, a script or an attribute."""


def pytest_configure() -> None:
    """What tests find of the shell that starts them must not matter.

    One that starts them in the background has them, and all that they start, ignore Ctrl-C. Processes of tests that run
    side by side are told a width of the terminal, to which commands would fit what they print; so are those of a Python
    that has imported readline, which tells the C library alone.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.pop("COLUMNS", None)
    os.unsetenv("COLUMNS")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes may hold the time of day (gzip's do), and every process must give a test the same name."""
    return f"{argname}-{len(val)}-bytes" if isinstance(val, bytes) else None


@pytest.fixture
def float64() -> Iterator[None]:
    """What is made without a type has the one in which numbers are checked."""
    import torch  # not for those tests that do without it

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@dataclass(frozen=True)
class HostileResults:
    """A results folder that somebody else wrote, in bad faith or with a bad disk.

    Attributes:
        root: the folder; ``suite`` is its one suite.
        evil: a string with HTML and script that stands in every text field of every file.
        counted: how many of its cells are sound, four rows of two seeds.
        left: file name -> a part of the reason why it is not counted.
        damaged: series, samples and masks that cannot be used, file names.
        missing: the cell that is planned and not there.
    """

    root: Path
    suite: str
    evil: str
    counted: int
    left: dict[str, str]
    damaged: tuple[str, ...]
    missing: str


@pytest.fixture(scope="session")
def hostile_results(tmp_path_factory) -> HostileResults:
    """A hostile results folder; tests must not write into it."""
    root = tmp_path_factory.mktemp("hostile")
    suite = "<img src=x onerror=alert(2)>"
    folder = root / suite
    for name in ("cells", "series", "samples", "masks"):
        (folder / name).mkdir(parents=True)
    names, stages = [], []
    for row, (method, density) in enumerate((("dense", 1.0), (f"a{EVIL}", 0.5), (f"b{EVIL}", 0.5), (f"b{EVIL}", 0.1))):
        for seed in (0, 1):
            name, stage = f"<b>cell{row}.s{seed}", f"{row}{seed}".rjust(32, "0")
            record = _record(name, suite, method, density, seed, stage, 0.9 - 0.1 * row + 0.01 * seed)
            (folder / "cells" / f"{name}.json").write_text(json.dumps(record))
            names.append(name)
            stages.append(stage)
    _curves(folder / "series", names)
    _texts(folder / "samples", names)
    _masks(folder / "masks", stages)
    left = _cells(folder / "cells", suite)
    missing = "<script>never finished</script>"
    plan = {"suite": EVIL, "description": EVIL, "path": f"suites/{EVIL}.yaml", "baselines": {EVIL: "dense"}}
    cells = [*names, *(name.removesuffix(".json") for name in left), missing]
    (folder / "suite.json").write_text(json.dumps({**plan, "cells": cells}))
    damaged = (*(f"{name}.json" for name in names[4:]), *(f"{name}.jsonl.gz" for name in names[5:8]))
    return HostileResults(
        root, suite, EVIL, len(names), left, (*damaged, *(f"{s}.safetensors" for s in stages[4:])), missing
    )


def _record(name, suite, method, density, seed, stage, value):
    metric = {"n": 100, "stderr": 0.01, "split": "test"}
    return {
        "schema": 1,
        "status": "done",
        "cell": name,
        "suite": suite,
        "experiment": EVIL,
        "architecture": {
            "label": f"net{EVIL}",
            "plugin": EVIL,
            "version": EVIL,
            "options": {EVIL: EVIL},
            "parameters": 99,
        },
        "method": {"label": method, "plugin": EVIL, "version": EVIL, "options": {}, "note": EVIL},
        "benchmark": {"label": f"task{EVIL}", "plugin": EVIL, "version": EVIL, "options": {}, "protocol": EVIL},
        "trained_on": EVIL,
        "seed": seed,
        "density": {
            "requested": None if density == 1 else density,
            "match": None,
            "scope": f"maskable[{EVIL}]",
            "mask": density,
            "true_zeros": 1 - density,
            "total": density,
            "soft": None,
            "kept": round(80 * density),
            "size": 80,
            "connections": {EVIL: {"size": 80, "kept": round(80 * density), "zeros": 0, "soft": None}},
        },
        "program": [{"type": EVIL}],
        "stages": [stage],
        "metrics": {
            f"accuracy{EVIL}": {"value": value, "unit": EVIL, "direction": "max", "primary": True, **metric},
            EVIL: {"value": 1 - value, "unit": EVIL, "direction": "min", "primary": False, **metric},
        },
        "validation": {},
        "samples": {"file": "../../../etc/passwd", "rows": 1, "sha256": EVIL},
        "published": None,
        "spent": {"steps": 10, "examples": 100, "tokens": 100, "seconds": 1.0, "peak_memory_bytes": 1},
        "environment": {"harness": EVIL, "torch": EVIL, "python": EVIL, "git": EVIL, "device": EVIL},
        "finished": EVIL,
        "failure": None,
    }


def _cells(folder, suite):
    """Records that must not be counted, each with what its reason must say."""

    def sound(name):
        return _record(name, suite, f"a{EVIL}", 0.5, 7, "f" * 32, 0.99)

    def with_value(name, value):
        record = sound(name)
        record["metrics"][f"accuracy{EVIL}"]["value"] = value
        return record

    failure = {"type": EVIL, "message": EVIL, "traceback": EVIL, "step": 3}
    text = json.dumps(sound("half"))
    contents = {
        "empty": ("", "JSON"),
        "half": (text[: len(text) // 2], "JSON"),
        "list": ("[]", "not a result record"),
        "bytes": (b"\xff\xfe\x00", "JSON"),
        "older": ({**sound("older"), "schema": 0}, "schema 0"),
        "newer": ({**sound("newer"), "schema": 99, "future": {EVIL: EVIL}}, "schema 99"),
        "strange_schema": ({**sound("strange_schema"), "schema": EVIL}, "schema"),
        "lacking": ({name: value for name, value in sound("lacking").items() if name != "metrics"}, "lacks metrics"),
        "failed": ({**sound("failed"), "status": "failed", "metrics": {}, "failure": failure}, "failed"),
        "diverged": ({**sound("diverged"), "status": "diverged", "metrics": {}, "failure": failure}, "diverged"),
        "nan": (with_value("nan", float("nan")), ""),
        "infinite": (with_value("infinite", float("inf")), ""),
        "text_value": (with_value("text_value", EVIL), ""),
        "no_metrics": ({**sound("no_metrics"), "metrics": {}}, ""),
        "text_density": ({**sound("text_density"), "density": EVIL}, ""),
        "null_method": ({**sound("null_method"), "method": None}, ""),
        "text_seed": ({**sound("text_seed"), "seed": EVIL}, ""),
    }
    for name, (content, _) in contents.items():
        data = (
            content
            if isinstance(content, bytes)
            else (content if isinstance(content, str) else json.dumps(content)).encode()
        )
        (folder / f"{name}.json").write_bytes(data)
    return {f"{name}.json": reason for name, (_, reason) in contents.items()}


def _curves(folder, names):
    """Four cells with sound curves full of markup, four with unusable ones."""
    sound = {
        "cell": EVIL,
        "loss": [[0, step, 1.0 / step, 0.1] for step in (1, 2, 3)],
        "evaluations": [[0, 3, "validation", {EVIL: 0.5}]],
        "densities": [[0, step, {EVIL: [step / 4, None], "second": [1.0, 0.5]}] for step in (1, 2, 3)],
    }
    broken = (
        '{"densities": [[0, 1',
        json.dumps({**sound, "densities": [[0, 1, {EVIL: [float("nan"), 2]}]]}),
        json.dumps({**sound, "densities": {EVIL: EVIL}}),
        json.dumps([EVIL]),
    )
    for name, text in zip(names, [json.dumps(sound)] * 4 + list(broken), strict=True):
        (folder / f"{name}.json").write_text(text)


def _texts(folder, names):
    sound = gzip.compress(json.dumps({"prompt": EVIL, "text": EVIL, "category": EVIL}).encode() + b"\n", mtime=0)
    other = gzip.compress(json.dumps({"index": 1, EVIL: EVIL}).encode() + b"\n", mtime=0)
    for name, content in zip(names, [sound] * 4 + [other, b"", sound[:20], EVIL.encode()], strict=True):
        (folder / f"{name}.jsonl.gz").write_bytes(content)


def _masks(folder, stages):
    """Four sound files, as harness.results.mask_pictures describes them, and four unusable ones."""
    for at, stage in enumerate(stages):
        path = folder / f"{stage}.safetensors"
        bits = np.random.RandomState(at).rand(80) < (1.0, 1.0, 0.5, 0.5)[min(at, 3)]
        about = {EVIL: {"shape": [8, 10], "kept": int(bits.sum()), "kind": "attention" if at % 2 else "weight"}}
        save_file({f"{EVIL}/bits": np.packbits(bits)}, path, metadata={"connections": json.dumps(about)})
    for stage, content in zip(stages[4:], (b"", b"\x00" * 8, EVIL.encode(), path.read_bytes()[:100]), strict=True):
        (folder / f"{stage}.safetensors").write_bytes(content)
