"""What plugins' hooks must return, checked where the harness asks them: theirs is the fault, and not the harness's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.errors import PluginError, unknown_name

if TYPE_CHECKING:
    from harness.core.connections import Connection


def kind(given: object) -> str:
    """What was given, for messages: ``None``, ``a list``."""
    return "None" if given is None else kind_of(type(given))


def kind_of(of: type) -> str:
    """``a list``, ``an int``."""
    return f"a{'n' * (of.__name__[0] in 'AEIOaeio')} {of.__name__}"


def require_kind(given: object, of: type, hook: str) -> None:
    """Raises PluginError for what is no such thing."""
    if not isinstance(given, of):
        raise PluginError(f"{hook} is {kind(given)}, must be {kind_of(of)}")


def require_list(given: object, of: type, hook: str, example: str) -> None:
    """Check that a hook gave a list of such things.

    Raises:
        PluginError: with the ``example``.
    """
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise PluginError(f"{hook} is {kind(given)}, must be a list such as {example}")
    for index, one in enumerate(given):
        if not isinstance(one, of):
            raise PluginError(f"{hook}[{index}] is {kind(one)}, must be {kind_of(of)}, as in {example}")


def require_tensor(given: object, shape: Sequence[int], hook: str, what: str) -> None:
    """Raises TypeError for what is no tensor, ValueError for another shape."""
    if not isinstance(given, Tensor):
        raise TypeError(f"{hook}: {what} is {kind(given)}, must be a tensor")
    if given.shape != tuple(shape):
        raise ValueError(f"{hook}: {what} has shape {tuple(given.shape)}, must have {tuple(shape)}")


def require_tensors(given: object, shapes: Mapping[str, Sequence[int]], hook: str, what: str) -> None:
    """Check that a hook gave tensors of these ``shapes``, by name; some may be left out.

    Args:
        given: what it returned.
        shapes: connection -> shape.
        hook: who gave it, for messages.
        what: one of them, for messages: ``mask``.

    Raises:
        TypeError: for what is no mapping of tensors.
        ValueError: for a connection that is not there, or another shape.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"{hook} returned {kind(given)}: must be a mapping of connection names to {what}s, tensors")
    for name, tensor in given.items():
        if name not in shapes:
            raise ValueError(f"{hook}: {unknown_name('connection', str(name), shapes)}")
        require_tensor(tensor, shapes[name], hook, f"the {what} of connection '{name}'")


def require_scores(given: object, connections: Sequence[Connection], hook: str) -> None:
    """Check that a hook gave scores of the weights of ``connections``; ``-inf`` is one, NaN is none.

    Raises:
        TypeError, ValueError: naming the first connection with which something is wrong.
    """
    require_tensors(given, {c.name: c.shape for c in connections}, hook, "score")
    assert isinstance(given, Mapping)
    for name, score in given.items():
        if unordered := int(torch.isnan(score).sum()):
            raise ValueError(
                f"{hook}: {unordered:,} of {score.numel():,} scores of connection '{name}' are NaN, which have no rank"
            )


def require_terms(given: object, hook: str) -> None:
    """Check that a hook gave scalars by name.

    Raises:
        PluginError: naming the first that is none.
    """
    if not isinstance(given, Mapping):
        raise PluginError(f"{hook} returned {kind(given)}: must be a mapping of names to scalars")
    for name, term in given.items():
        if not (isinstance(term, int | float) or (isinstance(term, Tensor) and term.ndim == 0)):
            found = f"a tensor {tuple(term.shape)}" if isinstance(term, Tensor) else kind(term)
            raise PluginError(f"{hook}: the term '{name}' is {found}, must be a scalar")


def require_shares(given: object, hook: str) -> None:
    """Check that a hook gave numbers in [0, 1] by connection, or None.

    Raises:
        PluginError: naming the first that is none.
    """
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise PluginError(f"{hook} returned {kind(given)}: must be a mapping of connection names to means in [0, 1]")
    for name, mean in given.items():
        if not (isinstance(mean, int | float) and 0 <= mean <= 1):
            raise PluginError(f"{hook}: the mean of connection '{name}' is {mean!r:.80}, must be a number in [0, 1]")
