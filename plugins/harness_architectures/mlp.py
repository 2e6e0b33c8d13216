"""A multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from harness import Architecture, Band, Connection, Size, UnitGroup, UnitMember
from harness_architectures.bands import bands
from harness_architectures.loss import mean_loss
from harness_architectures.scaling import largest_that_fits, narrowed


class MlpOptions(BaseModel):
    """What a suite may set.

    Attributes:
        hidden: units of each hidden layer, from input to output.
        initialisation: ``kaiming`` draws weights and biases from U(-b, b) with b = 1 / sqrt(fan_in), as
            torch does (He et al. 2015 with slope sqrt(5)); ``xavier`` draws weights from U(-b, b) with
            b = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010) and sets biases to 0.
    """

    model_config = ConfigDict(extra="forbid")

    hidden: list[Size] = Field(default=[128, 128], min_length=1)
    initialisation: Literal["kaiming", "xavier"] = "kaiming"


class MlpNetwork(nn.Module):
    """Linear layers with biases, ReLU between them; one layer for each band but the first."""

    def __init__(self, bands: Sequence[Band]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {target.name: nn.Linear(source.size, target.size) for source, target in pairwise(bands)}
        )

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits or numbers, (batch, outputs), or the mean loss when targets are given."""
        *hidden, output = self.layers.values()
        activations = inputs.flatten(1)
        for layer in hidden:
            activations = layer(activations).relu()
        logits: Tensor = output(activations)
        return logits if targets is None else mean_loss(logits, targets)


class Mlp(Architecture[MlpOptions]):
    """Flattened input, fully connected hidden layers with ReLU, linear output."""

    Options = MlpOptions
    kinds = ("classification", "regression")

    def build(self) -> MlpNetwork:
        """A new network, initialised from torch's current random state."""
        network = MlpNetwork(bands(self.data, self.options.hidden))
        if self.options.initialisation == "xavier":
            for layer in network.layers.values():
                assert isinstance(layer, nn.Linear)
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        return network

    def connections(self) -> Sequence[Connection]:
        """One per layer, named after its target band: ``dense`` into hidden bands, ``classifier`` at the end."""
        return [
            Connection(
                name=target.name,
                parameter=f"layers.{target.name}.weight",
                role="classifier" if target.name == "output" else "dense",
                source=source,
                target=target,
                shape=(target.size, source.size),
            )
            for source, target in pairwise(bands(self.data, self.options.hidden))
        ]

    def units(self) -> Sequence[UnitGroup]:
        """The neurons of each hidden band."""
        return [
            UnitGroup(
                name=band.name,
                kind="neuron",
                count=band.size,
                members=(
                    UnitMember(f"layers.{band.name}.weight", 0, "in"),
                    UnitMember(f"layers.{band.name}.bias", 0, "own"),
                    UnitMember(f"layers.{reader.name}.weight", 1, "out"),
                ),
            )
            for band, reader in pairwise(bands(self.data, self.options.hidden)[1:])
        ]

    def scaled(self, parameters: int) -> Mlp:
        """The same network with narrower hidden layers, nearly in proportion; never wider than this one."""
        widths = self.options.hidden

        def candidate(k: int) -> Mlp:
            return Mlp(self.options.model_copy(update={"hidden": narrowed(widths, k)}), self.data)

        return largest_that_fits(candidate, 0, max(widths) * len(widths), parameters)
