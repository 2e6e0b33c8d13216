"""The Architecture interface: a dense network, and which of its weights can be masked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from harness.core.connections import Connection
from harness.core.data import DataSpec
from harness.core.units import UnitGroup
from harness.errors import Unsupported

Size = Annotated[int, Field(gt=0, le=10_000_000)]
"""A number of units, channels, heads or tokens, as an option: more of them than any network has are a slip."""


class NoOptions(BaseModel):
    """Options of a plugin that has none."""

    model_config = ConfigDict(extra="forbid")


OptionsT = TypeVar("OptionsT", bound=BaseModel)


class Architecture(ABC, Generic[OptionsT]):
    """Describes and builds one network for one kind of data.

    An instance is cheap: it holds options and the data's shape, no weights.

    Attributes:
        Options: pydantic model of what a suite may set; unknown keys are errors.
        version: raise it whenever the same options would give another network or other initial weights.
        scaled_version: raise it whenever :meth:`scaled` would give another network; their runs are then made anew.
        kinds: the ``DataSpec.kind`` values it can take.
    """

    Options: ClassVar[type[BaseModel]] = NoOptions
    version: ClassVar[str] = "1"
    scaled_version: ClassVar[str] = "1"
    kinds: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: OptionsT, data: DataSpec) -> None:
        self.options = options
        self.data = data

    @classmethod
    def content(cls, options: OptionsT) -> str | None:
        """Digest of files that the options point to, or None; enters every hash, so that new content is a new cell."""
        return None

    def unsupported(self) -> str | None:
        """Why this architecture cannot take this data, or None if it can."""
        if self.data.kind not in self.kinds:
            return f"takes {' or '.join(self.kinds)} data, not {self.data.kind}"
        if self.data.token_ids and self.context < self.data.inputs[0]:
            return f"has a context of {self.context}, shorter than the data's {self.data.inputs[0]} tokens"
        return None

    @property
    def context(self) -> int:
        """The longest input in tokens, where there are any; by default as long as the data's."""
        return self.data.inputs[0]

    @abstractmethod
    def build(self) -> nn.Module:
        """A new module, initialised from torch's current random state.

        ``module(inputs)`` returns logits; ``module(inputs, targets)`` returns the mean loss as a scalar.
        Inputs are (batch, *data.inputs); targets are (batch,) for classification and (batch, context)
        for language, whose logits are (batch, context, data.outputs). Texts with a class are int64 (batch, longest),
        with ``data.padding`` behind shorter ones. Where targets are real numbers, module(inputs) has their shape and
        the loss is the mean squared error: (batch, data.outputs) for regression, and for video frames, (batch, height,
        width).
        """

    @abstractmethod
    def connections(self) -> Sequence[Connection]:
        """Every region that could be masked, in network order, whatever the suite's scope is."""

    def units(self) -> Sequence[UnitGroup]:
        """The neurons, heads, branches and channels, for methods that remove whole ones. Default: none known."""
        return ()

    def cut(self, module: nn.Module, kept: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> None:
        """Adapt a module from which units were deleted, where its tensors do not say it all. Default: nothing to do.

        Networks that take their sizes from their weights need nothing, nor do the sizes that torch's own layers note.

        Args:
            module: of :meth:`build`; what belongs to units that are gone is no longer in its tensors.
            kept: group of :meth:`units` -> bool (count,).
            whole: parameters and buffers as they were before, by name.
        """

    def scaled(self, parameters: int) -> Architecture[OptionsT]:
        """The same kind of network, narrower, with as many parameters as fit into ``parameters``.

        A control of more than 5 % fewer is not set against the networks that it is for: see ``scaling.py`` for ways to
        come near.

        Raises:
            Unsupported: if this architecture has no width to scale.
        """
        raise Unsupported(f"{type(self).__name__} has no width to scale: it cannot be made smaller")
