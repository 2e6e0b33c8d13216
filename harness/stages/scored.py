"""What a cell's evaluation scores: one network, or several whose predictions are averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.core.connection_density import ConnectionDensity
from harness.core.connections import Connection
from harness.core.language_network import LanguageNetwork
from harness.core.masks import Masks
from harness.errors import Unsupported
from harness.stages.network import Network
from harness.training.weights import Weights

Row = TypeVar("Row")


class Scored:
    """The networks of a finished cell, with all that is counted in them; connections of several are numbered.

    Attributes:
        weights: of each of the ``networks``, raw or held, as they are evaluated.
        masks: final hard masks of all of them, by connection; None where nothing is masked.
        connections: in scope, as ``masks`` and the tables name them.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = tuple(networks)
        self.weights: tuple[Weights, ...] = tuple(network.begin_phase(hooks=network.soft) for network in networks)
        self._hard = [network.hard_masks() for network in networks]
        self.masks: Masks | None = None
        if any(hard is not None for hard in self._hard):
            whole = zip(networks, self._hard, strict=True)
            self.masks = Masks(self._all([hard or Masks.full(network.connections) for network, hard in whole]))
        self.connections: tuple[Connection, ...] = tuple(
            replace(c, name=self._name(i, c.name)) for i, network in enumerate(networks) for c in network.connections
        )

    def densities(self) -> dict[str, ConnectionDensity]:
        """The table of densities of every connection."""
        return self._all([n.densities(hard) for n, hard in zip(self.networks, self._hard, strict=True)])

    def attention(self) -> dict[str, Tensor]:
        """How much each query attends to each key by its soft mask alone: the softmax of the bias, (queries, keys).

        Means over heads, times the number of keys: 1 is what a query gives to a key where nothing is masked. Of
        networks that were trained with soft masks; hard ones say as much themselves.
        """
        return self._all([_attention(n, w) for n, w in zip(self.networks, self.weights, strict=True)])

    def zeros(self) -> dict[str, int]:
        """Zero weights of every connection, as they are now."""
        return self._all([weights.zeros() for weights in self.weights])

    def nonzero_total(self) -> int:
        """Non-zero entries over all parameters, as they are now."""
        return sum(weights.nonzero_total() for weights in self.weights)

    def own_parameters(self, in_network: bool) -> dict[str, int]:
        """See :meth:`Network.own_parameters`; all members together."""
        found: dict[str, int] = {}
        for network in self.networks:
            for name, count in network.own_parameters(in_network).items():
                found[name] = found.get(name, 0) + count
        return found

    def by_member(self, table: Mapping[str, Row]) -> list[dict[str, Row]]:
        """A table of all connections as one of each member, under the members' own names."""
        return [
            {c.name: table[self._name(i, c.name)] for c in network.connections if self._name(i, c.name) in table}
            for i, network in enumerate(self.networks)
        ]

    def _name(self, member: int, name: str) -> str:
        return name if len(self.networks) == 1 else f"{member + 1}:{name}"

    def _all(self, tables: Sequence[Mapping[str, Row]]) -> dict[str, Row]:
        return {self._name(i, name): row for i, table in enumerate(tables) for name, row in table.items()}


def _attention(network: Network, weights: Weights) -> dict[str, Tensor]:
    seen = [c for c in network.connections if c.kind == "attention"]
    if not network.soft or not seen:
        return {}
    device = network.context.device
    forked = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with forked, weights.evaluating("soft"):
        biases = {c.name: c.region(weights.tensors[c.parameter]).detach() for c in seen}
        shares = {name: (bias.float().softmax(1) * bias.shape[1]).cpu() for name, bias in biases.items()}
    return {name: share.flatten(2).mean(2) if share.ndim > 2 else share for name, share in shares.items()}


def mean_prediction(members: Sequence[nn.Module], real: bool) -> nn.Module:
    """A module that predicts the mean of its members' probabilities, or of their ``real`` numbers; one is itself."""
    if len(members) == 1:
        return members[0]
    language = [member for member in members if isinstance(member, LanguageNetwork)]
    return MeanLanguagePrediction(language) if language else MeanPrediction(members, real)


class MeanPrediction(nn.Module):
    """Several networks as one: the mean of what they predict, or as logits the logarithm of the mean probability."""

    def __init__(self, members: Sequence[nn.Module], real: bool) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.real = real
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, ...) -> (batch, classes), or the shape of the targets."""
        outputs = [member(inputs) for member in self.members]
        return torch.stack(outputs).mean(0) if self.real else log_mean_softmax(outputs)


class MeanLanguagePrediction(LanguageNetwork):
    """The same of language networks, whose features stand side by side."""

    def __init__(self, members: Sequence[LanguageNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self._each = tuple(members)
        self.context, self.vocabulary = members[0].context, members[0].vocabulary
        self.eval()

    def states(self, inputs: Tensor) -> Sequence[Tensor]:
        """Not of several networks.

        Raises:
            Unsupported: always.
        """
        raise Unsupported("an ensemble has no residual stream of its own: score its members one by one")

    def normed(self, state: Tensor) -> Tensor:
        """See :meth:`states`."""
        raise Unsupported("an ensemble has no final norm of its own: score its members one by one")

    @property
    def head_weight(self) -> Tensor:
        """See :meth:`states`."""
        raise Unsupported("an ensemble has no head of its own: use logits()")

    def features(self, inputs: Tensor) -> Tensor:
        """(batch, context) -> (batch, context, members * width)."""
        return torch.cat([member.features(inputs) for member in self._each], dim=-1)

    def logits(self, features: Tensor) -> Tensor:
        """(*any, members * width) -> (*any, vocabulary)."""
        parts = features.chunk(len(self._each), dim=-1)
        return log_mean_softmax([member.logits(part) for member, part in zip(self._each, parts, strict=True)])

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        """Log-probabilities, or the mean loss; see :meth:`LanguageNetwork.forward`."""
        logits = self.logits(self.features(inputs))
        return logits if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def log_mean_softmax(logits: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of softmaxes over the last dimension."""
    return torch.stack([part.log_softmax(-1) for part in logits]).logsumexp(0) - log(len(logits))
