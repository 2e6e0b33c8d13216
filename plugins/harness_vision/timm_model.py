"""Any classifier of the timm library."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, JsonValue, field_validator
from torch import Tensor, nn

from harness import Architecture, Connection, Unsupported, UserError
from harness.extras import require
from harness_architectures.loss import mean_cross_entropy
from harness_vision.timm_connections import connections_of

NOT_GIVEN = {
    "num_classes": "are the data's",
    "in_chans": "are the data's",
    "features_only": "gives no classifier",
    "pretrained": "would download: weights are always new",
    "pretrained_cfg": "would download: weights are always new",
    "pretrained_cfg_overlay": "would download: weights are always new",
    "checkpoint_path": "would load pickled weights: they are always new",
}
"""Arguments of timm that a suite cannot set, and why."""


class TimmOptions(BaseModel):
    """What a suite may set.

    Attributes:
        model: a name of ``timm.list_models()``, without the tag of pretrained weights.
        arguments: of the model beside those that the data give, for example ``{drop_path_rate: 0.1}``, or for a ViT on
            small pictures ``{patch_size: 4}``.
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    arguments: dict[str, JsonValue] = {}

    @field_validator("arguments")
    @classmethod
    def _of_the_model(cls, arguments: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name in arguments:
            if name in NOT_GIVEN:
                raise ValueError(f"'{name}' {NOT_GIVEN[name]}: leave it out")
        return arguments


class TimmNetwork(nn.Module):
    """A model of timm; its parameters are named ``model.<name in timm>``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits (batch, classes), or the mean loss when targets (batch,) are given."""
        logits: Tensor = self.model(inputs)
        return logits if targets is None else mean_cross_entropy(logits, targets)


class Timm(Architecture[TimmOptions]):
    """A classifier of timm (Wightman 2019, "PyTorch Image Models") with new weights, drawn as timm does.

    Pictures may have any size that the model can take: one whose layers fit one size only is built for the data's.
    """

    Options = TimmOptions
    kinds = ("classification",)

    def unsupported(self) -> str | None:
        """Also what are no pictures, or pictures of a size that the model cannot take."""
        if reason := super().unsupported():
            return reason
        if len(self.data.inputs) != 3:
            return f"takes pictures (channels, height, width), not {self.data.inputs}"
        try:
            self.connections()
        except Unsupported as error:
            return str(error)
        return None

    def build(self) -> TimmNetwork:
        """A new network, initialised from torch's current random state.

        Raises:
            UserError: if timm is not installed, or has no model of that name.
            Unsupported: if it cannot build the model for these data.
        """
        timm, options = _library(), self.options
        if options.model not in (known := timm.list_models()):
            near = difflib.get_close_matches(options.model.partition(".")[0], known, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise UserError(f"unknown timm model '{options.model}'.{hint} timm.list_models() names all {len(known)}.")
        channels, *size = self.data.inputs
        given: dict[str, Any] = {"num_classes": self.data.outputs, "in_chans": channels}
        usual = timm.get_pretrained_cfg(options.model)
        if usual is not None and usual.fixed_input_size and tuple(size) != tuple(usual.input_size[1:]):
            given["img_size"] = tuple(size)
        with self._asked("building"):
            return TimmNetwork(timm.create_model(options.model, pretrained=False, **(given | options.arguments)))

    def connections(self) -> Sequence[Connection]:
        """See :func:`harness_vision.timm_connections.connections_of`."""
        return self._found

    @cached_property
    def _found(self) -> list[Connection]:
        shape = self.data.inputs
        with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.enable_grad():
            network = self.build().eval()
            with self._asked("running"):
                logits = network(inputs := torch.empty(2, *shape, requires_grad=True))
                if not isinstance(logits, Tensor) or tuple(logits.shape) != (2, self.data.outputs):
                    raise TypeError("it is no classifier")
        return connections_of(network, network.model, inputs, logits)

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        """Whatever timm raises, in its many types, as :class:`harness.Unsupported`."""
        try:
            yield
        except Exception as error:
            size, given = "x".join(map(str, self.data.inputs)), self.options.arguments
            model = f"timm's {self.options.model}{f' with {given}' if given else ''}"
            raise Unsupported(
                f"cannot take pictures of {size}: {what} {model} gives {type(error).__name__}: {error}"
            ) from error


def _library() -> Any:
    """The module ``timm``; its import takes seconds.

    Raises:
        NotInstalled: if it is not there.
    """
    require("timm", what="the architecture timm")
    import timm

    return timm
