"""N weights of every M: exact in every group, and refused where there are no whole groups."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Band, Connection, NOfM, TrainingBudget, UserError, allocate


def connection(shape: tuple[int, ...], columns: tuple[int, int] | None = None) -> Connection:
    return Connection("c", "c", "up", Band("in", shape[1], 0), Band("out", shape[0], 1), shape, columns=columns)


@pytest.mark.parametrize(
    ("text", "row", "kept"),
    [
        ("2:4", [0.1, 0.4, 0.3, 0.2, 9, 8, 7, 6], "01101100"),
        ("1:4", [0.1, 0.4, 0.3, 0.2, 9, 8, 7, 6], "01001000"),
        ("2:4", [1, 1, 1, 1, 0, 2, 0, 0], "11001100"),  # ties: the lower index
        ("4:8", [3, 1, 4, 1, 5, 9, 2, 6], "00101101"),
        ("3:3", [0, 0, 0], "111"),
        ("1:2", [-5, -6, float("-inf"), -7], "1001"),
    ],
)
def test_by_hand(text: str, row: list[float], kept: str) -> None:
    mask = NOfM.of(text).mask(torch.tensor([row]))
    assert "".join(str(int(bit)) for bit in mask[0]) == kept


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.sampled_from([(), (2,), (3, 2)]))
@settings(max_examples=60, deadline=None)
def test_every_group_keeps_its_largest(n: int, m: int, rows: int, groups: int, kernel: tuple[int, ...]) -> None:
    n, m = min(n, m), max(n, m)
    scores = torch.randint(5, (rows, groups * m, *kernel), generator=torch.Generator().manual_seed(n * 7 + m))
    mask = NOfM(n, m).mask(scores.float())
    assert mask.shape == scores.shape
    flat, kept = (tensor.reshape(rows, groups * m, -1) for tensor in (scores, mask))
    for row in range(rows):
        for place in range(flat.shape[2]):
            for start in range(0, groups * m, m):
                values = [float(flat[row, start + i, place]) for i in range(m)]
                first = sorted(range(m), key=lambda i: (-values[i], i))[:n]
                assert [i for i in range(m) if kept[row, start + i, place]] == sorted(first)


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        NOfM(1, 2).mask(torch.tensor([[1.0, float("nan")]]))


@pytest.mark.parametrize("text", ["2", "2-4", "0:4", "5:4", "2:4:8", "", "-1:4", "2.0:4"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        NOfM.of(text)


def test_groups_are_whole_and_begin_where_the_parameter_does() -> None:
    pattern = NOfM(2, 4)
    assert pattern.fits(connection((3, 8))) and pattern.fits(connection((3, 8, 3, 3)))
    assert not pattern.fits(connection((8, 6)))
    assert pattern.fits(connection((3, 8), columns=(4, 12))) and not pattern.fits(connection((3, 8), columns=(2, 10)))
    assert pattern.misfit([connection((3, 8))]) is None
    reason = pattern.misfit([connection((3, 8)), connection((4, 10))])
    assert reason is not None and "2:4" in reason and "'c' (up, 10 inputs)" in reason and "scope" in reason


def test_a_contradicting_density_is_refused_with_both_numbers() -> None:
    pattern = NOfM(2, 4)
    assert pattern.density == 0.5
    assert [pattern.agreed(TrainingBudget(1, 1, density)) for density in (None, 0.5)] == [0.5, 0.5]
    with pytest.raises(UserError, match=r"given as 0\.3, and the pattern 2:4 makes it 0\.5"):
        pattern.agreed(TrainingBudget(1, 1, 0.3))
    with pytest.raises(UserError, match=r"that of another cell, and the pattern 2:4 makes it 0\.5"):
        pattern.agreed(TrainingBudget(1, 1, None, matched=True))


def test_counts_in_proportion_to_given_numbers() -> None:
    """20 to keep of 10 + 100 + 10 weights, as 3 : 1 : 0; and 12, where the first one has no more than 10."""
    layers = [connection((1, 10)), connection((10, 10)), connection((2, 5))]
    layers = [Connection(f"c{i}", f"c{i}", "up", c.source, c.target, c.shape) for i, c in enumerate(layers)]
    assert allocate(8, layers, {"c0": 3, "c1": 1, "c2": 0}) == {"c0": 6, "c1": 2, "c2": 0}
    assert allocate(20, layers, {"c0": 3, "c1": 1, "c2": 0}) == {"c0": 10, "c1": 10, "c2": 0}
    assert sum(allocate(115, layers, {"c0": 3, "c1": 1, "c2": 0}).values()) == 115
