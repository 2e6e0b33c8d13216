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
    Masks,
    MethodContext,
    ParameterGroup,
    Phase,
    SparsityMethod,
    UserError,
)
from harness_genome.genome import Genome
from harness_genome.layout import Layout
from harness_genome.published import load_genome


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
        initial: a genome to start from: ``.safetensors`` or ``.pt``, relative to the working folder, or the name
            of an imported one. Its content is hashed.
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
        - Its CNN density and cost also count pairs of bands that no weight joins; here only connections do.
    """

    Options = GenomeOptions
    mode = "composed"
    takes_density = "never"
    takes_source = "optional"

    genome: Genome
    temperature: float
    _context: MethodContext
    _layout: Layout
    _cost: Tensor | None

    def unsupported(self, architecture: Architecture[Any], connections: Sequence[Connection]) -> str | None:
        """Attention biases, grouped weights, and bands beyond ``n_bands`` have no mask."""
        if not connections:
            return "no connection is in scope, so there is nothing to grow"
        for connection in connections:
            if connection.kind != "weight":
                return f"connection '{connection.name}' is an attention bias; the genome only masks weights so far"
            if connection.shape[:2] != (connection.target.size, connection.source.size):
                return f"connection '{connection.name}' is grouped: not every target unit has a weight per source unit"
        needed = _bands(connections)
        if self.options.n_bands is not None and self.options.n_bands < needed:
            return (
                f"the connections span {needed} bands but n_bands is {self.options.n_bands}; raise it or leave it out"
            )
        return None

    def influences(self, phase: Phase) -> Mapping[str, Any]:
        """All options, with a digest of the ``initial`` genome in place of its path."""
        options = self.options.model_dump(mode="json")
        if self.options.initial is not None:
            digest = hashlib.sha256()
            for name, value in sorted(load_genome(self.options.initial).items()):
                digest.update(f"{name}{tuple(value.shape)}".encode() + value.double().numpy().tobytes())
            options["initial"] = digest.hexdigest()
        return options

    def attach(self, context: MethodContext) -> None:
        """Draw the genome, or take it from the source cell or file, and lay out the bands."""
        options = self.options
        dtypes = {context.raw[c.parameter].dtype for c in context.connections}
        dtype = torch.float32 if torch.float64 not in dtypes else torch.float64
        n_bands = options.n_bands or max(context.bands, _bands(context.connections))
        self.genome = Genome(options.n_types, options.type_dim, n_bands, context.generator("genome"))
        self.genome.to(context.device, dtype)
        inherited = self._inherited(context)
        if inherited is not None:
            _load(self.genome, *inherited)
        elif options.frozen:
            raise UserError("a frozen genome needs somewhere to come from: give the method a source or 'initial'")
        self.genome.requires_grad_(not options.frozen)
        self.temperature, self._context, self._cost = options.temperature_start, context, None
        self._layout = Layout(self.genome, context.connections)

    def effective(self, raw: Mapping[str, Tensor], connections: Sequence[Connection]) -> Mapping[str, Tensor]:
        """Raw weights times masks, for the connections given to :meth:`attach`.

        Under autograd, which is how training calls it, the temperature is brought up to the current step,
        and the metabolic cost is taken from the same soft masks and kept until :meth:`regularizers` asks
        for it: one backward pass then goes through the genome once.
        """
        training = torch.is_grad_enabled()
        if training:
            self.temperature = self._scheduled()
        temperature = 1.0 if self.options.hard else self.temperature
        logits = self._layout.logits(self.genome)
        soft = [torch.sigmoid(block) for block in logits] if training or temperature == 1.0 else []
        masks = soft if temperature == 1.0 else [torch.sigmoid(block * temperature) for block in logits]
        if training:
            self._cost = self._mean(soft)
        whole: dict[str, Tensor] = {}
        for block, mask in zip(self._layout.blocks, masks, strict=True):
            name, region = block.region.parameter, block.region.region
            if block.fills(raw[name]):
                whole[name] = self._masked(raw[name], mask)
            else:
                if name not in whole:
                    whole[name] = raw[name].clone()
                region(whole[name]).copy_(self._masked(region(raw[name]), mask))
        return whole

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """The genome's six tensors, without weight decay; none if it is frozen."""
        if self.options.frozen:
            return ()
        return [
            ParameterGroup(
                list(self.genome.parameters()),
                self.options.lr,
                schedule=self.options.schedule,
                name="genome",
                in_network=False,  # the final network is its weights under the masks that the genome grew
            )
        ]

    def regularizers(self, context: MethodContext) -> Mapping[str, Tensor]:
        """``metabolic_cost``: lambda times the cost; a constant without gradient if the genome is frozen."""
        cost, self._cost = self._cost, None
        if cost is None:
            cost = self._mean([torch.sigmoid(block) for block in self._layout.logits(self.genome)])
        return {"metabolic_cost": self.options.cost_weight * cost}

    @torch.no_grad()
    def final_masks(self, context: MethodContext) -> Masks:
        """Where sigmoid(logits) > 0.5, whatever the temperature."""
        shapes = {c.name: c.shape for c in self._context.connections}
        parts = self._parts(torch.sigmoid(block) > 0.5 for block in self._layout.logits(self.genome))
        return Masks(
            {name: _broadcast(part, len(shapes[name])).expand(shapes[name]).contiguous() for name, part in parts}
        )

    def final_differs(self) -> str | None:
        """Unless it trains hard."""
        return None if self.options.hard else "trained with soft masks, of which the final ones are the larger half"

    @torch.no_grad()
    def soft_densities(self) -> Mapping[str, float] | None:
        """Mean soft mask at the current temperature, per connection; None if training is hard."""
        if self.options.hard:
            return None
        temperature = self.temperature
        parts = self._parts(torch.sigmoid(block * temperature) for block in self._layout.logits(self.genome))
        return {name: float(part.mean()) for name, part in parts}

    def state_dict(self) -> dict[str, Any]:
        """``genome``: its six tensors, named as published; ``temperature``: of the last training step."""
        return {"genome": dict(self.genome.state_dict()), "temperature": self.temperature}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; the next training step sets the temperature anew."""
        self.genome.load_state_dict(state["genome"])
        self.temperature = float(state["temperature"])

    def _inherited(self, context: MethodContext) -> tuple[str, Mapping[str, Tensor]] | None:
        """Where the genome comes from, for messages, and its tensors; None if it starts afresh."""
        source, path = context.source, self.options.initial
        if source is not None and path is not None:
            raise UserError(f"the genome cannot start both from cell '{source.cell}' and from {path}: give one of them")
        if path is not None:
            return f"genome file {path}", load_genome(path)
        if source is None:
            return None
        if "genome" not in source.method_state:
            raise UserError(f"source cell '{source.cell}' has no genome; name a cell of the method 'genome'")
        return f"source cell '{source.cell}'", source.method_state["genome"]

    def _scheduled(self) -> float:
        """The temperature of the current step: the phase's last step is at ``temperature_end``."""
        options, context = self.options, self._context
        horizon = options.temperature_steps or max(1, context.steps - 1)
        progress = min(1.0, context.step / horizon)
        return options.temperature_start + progress * (options.temperature_end - options.temperature_start)

    def _masked(self, weight: Tensor, soft: Tensor) -> Tensor:
        soft = _broadcast(soft, weight.ndim).to(weight.dtype)
        if not self.options.hard:
            return weight * soft
        # Exactly 0 or 1: round() is the rule "> 0.5" (a half rounds to even), and soft + (round - soft) is exact
        # on [0, 1]. Multiplied, not selected: where() takes ten times as long on a CPU.
        with torch.no_grad():
            rest = torch.round(soft).sub_(soft)
        return weight * (soft + rest)

    def _mean(self, soft: Iterable[Tensor]) -> Tensor:
        return torch.stack([mask.sum() for mask in soft]).sum() / self._layout.pairs

    def _parts(self, masks: Iterable[Tensor]) -> Iterable[tuple[str, Tensor]]:
        """(connection, its part of the block's mask), in the layout's order."""
        for block, mask in zip(self._layout.blocks, masks, strict=True):
            yield from block.split(mask).items()


def _bands(connections: Sequence[Connection]) -> int:
    return 1 + max(band.depth for c in connections for band in (c.source, c.target))


def _broadcast(mask: Tensor, ndim: int) -> Tensor:
    """(out, in) with as many axes of size 1 added as a weight (out, in, *kernel) has."""
    for _ in range(ndim - 2):
        mask = mask.unsqueeze(-1)
    return mask


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
