"""Neural DNA's published networks for CIFAR and IMDB."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness import DataSpec
from harness.interchange.bundle import Bundle, Data, Plug
from harness.interchange.formats import Importer
from harness_imports.bundles import nonzero_masks
from harness_imports.reading import part, read_checkpoint
from harness_ndna import load_published


class NdnaNetworkOptions(BaseModel):
    """What ``--option`` may set.

    Attributes:
        masks: ``soft`` multiplies the weights by the soft masks, as the published networks are tested; ``hard`` keeps
            them where a soft mask exceeds a half.
        temperature: of the soft masks; the published networks are tested at 10.
    """

    model_config = ConfigDict(extra="forbid")

    masks: Literal["soft", "hard"] = "soft"
    temperature: float = Field(default=10.0, gt=0)


class NdnaCnn(Importer[NdnaNetworkOptions]):
    """Reads the state dict of the released class ``GrownConvNetwork`` (Sudarshan 2026), its genome under ``genome.``.

    Attributes:
        kind: as :func:`harness_ndna.load_published` takes it.
        plugin: the architecture.
    """

    Options = NdnaNetworkOptions
    kind: ClassVar[str] = "cnn"
    plugin: ClassVar[str] = "band_cnn"

    def load(self, source: Path, name: str) -> Bundle:
        """The network under its masks, and the genome."""
        state, options = part(read_checkpoint(source), ("model_state", "model"), source), self.options
        hard = options.masks == "hard"
        found = load_published(self.kind, state, options.temperature, hard)
        architecture, weights = found.architecture, found.network.state_dict()
        return Bundle(
            architecture=Plug(plugin=self.plugin, options=architecture.options.model_dump(mode="json")),
            data=Data.of(architecture.data),
            method=Plug(plugin="stored_mask") if hard else None,
            weights=weights,
            masks=nonzero_masks(architecture, weights) if hard else {},
            method_tensors={key: tensor for key, tensor in state.items() if key.startswith("genome.")},
            suite={"benchmarks": self.benchmarks(architecture.data)},
            notes=[f"masks: {options.masks}" + ("" if hard else f", temperature {options.temperature:g}")],
        )

    def benchmarks(self, data: DataSpec) -> Mapping[str, Any]:
        """Those that the network was trained for, for the suite."""
        return {"cifar100" if data.outputs == 100 else "cifar10": {}}


class NdnaTransformer(NdnaCnn):
    """Reads the state dict of the released class ``GrownTransformer``, its genome under ``genome.``."""

    kind: ClassVar[str] = "transformer"
    plugin: ClassVar[str] = "band_transformer"

    def benchmarks(self, data: DataSpec) -> Mapping[str, Any]:
        """With the line breaks that the published network was trained on."""
        return {"imdb_sentiment": {"length": data.inputs[0], "line_breaks": True}}
