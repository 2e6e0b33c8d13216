"""Published networks of Neural DNA, from their state dicts, as the harness's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness import Architecture, Connection, DataSpec, UserError
from harness.errors import unknown_name
from harness_genome.genome import Genome
from harness_genome.layout import Layout, every_pair
from harness_genome.published import check_genome
from harness_ndna.band_cnn import BandCnn, BandCnnOptions

GENOME = "genome."


class PublishedNetwork(nn.Module):
    """A network under the masks that its genome grows, as it was published and tested.

    Attributes:
        network: the harness's own, with the effective weights.
    """

    def __init__(self, network: nn.Module, cost: float) -> None:
        super().__init__()
        self.network = network
        self._cost = cost

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the network gives."""
        output: Tensor = self.network(*inputs)
        return output

    def metabolic_cost(self) -> float:
        """Mean soft mask at temperature 1 over all pairs of units of any two bands, joined or not."""
        return self._cost


def load_published(
    kind: str, state_dict: Mapping[str, Tensor], temperature: float = 1.0, hard: bool = False
) -> PublishedNetwork:
    """The published network of a state dict, in evaluation mode, in the type of its tensors.

    Args:
        kind: ``cnn``.
        state_dict: of the released class, its genome under ``genome.``; all sizes are read from it.
        temperature: of the soft masks; the published CNNs are tested at 10.
        hard: masks of zeros and ones, where the soft one exceeds a half, whatever the temperature.

    Raises:
        UserError: for another kind, or a state dict that is not of this one.
    """
    if kind not in _KINDS:
        raise UserError(unknown_name("kind", kind, _KINDS))
    tensors = dict(state_dict)
    if other := [str(name) for name, value in tensors.items() if not isinstance(value, Tensor)]:
        raise UserError(f"the state dict is not of a published '{kind}': no tensors are {', '.join(other[:5])}")
    genes = {name.removeprefix(GENOME): tensor for name, tensor in tensors.items() if name.startswith(GENOME)}
    genome = Genome.of(check_genome(genes, f"the state dict, under '{GENOME}',"))
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(GENOME)}
    architecture, renamed = _KINDS[kind](weights)
    network = architecture.build().to(genome.affinity.dtype)
    try:
        network.load_state_dict({name: weights[theirs] for name, theirs in renamed.items()})
    except (KeyError, RuntimeError) as error:
        raise UserError(f"the state dict is not of a published '{kind}': {error}") from error
    if unused := sorted(weights.keys() - set(renamed.values())):
        raise UserError(f"the state dict is not of a published '{kind}': it also has {', '.join(unused[:5])}")
    with torch.no_grad():
        _mask(network, genome, architecture.connections(), temperature, hard)
        charged = Layout(genome, every_pair(architecture.connections()))
        total = sum(float(torch.sigmoid(block).sum()) for block in charged.logits(genome))
    return PublishedNetwork(network, total / charged.pairs).eval()


def _mask(
    network: nn.Module, genome: Genome, connections: Sequence[Connection], temperature: float, hard: bool
) -> None:
    layout, parameters = Layout(genome, connections), dict(network.named_parameters())
    logits = layout.logits(genome)
    masks = [torch.sigmoid(block) > 0.5 if hard else torch.sigmoid(block * temperature) for block in logits]
    by_name = {c.name: c for c in connections}
    for name, mask in layout.parts(masks):
        region = by_name[name].region(parameters[by_name[name].parameter])
        region.mul_(mask.reshape(*mask.shape, *(1,) * (region.ndim - 2)))


def _cnn(weights: Mapping[str, Tensor]) -> tuple[Architecture[Any], dict[str, str]]:
    """The architecture, and the names of its state dict beside the published ones."""
    convs = [name for name in weights if name.startswith("primary_convs.")]
    try:
        shapes = [tuple(weights[f"primary_convs.{i}.weight"].shape) for i in range(len(convs))]
        first, classes = shapes[0][1], len(weights["fc.weight"])
    except (KeyError, IndexError) as error:
        raise UserError(f"the state dict is not of a published 'cnn': it lacks {error}") from error
    channels = [shape[0] for shape in shapes]
    strides = [2 if band in (3, 5) else 1 for band in range(1, len(channels) + 1)]
    data = DataSpec("classification", (first, 32, 32), classes, 1)
    architecture = BandCnn(BandCnnOptions(channels=channels, strides=strides), data)
    names = ["input", *(f"band{i}" for i in range(1, len(channels) + 1))]
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    renamed = {f"classifier.{part}": f"fc.{part}" for part in ("weight", "bias")}
    for target in range(1, len(names)):
        renamed[f"convs.{names[target]}.weight"] = f"primary_convs.{target - 1}.weight"
        renamed |= {f"norms.{names[target]}.{part}": f"primary_bns.{target - 1}.{part}" for part in norm}
        for source in range(target - 1):
            ours, theirs = f"{names[target]}_from_{names[source]}", f"{target}_{source}"
            renamed[f"skip_convs.{ours}.weight"] = f"skip_convs.{theirs}.weight"
            renamed |= {f"skip_norms.{ours}.{part}": f"skip_bns.{theirs}.{part}" for part in norm}
    return architecture, renamed


_KINDS: dict[str, Callable[[Mapping[str, Tensor]], tuple[Architecture[Any], dict[str, str]]]] = {"cnn": _cnn}
