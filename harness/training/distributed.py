"""The processes of one stage: who we are, and how gradients are summed over them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from harness.errors import UserError

T = TypeVar("T")
_BUFFERS = (
    "forward_sync_buffers"
    if "forward_sync_buffers" in inspect.signature(nn.parallel.DistributedDataParallel).parameters
    else "broadcast_buffers"
)
"""What torch calls sending the first process's buffers to the others before each forward; renamed in torch 2.13."""
PATIENCE = timedelta(hours=6)
"""How long processes wait for each other: the first one may evaluate in the meantime. A dead one is noticed at once."""


@dataclass(frozen=True, slots=True)
class Substrate:
    """One process among ``world`` that train the same network on different slices of each batch.

    Attributes:
        rank, world: this process's number and how many there are; (0, 1) for a single process.
        device: where this process computes.
    """

    rank: int
    world: int
    device: torch.device

    @classmethod
    def detect(cls, environment: Mapping[str, str] | None = None) -> Substrate:
        """From the environment: torchrun's variables, else a SLURM step's, else a single process.

        A batch script may carry ``SLURM_NTASKS`` without being a step, so ``SLURM_STEP_ID`` is required too.
        Device: ``$HARNESS_DEVICE``, else the local rank's GPU, else the CPU.

        Raises:
            UserError: if ``$HARNESS_DEVICE`` is no device, or asks for a GPU and there is none; if one of the numbers
                is none.
        """
        env = os.environ if environment is None else environment
        rank, world, local = 0, 1, 0
        if "RANK" in env and "WORLD_SIZE" in env:
            rank, world, local = (_number(env, name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        elif "SLURM_STEP_ID" in env and _number(env, "SLURM_NTASKS") > 1:
            rank, world, local = (_number(env, name) for name in ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"))
        if not 0 <= rank < max(1, world):
            raise UserError(f"the environment says that this is process {rank} of {world}: unset RANK and WORLD_SIZE")
        name = env.get("HARNESS_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(name)
        except RuntimeError as error:
            raise UserError(
                f"HARNESS_DEVICE is '{name:.60}', which is no device: cpu, cuda, or cuda:0 and so on"
            ) from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise UserError(f"HARNESS_DEVICE is '{name}', but torch finds no GPU here; set it to cpu or leave it out")
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", local % torch.cuda.device_count())
        return cls(rank, world, device)

    def start(self) -> None:
        """Join the process group; does nothing for a single process, or when already joined."""
        if self.world > 1 and not torch.distributed.is_initialized():
            backend = "nccl" if self.device.type == "cuda" else "gloo"
            torch.distributed.init_process_group(backend, rank=self.rank, world_size=self.world, timeout=PATIENCE)

    def wrap(self, module: nn.Module, unused: bool = False) -> nn.Module:
        """The module with gradients averaged over processes in ``backward``.

        ``unused`` says that some parameters take no part in the loss; their gradients must not be waited for.
        """
        if self.world == 1:
            return module
        parallel = nn.parallel.DistributedDataParallel
        return parallel(module, find_unused_parameters=unused, **{_BUFFERS: False})  # type: ignore[arg-type]

    @contextmanager
    def accumulating(self, module: nn.Module, last: bool) -> Iterator[None]:
        """Around one micro-batch: gradients are exchanged only at the ``last`` one."""
        if isinstance(module, nn.parallel.DistributedDataParallel) and not last:
            with module.no_sync():
                yield
        else:
            yield

    def mean(self, value: Tensor) -> Tensor:
        """Mean over processes, in place."""
        if self.world > 1:
            torch.distributed.all_reduce(value)
            value /= self.world
        return value

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is set in any process; all of them wait for each other here."""
        return flag if self.world == 1 else bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    def first(self, value: T) -> T:
        """The first process's value, in all of them; anything that can be pickled. They wait for each other here."""
        if self.world == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0, device=self.device)
        return values[0]

    def same(self, tensors: Iterable[Tensor]) -> None:
        """Make tensors those of the first process, in place; all of them wait for each other here."""
        for tensor in tensors if self.world > 1 else ():
            whole = tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor.contiguous()
            torch.distributed.broadcast(whole, src=0)
            with torch.no_grad():
                tensor.copy_(whole)

    def share(self, indices: Tensor) -> Tensor:
        """This process's slice of a micro-batch's indices.

        Raises:
            ValueError: if the micro-batch does not divide by the number of processes.
        """
        if len(indices) % self.world:
            raise ValueError(f"a micro-batch of {len(indices)} examples does not divide by {self.world} processes")
        return indices.chunk(self.world)[self.rank]


def random_state() -> dict[str, Any]:
    """State of torch's generators in this process, for a checkpoint."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """The inverse of :func:`random_state`; a GPU state is left out where there is no GPU."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(list(state["cuda"]))


def _number(environment: Mapping[str, str], name: str) -> int:
    """A variable that counts; 0 where it is not set.

    Raises:
        UserError: if it is no number.
    """
    try:
        return int(environment.get(name, "0"))
    except ValueError as error:
        raise UserError(f"{name} is '{environment[name]:.60}' and must be a whole number: unset it") from error
