"""Masks: saved and loaded without a bit lost, and told apart."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Band, Connection, Masks

SHAPES = st.lists(st.integers(0, 6), min_size=1, max_size=3).map(tuple)


def connection(name: str, *shape: int) -> Connection:
    return Connection(name, name, "dense", Band("in", shape[1], 0), Band("out", shape[0], 1), shape)


@given(st.dictionaries(st.text(max_size=5), SHAPES, max_size=4), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_pack_and_unpack_round_trip(shapes: dict[str, tuple[int, ...]], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = Masks({name: torch.rand(shape, generator=generator) < 0.5 for name, shape in shapes.items()})
    packed = masks.packed()
    assert all(bits.dtype == torch.uint8 and len(bits) == -(-masks[n].numel() // 8) for n, bits in packed.items())
    again = Masks.unpacked(packed, shapes)
    assert list(again) == list(masks)
    for name, mask in masks.items():
        assert again[name].dtype == torch.bool and torch.equal(again[name], mask)
    assert again.digest() == masks.digest()


def test_packing_reads_logical_order_of_strided_masks() -> None:
    mask = torch.tensor([[1, 0, 0], [0, 0, 1]], dtype=torch.bool)
    turned = mask.t().contiguous().t()
    assert not turned.is_contiguous()
    assert Masks({"a": turned}).digest() == Masks({"a": mask}).digest()
    assert torch.equal(Masks.unpacked(Masks({"a": turned}).packed(), {"a": (2, 3)})["a"], mask)


def test_counts_and_density() -> None:
    masks = Masks({"a": torch.tensor([[True, False, False, True]]), "b": torch.zeros(4, dtype=torch.bool)})
    assert masks.kept == {"a": 2, "b": 0}
    assert masks.sizes == {"a": 4, "b": 4}
    assert masks.density == 0.25
    assert Masks({}).density == 0.0
    full = Masks.full([connection("x", 3, 2), connection("y", 2, 2, 3, 3)])
    assert full.density == 1.0 and full["y"].shape == (2, 2, 3, 3)


def test_digest_depends_on_every_bit_name_and_shape_but_not_on_order() -> None:
    mask = torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) < 0.5
    seen = {Masks({"a": mask}).digest()}
    for i in range(35):
        other = mask.clone()
        other.view(-1)[i] ^= True
        seen.add(Masks({"a": other}).digest())
    seen.add(Masks({"b": mask}).digest())
    seen.add(Masks({"a": mask.reshape(7, 5)}).digest())
    seen.add(Masks({"a": mask, "b": mask}).digest())
    assert len(seen) == 39
    other = ~mask
    assert Masks({"a": mask, "b": other}).digest() == Masks({"b": other, "a": mask}).digest()
    assert Masks({"a": mask, "b": other}).digest() != Masks({"a": other, "b": mask}).digest()


def test_deepcopy_is_independent_and_equal() -> None:
    masks = Masks({"a": torch.tensor([True, False])})
    other = copy.deepcopy(masks)
    assert other.digest() == masks.digest()
    other["a"].logical_not_()
    assert masks["a"].tolist() == [True, False]


def test_only_bool_tensors_are_masks() -> None:
    with pytest.raises(ValueError, match=r"'a' is torch\.float32"):
        Masks({"a": torch.ones(2)})


def test_to_keeps_content() -> None:
    masks = Masks({"a": torch.tensor([True, False])})
    assert masks.to("cpu").digest() == masks.digest()
    assert masks.to("meta")["a"].device.type == "meta"


def test_masks_that_are_not_given_stay() -> None:
    masks = Masks.full([connection("first", 2, 2), connection("second", 2, 2)])
    given = {"second": torch.tensor([[True, False], [False, True]])}
    found = masks.updated(given, "hook")
    assert isinstance(found, Masks) and list(found) == ["first", "second"]
    assert torch.equal(found["second"], given["second"]) and found["first"].all()
    assert masks["second"].all()
    assert masks.updated({}, "hook").digest() == masks.digest()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (None, TypeError, r"M.refine\(\) returned None: must be a mapping"),
        ({"secnd": torch.ones(2, 2).bool()}, ValueError, r"M.refine\(\): .*'secnd'. Did you mean 'second'\?"),
        ({"first": [[True]]}, TypeError, "the mask of connection 'first' is a list, must be a tensor"),
        ({"first": torch.ones(4).bool()}, ValueError, r"'first' has shape \(4,\), must have \(2, 2\)"),
        ({"first": torch.ones(2, 2)}, ValueError, "'first' is torch.float32, must be torch.bool"),
    ],
)
def test_masks_that_do_not_fit_are_named(given: object, error: type[Exception], message: str) -> None:
    masks = Masks.full([connection("first", 2, 2), connection("second", 2, 2)])
    with pytest.raises(error, match=message):
        masks.updated(given, "M.refine()")  # type: ignore[arg-type]
