"""One save/load pair for everything that must survive a process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from harness.errors import CorruptFile
from harness.storage.atomic_files import write_atomic
from harness.storage.tensor_files import write_tensors

Tree = Any
"""Nested dicts (string keys, or integer keys), lists, tuples, tensors, numbers, strings, None, bools."""


def save(path: Path, tree: Tree) -> str:
    """Write a tree to one safetensors file: tensors as tensors, the rest as JSON in its metadata.

    Atomic; carries a SHA-256 over content that :func:`load` checks, and that is returned.

    Raises:
        StorageError: if it cannot be written; the file that was there before is untouched.
        TypeError: for a value that is none of the above.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_flatten(tree, tensors))
    digest = _digest(skeleton, tensors)
    metadata = {"tree": skeleton, "sha256": digest}
    write_atomic(path, lambda temporary: write_tensors(temporary, tensors, metadata))
    return digest


def load(path: Path, sha256: str | None = None) -> Tree:
    """Read what :func:`save` wrote; tensors are on the CPU.

    Args:
        path: the file.
        sha256: what :func:`save` returned, where that is known: another whole file is then refused as well.

    Raises:
        CorruptFile: if the file is missing, truncated, or its checksum does not match.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, ValueError) as error:
        raise CorruptFile(f"{path} cannot be read: {error}") from error
    if "tree" not in metadata or metadata.get("sha256") != _digest(metadata["tree"], tensors):
        raise CorruptFile(f"{path} is damaged: its checksum does not match its content")
    if sha256 not in (None, metadata["sha256"]):
        raise CorruptFile(f"{path} is not the file that was written: its checksum is another one")
    # Copies: what safetensors gives are windows into the file, and files change.
    try:
        return _restore(json.loads(metadata["tree"]), {name: tensor.clone() for name, tensor in tensors.items()})
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise CorruptFile(f"{path} is whole, and no checkpoint of the harness") from error


def _flatten(value: Tree, tensors: dict[str, Tensor]) -> Any:
    """JSON for a tree; tensors are put aside under running numbers. Containers are tagged lists."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return ["tensor", name]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str | int):
                raise TypeError(f"a checkpoint cannot hold a dict with the key {key!r}: only strings and integers")
        return ["dict", [[key, _flatten(item, tensors)] for key, item in value.items()]]
    if isinstance(value, list | tuple):
        return [type(value).__name__ if type(value) in (list, tuple) else "list", [_flatten(v, tensors) for v in value]]
    if value is None or isinstance(value, bool | int | float | str):
        return ["value", value]
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__}")


def _restore(node: Any, tensors: Mapping[str, Tensor]) -> Tree:
    kind, content = node
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _restore(item, tensors) for key, item in content}
    if kind == "list":
        return [_restore(item, tensors) for item in content]
    if kind == "tuple":
        return tuple(_restore(item, tensors) for item in content)
    return content


def _digest(skeleton: str, tensors: Mapping[str, Tensor]) -> str:
    h = hashlib.sha256(skeleton.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        h.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        h.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return h.hexdigest()
