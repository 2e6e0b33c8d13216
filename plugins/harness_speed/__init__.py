"""How fast and how large a network is on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from harness import Entry, hookimpl


@hookimpl
def harness_register_benchmarks() -> Sequence[Entry]:
    """Register ``speed``."""
    summary = "how many times as fast as the dense network, latency, memory, bytes; evaluation only"
    return [Entry("speed", "harness_speed.speed:SpeedBenchmark", summary)]
