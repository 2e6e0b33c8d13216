"""The method ``genome``: masks grown from a genome that is trained with the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from harness import (
    Architecture,
    Connection,
    DensityBudget,
    Masks,
    MethodContext,
    ParameterGroup,
    Phase,
    SparsityMethod,
    Train,
    TrainingBudget,
    UserError,
    data_directory,
    mask_as_numbers,
)
from harness_genome.attention import AttentionGenomeOptions, AttentionGenomes
from harness_genome.genome import Genome
from harness_genome.layout import Layout, bands_of, every_pair, unmaskable
from harness_genome.published import load_genome, source_genome
from harness_genome.wiring import Distribution, block_masks, largest, pairwise, thresholds, whole_kernels


class GenomeOptions(BaseModel):
    """What a suite may set.

    Attributes:
        n_types, type_dim: K and D of the genome.
        n_bands: L; None is the architecture's number of band depths, bands out of scope included, as in
            published genomes (GPT-2: embedding + 12 layers + head = 14).
        lr: the genome's learning rate at the peak of its schedule.
        schedule: ``same`` follows the weights' schedule, ``constant`` stays at ``lr``.
        cost_weight: lambda, what one unit of mean soft mask costs.
        temperature_start, temperature_end: of the soft masks, linear from one to the other.
        temperature_steps: optimizer steps that this takes; None is from the phase's first step to its last.
        hard: train with hard masks and straight-through gradients.
        frozen: take the genome from the source cell or ``initial`` and do not train it (transfer).
        initial: a genome to start from: ``.safetensors`` or ``.pt``, relative to the suite's file or the data
            directory, or the name of an imported one. Its content is hashed.
        cost_pairs: which pairs of units the cost is the mean over: None are those that a weight joins, ``published``
            all between any two bands, also where no weight is, and once where several weights share them.
        attention: genomes of their own for masks on attention, one for each; None leaves attention as it is. They are
            free of cost, have the temperature of the other, and go with neither a density nor transfer. With a scope of
            attention alone weights stay dense, and nothing costs.
        distribution: with a density only: which logits are ranked together, ``global`` (None is the same) or those of
            each connection, with counts that are ``uniform`` or ``erk``.
    """

    model_config = ConfigDict(extra="forbid")

    n_types: int = Field(default=8, ge=1)
    type_dim: int = Field(default=8, ge=1)
    n_bands: int | None = Field(default=None, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    schedule: Literal["same", "constant"] = "same"
    cost_weight: float = Field(default=0.1, ge=0)
    temperature_start: float = Field(default=1.0, gt=0)
    temperature_end: float = Field(default=1.0, gt=0)
    temperature_steps: int | None = Field(default=None, ge=1)
    hard: bool = False
    frozen: bool = False
    initial: Path | None = None
    cost_pairs: Literal["published"] | None = Field(default=None, json_schema_extra={"hashed": "unless_none"})
    attention: AttentionGenomeOptions | None = Field(default=None, json_schema_extra={"hashed": "unless_none"})
    distribution: Distribution | None = Field(default=None, json_schema_extra={"hashed": "unless_none"})


class GenomeMethod(SparsityMethod[GenomeOptions]):
    """Effective weight = raw weight * mask grown by the genome; loss = task + lambda * metabolic cost.

    The metabolic cost is the mean soft mask at temperature 1 over all (out, in) pairs in scope; kernels
    share the mask of their pair. Source: Sudarshan 2026, "Neural DNA" and "Scaling Neural DNA to GPT-2".

    Traps of the published code that this method names instead of repeating:
        - Its training runs are all soft, also where the paper says hard; ``hard`` is therefore off by
          default. Training hard ignores the temperature, in value and gradient, and the cost stays soft.
        - Soft and hard densities differ (MNIST: 0.116 soft, 0.022 hard; GPT-2's second layer at
          temperature 10: 0.49 soft, 0.45 hard). Hard evaluation of a softly trained network changes its
          function, and a random control must be matched to the hard density, not to the soft one.
        - Its CNN density and cost also count pairs of bands that no weight joins; here only connections do, in the cost
          unless ``cost_pairs`` says otherwise.

    With a density the masks are hard and keep exactly that many weights in every step: those of the largest logits,
    that is where sigmoid(logits - t) >= 0.5, with t the smallest logit that is kept (one for all, or one a connection).
    The gradient goes straight through to s (1 - s) of this s, so it is largest at the cut; t itself has none, for a
    level that all logits share changes no mask. There is no metabolic cost, since the density is given: ``hard``,
    ``cost_weight`` and temperatures then do nothing. With a source and ``frozen`` it trains weights under what another
    cell's genome ranks highest; ``genome_cut`` does that without ranking in every step.
    Equal logits are kept in the order of connections, rows and columns; they are rare, since types change with a
    unit's position. Ranking has its price: on one core a step takes 2.1 times as long as with ``hard`` for
    784-48x4-10 and batches of 128, 1.2 to 1.3 times for small GPT-2.
    """

    Options = GenomeOptions
    mode = "composed"
    takes_density = "optional"
    takes_source = "optional"

    genome: Genome
    temperature: float
    _context: MethodContext
    _connections: tuple[Connection, ...]
    _layout: Layout
    _cost: Tensor | None
    _budget: DensityBudget | None = None
    _attention: AttentionGenomes | None = None

    def __init__(self, options: GenomeOptions) -> None:
        super().__init__(options)
        if options.attention is not None:
            self.kinds = frozenset({"weight", "attention"})

    def unsupported(self, architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
        """Grouped weights, and bands beyond ``n_bands`` have no mask."""
        weights = _weights_among(connections)
        if self.options.attention is not None:
            if len(weights) == len(connections):
                return "it has no masks on attention: leave out the genome's option attention"
            if not weights:
                return None
        return unmaskable(weights, self.options.n_bands)

    def program(self, budget: TrainingBudget) -> Sequence[Phase]:
        """One training, soft or hard.

        Raises:
            UserError: for a distribution without a density.
        """
        if self.options.distribution is not None and budget.density is None and not budget.matched:
            raise UserError("distribution says where a given number of weights goes: give the method a density too")
        given = budget.density is not None or budget.matched or self.options.frozen or self.options.initial is not None
        if self.options.attention is not None and given:
            raise UserError("the genome's option attention goes with no density, source, 'frozen' or 'initial'")
        return [Train(budget.steps)]

    def influences(self, phase: Phase) -> Mapping[str, Any]:
        """All options, with a digest of the ``initial`` genome in place of its path."""
        options = self.options.model_dump(mode="json")
        for late in ("distribution", "cost_pairs", "attention"):  # they came later than results that are still valid
            if options[late] is None:
                del options[late]
        if self.options.initial is not None:
            digest = hashlib.sha256()
            for name, value in sorted(load_genome(_placed(self.options.initial)).items()):
                digest.update(f"{name}{tuple(value.shape)}".encode() + value.double().numpy().tobytes())
            options["initial"] = digest.hexdigest()
        return options

    def attach(self, context: MethodContext) -> None:
        """Draw the genome, or take it from the source cell or file, and lay out the bands."""
        options = self.options
        connections = self._connections = _weights_among(context.connections)
        dtypes = {context.raw[c.parameter].dtype for c in context.connections}
        dtype = torch.float32 if torch.float64 not in dtypes else torch.float64
        n_bands = options.n_bands or max(context.bands, bands_of(connections))
        self.genome = Genome(options.n_types, options.type_dim, n_bands, context.generator("genome"))
        self.genome.to(context.device, dtype)
        inherited = self._inherited(context)
        if inherited is not None:
            _load(self.genome, *inherited)
        elif options.frozen:
            raise UserError("a frozen genome needs somewhere to come from: give the method a source or 'initial'")
        self.genome.requires_grad_(not options.frozen)
        self.temperature, self._context, self._cost = options.temperature_start, context, None
        self._budget = context.budget
        self._layout = Layout(self.genome, connections)
        charged = every_pair(connections) if options.cost_pairs else None
        self._charged = Layout(self.genome, charged) if charged else self._layout
        if options.attention is not None:
            seen = [c for c in context.connections if c.kind == "attention"]
            self._attention = AttentionGenomes(options.attention, seen, context, dtype)

    def effective(self, raw: Mapping[str, Tensor], connections: Sequence[Connection]) -> Mapping[str, Tensor]:
        """Raw weights times masks, for the connections given to :meth:`attach`.

        Under autograd, which is how training calls it, the temperature is brought up to the current step,
        and the metabolic cost is taken from the same soft masks and kept until :meth:`regularizers` asks
        for it: one backward pass then goes through the genome once.
        """
        logits = self._layout.logits(self.genome)
        masks = self._chosen(logits) if self._budget is None else self._exact(logits, self._budget)
        whole: dict[str, Tensor] = {}
        for block, mask in zip(self._layout.blocks, masks, strict=True):
            name, region = block.region.parameter, block.region.region
            if block.region.fills(raw[name]):
                whole[name] = _masked(raw[name], mask)
            else:
                if name not in whole:
                    whole[name] = raw[name].clone()
                region(whole[name]).copy_(_masked(region(raw[name]), mask))
        if self._attention is not None:
            by_name = {c.name: c for c in connections}
            for name, mask in self._seen(self._attention).items():
                place = by_name[name].parameter
                whole[place] = self._attention.bias(mask).to(raw[place].dtype)
        return whole

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """The genome's six tensors, without weight decay; none if it is frozen."""
        if self.options.frozen:
            return ()
        groups = [(self.genome, self.options.lr, "genome")] if self._connections else []
        if self._attention is not None:
            rate = self._attention.options.lr
            groups += [(genome, rate, f"genome of {name}") for name, genome in self._attention.genomes.items()]
        return [
            ParameterGroup(
                list(genome.parameters()),
                rate,
                schedule=self.options.schedule,
                name=name,
                in_network=False,  # the final network is its weights under the masks that the genome grew
            )
            for genome, rate, name in groups
        ]

    def regularizers(self, context: MethodContext) -> Mapping[str, Tensor]:
        """``metabolic_cost``: lambda times the cost; a constant without gradient if the genome is frozen.

        None at a given density, nor where only attention is masked.
        """
        if self._budget is not None or not self._connections:
            return {}
        cost, self._cost = self._cost, None
        if cost is None:
            cost = self._mean()
        return {"metabolic_cost": self.options.cost_weight * cost}

    @torch.no_grad()
    def final_masks(self, context: MethodContext) -> Masks:
        """Where sigmoid(logits) > 0.5, whatever the temperature; at a given density, of the largest logits."""
        logits, connections = self._layout.logits(self.genome), self._connections
        if self._budget is not None:
            return largest(self._layout, logits, self._budget, connections, self.options.distribution or "global")
        by_name = {c.name: c for c in connections}
        parts = self._layout.parts(torch.sigmoid(block) > 0.5 for block in logits)
        masks = {name: pairwise(part, by_name[name]).contiguous() for name, part in parts}
        seen = self._attention.logits() if self._attention is not None else {}
        return Masks(masks | {name: logit.sigmoid() > 0.5 for name, logit in seen.items()})

    def other_count(self, asked: int, kept: int, connections: Sequence[Connection]) -> str | None:
        """Whole kernels: exact to one of each connection."""
        return whole_kernels(asked, kept, connections)

    def final_differs(self) -> str | None:
        """Unless it trains hard."""
        return None if self._hard else "trained with soft masks, of which the final ones are the larger half"

    @torch.no_grad()
    def soft_densities(self) -> Mapping[str, float] | None:
        """Mean soft mask at the current temperature, per connection; None if training is hard."""
        if self._hard:
            return None
        temperature = self.temperature
        parts = self._layout.parts(torch.sigmoid(block * temperature) for block in self._layout.logits(self.genome))
        seen = self._attention.soft(temperature) if self._attention is not None else {}
        return {name: float(part.mean()) for name, part in [*parts, *seen.items()]}

    def state_dict(self) -> dict[str, Any]:
        """``genome``: its six tensors, named as published; ``temperature``: of the last training step.

        ``attention``: those of the genomes for attention, by connection, where there are any.
        """
        own = {} if self._attention is None else {"attention": self._attention.state_dict()}
        return {"genome": dict(self.genome.state_dict()), "temperature": self.temperature, **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; the next training step sets the temperature anew."""
        self.genome.load_state_dict(state["genome"])
        self.temperature = float(state["temperature"])
        if self._attention is not None:
            self._attention.load_state_dict(state["attention"])

    def _inherited(self, context: MethodContext) -> tuple[str, Mapping[str, Tensor]] | None:
        """Where the genome comes from, for messages, and its tensors; None if it starts afresh."""
        source, path = context.source, self.options.initial
        if source is not None and path is not None:
            raise UserError(f"the genome cannot start both from cell '{source.cell}' and from {path}: give one of them")
        if path is not None:
            return f"genome file {path}", load_genome(_placed(path))
        if source is None:
            return None
        return f"source cell '{source.cell}'", source_genome(source)

    def _scheduled(self) -> float:
        """The temperature of the current step: the phase's last step is at ``temperature_end``."""
        options, context = self.options, self._context
        horizon = options.temperature_steps or max(1, context.steps - 1)
        progress = min(1.0, context.step / horizon)
        return options.temperature_start + progress * (options.temperature_end - options.temperature_start)

    @property
    def _hard(self) -> bool:
        return self.options.hard or self._budget is not None

    def _chosen(self, logits: Sequence[Tensor]) -> list[Tensor]:
        """The masks of every block that the genome chooses, soft or hard; takes the cost of the soft ones."""
        training = torch.is_grad_enabled()
        if training:
            self.temperature = self._scheduled()
        if not logits:
            return []
        temperature = 1.0 if self.options.hard else self.temperature
        charged = training and self._charged is self._layout
        soft = [torch.sigmoid(block) for block in logits] if charged or temperature == 1.0 else []
        masks = soft if temperature == 1.0 else [torch.sigmoid(block * temperature) for block in logits]
        if training:
            self._cost = self._mean(soft if charged else None)
        # round() is the rule "> 0.5": a half rounds to even.
        return [_straight_through(mask, torch.round(mask.detach())) for mask in masks] if self.options.hard else masks

    def _seen(self, genomes: AttentionGenomes) -> dict[str, Tensor]:
        """The masks on attention, soft or hard."""
        if not self.options.hard:
            return genomes.soft(self.temperature)
        soft = {name: logit.sigmoid() for name, logit in genomes.logits().items()}
        return {name: _straight_through(mask, torch.round(mask.detach())) for name, mask in soft.items()}

    def _exact(self, logits: Sequence[Tensor], budget: DensityBudget) -> list[Tensor]:
        """The hard masks of every block that keep the budget."""
        distribution = self.options.distribution or "global"
        kept = largest(self._layout, logits, budget, self._connections, distribution)
        shared = distribution == "global" and budget.per_connection is None
        cuts = thresholds(self._layout, logits, kept, shared)
        hard = block_masks(self._layout, kept)
        return [
            _straight_through(torch.sigmoid(block - cut), mask_as_numbers(mask, block.dtype))
            for block, cut, mask in zip(logits, cuts, hard, strict=True)
        ]

    def _mean(self, soft: Iterable[Tensor] | None = None) -> Tensor:
        """The cost; ``soft`` are the masks of all that is charged, where they are known."""
        if soft is None:
            soft = [torch.sigmoid(block) for block in self._charged.logits(self.genome)]
        return torch.stack([mask.sum() for mask in soft]).sum() / self._charged.pairs


def _weights_among(connections: Iterable[Connection]) -> tuple[Connection, ...]:
    return tuple(c for c in connections if c.kind == "weight")


def _masked(weight: Tensor, mask: Tensor) -> Tensor:
    """Weights (out, in, *kernel) times a mask of their pairs (out, in)."""
    return weight * mask.reshape(*mask.shape, *(1,) * (weight.ndim - 2)).to(weight.dtype)


def _straight_through(soft: Tensor, hard: Tensor) -> Tensor:
    """A ``hard`` mask in value, which is 1 only where ``soft`` is at least a half; the gradient is the soft one's."""
    # soft + (hard - soft) is exactly 0 or 1. Multiplied, not selected: where() takes ten times as long on a CPU.
    with torch.no_grad():
        rest = hard.sub_(soft)
    return soft + rest


def _load(genome: Genome, origin: str, state: Mapping[str, Tensor]) -> None:
    """Raises UserError if the shapes differ."""
    own = {name: tuple(value.shape) for name, value in genome.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    wrong = [
        f"{name} {given.get(name, 'missing')} instead of {shape}"
        for name, shape in own.items()
        if given.get(name) != shape
    ]
    if wrong:
        raise UserError(
            f"{origin} does not fit the options: it has {', '.join(wrong)}. affinity is (n_types, type_dim) and "
            "band_type_base is (n_bands, n_types): set these three options to the genome's own sizes"
        )
    genome.load_state_dict(dict(state))


def _placed(path: Path) -> Path:
    """A file or folder that is here, or would have to be; else the name of an import."""
    place = data_directory() / path.expanduser()
    return place if path.suffix or place.exists() else path
