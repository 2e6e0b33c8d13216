"""How many neurons and branches each layer has, and which layers feed back to which."""

from __future__ import annotations

Layout = tuple[tuple[int, ...], ...]
Pairs = tuple[tuple[int, int], ...]


def cortical_layout(width: int, n_layers: int, multi_neuron: bool = True) -> Layout:
    """Branches of each neuron of each layer.

    With progress i / (n_layers - 1) of layer i: below 0.33 two neurons of 8 branches, above 0.67 two of 4,
    otherwise three of 8, 6 and 4; each number is lowered until it divides ``width``. At width 768 and 12
    layers these are 168 branches.

    Args:
        width: units of the residual stream, at least 1.
        n_layers: at least 1.
        multi_neuron: if False, only the first neuron of each layer.
    """
    layout = []
    for layer in range(n_layers):
        progress = layer / max(n_layers - 1, 1)
        wished = (8, 8) if progress < 0.33 else (4, 4) if progress > 0.67 else (8, 6, 4)
        branches = tuple(next(b for b in range(wish, 0, -1) if width % b == 0) for wish in wished)
        layout.append(branches if multi_neuron else branches[:1])
    return tuple(layout)


def feedback_pairs(n_layers: int) -> Pairs:
    """(late layer, early layer) of every feedback: the last third to the first third, in order."""
    third = n_layers // 3
    return tuple((n_layers - third + early, early) for early in range(third))
