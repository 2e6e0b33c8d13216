"""Which stages may take their optimizer steps together."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from harness.core.phases import Train
from harness.executors.short_timing import RandomExamples
from harness.stages.graph import Stage
from harness.training.pack import refusal

if TYPE_CHECKING:
    from harness.executors.base import Job
    from harness.executors.planning import Plan
    from harness.suites.suite import Suite


def mark_packs(plan: Plan, suite: Suite) -> None:
    """Say of a plan's jobs which may share a pack, and why others with ``training.pack`` may not.

    They have the network, the data, the form of a batch and the number of steps in common. What only shows when they
    are trained is found then: see :class:`harness.training.pack.Pack`.
    """
    reasons: dict[tuple[int, int], str | None] = {}

    def marked(job: Job) -> Job:
        stage = job.work
        training = stage.cell.training
        if not isinstance(stage, Stage) or training.pack is None or not stage.steps:
            return job
        cell = stage.cell
        network = id(cell.architecture_part), id(cell.training_part)
        if network not in reasons:
            reasons[network] = _refusal(stage, suite)
        reason = "it is compiled" if training.compile else reasons[network]
        if reason is not None:
            plan.alone.setdefault(cell.architecture, reason)
            return job
        parts = [part.plugin + part.options.model_dump_json() for part in (cell.architecture_part, cell.training_part)]
        batch = training.batch_size, training.micro_batches, training.precision, training.threads, training.pack
        trained = [phase.steps for phase in stage.phases if isinstance(phase, Train)]
        return replace(job, pack=hashlib.sha256(repr((parts, batch, trained)).encode()).hexdigest()[:32])

    plan.jobs = [marked(job) for job in plan.jobs]


def _refusal(stage: Stage, suite: Suite) -> str | None:
    """Why a stage's network cannot be packed, as far as its shapes tell."""
    cell, spec = stage.cell, suite.spec(stage.cell.training_part)
    architecture = suite.registry.get("architecture", cell.architecture_part.plugin)(
        cell.architecture_part.options, spec
    )
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        module = architecture.build()
        examples = RandomExamples(spec, 2, torch.device("meta"))
    return refusal(module, *examples.batch(torch.arange(2, device="meta")))
