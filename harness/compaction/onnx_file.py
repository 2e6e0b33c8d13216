"""A network without dead units as a file that other runtimes read: ONNX."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from harness.compaction.compact import Compacted, compact, random_inputs
from harness.compaction.exported import SUMMARY, cut_out
from harness.compaction.fast import require_equal
from harness.compaction.program import TRACED, trace
from harness.errors import Unsupported
from harness.extras import require
from harness.interchange.bundle import new_folder

if TYPE_CHECKING:
    from harness.core.architecture import Architecture
    from harness.core.data import DataSpec

FILE = "model.onnx"
LARGEST = 2**30
"""Bytes of tensors in one file, which may hold 2 GiB; more go into a second one, ``model.onnx.data``."""


def require_onnx() -> None:
    """Raise NotInstalled unless there is what writes and checks such files."""
    require("onnx", "onnxscript", "onnxruntime", what="--format onnx")


@torch.no_grad()
def write_onnx(
    folder: Path, architecture: Architecture[Any], module: nn.Module, more: Mapping[str, Any]
) -> tuple[Compacted, int]:
    """Write ``model.onnx`` and ``compact.json`` into a new folder, once the file computes what ``module`` does.

    The file has one input ``inputs`` and one output ``outputs``; the number of examples is free, of language also that
    of tokens. All layers are dense: ONNX has no operator for compressed rows.

    Args:
        folder: that must not exist.
        architecture: that built the module.
        module: with effective weights, on a CPU; not touched.
        more: what ``compact.json`` says besides: JSON.

    Returns:
        what was cut out, and the bytes that were written.

    Raises:
        UserError: if a package is missing, or the folder is there already.
        StorageError: if it cannot be written.
        Unsupported: if torch cannot trace or write the network.
        HarnessError: if what was written computes something else.
    """
    require_onnx()
    compacted = compact(architecture, module)
    with new_folder(folder) as temporary:
        _write(trace(compacted.module, architecture.data), temporary / FILE, architecture.data)
        _check(temporary / FILE, architecture.data, module)
        size = sum(path.stat().st_size for path in temporary.iterdir())
        summary = json.dumps({**more, **cut_out(compacted), "bytes": size}, indent=2)
        (temporary / SUMMARY).write_text(f"{summary}\n", encoding="utf8")
    return compacted, size


def _write(program: fx.GraphModule, path: Path, spec: DataSpec) -> None:
    example = random_inputs(spec, 0, TRACED, torch.float32)
    free = {0: torch.export.Dim("examples")}
    if spec.kind == "language":
        free[1] = torch.export.Dim("tokens", max=spec.inputs[0])
    external = sum(tensor.nbytes for tensor in program.buffers()) > LARGEST
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what torch calls within itself
            torch.onnx.export(
                program,
                (example,),
                path,
                input_names=["inputs"],
                output_names=["outputs"],
                dynamo=True,
                dynamic_shapes=(free,),
                external_data=external,
                verbose=False,
            )
    except OSError:
        raise
    except Exception as error:  # torch.onnx raises whatever its parts raise
        reason = str(error.__cause__ or error).strip().split("\n")[0]
        raise Unsupported(f"torch.onnx cannot write this network: {reason}. Leave out --format onnx") from error


def _check(path: Path, spec: DataSpec, module: nn.Module) -> None:
    """Whether another runtime computes from the file what the whole network does, on one example and on several."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for examples in (1, TRACED + 1):
        inputs = random_inputs(spec, examples, examples, torch.float32)
        (outputs,) = session.run(None, {"inputs": inputs.numpy()})
        require_equal(torch.from_numpy(outputs), module(inputs))
