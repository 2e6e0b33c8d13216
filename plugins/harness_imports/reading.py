"""Reading checkpoints as data, never as code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from harness import CorruptFile, UserError
from harness.formatting import printable
from harness.storage.reading import read_json

_SINGLE = ("model.safetensors", "pytorch_model.bin")
_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_PREFIXES = ("module.", "_orig_mod.")


def read_checkpoint(source: Path) -> dict[str, Any]:
    """What a file holds, or a folder as transformers saves it; tensors are on the CPU.

    Raises:
        UserError: if it cannot be read, or would run code when read.
    """
    if source.is_dir():
        return _read_folder(source)
    try:
        if source.suffix == ".safetensors":
            return dict(load_file(source))
        found: Any = torch.load(source, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UserError(
            f"{source} contains pickled code, which loading it would run: refused. Save its state_dict() alone, "
            "with torch.save or as .safetensors"
        ) from error
    except Exception as error:  # what a damaged pickle or header raises has no end
        reason = printable(" ".join(str(error).split()), 200)
        raise UserError(f"{source} cannot be read as a checkpoint: {reason}. Download it again") from error
    if not isinstance(found, Mapping):
        raise UserError(f"{source} holds a {type(found).__name__}, not a dict of tensors: give a saved state_dict()")
    return dict(found)


def read_config(source: Path) -> dict[str, Any]:
    """The ``config.json`` of a folder; empty where there is none."""
    path = source / "config.json"
    return _object(path) if path.is_file() else {}


def part(checkpoint: Mapping[str, Any], names: Iterable[str], source: Path) -> dict[str, Tensor]:
    """The state dict that a training checkpoint holds under the first of ``names`` it has, else the whole of it.

    Prefixes that compilation and data parallelism leave are taken off, and masks that torch.nn.utils.prune keeps beside
    the weights are applied.

    Raises:
        UserError: if it holds something other than tensors, or a number that is none.
    """
    state: Any = next((checkpoint[name] for name in names if name in checkpoint), checkpoint)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        keys = ", ".join(map(str, list(checkpoint)[:8]))
        places = " or ".join(names)
        where = f"under {places}, nor is it one" if places else "in it"
        raise UserError(f"{source} has no state dict {where}: it holds {keys or 'nothing'}")
    found = {}
    for key, value in state.items():
        name = str(key)
        while name.startswith(_PREFIXES):
            name = name.removeprefix("module.").removeprefix("_orig_mod.")
        found[name] = value
    found = _pruned(found)
    for name, value in found.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise UserError(f"{source}: '{name}' has numbers that are infinite or none (NaN): such a network is broken")
    return found


def _pruned(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``x_orig`` and ``x_mask`` of torch.nn.utils.prune as the ``x`` that the network computes with."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        plain = name.removesuffix("_orig").removesuffix("_mask")
        both = (f"{plain}_orig", f"{plain}_mask")
        if name in both and all(each in state for each in both):
            found[plain] = torch.where(state[both[1]] != 0, state[both[0]], 0)
        else:
            found[name] = value
    return found


def _read_folder(folder: Path) -> dict[str, Any]:
    for name in _SINGLE:
        if (folder / name).is_file():
            return read_checkpoint(folder / name)
    index = next((folder / name for name in _INDICES if (folder / name).is_file()), None)
    if index is None:
        raise UserError(f"{folder} holds no checkpoint: looked for {', '.join((*_SINGLE, *_INDICES))}")
    found = _object(index).get("weight_map")
    if not isinstance(found, Mapping) or not all(isinstance(shard, str) for shard in found.values()):
        raise UserError(f"{index} is damaged: it has no weight_map of file names. Download it again")
    whole: dict[str, Any] = {}
    for shard in sorted(set(found.values())):
        whole |= read_checkpoint(folder / Path(shard).name)
    return whole


def _object(path: Path) -> dict[str, Any]:
    try:
        loaded = read_json(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except CorruptFile as error:
        raise UserError(f"{path} {error}. Download it again") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path} is no JSON object. Download it again")
    return loaded
