"""The published BioGPT."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt

from harness import UserError
from harness.interchange.bundle import Bundle, Plug
from harness.interchange.formats import Importer
from harness_biogpt import load_published
from harness_biogpt.architecture import Biogpt, BiogptOptions
from harness_imports.bundles import NEOX, NEOX_VOCABULARY, bundled, nonzero_masks
from harness_imports.mapping import language
from harness_imports.reading import part, read_checkpoint


class BiogptCheckpointOptions(BaseModel):
    """What ``--option`` may set.

    Attributes:
        n_passes: as the model was trained, 1 or 2.
        vocabulary: rows of embedding and head to keep; None keeps the 50,277 that the tokenizer has of the
            published 50,304, so that the network fits the data, and all rows of a smaller model.
    """

    model_config = ConfigDict(extra="forbid")

    n_passes: Literal[1, 2] = 1
    vocabulary: PositiveInt | None = None


class BiogptCheckpoint(Importer[BiogptCheckpointOptions]):
    """Reads a training checkpoint with ``model_state_dict``, or that state dict alone."""

    Options = BiogptCheckpointOptions

    def load(self, source: Path, name: str) -> Bundle:
        """Weights for the architecture ``biogpt``; masks where a pruned model has zeros."""
        state = part(read_checkpoint(source), ("model_state_dict",), source)
        network = load_published(state, self.options.n_passes)
        shape = network.shape
        rows = self.options.vocabulary or min(shape.vocabulary, NEOX_VOCABULARY)
        if rows > shape.vocabulary:
            raise UserError(f"vocabulary {rows} is more than the checkpoint's {shape.vocabulary} rows")
        options = BiogptOptions(
            n_layers=len(shape.layout),
            width=shape.width,
            context=shape.context,
            n_passes=shape.n_passes,
            soma_expansion=shape.soma_units / shape.width,
        )
        tokenizer = NEOX if rows == NEOX_VOCABULARY else ""
        architecture = Biogpt(options, language(shape.context, rows, tokenizer))
        if (architecture.shape.layout, architecture.shape.pairs) != (shape.layout, shape.pairs):
            raise UserError(f"{source} has other neurons, branches or feedback than the published layout of its size")
        weights = dict(network.state_dict())
        for name in ("embedding.weight", "head.weight"):
            weights[name] = weights[name][:rows].clone()
        masks = nonzero_masks(architecture, weights)
        cut = shape.vocabulary - rows
        return bundled(
            architecture,
            "biogpt",
            weights,
            masks=masks,
            method=Plug(plugin="stored_mask") if masks else None,
            notes=[f"{cut} rows of embedding and head, which stand for no token, are left out"] if cut else [],
        )
