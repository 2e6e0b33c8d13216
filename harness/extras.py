"""The packages that the harness can do without, and which extra of its own installs each: the one place that says so.

Whoever only reads results needs none of them. Where one is imported and is not there, :func:`explained` says what to
install; what would otherwise be noticed late asks first, by :func:`require`. ``pyproject.toml`` has the versions, and a
test compares the two.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

from harness.errors import NotInstalled


class Extra(NamedTuple):
    """An optional part of the installation: what it is for, and the modules that it brings."""

    gives: str
    modules: tuple[str, ...]


EXTRAS = {
    "train": Extra("run, reproduce, import, export, data, details of plugins", ("torch", "sklearn")),
    "language": Extra(
        "texts, tokenizers, pretrained models, tasks of lm-eval; has train",
        ("datasets", "huggingface_hub", "lm_eval", "tiktoken", "tokenizers", "tqdm", "transformers", "zstandard"),
    ),
    "vision": Extra("the download of picture data sets, folders of pictures; has train", ("PIL", "torchvision")),
    "slurm": Extra("run --executor slurm; has train", ("submitit",)),
    "figures": Extra("compare --figure as .pdf and .png", ("cairosvg",)),
    "onnx": Extra("export --format onnx; has train", ("onnx", "onnxruntime", "onnxscript")),
    "parquet": Extra("compare --format parquet, corpora in parquet files", ("pyarrow",)),
    "tensorboard": Extra("run --log tensorboard", ("tensorboard",)),
    "timm": Extra("timm's classifiers as architectures; has train", ("timm",)),
    "trackio": Extra("run --log trackio", ("trackio",)),
    "wandb": Extra("run --log wandb", ("wandb",)),
}
"""Name, as in ``pip install 'sparsity-harness[NAME]'`` -> what it is; ``all`` is the first four."""
_OF = {module: name for name, extra in EXTRAS.items() for module in extra.modules}


def require(*modules: str, what: str = "this") -> None:
    """Make sure that modules of the table can be imported, without importing them.

    Args:
        modules: names of the table.
        what: what needs them, for the message.

    Raises:
        NotInstalled: if one is missing; names all that are, and what installs them.
    """
    if missing := [module for module in modules if not installed(module)]:
        raise _not_installed(missing, what)


def hint(*modules: str) -> str:
    """`` (after pip install ...)``, for a text that names a command which needs modules; nothing if they are there."""
    missing = [module for module in modules if not installed(module)]
    return f" (after {_command(missing)})" if missing else ""


def installed(module: str) -> bool:
    """Whether a module is there, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a finder refuses it, or it stands in sys.modules as None
        return False


def explained(error: BaseException, what: str = "this") -> NotInstalled | None:
    """What to say in place of a failed import; None if it is of no package of the table, or of a part of one."""
    if isinstance(error, NotInstalled):
        return error
    if isinstance(error, ModuleNotFoundError) and error.name in _OF:
        return _not_installed([error.name], what)
    return None


def _not_installed(modules: list[str], what: str) -> NotInstalled:
    which = "which is not installed" if len(modules) == 1 else "which are not installed"
    return NotInstalled(f"{what} needs {' and '.join(modules)}, {which}: {_command(modules)}")


def _command(modules: list[str]) -> str:
    return f"pip install 'sparsity-harness[{','.join(dict.fromkeys(_OF[module] for module in modules))}]'"
