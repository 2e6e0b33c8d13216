"""What a network's mask is worth in time and bytes, measured here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, fx, nn

from harness import (
    Architecture,
    Benchmark,
    Measurement,
    Metric,
    Split,
    Unsupported,
    make_fast,
    peak_bytes,
    side_by_side,
)

ROUNDS = 15


class SpeedOptions(BaseModel):
    """Options of ``speed``.

    Attributes:
        batch: examples at a time, for throughput and memory; language as long as the data's context.
        generate: tokens that a language model writes behind half of its context, for their rate; 0 for none.
        precision: of all numbers: ``fp32``, or ``bf16``, with which 2:4 masks run on a GPU's sparse tensor cores.
    """

    model_config = ConfigDict(extra="forbid")

    batch: int = Field(64, ge=1, le=1_000_000)
    generate: int = Field(0, ge=0, le=100_000)
    precision: Literal["fp32", "bf16"] = "fp32"


class SpeedBenchmark(Benchmark[SpeedOptions]):
    """The network without dead units, with sparse layers where these are faster, beside the dense one.

    What ``harness export --compact`` writes is what is measured. Dense is the masked network with its zeros, which
    takes as long; of a method that makes a smaller network, the one that the suite declares. Both are traced alike, and
    run in turn in one process. Random inputs; at so many threads as the cell trains with. Networks of language have no
    cache: to write a token, all before it are read again.
    """

    Options = SpeedOptions

    def __init__(self, options: SpeedOptions) -> None:
        super().__init__(options)
        self.metrics = (
            Metric("speedup", "times as fast", "max", timed=True),
            Metric("latency_speedup", "times as fast", "max", timed=True),
            Metric("throughput", "examples/s", "max", timed=True),
            Metric("latency", "ms", "min", timed=True),
            Metric("bytes", "bytes", "min", timed=True),  # sparse layers depend on a clock
            Metric("memory", "bytes", "min", timed=True),
        )
        if options.generate:
            self.metrics += (
                Metric("generation_speedup", "times as fast", "max", timed=True),
                Metric("generation", "tokens/s", "max", timed=True),
            )
        precision = "" if options.precision == "fp32" else f" in {options.precision}"
        self.protocol = (
            f"batches of {options.batch}{precision}; median of {ROUNDS} rounds beside the dense network, in one process"
        )

    def unsupported(self, architecture: Architecture[Any]) -> str | None:
        """Tokens are written by language models only."""
        if self.options.generate and architecture.data.kind != "language":
            return "it writes no tokens: leave out the option generate"
        return None

    def examples(self, split: Split) -> int | None:
        """Rounds; there is nothing to choose a checkpoint by."""
        return ROUNDS if split == "test" else 0

    @torch.no_grad()
    def evaluate_network(
        self,
        network: nn.Module,
        architecture: Architecture[Any] | None,
        declared: Architecture[Any] | None,
        split: Split,
        device: torch.device,
    ) -> Mapping[str, Measurement]:
        """Everything on the test split; nothing on any other."""
        if split != "test":
            return {}
        if architecture is None:
            raise Unsupported("an ensemble is several networks: measure their speed one by one")
        whole = network if declared is None or declared is architecture else dense(declared, network)
        fast = make_fast(architecture, network, self.options.batch, whole, precision=self.options.precision)
        one = fast.inputs[:1].clone()
        single = side_by_side({"whole": partial(fast.whole, one), "fast": partial(fast.program, one)}, "whole", device)
        found = {
            "speedup": fast.speed.ratio,
            "latency_speedup": single["fast"].ratio,
            "throughput": len(fast.inputs) / fast.speed.seconds,
            "latency": 1000 * single["fast"].seconds,
            "bytes": float(fast.bytes),
            "memory": float(peak_bytes(fast.program, fast.inputs)),
        }
        if count := self.options.generate:
            prompt = one[:, : max(1, one.shape[1] // 2)]
            ways = {
                "whole": partial(written, fast.whole, prompt, count, one.shape[1]),
                "fast": partial(written, fast.program, prompt, count, one.shape[1]),
            }
            rates = side_by_side(ways, "whole", device)
            found["generation_speedup"] = rates["fast"].ratio
            found["generation"] = count / rates["fast"].seconds
        return {name: Measurement(value, ROUNDS) for name, value in found.items()}


def dense(architecture: Architecture[Any], like: nn.Module) -> nn.Module:
    """A network of an architecture with weights of its own, on the device and in the type of another."""
    with torch.random.fork_rng(devices=[]):
        module = architecture.build()
    return module.to(next(iter(like.parameters()))).eval()


@torch.no_grad()
def written(program: fx.GraphModule, prompt: Tensor, count: int, context: int) -> Tensor:
    """A text (1, tokens) and ``count`` tokens more, each the likeliest behind the last ``context`` ones."""
    text = prompt
    for _ in range(count):
        text = torch.cat([text, program(text[:, -context:])[:, -1].argmax(-1, keepdim=True)], dim=1)
    return text
