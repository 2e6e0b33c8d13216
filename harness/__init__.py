"""A benchmark harness that compares sparsity methods in neural networks.

Everything a plugin needs is importable from here; nothing is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.version import __version__ as __version__

_PUBLIC = {
    "Architecture": "core.architecture",
    "Band": "core.connections",
    "AugmentedData": "core.data",
    "Average": "core.phases",
    "Bake": "core.phases",
    "Benchmark": "core.benchmark",
    "Calibrate": "core.phases",
    "Connection": "core.connections",
    "CurrentMasks": "core.current_masks",
    "DataMissing": "errors",
    "DataSpec": "core.data",
    "DensityBudget": "core.densities",
    "Ensemble": "core.phases",
    "Entry": "registry.hookspecs",
    "Examples": "core.examples",
    "Finetune": "core.phases",
    "HarnessError": "errors",
    "CorruptFile": "errors",
    "Inherit": "core.phases",
    "LanguageNetwork": "core.language_network",
    "Masks": "core.masks",
    "Model": "core.benchmark",
    "Size": "core.architecture",
    "Split": "core.data",
    "Measurement": "core.benchmark",
    "MethodContext": "core.method_context",
    "NOfM": "core.n_of_m",
    "Metric": "core.benchmark",
    "ParameterGroup": "core.method",
    "NoOptions": "core.architecture",
    "Phase": "core.phases",
    "Prune": "core.phases",
    "Reinitialize": "core.phases",
    "Rewind": "core.phases",
    "Scores": "core.benchmark",
    "Source": "core.method_context",
    "SparsityMethod": "core.method",
    "Train": "core.phases",
    "TrainingBudget": "core.method",
    "TrainingData": "core.data",
    "Unsupported": "errors",
    "UnitGroup": "core.units",
    "UnitMember": "core.units",
    "UpdateSchedule": "core.update_schedule",
    "UserError": "errors",
    "allocate": "core.densities",
    "data_directory": "storage.data_directory",
    "derived_seed": "seeds",
    "drop_grow": "core.drop_grow",
    "head_loss": "core.head_loss",
    "hookimpl": "registry.hookspecs",
    "load": "report.results",
    "make_fast": "compaction.fast",
    "peak_bytes": "compaction.memory",
    "side_by_side": "compaction.timing",
    "in_units": "core.units",
    "mask_as_bits": "core.mask_arithmetic",
    "mask_as_numbers": "core.mask_arithmetic",
    "masked": "core.mask_arithmetic",
    "out_units": "core.units",
    "outermost": "core.units",
    "select": "core.densities",
    "top_k": "core.densities",
    "unit_masks": "core.units",
    "unit_scores": "core.units",
    "unseen_inputs": "core.layer_inputs",
    "watch_inputs": "core.layer_inputs",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        try:
            return getattr(import_module(f"harness.{_PUBLIC[name]}"), name)
        except ModuleNotFoundError as error:
            from harness.extras import explained

            if missing := explained(error, f"harness.{name}"):
                raise missing from error
            raise
    raise AttributeError(f"module 'harness' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


if TYPE_CHECKING:
    from harness.compaction.fast import make_fast as make_fast
    from harness.compaction.memory import peak_bytes as peak_bytes
    from harness.compaction.timing import side_by_side as side_by_side
    from harness.core.architecture import Architecture as Architecture
    from harness.core.architecture import NoOptions as NoOptions
    from harness.core.architecture import Size as Size
    from harness.core.benchmark import Benchmark as Benchmark
    from harness.core.benchmark import Measurement as Measurement
    from harness.core.benchmark import Metric as Metric
    from harness.core.benchmark import Model as Model
    from harness.core.benchmark import Scores as Scores
    from harness.core.connections import Band as Band
    from harness.core.connections import Connection as Connection
    from harness.core.current_masks import CurrentMasks as CurrentMasks
    from harness.core.data import AugmentedData as AugmentedData
    from harness.core.data import DataSpec as DataSpec
    from harness.core.data import Split as Split
    from harness.core.data import TrainingData as TrainingData
    from harness.core.densities import DensityBudget as DensityBudget
    from harness.core.densities import allocate as allocate
    from harness.core.densities import select as select
    from harness.core.densities import top_k as top_k
    from harness.core.drop_grow import drop_grow as drop_grow
    from harness.core.examples import Examples as Examples
    from harness.core.head_loss import head_loss as head_loss
    from harness.core.language_network import LanguageNetwork as LanguageNetwork
    from harness.core.layer_inputs import unseen_inputs as unseen_inputs
    from harness.core.layer_inputs import watch_inputs as watch_inputs
    from harness.core.mask_arithmetic import mask_as_bits as mask_as_bits
    from harness.core.mask_arithmetic import mask_as_numbers as mask_as_numbers
    from harness.core.mask_arithmetic import masked as masked
    from harness.core.masks import Masks as Masks
    from harness.core.method import ParameterGroup as ParameterGroup
    from harness.core.method import SparsityMethod as SparsityMethod
    from harness.core.method import TrainingBudget as TrainingBudget
    from harness.core.method_context import MethodContext as MethodContext
    from harness.core.method_context import Source as Source
    from harness.core.n_of_m import NOfM as NOfM
    from harness.core.phases import Average as Average
    from harness.core.phases import Bake as Bake
    from harness.core.phases import Calibrate as Calibrate
    from harness.core.phases import Ensemble as Ensemble
    from harness.core.phases import Finetune as Finetune
    from harness.core.phases import Inherit as Inherit
    from harness.core.phases import Phase as Phase
    from harness.core.phases import Prune as Prune
    from harness.core.phases import Reinitialize as Reinitialize
    from harness.core.phases import Rewind as Rewind
    from harness.core.phases import Train as Train
    from harness.core.units import UnitGroup as UnitGroup
    from harness.core.units import UnitMember as UnitMember
    from harness.core.units import in_units as in_units
    from harness.core.units import out_units as out_units
    from harness.core.units import outermost as outermost
    from harness.core.units import unit_masks as unit_masks
    from harness.core.units import unit_scores as unit_scores
    from harness.core.update_schedule import UpdateSchedule as UpdateSchedule
    from harness.errors import CorruptFile as CorruptFile
    from harness.errors import DataMissing as DataMissing
    from harness.errors import HarnessError as HarnessError
    from harness.errors import Unsupported as Unsupported
    from harness.errors import UserError as UserError
    from harness.registry.hookspecs import Entry as Entry
    from harness.registry.hookspecs import hookimpl as hookimpl
    from harness.report.results import load as load
    from harness.seeds import derived_seed as derived_seed
    from harness.storage.data_directory import data_directory as data_directory
