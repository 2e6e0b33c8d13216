"""Models on this machine: folders, and what was downloaded from the hub. Nothing is downloaded unasked."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from harness import CorruptFile, DataMissing, UserError, data_directory
from harness.storage.digests import digest as file_digest

FILES = ("*.json", "*.safetensors")
"""What of a model is used: never pickled weights, never code."""


def located(model: str, revision: str | None, weights: bool) -> Path:
    """The folder with a model's config, and its safetensors where ``weights`` are wanted; uses no network.

    Args:
        model: a folder, relative to the data directory, or a name on the hub.
        revision: branch, tag or commit on the hub; None is ``main``.

    Raises:
        DataMissing: if it is not on this machine, with the command that gets it.
        UserError: if its weights are pickled.
    """
    folder = data_directory() / Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise UserError(f"hf: {folder} is a folder and has no revision '{revision}': leave the revision out")
        get = f"put a model that transformers saved into {folder}"
    else:
        if model.startswith(("/", ".", "~")) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model):
            raise DataMissing(f"hf: {folder} does not exist; `model` is a folder or a name on the hub, 'owner/name'")
        get = (
            f"with internet, run `hf download {model}{f' --revision {revision}' if revision else ''} "
            + " ".join(f"--include '{pattern}'" for pattern in FILES)
            + "`, where HF_HOME is as it will be in the run"
        )
        folder = _cached(model, revision, get)
    if not (folder / "config.json").is_file():
        raise DataMissing(f"hf: {folder} has no config.json; {get}")
    if weights:
        _require_weights(folder, get)
    return folder


def fetch(model: str, revision: str | None = None) -> Path:
    """Download a model's config and safetensors into the hub's cache; what is there already is kept.

    Raises:
        DataMissing: if it cannot be had.
        UserError: if the model has pickled weights only.
    """
    from huggingface_hub import snapshot_download  # imported late: planning needs no hub

    try:
        snapshot_download(model, revision=revision, allow_patterns=list(FILES))
    except Exception as error:  # the hub's client lets errors of several HTTP libraries through
        name = f"{model}@{revision}" if revision else model
        cause = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataMissing(
            f"hf: cannot download {name} ({cause}). Check the name, the network, and HF_TOKEN if the model asks for "
            "consent; HF_HUB_OFFLINE must not be set"
        ) from error
    return located(model, revision, weights=True)


def digest(folder: Path, weights: bool) -> str:
    """What identifies a model's content: the hub's commit, or SHA-256 over config and, if wanted, weights."""
    if weights and folder.parent.name == "snapshots":
        return f"commit:{folder.name}"
    paths = [folder / "config.json", *(sorted(folder.glob("*.safetensors")) if weights else ())]
    lines = (f"{path.name} {file_digest(path)}\n" for path in paths)
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def _cached(model: str, revision: str | None, get: str) -> Path:
    from huggingface_hub import constants, try_to_load_from_cache  # imported late: planning needs no hub

    found = try_to_load_from_cache(model, "config.json", cache_dir=constants.HF_HUB_CACHE, revision=revision)
    if not isinstance(found, str):
        name = f"{model}@{revision}" if revision else model
        raise DataMissing(f"hf: {name} is not in {constants.HF_HUB_CACHE}; {get}")
    return Path(found).parent


def _require_weights(folder: Path, get: str) -> None:
    index = folder / "model.safetensors.index.json"
    try:
        wanted = sorted(set(json.loads(index.read_bytes())["weight_map"].values())) if index.is_file() else []
    except (ValueError, KeyError, AttributeError) as error:
        raise CorruptFile(f"hf: {index} cannot be read: {error!r}. Delete it and get it again: {get}") from error
    missing = [name for name in wanted or ["model.safetensors"] if not (folder / name).is_file()]
    if not missing:
        return
    if not wanted and (pickled := sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")])):
        raise UserError(
            f"hf: {folder} has pickled weights only ({pickled[0].name}): such files can run code when they are "
            "loaded, and are refused. Where you trust them, load them with transformers and use_safetensors=False, "
            "save_pretrained() into a folder, and give that folder as `model`; or take a revision with safetensors"
        )
    raise DataMissing(f"hf: {folder} lacks {', '.join(missing)}; {get}")
