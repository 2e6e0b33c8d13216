"""What Wanda and SparseGPT share: layer after layer of a trained network, by what each reads."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor

from harness import (
    Architecture,
    Connection,
    Finetune,
    Masks,
    MethodContext,
    NOfM,
    Phase,
    Prune,
    SparsityMethod,
    Train,
    TrainingBudget,
    UserError,
    allocate,
    unseen_inputs,
)
from harness_post_training.owl import outlier_ratio, owl_densities
from harness_post_training.second_moments import Batch, features_of, matrix, region, second_moments


class LayerwiseOptions(BaseModel):
    """What a suite may set of both.

    Attributes:
        samples: training examples to look at, at least 1. 128 of 2,048 tokens each in Frantar, Alistarh 2023 and Sun et
            al. 2024; how long one is, the training data decide.
        layers: ``uniform`` gives every connection the same density, as published; ``owl`` gives depths with more
            outliers more (Yin et al. 2023), exact in total.
        outlier: an outlier exceeds so many times the mean, above 0; 5 for LLaMA-7B in Yin et al. 2023 (M).
        spread: densities differ by up to twice this, in [0, 0.5]; 0.08 there (lambda).
        pattern: ``n:m`` keeps n weights of every m inputs, and makes the density n / m; None for no pattern.
        indivisible: connections whose inputs are not whole groups of a pattern: ``refuse`` them when the suite is
            planned, or leave them ``dense``.
        recovery_steps: optimizer steps after pruning, on top of the training budget; 0, as published.
        recovery_lr: constant learning rate of recovery, or None for the suite's.
    """

    model_config = ConfigDict(extra="forbid")

    samples: int = Field(128, ge=1)
    layers: Literal["uniform", "owl"] = "uniform"
    outlier: float = Field(5.0, gt=0)
    spread: float = Field(0.08, ge=0, le=0.5)
    pattern: str | None = None
    indivisible: Literal["refuse", "dense"] = "refuse"
    recovery_steps: int = Field(0, ge=0)
    recovery_lr: float | None = Field(None, gt=0)

    @field_validator("pattern")
    @classmethod
    def _is_a_pattern(cls, given: str | None) -> str | None:
        if given is not None:
            NOfM.of(given)
        return given

    @model_validator(mode="after")
    def _one_rule_for_densities(self) -> Self:
        if self.pattern is not None and self.layers == "owl":
            raise ValueError("a pattern gives every layer its density: leave out pattern, or layers: owl")
        return self


OptionsT = TypeVar("OptionsT", bound=LayerwiseOptions)


class Layerwise(SparsityMethod[OptionsT]):
    """Trains the whole network, then prunes it from the input on, each depth by what it reads of those before.

    Layers of one depth, such as a transformer's block, are looked at together, as in the released code of both papers:
    a network of D depths runs D times over the calibration examples, each time only as far as that depth, half of it on
    the mean. In memory are second moments of one depth, and a second copy of the weights in scope.

    Attributes:
        full: whether a method needs all second moments of the inputs, or their squares alone.
    """

    takes_density = "optional"
    full: ClassVar[bool]

    @property
    def pattern(self) -> NOfM | None:
        """The pattern of the options."""
        return None if self.options.pattern is None else NOfM.of(self.options.pattern)

    @abstractmethod
    def prune(self, weights: Tensor, moments: Tensor, keep: int) -> tuple[Tensor, Tensor]:
        """Mask and new weights of one connection.

        Args:
            weights: (out, features), float64.
            moments: mean of x^2, (features,), or of x x^T, (features, features), where ``full``.
            keep: weights to keep, fewer than there are; a pattern gives the same number.
        """

    def unsupported(self, architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
        """Inputs that cannot be seen, and inputs that a pattern does not fit."""
        misfit = self.pattern.misfit(connections) if self.pattern and self.options.indivisible == "refuse" else None
        return misfit or unseen_inputs(architecture, connections)

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """Train, prune, recover where steps are given."""
        pattern, options = self.pattern, self.options
        if pattern is None and budget.density is None and not budget.matched:
            raise UserError("give a density, for example 0.5, or a pattern, for example '2:4', which makes it 0.5")
        density = None if pattern is None else pattern.agreed(budget)
        phases: list[Phase] = [Train(budget.steps, hooks=False), Prune(density=density, distribution="uniform")]
        if options.recovery_steps:
            phases.append(Finetune(options.recovery_steps, lr=options.recovery_lr))
        return phases

    def influences(self, phase: Phase) -> Mapping[str, Any]:
        """All but recovery, which its phase carries."""
        return self.options.model_dump(mode="json", exclude={"recovery_steps", "recovery_lr"})

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Magnitudes, of which the harness makes counts; :meth:`refine` makes the masks."""
        return {c.name: context.weight(c).abs() for c in context.connections}

    @torch.no_grad()
    def refine(self, masks: Masks, context: MethodContext) -> tuple[Masks, Mapping[str, Tensor]]:
        """Masks with the same counts, or those of ``layers``, and the weights that go with them."""
        batches = list(context.batches(self.options.samples, 1))
        counts = self._counts(masks.kept, context, batches)
        pruned: dict[str, Tensor] = {}
        found: dict[str, Tensor] = {}
        for connections in _by_depth(context.connections):
            moments = second_moments(context, connections, batches, pruned, full=self.full)
            for c in connections:
                weights = matrix(context.weight(c))
                mask, new = torch.ones_like(weights, dtype=torch.bool), weights
                if counts[c.name] < c.size:
                    columns = features_of(c, context.model).to(context.device)
                    own = moments[c.parameter][columns]
                    mask, new = self.prune(weights.double(), own[:, columns] if self.full else own, counts[c.name])
                found[c.name] = region(mask, c)
                whole = pruned.setdefault(c.parameter, context.raw[c.parameter].detach().clone())
                c.region(whole).copy_(region(new.masked_fill(~mask, 0), c))
        return Masks(found), {c.name: c.region(pruned[c.parameter]) for c in context.connections}

    def other_count(self, asked: int, kept: int, connections: Sequence[Connection]) -> str | None:
        """More, where connections that the pattern does not fit stay dense."""
        misfits = [c.name for c in connections if self.pattern and not self.pattern.fits(c)]
        return f"{', '.join(misfits)} do not fit the pattern and stay dense" if misfits and kept > asked else None

    def _counts(
        self, uniform: Mapping[str, int], context: MethodContext, batches: Sequence[Batch]
    ) -> Mapping[str, int]:
        """How many weights each connection keeps."""
        if self.pattern is not None:
            n, m = self.pattern.n, self.pattern.m
            return {c.name: c.size * n // m if self.pattern.fits(c) else c.size for c in context.connections}
        if self.options.layers == "uniform":
            return uniform
        if context.budget is not None and context.budget.per_connection is not None:
            raise UserError("counts per connection come from another cell or from layers: owl, not from both")
        moments = second_moments(context, context.connections, batches, {}, full=False)
        layers = _by_depth(context.connections)
        ratios = [
            outlier_ratio(
                [
                    matrix(context.weight(c)).abs() * moments[c.parameter][features_of(c, context.model)].sqrt()
                    for c in layer
                ],
                self.options.outlier,
            )
            for layer in layers
        ]
        sizes, keep = [sum(c.size for c in layer) for layer in layers], sum(uniform.values())
        densities = owl_densities(ratios, sizes, keep / sum(sizes), self.options.spread)
        shares = {c.name: c.size * density for layer, density in zip(layers, densities, strict=True) for c in layer}
        return allocate(keep, context.connections, shares)


def _by_depth(connections: Sequence[Connection]) -> list[list[Connection]]:
    """Connections of equal target depth together, from the input on."""
    depths: dict[int, list[Connection]] = {}
    for connection in connections:
        depths.setdefault(connection.target.depth, []).append(connection)
    return [depths[depth] for depth in sorted(depths)]
