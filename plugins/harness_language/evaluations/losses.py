"""From losses to what is reported, with standard errors."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

from harness import Measurement


def exponential(loss: Measurement) -> Measurement:
    """Perplexity: exp of a mean loss in nats; its standard error by the delta method, exp(loss) times the loss's.

    Infinite, not an error, where the loss is above what a float can hold.
    """
    value = float(torch.tensor(loss.value, dtype=torch.float64).exp())
    stderr = None if loss.stderr is None or value == inf else value * loss.stderr
    return Measurement(value, loss.n, stderr, None if loss.examples is None else loss.examples.exponential())


def block_mean(losses: Tensor, block: int) -> Measurement:
    """Mean loss of a text's tokens (n,); the standard error is over consecutive blocks of ``block`` tokens.

    Tokens of a block depend on each other; neighbouring blocks are taken as independent. None for one block.
    """
    blocks = torch.split(losses, block)
    sums = torch.stack([part.sum() for part in blocks])
    return Measurement.ratio(sums, torch.tensor([len(part) for part in blocks]), each="block")


def per(loss: Measurement, units: int, scale: float = 1.0) -> Measurement:
    """The same total loss per each of ``units`` words or bytes, whose number is taken as given, over ``scale``."""
    factor = loss.n / units / scale
    stderr = None if loss.stderr is None else loss.stderr * factor
    return Measurement(loss.value * factor, units, stderr, loss.examples and loss.examples.per(units, scale))
