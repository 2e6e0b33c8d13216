"""``harness export --compact``: a finished cell's network, small and fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.compaction.fast import Fast
    from harness.stages.graph import PlannedCell
    from harness.stages.network import Network
    from harness.stages.runner import StageRunner


def write_compact(folder: Path, planned: PlannedCell, network: Network, runner: StageRunner, batch: int) -> None:
    """Write the network as it was evaluated, and say what became of it."""
    import torch

    from harness.cli.fitting import terminal_width
    from harness.compaction.exported import write_export
    from harness.compaction.fast import make_fast
    from harness.formatting import fitted

    torch.set_num_threads(planned.cell.training.threads)
    weights = network.begin_phase(hooks=network.soft)
    with runner.evaluating(network, weights, planned.cell.evaluation.masks) as module:
        fast = make_fast(network.architecture, module, batch)
        dense = sum(tensor.nbytes for tensor in module.parameters())
    size = write_export(folder, fast, planned.id, {"cell": planned.id, "masks": planned.cell.evaluation.masks})
    click.echo(f"exported {planned.id} to {folder} (compact)")
    for line in lines(fast, size, dense, folder):
        click.echo(fitted(f"  {line}", terminal_width(), hanging=14))


def lines(fast: Fast, size: int, dense: int, folder: Path) -> list[str]:
    """What was cut, and what that is worth here."""
    import torch

    from harness.formatting import size as size_text

    cut = {name: (left, of) for name, (left, of) in fast.compacted.units.items() if left < of}
    units = sum(of - left for left, of in cut.values()), sum(of for _, of in fast.compacted.units.values())
    sparse = [layer for layer in fast.layers.values() if layer.kernel == "csr"]
    speed = fast.speed
    beyond = "" if speed.low > 1 else " (not told apart from 1)" if speed.high >= 1 else ""
    found = [
        f"file        {size_text(size)}, of {size_text(dense)} with zeros",
        f"units       {units[0]} of {units[1]} cut out",
        f"layers      {len(sparse)} of {len(fast.layers)} linear ones run sparse",
        f"speed       {speed.ratio:.2f} times as fast [{speed.low:.2f}, {speed.high:.2f}]{beyond}: "
        f"{len(fast.inputs)} examples in {1000 * speed.seconds:.3g} ms",
        f"measured    on {fast.inputs.device.type}, {torch.get_num_threads()} thread(s), beside the masked network",
    ]
    staying = [f"{name}: {reason}" for name, reason in fast.compacted.staying.items()]
    found += [f"left        {text}" for text in staying[:3]]
    if len(staying) > 3:
        found.append(f"            and units of {len(staying) - 3} groups more, see compact.json")
    return [*found, f'load        runpy.run_path("{folder}/network.py")["load"]()']
