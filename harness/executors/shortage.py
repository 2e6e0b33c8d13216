"""What a plan needs and this machine, or a job of a cluster, does not have: told before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.executors.cost import Cost
from harness.executors.planning import Plan
from harness.formatting import count, size
from harness.machine import free_disk, free_memory, gpu_memory
from harness.suites.slurm_options import SlurmOptions

PROCESS = int(0.4 * 2**30)
"""Bytes of an interpreter in which torch and the plugins have been imported, at least."""
FORKED = 50 * 2**20
"""Bytes of a worker of this machine, at least, beside what it shares with the process that it is a fork of."""


def shortage_of_disk(cost: Cost, folder: Path, running: int) -> Iterator[str]:
    """One line where the stages, and the checkpoints of those that run at once, may not fit below ``folder``."""
    free, needed = free_disk(folder), cost.disk_bytes + min(running, len(cost.stage_seconds)) * cost.checkpoint_bytes
    if needed > free:
        yield f"stages and their checkpoints take about {size(needed)}, and {size(free)} are free in {folder}"


def shortage_of_memory(cost: Cost, workers: int, gpus: int) -> Iterator[str]:
    """One line where this machine has not enough memory for so many workers, or its smallest GPU for its share."""
    workers = min(workers, len(cost.stage_seconds))
    free, where = (gpu_memory(), "a GPU has") if gpus else (free_memory(), "free are")
    each, together = cost.memory_bytes + (0 if gpus else FORKED), -(-workers // max(1, gpus))
    if free is None or not cost.memory_bytes or together * each <= free:
        return
    fit = free // each * max(1, gpus)
    advice = f"try --workers {fit}" if fit else "raise training.micro_batches, or make the network smaller"
    whose = f"{count(together, 'worker')} {'of a GPU ' if gpus else ''}need{'s' if together == 1 else ''}"
    yield f"{whose} at least {size(together * each)} of memory, {where} {size(free)}: {advice}"


def shortage_in_jobs(cost: Cost, plan: Plan, options: SlurmOptions) -> Iterator[str]:
    """A line for each network whose SLURM jobs ask for less than their processes take; GPUs have their own memory."""
    told = set()
    for cell in (job.work.cell for job in plan.jobs):
        request = options.request(cell.architecture, cell.method)
        workers, asked = request.cells_per_gpu or 1, request.memory_bytes
        # One more process hands out the work, where not each trains a part of every batch.
        needed = request.processes_per_node * (PROCESS + workers * (PROCESS + cost.memory.get(cell.architecture, 0)))
        if not request.gpus and 0 < asked < needed and (cell.architecture, asked) not in told:
            told.add((cell.architecture, asked))
            yield f"slurm.mem is {request.mem}, and a job of {cell.architecture} takes at least {size(needed)}"
