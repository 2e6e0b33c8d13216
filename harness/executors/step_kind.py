"""Which optimizer steps take about equally long: those of a network on a shape of data, with or without a method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from harness.core.method import SparsityMethod
from harness.core.phases import Train

if TYPE_CHECKING:
    from harness.stages.graph import Stage
    from harness.suites.suite import Suite

TRAINING = {"batch_size", "micro_batches", "optimizer", "clip_norm", "precision", "threads", "compile", "pack"}
"""Settings of training that a step's time depends on."""
HOOKS = ("adapt", "on_gradients", "after_step", "regularizers", "parameter_groups")
"""A projected method that overrides none of them holds masks, which costs nothing that would show."""


class StepKind(NamedTuple):
    """A kind of optimizer step.

    Attributes:
        network: all that tells of architecture, data's shape and training, as text.
        method: the plugin that makes the step another one, and whether it has a density that it could do without; ""
            where masks are held, or none.
        composed: whether that method composes weights.
    """

    network: str
    method: str = ""
    composed: bool = False

    @property
    def held(self) -> StepKind:
        """Of the same network, with masks that are held."""
        return StepKind(self.network)


class StepKinds:
    """Kinds of the steps of a suite's stages."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._networks: dict[Any, str] = {}

    def of(self, stage: Stage) -> StepKind:
        """The kind of a stage's last training."""
        cell = stage.cell
        memo = (id(cell.architecture_part), id(cell.training_part), id(cell.training))
        if memo not in self._networks:
            spec = self._suite.spec(cell.training_part)
            self._networks[memo] = repr(
                (
                    cell.architecture_part.plugin,
                    cell.architecture_part.options.model_dump_json(),
                    (spec.kind, spec.inputs, spec.outputs, spec.vocabulary),
                    cell.training.model_dump(mode="json", include=TRAINING),
                )
            )
        method = self._suite.registry.get("method", cell.method_part.plugin)
        composed = method.mode == "composed"
        hooks = any(phase.hooks for phase in stage.phases if isinstance(phase, Train))
        own = composed or method.dense_updates or any(_overridden(method, hook) for hook in HOOKS)
        if not (hooks and own):
            return StepKind(self._networks[memo])
        given = method.takes_density == "optional" and (cell.density is not None or cell.match is not None)
        return StepKind(self._networks[memo], cell.method_part.plugin + " at a density" * given, composed)


def _overridden(method: type[SparsityMethod[Any]], hook: str) -> bool:
    return getattr(method, hook) is not getattr(SparsityMethod, hook)
