"""Controls that take their masks from another cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel
from torch import Tensor

from harness import Connection, Masks, MethodContext, Prune, SparsityMethod, Unsupported

OptionsT = TypeVar("OptionsT", bound=BaseModel)

TAKE_MASKS = Prune(density=1.0)
"""Opens every mask; :meth:`FromSource.refine` then has the last word. Counts are the source's."""


class FromSource(SparsityMethod[OptionsT]):
    """A control that begins with the masks of its source cell, as :meth:`refine` changes them."""

    takes_density = "never"
    takes_source = "required"
    kinds = frozenset({"weight", "attention"})
    control = True

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """1 where the source keeps a weight, 0 elsewhere."""
        return {name: mask.float() for name, mask in source_masks(context).items()}

    def refine(self, masks: Masks, context: MethodContext) -> Masks:
        """The source's masks."""
        return source_masks(context)

    def other_count(self, asked: int, kept: int, connections: Sequence[Connection]) -> str | None:
        """Where the source keeps another number than was asked of both."""
        return "as many as its source, whose masks it takes"


def source_masks(context: MethodContext) -> Masks:
    """The source's masks, on this cell's device.

    Raises:
        Unsupported: if the two cells do not mask the same regions.
    """
    source = context.source
    assert source is not None, "planned with takes_source"
    here = {c.name: c.shape for c in context.connections}
    there = {name: tuple(mask.shape) for name, mask in source.masks.items()}
    if here != there:
        differing = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
        raise Unsupported(
            f"the masks of cell {source.cell} do not fit this cell: connections {', '.join(differing)} differ "
            "or are masked in one of the two only; give both the same architecture and scope"
        )
    return source.masks.to(context.device)
