"""The training examples on which scores are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from harness import Architecture, Connection, MethodContext
from harness_initialisation.at_initialisation import AtInitialisation, AtInitialisationOptions


class CalibratedOptions(AtInitialisationOptions):
    """Options of methods whose scores depend on training examples.

    Attributes:
        batches: batches over which gradients are summed, at least 1; default 1, as in the SNIP paper.
        batch_size: examples in each, at least 1, or None for the suite's; the SNIP paper took 100 for MNIST and 128 for
            CIFAR, which were its batch sizes in training.
        per_class: instead of random batches, one batch with this many examples of every class, the first ones that
            come, for classification only; None (default) for random ones. 10 in GraSP's paper, in Synaptic-Flow's code
            and in Frankle et al. 2021.
    """

    batches: int = Field(1, ge=1)
    batch_size: int | None = Field(None, ge=1)
    per_class: int | None = Field(None, ge=1)


CalibratedT = TypeVar("CalibratedT", bound=CalibratedOptions)


class Calibrated(AtInitialisation[CalibratedT]):
    """A method that prunes before training, by scores that depend on training examples."""

    def unsupported(self, architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
        """Tokens have no classes to balance."""
        if self.options.per_class is not None and architecture.data.kind != "classification":
            return f"per_class needs classes, and the data is {architecture.data.kind}: leave it out, give batches"
        return None

    def examples(self, context: MethodContext) -> Iterator[tuple[Tensor, Tensor]]:
        """(inputs, targets) of every batch; the same whenever it is called."""
        options = self.options
        if options.per_class is None:
            yield from context.batches(options.batches, options.batch_size)
        else:
            yield balanced(context, options.per_class)


def balanced(context: MethodContext, per_class: int) -> tuple[Tensor, Tensor]:
    """(inputs, targets) of the first ``per_class`` examples of each class in the order of calibration.

    Classes of which there are fewer give what they have, after one pass over the training data.
    """
    examples, classes = context.data.examples, context.data.outputs
    size = min(examples, 10 * per_class * classes)
    missing = torch.full((classes,), per_class, device=context.device)
    inputs: list[Tensor] = []
    targets: list[Tensor] = []
    for index, (some, labels) in enumerate(context.batches(-(-examples // size), size)):
        some, labels = (tensor[: examples - index * size] for tensor in (some, labels))  # no example twice
        place = one_hot(labels, classes).cumsum(0).gather(1, labels[:, None])[:, 0]  # the n-th of its class, from 1
        wanted = place <= missing[labels]
        inputs.append(some[wanted])
        targets.append(labels[wanted])
        missing -= targets[-1].bincount(minlength=classes)
        if not missing.any():
            break
    return torch.cat(inputs), torch.cat(targets)
