"""Parameters put together from regions: values and gradients are those of writing into a copy, to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from harness import Band, Connection, SparsityMethod
from harness.core.assemble import assemble

LAYOUTS: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "plain": ((6, 8), {}),
    "transposed": ((8, 6), {"out_axis": 1, "in_axis": 0}),
    "kernel": ((6, 8, 3, 2), {}),
    "kernel last": ((3, 8, 6), {"out_axis": 2, "in_axis": 1}),
}
REGIONS: dict[str, list[dict[str, tuple[int, int]]]] = {
    "whole": [{}],
    "whole, said": [{"rows": (0, 6), "columns": (0, 8)}],
    "rows": [{"rows": (0, 2)}, {"rows": (2, 6)}],
    "rows, turned round": [{"rows": (4, 6)}, {"rows": (0, 4)}],
    "columns": [{"columns": (0, 1)}, {"columns": (1, 5)}, {"columns": (5, 8)}],
    "first rows": [{"rows": (0, 2)}],
    "with gaps": [{"columns": (1, 3)}, {"columns": (5, 6)}],
    "a corner": [{"rows": (0, 2), "columns": (3, 8)}],
    "tiles": [{"rows": (0, 2), "columns": (0, 8)}, {"rows": (2, 6), "columns": (0, 4)}],
}


def connections(regions: list[dict[str, tuple[int, int]]], shape: tuple[int, ...], axes: dict[str, int]) -> Any:
    found = []
    for i, region in enumerate(regions):
        free = Connection(f"c{i}", "p", "dense", Band("a", 8, 0), Band("b", 6, 1), (), **region, **axes)  # type: ignore[arg-type]
        size = tuple(free.region(torch.empty(shape)).shape)
        found.append(Connection(f"c{i}", "p", "dense", free.source, free.target, size, **region, **axes))  # type: ignore[arg-type]
    return found


class Thresholded(SparsityMethod[Any]):
    mode = "composed"

    def compose(self, connection: Connection, raw: Tensor) -> Tensor:
        return raw.sign() * (raw.abs() - 0.1).relu()


class Passing(Thresholded):
    """Not even a new tensor."""

    def compose(self, connection: Connection, raw: Tensor) -> Tensor:
        return raw


def written(method: Any, parameter: Tensor, regions: Any) -> Tensor:
    whole = parameter.clone()
    for connection in regions:
        connection.region(whole).copy_(method.compose(connection, connection.region(parameter)))
    return whole


@pytest.mark.parametrize("method", [Thresholded(None), Passing(None)])
@pytest.mark.parametrize("regions", REGIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_and_gradients(layout: str, regions: str, method: Any) -> None:
    shape, axes = LAYOUTS[layout]
    scope = connections(REGIONS[regions], shape, axes)
    raw = torch.randn(shape, generator=torch.Generator().manual_seed(1), requires_grad=True)
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    expected, found = written(method, raw, scope), method.effective({"p": raw}, scope)["p"]
    assert torch.equal(found, expected) and found.shape == expected.shape
    found.backward(gradient)
    assert raw.grad is not None
    assert torch.equal(raw.grad, *torch.autograd.grad(expected, raw, gradient))


def test_nothing_is_copied_where_a_region_is_the_whole() -> None:
    for layout in ("plain", "transposed"):
        shape, axes = LAYOUTS[layout]
        (connection,) = connections(REGIONS["whole"], shape, axes)
        parameter = torch.randn(shape)
        values = connection.region(parameter) * 2
        assert assemble(parameter, [(connection, values)]).data_ptr() == values.data_ptr()


def test_connections_of_one_parameter_may_have_other_layouts() -> None:
    parameter = torch.zeros(4, 4)
    up = Connection("up", "p", "dense", Band("a", 4, 0), Band("b", 4, 1), (2, 4), rows=(0, 2))
    down = Connection("down", "p", "dense", up.target, up.source, (4, 2), columns=(2, 4), out_axis=1, in_axis=0)
    found = assemble(parameter, [(up, torch.ones(2, 4)), (down, torch.full((4, 2), 2.0))])
    assert found.tolist() == [[1] * 4] * 2 + [[2] * 4] * 2


def test_the_type_is_the_parameters_and_another_shape_is_refused() -> None:
    (connection,) = connections(REGIONS["whole"], (6, 8), {})

    class Wide(Thresholded):
        def compose(self, connection: Connection, raw: Tensor) -> Tensor:
            return raw.double()

    class Narrow(Thresholded):
        def compose(self, connection: Connection, raw: Tensor) -> Tensor:
            return raw[:, :1]

    raw = torch.randn(6, 8)
    assert Wide(None).effective({"p": raw}, [connection])["p"].dtype == torch.float32
    with pytest.raises(
        ValueError, match=r"Narrow.compose\(\): the weight of connection 'c0' has shape \(6, 1\), must have \(6, 8\)"
    ):
        Narrow(None).effective({"p": raw}, [connection])
