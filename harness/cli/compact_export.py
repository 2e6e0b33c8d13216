"""``harness export --compact``: a finished cell's network, small and fast."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.compaction.compact import Compacted
    from harness.compaction.fast import Fast
    from harness.stages.graph import PlannedCell
    from harness.stages.network import Network
    from harness.stages.runner import StageRunner


def write_compact(
    folder: Path,
    planned: PlannedCell,
    network: Network,
    runner: StageRunner,
    batch: int | None,
    precision: str,
    preprocessing: Mapping[str, Any],
) -> None:
    """Write the network as it was evaluated, and say what became of it; as ONNX without a batch to measure at."""
    import torch

    from harness.cli.fitting import terminal_width
    from harness.compaction.exported import write_export
    from harness.compaction.fast import make_fast
    from harness.compaction.onnx_file import FILE, write_onnx
    from harness.formatting import fitted

    torch.set_num_threads(planned.cell.training.threads)
    more = {"cell": planned.id, "masks": planned.cell.evaluation.masks, **preprocessing}
    weights = network.begin_phase(hooks=network.soft)
    with runner.evaluating(network, weights, planned.cell.evaluation.masks) as module:
        dense = sum(tensor.nbytes for tensor in module.parameters())
        if batch is None:
            compacted, size = write_onnx(folder, network.architecture, module, more)
            told = ["layers      all dense: ONNX has no operator for compressed rows"]
            load = f'onnxruntime.InferenceSession("{folder}/{FILE}").run(None, {{"inputs": array}})'
        else:
            fast = make_fast(network.architecture, module, batch, precision=precision)
            dense = dense * fast.dtype.itemsize // 4
            compacted, size = fast.compacted, write_export(folder, fast, planned.id, more)
            told, load = measured(fast), f'runpy.run_path("{folder}/network.py")["load"]()'
    click.echo(f"exported {planned.id} to {folder} ({'compact' if batch else 'compact, onnx'})")
    for line in [*cut_out(compacted, size, dense), *told, *staying(compacted)]:
        click.echo(fitted(f"  {line}", terminal_width(), hanging=14))
    click.echo(f"  load        {load}")  # to be copied: never wrapped


def cut_out(compacted: Compacted, size: int, dense: int) -> list[str]:
    """How much smaller it is, in bytes of the file and in units."""
    from harness.formatting import size as size_text

    cut = sum(of - left for left, of in compacted.units.values())
    return [
        f"file        {size_text(size)}, of {size_text(dense)} with zeros",
        f"units       {cut} of {sum(of for _, of in compacted.units.values())} cut out",
    ]


def measured(fast: Fast) -> list[str]:
    """What that is worth here."""
    import torch

    sparse = [layer for layer in fast.layers.values() if layer.kernel != "dense"]
    speed, inputs = fast.speed, fast.inputs
    device = (
        torch.cuda.get_device_name(inputs.device) if inputs.is_cuda else f"cpu, {torch.get_num_threads()} thread(s)"
    )
    told = "" if fast.dtype == torch.float32 else f", both in {str(fast.dtype).removeprefix('torch.')}"
    beyond = "" if speed.low > 1 else " (not told apart from 1)" if speed.high >= 1 else ""
    return [
        f"layers      {len(sparse)} of {len(fast.layers)} linear ones run sparse",
        f"speed       {speed.ratio:.2f} times as fast [{speed.low:.2f}, {speed.high:.2f}]{beyond}: "
        f"{len(fast.inputs)} examples in {1000 * speed.seconds:.3g} ms",
        f"measured    on {device}, beside the masked network{told}",
    ]


def staying(compacted: Compacted) -> list[str]:
    """Units without inputs that stay, three groups of them."""
    told = [f"left        {name}: {reason}" for name, reason in compacted.staying.items()]
    more = f"            and units of {len(told) - 3} groups more, see compact.json"
    return [*told[:3], *([more] if len(told) > 3 else [])]
