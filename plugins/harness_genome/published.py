"""Reading genomes from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from harness import Source, UserError
from harness.formatting import printable
from harness.interchange.bundle import read
from harness_genome.genome import Genome


def load_genome(path: Path) -> dict[str, Tensor]:
    """The six tensors of a genome from a ``.safetensors`` or a ``torch.save`` file, or of an imported genome.

    A training checkpoint is accepted too: then its ``genome_state`` is the genome. A path that is no file is
    the name, or the folder, of something imported or exported. Files are read as data only; one that would
    run code when loaded is refused.

    Raises:
        UserError: if there is no such file or import, or it does not hold exactly a genome's tensors.
    """
    found: Any
    if path.is_dir() or not (path.suffix or path.is_file()):
        tensors = read(path).method_tensors()
        genome = {n.removeprefix("genome."): t for n, t in tensors.items() if n.startswith("genome.")}
        return check_genome(genome, f"genome file {path}")
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UserError(
            f"genome file {path} is not plain tensors; loading it could run code, so it is refused. "
            "Save the genome's state_dict() alone, or use .safetensors."
        ) from error
    except Exception as error:  # what a damaged pickle or header raises has no end
        raise UserError(f"genome file {path} cannot be read: {printable(str(error), 200)}") from error
    if isinstance(found, dict) and "genome_state" in found:
        found = found["genome_state"]
    return check_genome(found, f"genome file {path}")


def source_genome(source: Source) -> Mapping[str, Tensor]:
    """The tensors of the genome that a source cell has trained.

    Raises:
        UserError: if it has none.
    """
    if "genome" not in source.method_state:
        raise UserError(f"source cell '{source.cell}' has no genome; name a cell of the method 'genome'")
    tensors: Mapping[str, Tensor] = source.method_state["genome"]
    return tensors


def check_genome(found: Any, where: str) -> dict[str, Tensor]:
    """The same, where it holds exactly a genome's six tensors; ``where`` it was found begins the message.

    Raises:
        UserError: if it does not.
    """
    expected = sorted(name for name, _ in Genome(1, 1, 1).named_parameters())
    names = sorted(found) if isinstance(found, Mapping) else []
    if names != expected or not all(isinstance(value, Tensor) for value in found.values()):
        given = ", ".join(map(str, names[:12])) or f"a {type(found).__name__}"
        raise UserError(f"{where} holds {given}; a genome is exactly these tensors: {', '.join(expected)}")
    return dict(found)
