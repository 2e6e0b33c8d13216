"""What every language network offers, so that evaluations can use its parts one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from harness.core.head_loss import head_loss


class LanguageNetwork(nn.Module, ABC):
    """A causal language model: token ids in, logits or loss out, and what lies between.

    The head is linear and without bias; where a network's is not, it overrides :meth:`logits` and
    :meth:`forward`.

    Attributes:
        context: the longest input, in tokens.
        vocabulary: number of different tokens.
    """

    context: int
    vocabulary: int

    @abstractmethod
    def states(self, inputs: Tensor) -> Sequence[Tensor]:
        """The residual stream: (batch, context, width) after the embedding and after every layer.

        Args:
            inputs: (batch, context) token ids; the context may be shorter than the longest.

        Raises:
            ValueError: for more tokens than positions.
        """

    @abstractmethod
    def normed(self, state: Tensor) -> Tensor:
        """What the head reads: the last of :meth:`states` behind the final norm, the same shape."""

    @property
    @abstractmethod
    def head_weight(self) -> Tensor:
        """(rows, width) with rows >= vocabulary; rows beyond the vocabulary never take part in a softmax."""

    def features(self, inputs: Tensor) -> Tensor:
        """What the head reads, (batch, context, width): to score a few positions without all logits."""
        return self.normed(self.states(inputs)[-1])

    def logits(self, features: Tensor) -> Tensor:
        """(*any, width) -> (*any, vocabulary)."""
        return F.linear(features, self.head_weight)[..., : self.vocabulary]

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits (batch, context, vocabulary), or the mean loss when targets (batch, context) are given.

        Args:
            inputs: (batch, context) token ids.
            targets: the ids to predict, the same shape; -100 where there is nothing to predict.
        """
        features = self.features(inputs)
        if targets is None:
            return self.logits(features)
        return head_loss(features, self.head_weight, targets, self.vocabulary)
