"""Configs and models out of transformers: from files on this machine, or new."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness import CorruptFile, UserError
from harness_transformers.quiet import asked

FROM_HERE = {"local_files_only": True, "trust_remote_code": False}
"""Nothing is downloaded, and the model's own code never runs: left out, transformers asks on the terminal."""


def config_from(folder: Path | None, given: Mapping[str, Any]) -> Any:
    """The config in a folder with ``given`` entries overridden, or without a folder a config of that ``model_type``.

    Raises:
        UserError: if there is an entry that the model's config does not know, or transformers refuses one.
    """
    entries = dict(given)
    with asked(f"this config ({', '.join(given) or 'no overrides'})") as transformers:
        _refuse_own_code(folder, transformers)
        auto, model_type = transformers.AutoConfig, str(entries.pop("model_type", ""))
        if folder is None:
            plain = auto.for_model(model_type)
        else:
            plain = auto.from_pretrained(folder, **FROM_HERE)
            if model_type not in ("", plain.model_type):
                raise UserError(f"hf: {folder} has model_type {plain.model_type}, not {model_type}: leave it out")
        if unknown := [name for name in entries if not hasattr(plain, name)]:
            known = ", ".join(sorted(name for name in plain.to_dict() if not name.startswith("_")))
            raise UserError(f"hf: the config of {plain.model_type} has no {', '.join(unknown)}. Known: {known}.")
        if folder is None:
            config = auto.for_model(model_type, **entries)
        else:
            config = auto.from_pretrained(folder, **FROM_HERE, **entries)
        _refuse_kernels(config)
        return config


def new_model(config: Any, dtype: torch.dtype) -> Any:
    """A model with random weights, on torch's default device.

    Raises:
        UserError: if transformers refuses the config, for example because it has no causal language model of that type.
    """
    with asked("to build this config") as transformers:
        return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)


def loaded_model(folder: Path, config: Any, dtype: torch.dtype) -> Any:
    """The model with the weights in ``folder``: every one must be there, in its shape, and nothing else.

    Raises:
        UserError: if weights and config do not fit; names them.
        CorruptFile: if the weights cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    for path in folder.glob("*.safetensors"):
        try:
            with safe_open(path, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise CorruptFile(f"hf: {path} cannot be read: {error}. Get it again.") from error
    with asked(f"the weights in {folder}") as transformers:
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            **FROM_HERE,
            ignore_mismatched_sizes=True,  # reported below, by name
            output_loading_info=True,
        )
    for key, what in (("mismatched", "of another shape"), ("missing", "missing"), ("unexpected", "not in the model")):
        if names := sorted(str(entry if isinstance(entry, str) else entry[0]) for entry in report[f"{key}_keys"]):
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise UserError(
                f"hf: the weights in {folder} do not fit the config, {what}: {', '.join(names[:5])}{more}. Leave "
                "entries of `config` out that change sizes, or set pretrained: false"
            )
    return model


def _refuse_own_code(folder: Path | None, transformers: Any) -> None:
    """A model of a type that transformers lacks brings its own code, or is not known at all.

    Raises:
        UserError: in the first case; transformers would say how to run the code.
    """
    content = json.loads((folder / "config.json").read_bytes()) if folder is not None else {}
    if "auto_map" in content and content.get("model_type") not in transformers.CONFIG_MAPPING:
        raise UserError(
            f"hf: {folder} is a model of type '{content.get('model_type')}', which transformers lacks: it is made by "
            "code of its own, which the harness never runs. Take a model of a known type, or a newer transformers"
        )


def _refuse_kernels(config: Any) -> None:
    """A config may name a repository on the hub whose kernels are to run in place of the library's: that is code.

    Raises:
        UserError: if it does.
    """
    for name in ("_attn_implementation", "_experts_implementation"):
        given = getattr(config, name, None)
        for found in given.values() if isinstance(given, dict) else (given,):
            if isinstance(found, str) and "/" in found:
                raise UserError(f"hf: {name.strip('_')} '{found}' is code on the hub, which is never run: leave it out")
