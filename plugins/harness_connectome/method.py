"""Connectomes: masks and signs that evolve over generations of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from torch import Tensor

from harness import Masks, MethodContext, Phase, Prune, Reinitialize, SparsityMethod, Train, TrainingBudget, UserError
from harness_connectome.evolution import EvolutionOptions, evolve

_LATER: JsonDict = {"hashed": "unless_none"}
"""For options that came later than results which are still valid."""


class ConnectomeOptions(BaseModel):
    """Options of ``connectome``.

    Attributes:
        generations: outer-loop generations, each trained, pruned and reset; the paper compares 6.
        fraction: what each generation removes of the weights that remain, in (0, 1). None: what leads to
            the cell's density, or 0.2, the paper's, where the cell names none.
        distribution: ``uniform`` removes the fraction from every connection; ``global`` ranks all together.
        score: what decides which weights stay, in each generation. ``magnitude``, the paper's and the default;
            ``gradient``: |w g|, what a removal would change of the loss at first order, g being the gradient of all
            ``batches`` together (SNIP's connection sensitivity, Lee, Ajanthan and Torr 2019, arXiv 1810.02340, but of
            trained weights); ``movement``: minus the sum of w g over the steps of the generation, high where weights
            moved away from zero (Sanh, Wolf and Rush 2020, arXiv 2005.07683); ``random``; ``evolution``: no score of
            single weights, but the best of several masks.
        batches: for ``gradient``: training batches that are looked at in each pruning; 16 by default.
        evolution: for ``evolution``: ``evaluations``, masks that are tried in each pruning (64 by default),
            ``population`` (8), ``mutation``, the fraction of kept weights that a child swaps (0.005), ``batches`` on
            which each is tried (4), and ``start``, ``magnitude`` or ``random``. What trying costs is taken off the
            steps of the generation.
        reset: survivors become +-``reset_value``, by their ``sign`` or by a coin (``random_sign``), and all else goes
            back to the initial weights. ``none``: everything stays as it was trained, magnitudes too, which is
            iterative pruning with learning-rate rewinding (Renda, Frankle and Carbin 2020).
        reset_value: magnitude after a reset.
        outer_steps: optimizer steps of one generation; None: the suite's training budget.
        inner_steps: optimizer steps of the training from the finished connectome; None: likewise. 0: it ends
            with the connectome, for other cells to continue.
        threshold_rule: ``exact`` removes exact counts, ties by index. ``published``, the released code's:
            only weights strictly below the largest one to be removed go: one fewer, and ties survive; for magnitudes.
    """

    model_config = ConfigDict(extra="forbid")

    generations: int = Field(6, ge=1, le=1_000)
    fraction: float | None = Field(None, gt=0, lt=1)
    distribution: Literal["uniform", "global"] = "uniform"
    score: Literal["magnitude", "gradient", "movement", "random", "evolution"] | None = Field(
        None, json_schema_extra=_LATER
    )
    batches: int | None = Field(None, ge=1, json_schema_extra=_LATER)
    evolution: EvolutionOptions | None = Field(None, json_schema_extra=_LATER)
    reset: Literal["sign", "random_sign", "none"] = "sign"
    reset_value: float = Field(0.02, gt=0)
    outer_steps: int | None = Field(None, ge=1)
    inner_steps: int | None = Field(None, ge=0)
    threshold_rule: Literal["exact", "published"] = "exact"

    @model_validator(mode="after")
    def _of_its_score(self) -> ConnectomeOptions:
        """Options of a score go with it, and its defaults are spelt out, so that they are part of hashes."""
        if self.score == "magnitude":
            self.score = None  # as in results that had no such option
        for option, score in (("batches", "gradient"), ("evolution", "evolution")):
            if getattr(self, option) is not None and self.score != score:
                raise ValueError(
                    f"{option} is for score: {score}, and score is {self.score or 'magnitude'}: leave it out"
                )
        if self.score == "gradient" and self.batches is None:
            self.batches = 16
        if self.score == "evolution" and self.evolution is None:
            self.evolution = EvolutionOptions()
        if self.score is not None and self.threshold_rule == "published":
            raise ValueError(f"threshold_rule: published is a rule for magnitudes, and score is {self.score}")
        return self


class Connectome(SparsityMethod[ConnectomeOptions]):
    """Trains, prunes and resets to signs for some generations, then trains what is left.

    Without a density, what is left follows from the options: 0.8**6 = 0.262 by default. With a density d,
    generation g of G prunes to d**(g / G) and the last one to d exactly.

    A run spends ``generations`` times the training budget more than a training from scratch; a control
    at equal cost is dense training with as many steps. Whether embeddings and head are pruned is the
    suite's scope. (Kotar and Tuckute 2025, arXiv 2504.21047; their released code prunes both.)
    """

    Options = ConnectomeOptions
    takes_density = "optional"

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """Per generation train, prune, reset; at last train.

        Raises:
            UserError: if a density comes with an option that decides the density by itself, or evolution leaves no
                steps to train.
        """
        options = self.options
        outer = Train(self._outer_steps(budget), hooks=options.score == "movement")
        reset = () if options.reset == "none" else (Reinitialize(options.reset, options.reset_value),)
        phases: list[Phase] = []
        for prune in self._prunings(budget):
            phases += [outer, prune, *reset]
        inner = budget.steps if options.inner_steps is None else options.inner_steps
        return [*phases, Train(inner, hooks=False)]

    def _outer_steps(self, budget: TrainingBudget) -> int:
        """Training of one generation, less what evolution looks at."""
        steps = self.options.outer_steps or budget.steps
        if self.options.evolution is None:
            return steps
        if steps <= self.options.evolution.steps:
            raise UserError(
                f"connectome: {self.options.evolution.evaluations} evaluations of {self.options.evolution.batches} "
                f"batches cost as much as {self.options.evolution.steps} steps, and a generation has {steps}; lower "
                "evaluations or batches, or raise outer_steps"
            )
        return steps - self.options.evolution.steps

    def _prunings(self, budget: TrainingBudget) -> list[Prune]:
        """One pruning per generation."""
        options, generations = self.options, self.options.generations
        if budget.density is None and not budget.matched:
            fraction = 0.2 if options.fraction is None else options.fraction
            return [Prune(fraction=fraction, distribution=options.distribution)] * generations
        if options.fraction is not None or options.threshold_rule == "published":
            given = f"fraction: {options.fraction}" if options.fraction is not None else "threshold_rule: published"
            raise UserError(
                f"connectome was given a density and '{given}', and each decides how many weights are left; "
                "leave out one of the two"
            )
        return [Prune(exponent=g / generations, distribution=options.distribution) for g in range(1, generations + 1)]

    def influences(self, phase: Phase) -> Mapping[str, Any]:
        """The threshold rule and the score; the phases carry the rest, so that equal generations are shared."""
        later = self.options.model_dump(mode="json", include={"score", "batches", "evolution"}, exclude_none=True)
        return {"threshold_rule": self.options.threshold_rule, **later}

    def attach(self, context: MethodContext) -> None:
        """Sums of the movement score, (out, in, *kernel) each, where they are asked for."""
        connections = context.connections if self.options.score == "movement" else ()
        self._movement = {c.name: torch.zeros_like(context.weight(c)) for c in connections}

    @torch.no_grad()
    def on_gradients(self, context: MethodContext) -> None:
        """Add the step's movement; every generation begins anew."""
        for connection in context.connections:
            movement = self._movement[connection.name]
            if context.step == 0:
                movement.zero_()
            movement.addcmul_(context.weight(connection), context.gradient(connection), value=-1)

    def scores(self, context: MethodContext) -> Mapping[str, Tensor]:
        """Importance by the rule that ``score`` names; of ``evolution`` that of its first mask."""
        options = self.options
        rule = options.score if options.evolution is None else options.evolution.start
        if rule == "movement":
            return self._movement
        if rule == "random":
            # Another draw in every generation.
            named = {c.name: (c, context.generator(f"score {context.phase} {c.name}")) for c in context.connections}
            return {name: torch.rand(c.shape, generator=g).to(context.device) for name, (c, g) in named.items()}
        if rule == "gradient":
            assert options.batches is not None, "spelt out by the options"
            for inputs, targets in context.batches(options.batches):
                context.loss(inputs, targets).backward()  # type: ignore[no-untyped-call]
            return {c.name: (context.weight(c) * context.gradient(c)).abs() for c in context.connections}
        return {c.name: context.weight(c).abs() for c in context.connections}

    def refine(self, masks: Masks, context: MethodContext) -> Masks:
        """What is no matter of single scores: evolution, and the published threshold rule, where they are asked for."""
        if self.options.evolution is not None:
            return evolve(masks, context, self.options.evolution)
        return masks if self.options.threshold_rule == "exact" else self._published(masks, context)

    def _published(self, masks: Masks, context: MethodContext) -> Masks:
        """Bring back what is not below the threshold."""
        scores = self.scores(context)
        before = context.masks
        thresholds = {name: _largest(scores[name][before[name] & ~masks[name]]) for name in masks}
        if self.options.distribution == "global":
            thresholds = dict.fromkeys(masks, max(thresholds.values()))
        return Masks({name: before[name] & (scores[name] >= thresholds[name]) for name in masks})

    def state_dict(self) -> dict[str, Any]:
        """The movement scores, where there are any."""
        return {name: movement.clone() for name, movement in self._movement.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse."""
        for name, movement in self._movement.items():
            movement.copy_(state[name])


def _largest(values: Tensor) -> float:
    """The largest value, or minus infinity if there is none."""
    return float(values.max()) if values.numel() else -torch.inf
