"""The method ``l0``: gates that are open or closed by chance, and as few of them as possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, prod
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from harness import (
    Architecture,
    Connection,
    Masks,
    MethodContext,
    ParameterGroup,
    Phase,
    SparsityMethod,
    TrainingBudget,
)
from harness_learned.exact_density import at_least_asked, then_exact

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
"""Temperature of the concrete distribution, and the interval to which it is stretched."""


class L0Options(BaseModel):
    """Options of ``l0``; defaults are those of the paper's LeNet-300-100 but for ``gates`` and ``lr``.

    Attributes:
        gates: ``weight`` is one for each weight, ``input`` one for each input unit of a connection, as in the paper's
            dense layers.
        strength: lambda, at least 0: what a weight costs is this over the number of training examples. It sets the
            density; the paper: 0.1, for 200 epochs.
        lr: of the gates, above 0, constant. The paper: 0.001, as the weights, for 120,000 steps, and shorter trainings
            close no gate with that; 0.1 is what Sanh et al. 2020 give L0 gates on BERT.
        drop_rate, input_drop_rate: how often gates are meant to be closed at first, in (0, 1); the latter of
            connections that read the network's input. Published: 0.5 and 0.2.
        recovery: with a density, the fraction of the training after the pruning to it, in [0, 1).
    """

    model_config = ConfigDict(extra="forbid")

    gates: Literal["weight", "input"] = "weight"
    strength: float = Field(0.1, ge=0)
    lr: float = Field(0.1, gt=0)
    drop_rate: float = Field(0.5, gt=0, lt=1)
    input_drop_rate: float = Field(0.2, gt=0, lt=1)
    recovery: float = Field(0.5, ge=0, lt=1)


class L0(SparsityMethod[L0Options]):
    """W' = W * z with hard concrete gates z, drawn anew in every step, one draw for the whole batch.

    z = clamp(s (zeta - gamma) + gamma, 0, 1) with s = sigmoid((log u - log(1 - u) + log a) / beta) and u uniform; the
    loss gets lambda / N times the expected number of weights, the sum of P(z > 0) = sigmoid(log a - beta
    log(-gamma / zeta)). In evaluation z is clamp(sigmoid(log a) (zeta - gamma) + gamma, 0, 1), and the final weights
    are W * z: gates between 0 and 1 stay in them. How many are 0 is the method's to determine; with a density, after
    ``1 - recovery`` of the training the weights with the highest log a are kept, exactly as many as are asked for, and
    trained on without gates. Where fewer gates were open, the next ones are kept too, with weights that start at zero.

    Where z is 0 neither weight nor gate gets a gradient from the loss: no step needs more than sparse ones.
    (Louizos, Welling, Kingma 2018, arXiv 1712.01312, equations 10 to 13. Of its code: log a is drawn around
    log(1 - p) - log p, but not kept within +-log 100; L2 is the suite's weight decay; there is no average of weights.)
    """

    Options = L0Options
    mode = "composed"
    takes_density = "optional"
    dense_gradient_share = property(lambda self: 0.0)

    def unsupported(self, architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
        """Nothing to gate; input units of grouped weights, which are not one for each column."""
        if not connections:
            return "no connection is in scope, so there is nothing to gate"
        grouped = [c.name for c in connections if c.shape[1] != c.source.size]
        if self.options.gates == "input" and grouped:
            return f"connection '{grouped[0]}' is grouped: its columns are no input units; give gates: weight"
        return None

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """One training, with a pruning before its end where there is a density."""
        return then_exact(budget, self.options.recovery)

    def attach(self, context: MethodContext) -> None:
        """All gates in one tensor, so that a step takes few operations; log a has a standard deviation of 0.01."""
        self._context, options = context, self.options
        self._shapes: dict[str, tuple[int, ...]] = {}
        starts, weights = [], []
        for c in context.connections:
            rate = options.drop_rate if c.source.depth else options.input_drop_rate
            shape = c.shape if options.gates == "weight" else (1, c.shape[1], *(1,) * (len(c.shape) - 2))
            drawn = torch.randn(prod(shape), generator=context.generator(f"gates.{c.name}"))
            starts.append(0.01 * drawn + log(1 - rate) - log(rate))
            weights.append(torch.full((prod(shape),), c.size / prod(shape)))
            self._shapes[c.name] = shape
        like = context.weight(context.connections[0])
        self._log_a = nn.Parameter(torch.cat(starts).to(like))
        self._weights = torch.cat(weights).to(like)

    def effective(self, raw: Mapping[str, Tensor], connections: Sequence[Connection]) -> Mapping[str, Tensor]:
        """Under autograd, which is how training calls it, with this step's gates; else with those of evaluation."""
        self._gates = self._each(self._drawn()) if torch.is_grad_enabled() else self._fixed()
        return super().effective(raw, connections)

    def compose(self, connection: Connection, raw: Tensor) -> Tensor:
        """W * z."""
        return raw * self._gates[connection.name]

    def final(self, connection: Connection, raw: Tensor) -> Tensor:
        """W * z as in evaluation."""
        return raw * self._fixed()[connection.name]

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """The gates, which are in the final weights."""
        return [ParameterGroup([self._log_a], self.options.lr, name="gates", in_network=False)]

    def regularizers(self, context: MethodContext) -> Mapping[str, Tensor]:
        """``l0``: lambda / N times the expected number of weights."""
        is_open = (self._log_a - BETA * log(-GAMMA / ZETA)).sigmoid()
        return {"l0": self.options.strength / max(1, context.data.examples) * torch.dot(is_open, self._weights)}

    def final_masks(self, context: MethodContext) -> Masks:
        """Where the gates of evaluation are not closed."""
        gates = self._fixed()
        kept = {c.name: (gates[c.name] > 0).expand(c.shape).contiguous() for c in context.connections}
        return at_least_asked(kept, self.scores(context), context)

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """For each weight its gate's log a."""
        log_a = self._each(self._log_a.detach())
        return {c.name: log_a[c.name].expand(c.shape).contiguous() for c in context.connections}

    def state_dict(self) -> dict[str, Any]:
        """The gates' log a by connection."""
        return {name: log_a.clone() for name, log_a in self._each(self._log_a.detach()).items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        for name, log_a in self._each(self._log_a.detach()).items():
            log_a.copy_(state[name])

    def _drawn(self) -> Tensor:
        """Gates of this step: equal in every process, and after a resumption."""
        context, log_a = self._context, self._log_a
        seed = context.generator(f"noise.{context.phase}.{context.step}").initial_seed()
        generator = torch.Generator(log_a.device).manual_seed(seed)
        uniform = torch.rand(log_a.shape, generator=generator, device=log_a.device, dtype=log_a.dtype)
        return _stretched((log_a + torch.logit(uniform, eps=1e-6)) / BETA)

    def _fixed(self) -> dict[str, Tensor]:
        """Gates of evaluation."""
        return self._each(_stretched(self._log_a.detach()))

    def _each(self, flat: Tensor) -> dict[str, Tensor]:
        """Views by connection, of shapes that broadcast to theirs."""
        parts = torch.split(flat, [prod(shape) for shape in self._shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}


def _stretched(logit: Tensor) -> Tensor:
    """The sigmoid, stretched to (gamma, zeta) and cut at 0 and 1."""
    return F.hardtanh(logit.sigmoid() * (ZETA - GAMMA) + GAMMA, 0.0, 1.0)
