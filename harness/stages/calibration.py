"""A phase that looks at training batches without training on them."""

from __future__ import annotations

import torch

from harness.core.phases import Calibrate
from harness.stages.calibration_batches import Batches
from harness.stages.network import Network
from harness.stages.running_statistics import estimate


def calibrate(network: Network, phase: Calibrate, batches: Batches) -> None:
    """What a ``Calibrate`` phase does; see :class:`harness.core.phases.Calibrate`."""
    if not phase.hooks:
        network.require_final(phase)
        network.begin_phase(hooks=False)
        network.soft = False
        estimate(network.module, phase.batches, batches)
        return
    weights = network.begin_phase(hooks=True)
    with batches.open(), weights.evaluating("soft"), torch.enable_grad():
        network.method.calibrate(phase, network.context)
