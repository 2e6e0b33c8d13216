"""Whether a device computes what the CPU does; the correctness sections of gpu.py."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gpu_cells
import torch
from checkout import registry
from gpu_cells import Outcome, train, written
from gpu_report import Finding
from head_loss import Way, ours, tensors
from safetensors.torch import save_file
from torch.nn import functional as F

from harness.stages.store import StageStore
from harness_genome.genome import Genome

GROWN = ("genome", "genome_hard", "random_as_genome")
"""Their counts follow from what was learnt; all others are asked for theirs."""
GIVEN = ("random", "random_sparse")
"""Their masks do not depend on training."""
FEW = ("dense", "random_sparse", "genome")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two runs may be apart whose sums are rounded differently.

    Attributes:
        loss: largest difference anywhere along the curve, in nats.
        overlap: least overlap of masks that training decides, as a fraction.
        kept: largest difference of learnt counts, as a fraction of the weights.
    """

    loss: float
    overlap: float
    kept: float


TOLERANCES = {"fp32": Tolerance(1e-3, 0.99, 0.001), "bf16": Tolerance(1e-2, 0.9, 0.005)}
"""Room above what another order of sums does on a CPU, with two or four micro-batches: in fp32 it moves losses by 1e-6
and no mask; in bf16, as bf16 itself does against fp32, losses by 2e-3, overlaps to 0.963, learnt counts by 0.00014."""


@dataclass(frozen=True, slots=True)
class Size:
    """A network, its data and its training, as a suite says them."""

    network: Mapping[str, Any]
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    head: str


TINY = Size(
    {"n_layers": 2, "width": 32, "heads": 2},
    {"context": 16, "vocabulary": 600, "length": 60_000, "eval_tokens": 600},
    {"steps": 20, "batch_size": 8},
    "512x16x600",
)
FULL = Size(
    {"n_layers": 2, "width": 64, "heads": 2},
    {"context": 64, "vocabulary": 1024, "length": 1_000_000, "eval_tokens": 8192},
    {"steps": 40, "batch_size": 16},
    "8192x64x2048",
)
TRAINING = {"lr": 1e-3, "weight_decay": 0.1, "clip_norm": 1.0, "warmup_steps": 5}


SHORT = {"interval": 5, "recovery_steps": 10, "rounds": 2}
"""Options by which a short training has every event that a long one has, for methods that have such options."""
APART = {
    "synflow": "an input of ones is no token",
    "l0": "the noise of its gates is drawn on the device",
}
"""What cannot be compared with the CPU here, and why."""


def methods(genome: Path) -> dict[str, dict[str, Any]]:
    """Every method that the plugins bring; ``genome`` is where a grown network starts."""
    grown = {"use": "genome", "initial": str(genome)}
    pruned = {"source": "magnitude"}
    given: dict[str, dict[str, Any]] = {
        "dense": {},
        "random": {"density": 0.5},
        "random_sparse": {"use": "random", "density": 0.1},
        "magnitude": {"density": 0.3, "recovery_steps": 20},
        "genome": {**grown, "temperature_end": 10.0},
        "genome_hard": {**grown, "hard": True},
        "genome_cut": {"source": "genome", "density": 0.3},
        "connectome": {"density": 0.3, "generations": 2, "outer_steps": 20},
        "random_as_genome": {"use": "random", "density": {"match": "genome", "by": "per_layer"}},
        "shuffle": pruned,
        "reinit": pruned,
        "continued": pruned,
        "small_dense": {"density": 0.3},
        "stored_mask": {},
    }
    plugins = registry()
    for name in (registered.entry.name for registered in plugins.entries("method")):
        if name not in given and name not in APART:
            options = plugins.get("method", name).Options.model_fields
            short = {key: value for key, value in SHORT.items() if key in options}
            given[name] = {"density": 0.5 if "pattern" in options else 0.3, **short}
    return given


@dataclass(slots=True)
class Checks:
    """The correctness sections; what one of them has trained, the others need not train again.

    Attributes:
        folder: for stages and checkpoints.
        device: what is compared with the CPU.
        data: options of ``gpu_tokens`` beyond the size's.
    """

    folder: Path
    device: torch.device
    size: Size
    data: Mapping[str, Any] = field(default_factory=dict)

    def agreement(self, precision: str) -> Finding:
        """Losses, masks and counts of every method, against the CPU's."""
        allowed = TOLERANCES[precision]
        cpu, other = (self._trained(run, precision=precision) for run in ("cpu", "device"))
        rows = []
        for name, one in cpu.items():
            two = other[name]
            difference, overlap = one.loss_difference(two), one.overlap(two)
            slack = round(allowed.kept * one.size) if name in GROWN else 0
            least = 1.0 if name in GIVEN or one.masks is None else allowed.overlap
            good = difference <= allowed.loss and abs(one.kept - two.kept) <= slack and overlap >= least
            kept = one.kept if one.kept == two.kept else f"{one.kept:,} / {two.kept:,}"
            rows.append({"method": name, "loss": difference, "kept": kept, "overlap": overlap, "passed": good})
        passed = all(row["passed"] for row in rows)
        worst = max(row["loss"] for row in rows)
        says = f"losses of {len(rows)} programs within {worst:.1e} of the CPU's ({allowed.loss:g} allowed)"
        return Finding(says + "".join(f"; not {name}: {reason}" for name, reason in APART.items()), rows, passed)

    def repeats(self) -> Finding:
        """Two runs on the device."""
        return self._same(self._trained(), self._trained("again", FEW), "two runs", self._repeatable)

    def compiled(self) -> Finding:
        """With torch.compile against without."""
        return self._same(self._trained(), self._trained("device", FEW, compile=True), "compiled or not", False)

    def kill(self) -> Finding:
        """A process killed while it trains, gone on with in this one, against one that was left alone.

        Dropout is on, so that the random state of the device has to come back too.
        """
        steps = 200  # long after its first checkpoint, for whoever is slow to kill it
        suite = self._suite("kill", ("genome",), {"dropout": 0.1}, steps=steps)
        calm, killed = self.folder / "calm", self.folder / "killed"
        command = [sys.executable, gpu_cells.__file__, str(suite), str(killed), str(self.device)]
        with (self.folder / "killed.log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            while process.poll() is None and not list(killed.glob("stages/*/checkpoint-*.safetensors")):
                time.sleep(0.005)
        finally:
            process.kill()
        if process.wait() != -signal.SIGKILL or not (reached := _reached(killed)):
            words = (self.folder / "killed.log").read_text().strip().splitlines()[-1:]
            return Finding(f"the process ended before it could be killed: {''.join(words)}", passed=False)
        one, two = train(suite, calm, self.device), train(suite, killed, self.device)
        return self._same(one, two, f"killed at step {reached} of {steps} or not", self._repeatable)

    def head(self) -> Finding:
        """Head and loss in chunks, with their gradients, against float64 on the CPU."""
        exact = [tensor.detach().cpu().double() if tensor.is_floating_point() else tensor for tensor in self._head()]
        reference = _with_gradients(lambda x, w, labels: F.cross_entropy(F.linear(x, w), labels), exact)
        rows = []
        for precision, allowed in (("fp32", 1e-5), ("bf16", 2e-2)):
            found = _with_gradients(ours, [tensor.to(self.device) for tensor in self._head()], precision)
            errors = [float((a.cpu().double() - b).norm() / b.norm()) for a, b in zip(found, reference, strict=True)]
            row = dict(zip(("loss", "features", "weight"), errors, strict=True))
            rows.append({"precision": precision, **row, "allowed": allowed, "passed": max(errors) <= allowed})
        says = f"head loss and its gradients within {max(rows[0][k] for k in row):.1e} of float64"
        return Finding(says, rows, all(row["passed"] for row in rows))

    def _head(self) -> tuple[torch.Tensor, ...]:
        return tensors(self.size.head, "cpu")

    def _same(self, one: Mapping[str, Outcome], two: Mapping[str, Outcome], what: str, exact: bool) -> Finding:
        rows = []
        for name, other in two.items():
            loss = one[name].loss_difference(other)
            rows.append(
                {
                    "method": name,
                    "equal bits": "yes" if one[name].equals(other) else "no",
                    "loss": loss,
                    "weights": one[name].weight_difference(other),
                    "overlap": one[name].overlap(other),
                    "passed": loss <= TOLERANCES["fp32"].loss,
                }
            )
        equal = all(row["equal bits"] == "yes" for row in rows)
        apart = "equal to the bit" if equal else f"losses up to {max(row['loss'] for row in rows):.1e} apart"
        return Finding(f"{what}: {apart}", rows, all(row["passed"] for row in rows) and (equal or not exact))

    @property
    def _repeatable(self) -> bool:
        """Whether a second run must be equal to the bit, which is not promised for a GPU."""
        return self.device.type == "cpu"

    def _trained(
        self, run: str = "device", only: Collection[str] = (), precision: str = "fp32", **training: Any
    ) -> dict[str, Outcome]:
        """What is trained already comes from disk; the run "cpu" is on the CPU, any other one on the device."""
        label = "-".join([run, precision, *training])
        suite = self._suite(label, only, precision=precision, **training)
        return train(suite, self.folder / label, torch.device("cpu") if run == "cpu" else self.device)

    def _suite(
        self, label: str, only: Collection[str], network: Mapping[str, Any] | None = None, **training: Any
    ) -> Path:
        genome = self.folder / "genome.safetensors"
        if not genome.exists():
            _save_genome(genome, self.size.network["n_layers"])
        chosen = {name: entry for name, entry in methods(genome).items() if not only or name in only}
        return written(
            self.folder / f"{label}.yaml",
            {**self.size.network, **(network or {})},
            {**self.size.data, **self.data},
            {**TRAINING, **self.size.training, **training},
            chosen,
        )


def _save_genome(path: Path, layers: int) -> None:
    """A genome whose types differ more than fresh ones do: these keep nothing for long, this one about half."""
    genome = Genome(n_bands=layers + 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        genome.compatibility.add_(1.0).mul_(3.0).add_(0.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(genome.state_dict()), path)


def _reached(folder: Path) -> int:
    """Step of the newest checkpoint; 0 if there is none."""
    store = StageStore(folder)
    names = [store.reached(path.name) for path in (folder / "stages").glob("*")]
    return max((int(name.rpartition("-")[2]) % 10**9 for name in names if name), default=0)


def _with_gradients(way: Way, given: Iterable[torch.Tensor], precision: str = "fp32") -> tuple[torch.Tensor, ...]:
    features, weight, targets = (t.detach().requires_grad_(t.is_floating_point()) for t in given)
    with torch.autocast(features.device.type, torch.bfloat16, enabled=precision == "bf16"):
        loss = way(features, weight, targets)
    loss.backward()
    return loss.detach(), features.grad, weight.grad
