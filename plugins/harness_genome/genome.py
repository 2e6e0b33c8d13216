"""The genome: cell types, their affinities, and where in the network they live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Genome(nn.Module):
    """Grows a mask between any two bands from 2 + K D + K^2 + 2 K L numbers.

    A neuron at position p in [0, 1] of band b is a mixture ``softmax(3 (base_b + p grad_b))`` of K cell
    types. Types t and s attract each other by ``R = (A A^T / sqrt(D) + C) softplus(connection_scale)``,
    and distance costs ``softplus(depth_penalty) |t - s| / L``. Source: Sudarshan 2026, "Neural DNA".

    Parameters, named as in published state dicts, with their initial distributions:
        affinity: A, (K, D), N(0, 0.1^2).
        compatibility: C, (K, K), N(-1, 0.3^2): disconnected unless learnt otherwise.
        connection_scale: (), 3.
        depth_penalty: (), 2.
        band_type_base: (L, K), N(0, 0.5^2).
        band_type_grad: (L, K), N(0, 0.3^2).

    Args:
        n_types: K, at least 1.
        type_dim: D, at least 1.
        n_bands: L, at least 1.
        generator: CPU generator of the initial values; None is torch's global one.
    """

    def __init__(
        self, n_types: int = 8, type_dim: int = 8, n_bands: int = 6, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()

        def normal(mean: float, std: float, *shape: int) -> nn.Parameter:
            return nn.Parameter(mean + std * torch.randn(shape, generator=generator))

        self.n_bands = n_bands
        self.affinity = normal(0.0, 0.1, n_types, type_dim)
        self.compatibility = normal(-1.0, 0.3, n_types, n_types)
        self.connection_scale = nn.Parameter(torch.tensor(3.0))
        self.depth_penalty = nn.Parameter(torch.tensor(2.0))
        self.band_type_base = normal(0.0, 0.5, n_bands, n_types)
        self.band_type_grad = normal(0.0, 0.3, n_bands, n_types)
        bands = torch.arange(n_bands)
        # Whole numbers, so that the module is as exact after .double(); divided by L where it is used.
        self.distance: Tensor
        self.register_buffer("distance", (bands[:, None] - bands).abs().float(), persistent=False)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Genome:
        """The genome with these tensors, named as in its state dict; of their sizes and type."""
        bands, types = tensors["band_type_base"].shape
        genome = cls(types, tensors["affinity"].shape[1], bands).to(tensors["affinity"].dtype)
        genome.load_state_dict(dict(tensors))
        return genome

    def coordinates(self, bands: Sequence[tuple[int, int]]) -> Tensor:
        """Where units are, as constants that :meth:`factors` takes.

        Args:
            bands: (band, size) in the order in which the units are to be listed.

        Returns:
            (2 L, units): a one-hot column for the band, below it the same times the position in [0, 1].
            The only unit of a band of size 1 is at position 0.

        Raises:
            ValueError: for a band outside [0, L).
        """
        columns = [torch.zeros(2 * self.n_bands, 0, dtype=self.affinity.dtype)]
        for band, size in bands:
            if not 0 <= band < self.n_bands:
                raise ValueError(f"band {band} is not one of the genome's {self.n_bands} bands, counted from 0")
            column = torch.zeros(2 * self.n_bands, size, dtype=self.affinity.dtype)
            column[band] = 1.0
            column[self.n_bands + band] = torch.linspace(0.0, 1.0, size, dtype=column.dtype)
            columns.append(column)
        return torch.cat(columns, dim=1).to(self.affinity.device)

    def rule(self) -> Tensor:
        """R, (K, K): how much a target type (row) wants a source type (column)."""
        alpha = 1.0 / sqrt(self.affinity.shape[1])
        attraction = torch.addmm(self.compatibility, self.affinity, self.affinity.T, alpha=alpha)
        return attraction * F.softplus(self.connection_scale)

    def factors(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """Units as targets and as sources: ``as_target[:, t] @ as_source[:, s]`` is the logit of a pair.

        The distance penalty is part of the product (penalty row times band one-hot), so that a block of
        logits of any size is a single matmul without a further pass over its entries.

        Returns:
            Two tensors (K + L, units). Units are columns because a softmax over 8 neighbouring numbers
            takes ten times as long as one over 8 rows.
        """
        band = coordinates[: self.n_bands]
        types = torch.softmax(3.0 * torch.cat([self.band_type_base, self.band_type_grad]).T @ coordinates, dim=0)
        penalty = self.distance * (F.softplus(self.depth_penalty) / -self.n_bands)
        return torch.cat([self.rule().T @ types, penalty @ band]), torch.cat([types, band])

    @staticmethod
    def logits(as_target: Tensor, as_source: Tensor) -> Tensor:
        """Logits (targets, sources) from factors (K + L, targets) and (K + L, sources)."""
        # Contiguous before the transposition: autograd's backward of mm then takes half the time.
        return torch.mm(as_target.contiguous().T, as_source)

    def mask(
        self,
        source_band: int,
        target_band: int,
        source_size: int,
        target_size: int,
        temperature: float = 1.0,
        hard: bool = False,
    ) -> Tensor:
        """The mask between two bands, (target_size, source_size).

        Soft: ``sigmoid(logits * temperature)``. Hard: ``sigmoid(logits) > 0.5`` as 0 or 1, with the
        straight-through gradient s (1 - s) of s = sigmoid(logits); like the published code it ignores
        the temperature in value and in gradient.
        """
        coordinates = self.coordinates([(target_band, target_size), (source_band, source_size)])
        as_target, as_source = self.factors(coordinates)
        logits = self.logits(as_target[:, :target_size], as_source[:, target_size:])
        if not hard:
            return torch.sigmoid(logits * temperature)
        soft = torch.sigmoid(logits)
        return (soft > 0.5).to(soft.dtype) + (soft - soft.detach())
