"""When a training has settled: counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.analysis.settling import MASK, CellSettling, MaskCurve, first_within, settling
from harness.results.parsing import parse_record, parse_series

RECORD = Path(__file__).parents[1] / "results" / "record_of_schema_1.json"


@pytest.mark.parametrize(
    ("apart", "tolerance", "first"),
    [
        ([0.5, 0.04, 0.02, 0.0], 0.05, 0.25),
        ([0.5, 0.04, 0.06, 0.0], 0.05, 1.0),  # it has left again
        ([0.5, None, 0.0, 0.0], 0.05, 0.5),  # unknown is not within
        ([0.0, 0.0, 0.0, 0.0], 0.01, 0.0),
        ([0.5, 0.5, 0.5, None], 0.01, None),
        ([], 0.01, None),
    ],
)
def test_settled_is_what_stays_within(apart: list[float | None], tolerance: float, first: float | None) -> None:
    assert first_within([0.0, 0.25, 0.5, 1.0][: len(apart)], apart, tolerance) == first


def test_a_mask_is_as_far_from_its_end_as_chance_would_put_it_is_one() -> None:
    # 100 entries, 10 open at the end. All closed at first: 90 agree, and by chance as many.
    curve = MaskCurve(same=[0.90, 0.94, 1.0], chance=[0.90, 0.82, 0.82], kept=0.1)
    assert curve.apart == pytest.approx([1.0, 0.06 / 0.18, 0.0])
    # 10 entries differ, then 6; the mask at the end has 10 ones.
    assert curve.distance == pytest.approx([1.0, 0.6**0.5, 0.0])
    assert not curve.fixed
    assert MaskCurve([1.0, 1.0], [1.0, 1.0], 0.0).apart == [0.0, 0.0]  # both empty


def test_a_score_that_never_moves_settles_never() -> None:
    broken = CellSettling([0.0, 0.5, 1.0], {}, [None] * 3, [None, 0.1, 0.1], 3.0)  # the same class for every input
    assert broken.settled()["score"] == (None, None)
    moved = CellSettling([0.0, 0.5, 1.0], {}, [None] * 3, [None, 0.104, 0.1], 3.0)
    assert moved.settled()["score"] == (0.5, 1.0)


def curves(rows: list, evaluations: list) -> bytes:
    import json

    return json.dumps({"cell": "c", "evaluations": evaluations, "settling": rows}).encode()


def test_what_the_curves_of_a_cell_say(tmp_path: Path) -> None:
    import json

    old = json.loads(RECORD.read_text())
    old |= {"schema": 2}
    record = parse_record(RECORD.read_bytes(), old["cell"])
    first = next(iter(record.density.connections))
    size = record.density.connections[first].size
    counts = {name: [each.size, 0] for name, each in record.density.connections.items()}
    whole = sum(each.size for each in record.density.connections.values())
    metric = next(name for name, each in record.metrics.items() if each.primary)
    rows = [
        [1, 0, 0.0, 1.5, counts | {first: [size // 4, 3 * size // 4]}],
        [1, 10, 2.0, 0.03, counts | {first: [size, size // 2]}],
        [1, 20, 4.0, 0.0, counts | {first: [size, size // 2]}],
        [0, 99, 9.0, 0.0, {}],  # of an earlier training, and of a later one under the same mask
        *([2, step, step / 5, 0.0, counts | {first: [size, size // 2]}] for step in (0, 30)),
    ]
    scores = [[1, 10, "validation", {metric: 0.5}], [1, 20, "validation", {metric: 0.4}], [1, 20, "chosen", {}]]
    found = settling(parse_series(curves(rows, scores)), record)
    assert found is not None
    assert (found.done, found.epochs, found.score) == ([0.0, 0.5, 1.0], 4.0, [None, 0.5, 0.4])
    mask = found.masks[MASK]
    assert mask.same == pytest.approx([1 - (size - size // 4) / whole, 1, 1])
    now, end = 3 * size // 4 / whole, size // 2 / whole
    assert mask.chance[0] == pytest.approx(now * end + (1 - now) * (1 - end))
    assert found.settled() == {MASK: (0.5, 0.5), "weights": (0.5, 1.0), "score": (1.0, 1.0)}
    unmasked = [[0, 0, 0.0, 0.5, {}], [0, 5, 1.0, 0.0, {}]]
    found = settling(parse_series(curves(unmasked, [])), record)
    assert found is not None and not found.masks
    assert found.settled() == {"weights": (1.0, 1.0), "score": (None, None)}
    assert settling(parse_series(b"{}"), record) is None
