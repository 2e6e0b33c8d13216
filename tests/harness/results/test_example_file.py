"""The file of what metrics are made of: small, equal for equal results, and as exact as its readers need."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from harness.core.examples import Examples
from harness.errors import CorruptFile
from harness.results import packing
from harness.results.cell_record import CellRecord
from harness.results.example_file import compressed, keepable, packed, read, unpacked
from harness.results.parsing import parse_record
from harness.results.store import LeftOut, ResultStore

Numbers = NDArray[np.float64]
RNG = np.random.default_rng(3)
LOSSES = RNG.lognormal(-3, 3, 10_000)
"""As those of a trained classifier: most are near zero, a few are large."""


def again(found: Examples) -> Examples:
    return read(unpacked(compressed(packed({"m": found}))))["m"]


def test_bits_come_back_exactly() -> None:
    right = (RNG.random(1001) < 0.9).astype(np.float64)
    found = again(Examples(right))
    assert found.values.dtype == np.float64 and np.array_equal(found.values, right)
    assert found.value == Examples(right).value
    assert len(compressed(packed({"m": Examples(right)}))) < 400


@given(arrays.arrays(np.float64, st.integers(1, 40), elements=st.integers(-(2**52), 2**52).map(float)))
def test_whole_numbers_come_back_exactly(numbers: Numbers) -> None:
    assert np.array_equal(again(Examples(numbers)).values, numbers)


@settings(max_examples=200)
@given(arrays.arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1e30, allow_subnormal=False)))
def test_means_change_by_less_than_a_thousandth(numbers: Numbers) -> None:
    assert again(Examples(numbers)).value == pytest.approx(Examples(numbers).value, rel=1e-3)


def test_a_skewed_mean_and_its_variance() -> None:
    found = again(Examples(LOSSES))
    assert found.value == pytest.approx(LOSSES.mean(), rel=1e-3)
    assert found.values.std() == pytest.approx(LOSSES.std(), rel=1e-3)
    assert len(compressed(packed({"m": Examples(LOSSES)}))) < 17_000  # 80,000 as they are


def test_perplexities_follow_within_a_thousandth() -> None:
    sizes = RNG.integers(1, 3000, 300).astype(np.float64)
    sums = sizes * RNG.normal(4, 1, 300)
    ratio = Examples(sums, sizes, "ratio", "document")
    for found in (ratio, ratio.exponential(), ratio.per(12_345, 0.7)):
        back = again(found)
        assert back.value == pytest.approx(found.value, rel=1e-3)
        assert (back.transform, back.unit) == (found.transform, "document")
    exact = again(ratio).sizes
    assert exact is not None and np.array_equal(exact, sizes)


@pytest.mark.parametrize("numbers", [[np.nan], [1, np.inf], [], [1e-3, 1e301]])
def test_what_no_file_can_hold_is_not_kept(numbers: list[float]) -> None:
    assert not keepable(Examples(np.array(numbers, dtype=np.float64)))
    assert keepable(Examples(np.array([1e-3, 1e299])))


@pytest.mark.parametrize("damage", ["cut", "text", "names", "planes", "transform"])
def test_damage_is_said(damage: str) -> None:
    content = packed({"m": Examples(LOSSES[:9])})
    broken = {
        "cut": content[:-3],
        "text": b"no tensors",
        "names": content.replace(b"m/values", b"m/walues"),
        "planes": content.replace(b'\\"n\\": 9', b'\\"n\\": 8'),
        "transform": content.replace(b"mean", b"nean"),
    }
    assert broken[damage] != content
    with pytest.raises(CorruptFile, match="it holds no examples that can be read"):
        read(broken[damage])
    with pytest.raises(CorruptFile, match="cannot be unpacked"):
        unpacked(compressed(content)[:-9])


# --- beside a record ----------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path)


def filed(store: ResultStore, examples: dict[str, Examples] | None = None) -> CellRecord:
    """A record, with the file of its examples written."""
    made = {"accuracy": Examples(np.array([1.0, 0, 1])), "loss": Examples(LOSSES[:3])}
    entry = store.write_examples("s", "c.s0.abc", made if examples is None else examples)
    value = {"value": 2 / 3, "n": 3, "direction": "max", "primary": True}
    content = {
        **{"schema": 2, "status": "done", "cell": "c.s0.abc", "suite": "s", "seed": 0, "density": {"mask": 1.0}},
        **{part: {"label": part} for part in ("architecture", "method", "benchmark")},
        "metrics": {"accuracy": value},
        "examples": None if entry is None else entry.model_dump(),
    }
    record = parse_record(json.dumps(content).encode(), "c.s0.abc")
    store.write(record)
    return record


def test_a_record_names_its_file(store: ResultStore) -> None:
    record = filed(store)
    assert record.examples is not None
    assert (record.examples.rows, record.examples.unit_of_examples) == (3, "example")
    content = (store.root / "s" / "examples" / record.examples.file).read_bytes()
    assert hashlib.sha256(unpacked(content)).hexdigest() == record.examples.sha256
    found = store.examples("s", record.cell, record.examples)
    assert not isinstance(found, LeftOut) and list(found) == ["accuracy", "loss"]
    assert found["accuracy"].value == 2 / 3


def test_a_record_without_examples_has_none(store: ResultStore) -> None:
    record = filed(store, {})
    assert record.examples is None and store.examples("s", record.cell, record.examples) == {}
    assert not (store.root / "s" / "examples").exists()


def test_a_damaged_or_lost_file_costs_the_examples_and_not_the_cell(store: ResultStore) -> None:
    record = filed(store)
    path = store.file("s", "examples", record.cell).path
    whole = path.read_bytes()
    messages = {}
    for damage, content in {"cut": whole[:-9], "other": compressed(packed({"a": Examples(LOSSES)}))}.items():
        path.write_bytes(content)
        messages[damage] = store.examples("s", record.cell, record.examples)
    path.unlink()
    messages["lost"] = store.examples("s", record.cell, record.examples)
    for damage, text in {"cut": "unpacked", "other": "not the one of the record", "lost": "No such file"}.items():
        left = messages[damage]
        assert isinstance(left, LeftOut) and left.path == path and text in left.reason
    assert store.read("s", record.cell) == record


def test_examples_are_packed_and_come_back_byte_for_byte(store: ResultStore) -> None:
    record = filed(store)
    path = store.file("s", "examples", record.cell).path
    done = packing.pack(store, "s")
    assert [file.name for file in done.files] == ["examples.zip", "records.jsonl.gz"]
    assert not path.parent.exists()
    found = store.examples("s", record.cell, record.examples)
    assert not isinstance(found, LeftOut) and found["loss"].value == pytest.approx(LOSSES[:3].mean(), rel=1e-3)
    (store.root / "s" / "archive" / "examples.zip").write_bytes(b"damaged")
    assert isinstance(store.examples("s", record.cell, record.examples), LeftOut)
    assert isinstance(store.record("s", record.cell), CellRecord)


def test_unpacking_gives_the_same_bytes(store: ResultStore) -> None:
    record = filed(store)
    path = store.file("s", "examples", record.cell).path
    before = path.read_bytes()
    packing.pack(store, "s")
    packing.unpack(store, "s")
    assert path.read_bytes() == before


def test_the_documents_code_reads_the_same(store: ResultStore) -> None:
    scope: dict[str, Any] = {}
    text = (Path(__file__).parents[3] / "docs/records.md").read_text()
    (code,) = re.findall(r"```python\n(import gzip\nimport json\n\nimport numpy.*?)```", text, re.DOTALL)
    exec(code, scope)
    made = {
        "accuracy": Examples(np.array([1.0, 0, 1])),
        "loss": Examples(LOSSES[:50] - LOSSES[50:100], np.arange(1.0, 51), "ratio", "document"),
    }
    record = filed(store, made)
    found = scope["results_by_example"](store.file("s", "examples", record.cell).path)
    expected = store.examples("s", record.cell, record.examples)
    assert not isinstance(expected, LeftOut)
    for metric, examples in expected.items():
        assert np.array_equal(found[metric]["values"], examples.values)
        assert found[metric]["transform"] == examples.transform and found[metric]["unit"] == examples.unit
    assert found["loss"]["sizes"].tolist() == made["loss"].sizes.tolist()  # type: ignore[union-attr]
