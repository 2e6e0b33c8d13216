"""A fast network as a folder that plain PyTorch can load."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, fx

from harness.compaction import standalone
from harness.compaction.compact import Compacted
from harness.compaction.fast import Fast
from harness.compaction.packed import kernel_of, packed, parts
from harness.compaction.timing import Speed
from harness.errors import Unsupported
from harness.interchange.bundle import new_folder, save_tensors
from harness.version import __version__

CODE, SUMMARY = "network.py", "compact.json"
HEAD = '''"""{title}

As sparsity-harness {version} exported it. It needs torch and safetensors, and nothing else:

    import runpy
    network = runpy.run_path("{folder}/{code}")["load"]()
    outputs = network(inputs)

Inputs are made as they were in training: `preprocessing` in {summary} says how, where it is known.
"""
'''
TAIL = '''

class Network(torch.nn.Module):
    """The network in evaluation mode; its tensors are buffers."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

{forward}


def load(folder: str | Path = Path(__file__).parent, device: str | torch.device = "cpu") -> Network:
    """The network of an exported folder."""
    return Network(stored_tensors(Path(folder), device)[0]).eval()
'''


def write_export(folder: Path, fast: Fast, title: str, more: Mapping[str, Any]) -> int:
    """Write ``model.safetensors``, ``network.py`` and ``compact.json`` into a new folder, whole or not at all.

    Tensors are stored as they take least room: dense, or as a bit for each entry and the entries that are not zero.

    Args:
        folder: that must not exist.
        fast: what to write.
        title: of the network, for its file.
        more: what ``compact.json`` says besides: JSON.

    Returns:
        bytes of ``model.safetensors``.

    Raises:
        UserError: if the folder is there already.
        StorageError: if it cannot be written.
        Unsupported: if the graph uses what is neither torch's nor Python's.
    """
    layout, tensors = packed(fast.program)
    code = source(fast.program, title, folder.name)
    with new_folder(folder) as temporary:
        save_tensors(temporary / standalone.WEIGHTS, tensors, {"layout": json.dumps(layout)})
        size = (temporary / standalone.WEIGHTS).stat().st_size
        (temporary / CODE).write_text(code, encoding="utf8")
        summary = json.dumps({**more, **described(fast), "bytes": size}, indent=2)
        (temporary / SUMMARY).write_text(f"{summary}\n", encoding="utf8")
    return size


def source(program: fx.GraphModule, title: str, folder: str) -> str:
    """Python code of a module that computes what the program does."""
    python = program.graph.python_code("self")
    imports = []
    for name, value in python.globals.items():
        if name == "torch" or not re.search(rf"\b{name}\b", python.src):
            continue
        if getattr(value, "__module__", "") == standalone.__name__:
            imports.append(f"{name} = {value.__name__}")
        elif isinstance(value, ModuleType):
            imports.append(f"import {value.__name__} as {name}")
        elif isinstance(value, float):
            imports.append(f'{name} = float("{value}")')
        elif getattr(value, "__module__", "").partition(".")[0] in ("torch", "builtins", "math", "_operator", "typing"):
            imports.append(f"from {value.__module__} import {value.__name__} as {name}")
        else:
            raise Unsupported(f"the graph of {title} uses {value!r}, which is not torch's")
    _, _, shared = inspect.getsource(standalone).partition('"""\n')
    body = python.src.strip("\n").replace("\t", "    ")
    forward = "\n".join(f"    {line}".rstrip() for line in body.splitlines())
    head = HEAD.format(title=title, version=__version__, folder=folder, code=CODE, summary=SUMMARY)
    return (
        head + "\n\n".join([shared.rstrip(), *(["\n".join(imports)] if imports else [])]) + TAIL.format(forward=forward)
    )


def described(fast: Fast) -> dict[str, Any]:
    """What was cut and what was measured, as JSON."""
    device, inputs = fast.inputs.device, fast.inputs
    return {
        **cut_out(fast.compacted),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "precision": str(fast.dtype).removeprefix("torch."),
        "inputs": list(inputs.shape),
        "seconds": fast.speed.seconds,
        "times_as_fast": _speed(fast.speed),
        "parameters": sum(map(_numbers, fast.program.buffers())),
        "linear_layers": {
            name: {"runs": layer.kernel, "shape": list(layer.shape), "density": layer.density}
            | {f"{kernel}_times_as_fast": _speed(speed) for kernel, speed in layer.measured.items()}
            for name, layer in fast.layers.items()
        },
    }


def cut_out(compacted: Compacted) -> dict[str, Any]:
    """What was cut, and by which versions, as JSON."""
    return {
        "created_by": f"sparsity-harness {__version__}",
        "torch": torch.__version__,
        "units": {name: {"left": left, "of": of} for name, (left, of) in compacted.units.items()},
        "constants_in_biases": compacted.folded,
        "constants_left": dict(compacted.staying),
    }


def _numbers(tensor: Tensor) -> int:
    """That are kept of a tensor."""
    return tensor.numel() // 2 if kernel_of(tensor) == "2:4" else parts(tensor)[0].numel()


def _speed(speed: Speed) -> dict[str, float]:
    return {"ratio": round(speed.ratio, 4), "low": round(speed.low, 4), "high": round(speed.high, 4)}
