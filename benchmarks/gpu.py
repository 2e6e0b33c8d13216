"""Everything that a GPU has to show, in one command: first that it computes what the CPU does, then how fast.

    python benchmarks/gpu.py --minutes 8                 # on a GPU where there is one
    python benchmarks/gpu.py --device cpu                # tiny sizes; shows that the command works
    python benchmarks/gpu.py --only language_step head_loss --out elsewhere

It needs torch (2.11 or newer), numpy, pydantic, pluggy, pyyaml, click, rich, safetensors, scipy and tiktoken; no
network, no installation of the harness, and no data: it takes the words of Python's own library, or ``--tokens``,
a file of uint16. ``--out`` gets one JSON and one page, named after the device and written after every section. What
does not fit into the minutes is named there. It ends with 1 if something differs that must not, or broke.

Float32 is float32: the harness leaves torch's setting as it is, which is without TF32 in matrix products, and with it
in cuDNN's convolutions. The page says what was set.
"""

from __future__ import annotations

import argparse
import gc
import re
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import biogpt_step
import compaction
import head_loss
import language_step
import packing
import small_steps
import step_overhead
import torch
from checkout import ROOT
from gpu_cells import train, written
from gpu_correctness import FULL, TINY, Checks
from gpu_report import Finding, Record, Section
from timing import Compared

from harness.training.environment import git_revision
from harness.training.trainer import StepReport

RESERVE = 5.0
"""Seconds left at the end, to write down what there is."""
SHORTEST = 15.0
"""Seconds of training below which a minute is not worth its beginning."""
BEGINNING = 20.0
"""Seconds until gpt2 small trains, with compilation; an estimate."""


class Enough(Exception):
    """A minute is over."""


class OutOfTime(BaseException):
    """All minutes are over; no ``except Exception`` on the way is to stop this."""


@dataclass(slots=True)
class Bench:
    """Where and what to measure, and until when.

    Attributes:
        checks: what is not about time.
        end: on ``perf_counter``'s clock.
        compile: whether what is timed is compiled.
        minute: seconds of each training at the end; None until it is known what is left for them.
    """

    checks: Checks
    device: torch.device
    tiny: bool
    folder: Path
    data: Mapping[str, Any]
    end: float
    compile: bool
    minute: float | None = None

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - perf_counter()

    def options(self, full: str, tiny: str) -> list[str]:
        """The command line of another benchmark."""
        found = shlex.split(f"{tiny if self.tiny else full} --device {self.device.type}")
        return [*found, "--precision", "bf16"] if self.device.type == "cuda" else found

    def step_overhead(self) -> Finding:
        """Methods against dense."""
        options = self.options(
            "--network gpt2 --context 1024 --sequences 16 --micro-batches 1 --steps 3 --rounds 30 --seconds 15",
            "--network gpt2 --size micro --context 32 --micro-batches 1 --rounds 3",
        )
        options += ["--compile"] if self.compile else []
        options += ["--only", "random", "genome", "genome, hard"]
        found, _ = step_overhead.measure(step_overhead.parsed(options))
        ratios = ", ".join(f"{name} {one.ratio:.3f}" for name, one in found.items() if name != "dense")
        return Finding(f"a step's time over dense's: {ratios}", _rows(found), how=_command(step_overhead, options))

    def language_step(self) -> Finding:
        """The harness's loop against a plain one."""
        options = self.options(
            "--batch 16 --steps 3 --rounds 30 --seconds 15", "--size micro --context 32 --batch 2 --rounds 3"
        )
        options += ["--compile"] if self.compile else []
        found = language_step.measure(language_step.parsed(options))
        rows = [
            {**row, "tokens/s": round(found.per_second(row["what"])), "MFU": found.utilisation(row["what"])}
            for row in _rows(found.loops)
        ]
        used = found.utilisation("harness")
        share = f"MFU {used:.1%} of {found.peak:g} TFLOP/s" if used else "no MFU, as the device's peak is not known"
        says = (
            f"gpt2 {found.loops['harness'].speed:.3f} x as fast as a plain loop, "
            f"{found.per_second('harness'):,.0f} tokens/s ({share})"
        )
        return Finding(says, rows, how=_command(language_step, options))

    def biogpt_step(self) -> Finding:
        """BioGPT's network against the published one; not compiled, to save the minutes."""
        options = self.options(
            "--batch 4 --context 1024 --rounds 30 --seconds 15",
            "--layers 4 --width 64 --vocabulary 600 --context 32 --rounds 3",
        )
        found = biogpt_step.measure(biogpt_step.parsed(options))
        says = f"biogpt {found.networks['harness'].speed:.2f} x as fast as published"
        how = f"Largest difference of their logits {found.difference:.1e} of {found.largest:.1f}, in float32. "
        return Finding(says, _rows(found.networks), how=how + _command(biogpt_step, options))

    def head_loss(self) -> Finding:
        """Head and loss in chunks against all at once."""
        options = self.options("--shapes 16384x768x50304 --rounds 50 --seconds 5", "--shapes 512x32x600 --rounds 3")
        options += ["--without-torchs"]  # not every version's takes every shape
        arguments = head_loss.parsed(options)
        (shape,) = arguments.shapes
        found = head_loss.measure(arguments, shape, 1)
        rows = _rows(found)
        if self.device.type == "cuda":
            rows = [{**row, "MiB": round(head_loss.peak(row["what"], shape, arguments))} for row in rows]
        says = f"head and loss in chunks {found['harness'].speed:.2f} x as fast as at once"
        return Finding(says, rows, how=_command(head_loss, options))

    def packing(self) -> Finding:
        """Small networks that train together, beside one after another."""
        found = {}
        for name in ["16 dense of 32"] if self.tiny else ["16 dense of 32", "16 random of 32", "16 genome of 32"]:
            found[name] = packing.measure(name, 1 if self.tiny else 15, self.device.type, perf_counter)
        says = "packed " + ", ".join(f"{name} {one.speed:.2f}" for name, one in found.items()) + " x as fast"
        return Finding(says, _rows(found), how=f"Alone: python benchmarks/packing.py --device {self.device.type}")

    def small_steps(self) -> Finding:
        """A step of LeNet-300-100 beside a plain one, and that as a CUDA graph."""
        options = ["--batch", "128", "--rounds", "3" if self.tiny else "30", "--seconds", "10"]
        options += ["--device", self.device.type]
        found = small_steps.measure(small_steps.parsed(options))
        ways = ", ".join(f"{name} {one.speed:.2f}" for name, one in found.items() if name != "harness")
        return Finding(
            f"a step of LeNet-300-100, x the harness's speed: {ways}", _rows(found), how=_command(small_steps, options)
        )

    def compaction(self) -> Finding:
        """Networks without dead units, with sparse layers where they are faster, beside themselves with zeros."""
        names, densities = (["mlp"], (0.1,)) if self.tiny else (["wide mlp", "gpt2", "biogpt"], (0.5, 0.1))
        batch = 16 if self.tiny else 256
        with torch.no_grad():
            rows = [
                {key: row[key] for key in ("network", "masked by", "density", "sparse layers", f"x at {batch}")}
                for row in compaction.networks(names, batch, self.device, densities)
            ]
        how = f"Alone, with more: python benchmarks/compaction.py --batch {batch} --device {self.device.type}"
        return Finding(f"{len(rows)} networks without dead units", rows, how=how)

    def two_of_four(self) -> Finding:
        """Large layers with two of every four weights on sparse tensor cores, and whether they compute the same."""
        with torch.no_grad():
            rows = list(compaction.pairs(16 if self.tiny else 4096, self.device))
        if not rows:
            return Finding("no sparse tensor cores here, so 2:4 masks run dense")
        right = all(row["off by"] < 0.03 for row in rows)
        return Finding(f"2:4 in {sum(row['kernel'] == '2:4' for row in rows)} of {len(rows)} layers", rows, right)

    def train(self, label: str, entry: Mapping[str, Any]) -> Finding:
        """GPT-2 small for a minute, the way that ``harness run`` trains it."""
        if self.minute is None:
            self.minute = 2.0 if self.tiny else max(SHORTEST, min(60.0, self.left / 3 - BEGINNING))
        # Above 40 GB the logits of 16 sequences fit.
        large = self.device.type == "cuda" and torch.cuda.get_device_properties(self.device).total_memory > 40e9
        network: dict[str, Any] = {"size": "small", "vocabulary_padding": 64}
        data: dict[str, Any] = {"context": 1024, **self.data}
        training: dict[str, Any] = {"batch_size": 16, "micro_batches": 1 if large else 4, "precision": "bf16"}
        if self.tiny:
            network, data = dict(TINY.network), {**TINY.data, **self.data}
            training = {"batch_size": 8}
        training |= {"steps": 10**7, "lr": 6e-4, "betas": [0.9, 0.95], "weight_decay": 0.1, "clip_norm": 1.0}
        training |= {"schedule": "constant", "warmup_steps": 100, "compile": self.compile}
        points: list[tuple[float, int, float]] = []

        def report(seen: StepReport) -> None:
            points.append((perf_counter(), seen.step, seen.loss))
            if points[-1][0] - points[0][0] >= self.minute:
                raise Enough

        suite = written(self.folder / f"{label}.yaml", network, data, training, {label: entry})
        with suppress(Enough):
            train(suite, self.folder / label, self.device, report)
        (start, first, _), (end, last, loss) = points[0], points[-1]
        speed = (last - first) * training["batch_size"] * data["context"] / (end - start)
        row = {
            "method": label,
            "tokens/s": round(speed),
            "steps": last,
            "loss": loss,
            "GiB": torch.cuda.max_memory_allocated() / 2**30 if self.device.type == "cuda" else None,
        }
        says = f"gpt2 {label} {speed:,.0f} tokens/s, loss {loss:.3f} after {end - start:.0f} s"
        return Finding(says, [row], how="The loss is the mean of the last 20 steps; the peak is of torch's allocator.")


SECTIONS: Mapping[str, tuple[float, Callable[[Bench], Finding]]] = {
    "agreement_fp32": (40, lambda bench: bench.checks.agreement("fp32")),
    "agreement_bf16": (50, lambda bench: bench.checks.agreement("bf16")),
    "repeats": (10, lambda bench: bench.checks.repeats()),
    "kill": (30, lambda bench: bench.checks.kill()),
    "head": (5, lambda bench: bench.checks.head()),
    "compile": (50, lambda bench: bench.checks.compiled()),
    "step_overhead": (50, Bench.step_overhead),
    "language_step": (60, Bench.language_step),
    "biogpt_step": (25, Bench.biogpt_step),
    "head_loss": (15, Bench.head_loss),
    "two_of_four": (10, Bench.two_of_four),
    "packing": (30, Bench.packing),
    "small_steps": (15, Bench.small_steps),
    "compaction": (50, Bench.compaction),
    "gpt2_dense": (BEGINNING + SHORTEST, lambda bench: bench.train("dense", {})),
    "gpt2_genome": (BEGINNING + SHORTEST, lambda bench: bench.train("genome", {})),
    "gpt2_random": (BEGINNING + SHORTEST, lambda bench: bench.train("random", {"density": 0.5})),
}
"""The most important first: what each is estimated to take on a GPU, compilation included, and what it does."""


def section(name: str, bench: Bench) -> Section:
    """Its outcome, whatever happens."""
    seconds, run = SECTIONS[name]
    cost = 5.0 if bench.tiny else seconds
    if bench.left < cost:
        return Section(name, "left out", f"{max(0.0, bench.left):.0f} s were left, and it may take {cost:.0f}")
    if bench.compile and not (name.startswith("gpt2") and bench.minute):
        torch.compiler.reset()  # or the shapes of the network before this one count as those of this one
    start = perf_counter()
    try:
        with alarm(bench.left):
            found = run(bench)
    except OutOfTime:
        return Section(name, "left out", "the minutes were over before it was done", perf_counter() - start)
    except Exception as error:
        words = f"{type(error).__name__}: {error}".splitlines()[0][:500]
        return Section(name, "error", words, perf_counter() - start, how=_where(error))
    finally:
        gc.collect()
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()
    return Section(name, found.status, found.says, perf_counter() - start, found.rows, found.how)


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raises ``OutOfTime`` in the middle of whatever runs then."""

    def ring(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def compiles(device: torch.device) -> str:
    """ "works", or why torch.compile does not."""
    if device.type == "cpu":
        return "not tried: on a CPU it takes over a minute"
    try:
        torch.compile(torch.nn.Linear(8, 8).to(device))(torch.ones(8, 8, device=device)).sum().backward()
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return "works"


def setting(arguments: argparse.Namespace, compiler: str) -> dict[str, Any]:
    """What the numbers depend on."""
    tf32 = torch.backends.cudnn.allow_tf32
    return {
        "command": f"python benchmarks/gpu.py {shlex.join(sys.argv[1:])}".strip(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "harness": git_revision() or "no git",
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda}, Python {sys.version.split()[0]}",
        "float32": f"matrix products '{torch.get_float32_matmul_precision()}' ('highest' is no TF32), "
        f"TF32 in cuDNN {'on' if tf32 else 'off'}",
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "torch.compile": compiler,
        "data": str(arguments.tokens or "words of Python's library"),
        "sizes": "tiny: speeds mean nothing" if arguments.tiny else "full",
    }


def _rows(found: Mapping[str, Compared]) -> list[dict[str, Any]]:
    return [
        {"what": name, "ms": one.seconds * 1e3, "ratio": one.ratio, "quartiles": f"{one.low:.3f} to {one.high:.3f}"}
        for name, one in found.items()
    ]


def _command(module: Any, options: Sequence[str]) -> str:
    return f"Alone: python benchmarks/{Path(module.__file__).name} {shlex.join(options)}"


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return ", from ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    there = torch.cuda.is_available()
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda" if there else "cpu")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--tiny", action="store_true", help="small sizes, a minute in all; always so on a CPU")
    parser.add_argument("--out", type=Path, default=ROOT / "results/gpu")
    parser.add_argument("--tokens", type=Path, help="a file of uint16 tokens to train on")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), metavar="NAME", help=", ".join(SECTIONS))
    arguments = parser.parse_args(argv)
    if arguments.device == "cuda" and not there:
        parser.error("torch finds no GPU here")
    arguments.tiny = arguments.tiny or arguments.device == "cpu"
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sections that fit; 1 if something failed."""
    start = perf_counter()
    arguments = parsed(argv)
    cuda = arguments.device == "cuda"
    device = torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
    name, compiler = torch.cuda.get_device_name() if cuda else "CPU", compiles(device)
    record = Record(name, setting(arguments, compiler))
    stem = arguments.out / re.sub(r"[^a-z0-9]+", "-", name.lower())
    data = {"path": str(arguments.tokens.resolve())} if arguments.tokens else {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder, end = Path(temporary), start + 60 * arguments.minutes - RESERVE
        checks = Checks(folder, device, TINY if arguments.tiny else FULL, data)
        bench = Bench(checks, device, arguments.tiny, folder, data, end, compiler == "works")
        for each in arguments.only or SECTIONS:
            if each == "compile" and not bench.compile and not arguments.only:
                found = Section(each, "left out", compiler)
            else:
                found = section(each, bench)
            print(f"{each}: {found.status} ({found.seconds:.0f} s): {found.says}", flush=True)
            record.sections.append(found)
            record.write(stem)
    print(f"\n{record.page()}")
    return 0 if record.sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
