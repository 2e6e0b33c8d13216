"""BioGPT as a module."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from harness import LanguageNetwork, UserError
from harness_biogpt.column import CorticalColumn
from harness_biogpt.feedback import GatedFeedback
from harness_biogpt.shape import Shape

State = tuple[Tensor, ...]
"""NMDA traces, one per layer: (batch, neurons * width), less where branches were cut out."""


class BiogptNetwork(LanguageNetwork):
    """Dendritic language model: learned positions, columns, untied head, optional feedback passes.

    Source: Hamond 2026, "BioGPT: A Biologically-Inspired Dendritic Language Model", released code. All
    weights start Xavier-uniform, embeddings and head included; biases at 0; norms at 1 and 0; the NMDA
    decay's logit at N(0.9, 0.1^2), so that the decay itself starts near 0.71.

    Never trained, and without gradient: the feedback in one pass, the NMDA decay without a state.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape, self.context, self.vocabulary = shape, shape.context, shape.vocabulary
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width)
        self.columns = nn.ModuleList(CorticalColumn(shape, branches) for branches in shape.layout)
        self.feedback = nn.ModuleDict({f"{late}_to_{early}": GatedFeedback(shape.width) for late, early in shape.pairs})
        self.pass_weights = nn.Parameter(torch.zeros(shape.n_passes)) if shape.n_passes > 1 else None
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.xavier_uniform_(module.weight)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def initial_state(self, batch: int) -> State:
        """The state before a text: no trace. With it the logits are those without a state."""
        columns = (column for column in self.columns if isinstance(column, CorticalColumn))
        return tuple(self.head.weight.new_zeros(batch, sum(chain(*column.sizes))) for column in columns)

    @property
    def head_weight(self) -> Tensor:
        """The untied head."""
        return self.head.weight

    def normed(self, state: Tensor) -> Tensor:
        """The final LayerNorm."""
        y: Tensor = self.norm(state)
        return y

    def states(self, inputs: Tensor) -> list[Tensor]:
        """The embedding and the output of every layer, (batch, context, width) each.

        With several passes: the layers of the last pass, and the mixture of the passes' outputs as the last.
        With segments: one after another, every pass of one before the next.
        """
        segment = self.shape.segment
        if segment is None:
            return self._states(inputs, None)[0]
        state, found = self.initial_state(inputs.shape[0]), []
        for start in range(0, inputs.shape[1], segment):
            levels, state = self._states(inputs[:, start : start + segment], state, start)
            found.append(levels)
        return [torch.cat(level, 1) for level in zip(*found, strict=True)]

    def with_state(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (batch, context, vocabulary), and the NMDA traces after them.

        Args:
            inputs: (batch, context) token ids; the context may be shorter than the largest.
            state: traces of the text before this window; every pass reads them. As published, models are
                trained and scored without: by calling the module itself.

        Raises:
            UserError: for more tokens than positions, or if the network has no traces.
        """
        states, state = self._states(inputs, state)
        return self.logits(self.normed(states[-1])), state

    def _states(self, inputs: Tensor, state: State | None, first: int = 0) -> tuple[list[Tensor], State]:
        """The residual stream as :meth:`states` says, of tokens from position ``first`` on; the last pass's traces."""
        end = first + inputs.shape[1]
        if end > self.context:
            raise UserError(f"{end} tokens are more than this biogpt's context of {self.context}")
        if state is not None and not self.shape.nmda:
            raise UserError("this biogpt was built with nmda: false, so it takes no state; leave the state out")
        start = self.embedding(inputs) + self.positions.weight[first:end]
        levels, traces = self._pass(start, None, state)
        outputs = [levels[-1]]
        for _ in range(1, self.shape.n_passes):
            levels, traces = self._pass(start, levels, state)
            outputs.append(levels[-1])
        if self.pass_weights is not None:
            weights = self.pass_weights.softmax(0)
            mixed = torch.stack([weight * y for weight, y in zip(weights, outputs, strict=True)]).sum(0)
            levels = [*levels[:-1], mixed]
        return [start, *levels], tuple(traces)

    def _pass(self, x: Tensor, late: Sequence[Tensor] | None, state: State | None) -> tuple[list[Tensor], list[Tensor]]:
        """Output of every layer, and the traces after it; ``late`` holds the layers of the pass before."""
        pairs = () if late is None else self.shape.pairs
        into_input = self.shape.feedback_into == "input"
        levels, traces = [], []
        for i, column in enumerate(self.columns):
            for source, target in pairs:
                if late is not None and i == (0 if into_input else target):
                    x = self.feedback[f"{source}_to_{target}"](x, late[source])
            trace = None if state is None else state[i]
            if self.shape.checkpointing and torch.is_grad_enabled():
                # The traces are results like x: what is computed again in the backward pass writes nothing.
                x, trace = checkpoint(column, x, trace, use_reentrant=False, preserve_rng_state=False)
            else:
                x, trace = column(x, trace)
            levels.append(x)
            traces.append(trace)
        return levels, traces
