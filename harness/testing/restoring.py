"""Does a method say the same after it was saved and restored?"""

from __future__ import annotations

import io
from typing import Any

import torch

from harness.stages.network import Network
from harness.testing.checks import equal, require


def check_restored(name: str, network: Network, fresh: Network) -> None:
    """Through a file into a ``fresh`` method and network, as whoever evaluates or exports a finished cell has it.

    There no step is under way: what the answers depend on must be in the state.
    """
    state, buffer = network.method_state(), io.BytesIO()
    try:
        torch.save(network.state(), buffer)
        buffer.seek(0)
        loaded = torch.load(buffer, weights_only=True)
    except Exception as error:
        allowed = "tensors, numbers, strings, lists and dicts"
        raise AssertionError(f"{name}.state_dict() may hold {allowed} only: {error}") from error
    fresh.load(loaded)
    require(equal(state, fresh.method_state()), f"{name}: load_state_dict() does not restore what state_dict() gave")
    before, after = _answers(network), _answers(fresh)
    for hook, answer in before.items():
        require(
            equal(answer, after[hook]),
            f"{name}.{hook} answers otherwise once the method is restored from its state: state_dict() must hold what "
            "it depends on, for the step, the phase and random draws are not those of the training",
        )


def _answers(network: Network) -> dict[str, Any]:
    """What a network is evaluated with, by the hook that says it."""
    weights = network.begin_phase(hooks=network.soft)
    masks = network.final_masks()
    found: dict[str, Any] = {"final_masks()": masks}
    if network.soft:
        found["soft_densities()"] = network.method.soft_densities()
        with weights.evaluating("hard", masks):
            found["final()"] = {key: tensor.detach().clone() for key, tensor in weights.tensors.items()}
        with weights.evaluating("soft"):
            found["effective()"] = {key: tensor.detach().clone() for key, tensor in weights.tensors.items()}
    return found
