"""``harness export``: a finished cell's network, for other programs and for other suites."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import data_option, show_warnings
from harness.cli.parameters import Choice

if TYPE_CHECKING:
    from torch import Tensor

    from harness.interchange.bundle import Bundle
    from harness.registry.plugins import Registry
    from harness.results.cell_record import CellRecord
    from harness.stages.graph import PlannedCell
    from harness.stages.network import Network
    from harness.stages.runner import StageRunner

EXAMPLES = """\b
Examples:
  harness export genome.s0 --to genome_s0
  harness export gpt2.wiki.magnitude.d0.3.s0 --to pruned --format hf
  harness export genome.s0 --to small --compact
  harness export genome.s0 --to small_onnx --compact --format onnx
"""
OWN = ("harness", "safetensors")


@click.command(epilog=EXAMPLES, short_help="Write a finished run's network for other programs.")
@click.argument("cell", metavar="RUN")
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, metavar="DIR", help="A new folder.")
@click.option(
    "--format",
    "form",
    default="harness",
    show_default=True,
    help="harness, safetensors, a plugin's: hf, or with --compact: onnx.",
)
@click.option(
    "--compact", is_flag=True, help="Without dead units, linear layers sparse where that is faster: for plain PyTorch."
)
@click.option("--batch", type=click.IntRange(1), help="Examples at a time, of --compact.  [64]")
@click.option("--device", type=Choice(["cpu", "cuda"]), help="Where --compact measures.  [cpu]")
@click.option("--precision", type=Choice(["fp32", "bf16"]), help="Of --compact.  [fp32]")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--suite", type=click.Path(path_type=Path), help="The run's suite file.  [where it was run from]")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="As given to harness run; repeatable.")
@click.option("--plugin", "plugins", multiple=True, type=click.Path(path_type=Path), help="Load a single-file plugin.")
@data_option
def command(
    cell: str,
    folder: Path,
    form: str,
    compact: bool,
    batch: int | None,
    device: str | None,
    precision: str | None,
    results: Path,
    suite: Path | None,
    overrides: Sequence[str],
    plugins: Sequence[Path],
) -> None:
    """Write the network of RUN (as for ``harness show``) as it was evaluated: masked weights are zero.

    ``harness`` is what ``weights: DIR`` in a suite takes: model.safetensors, config.json, import.json, and
    masks.safetensors where masks are hard. ``safetensors`` leaves import.json out.

    With --compact: network.py, which loads in plain PyTorch, model.safetensors, whose size shrinks with density, and
    compact.json, which says what was cut and what was measured on this machine at --batch examples. 2:4 masks run on
    a GPU's sparse tensor cores, with --device cuda --precision bf16. With --compact --format onnx: model.onnx, all of
    it dense, and compact.json; nothing is measured.
    """
    import torch

    from harness.cli.find import find_cell
    from harness.errors import Unsupported, UserError, unknown_name
    from harness.registry.plugins import load
    from harness.results.store import LeftOut, ResultStore
    from harness.stages.runner import StageRunner
    from harness.stages.store import StageStore
    from harness.training.distributed import Substrate

    registry = load(plugins)
    formats = [*OWN, "onnx", *(registered.entry.name for registered in registry.entries("exporter"))]
    if form not in formats:
        raise UserError(unknown_name("format", form, formats))
    if compact and form not in ("harness", "onnx"):
        raise UserError(f"--compact has formats of its own: leave out --format {form}, or take --format onnx")
    if (batch or device or precision) and (not compact or form == "onnx"):
        raise UserError("--batch, --device and --precision say how --compact measures: leave them out")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no GPU here; leave it out to measure on the processor")
    if form == "onnx":
        from harness.compaction.onnx_file import require_onnx

        if not compact:
            raise UserError("--format onnx is one of --compact: give both")
        require_onnx()
    if folder.exists():
        raise UserError(f"{folder} is there already: choose another folder with --to, or remove it first")
    records = ResultStore(results)
    record = records.record(*find_cell(records, cell))
    if isinstance(record, LeftOut) or record.status != "done":
        raise UserError(f"{cell}: only a run that is done has a network to export")
    planned, path = _planned(record, results, suite, overrides, registry)
    store = StageStore(results / ".work")
    if store.manifest(planned.stages[-1].hash) is None:
        raise UserError(
            f"the weights of {planned.id} are gone: its last stage is not in {store.work}. Train it again with\n"
            f"  harness run {path} --results {results} --only {_selector(planned)} --force"
        )
    if record.method.members > 1:
        raise Unsupported(
            f"{planned.id} is an ensemble of {record.method.members} networks, and no format holds several"
        )
    runner = StageRunner(registry, store, Substrate(0, 1, torch.device(device or "cpu")))
    network = runner.restored(planned.stages[-1], planned.cell)
    preprocessing = _preprocessing(planned, runner)
    if compact:
        from harness.cli.compact_export import write_compact

        at = None if form == "onnx" else batch or 64
        write_compact(folder, planned, network, runner, at, precision or "fp32", preprocessing)
        return
    bundle = _bundle(planned, network, runner)
    state = store.folder(planned.stages[-1].hash) / "state.safetensors"
    _write(folder, form, planned, network, bundle, state, registry, preprocessing)
    size = sum(tensor.numel() for tensor in bundle.weights.values())
    nonzero = sum(int(tensor.count_nonzero()) for tensor in bundle.weights.values())
    click.echo(f"exported {planned.id} to {folder} ({form})")
    click.echo(f"  parameters  {size:,}, density {nonzero / max(1, size):.6f} (total)")
    if form == "harness":
        click.echo(f"  in a suite  architectures: {{{planned.cell.architecture}: {{..., weights: {folder}}}}}")


def _planned(
    record: CellRecord, results: Path, suite: Path | None, overrides: Sequence[str], registry: Registry
) -> tuple[PlannedCell, Path]:
    """The cell of a record, planned anew from its suite, and the suite's path.

    Raises:
        UserError: if the suite is not there, or no longer has this very cell.
    """
    from harness.errors import UserError
    from harness.executors.tuning import settle
    from harness.results.store import ResultStore
    from harness.stages.graph import compile_graph
    from harness.suites.suite import load_suite

    store = ResultStore(results)
    plan = store.plan(record.suite)
    path = suite or Path((plan and plan.path) or f"{record.suite}.yaml")
    if not path.is_file():
        raise UserError(f"the suite of {record.cell} is not at {path}: name its file with --suite")
    ran = [option for option in (plan.options if plan else ()) if option.startswith(("--plugin", "--set"))]
    as_then = f"The suite was run with {' '.join(ran)}: give the same here" if ran else "Give the same --suite as then"
    try:
        loaded, _ = settle(load_suite(path, registry, overrides), store)
    except UserError as error:
        if not ran:
            raise
        raise UserError(f"{error}\n{as_then}.") from error
    show_warnings(loaded.outdated)
    for planned in compile_graph(loaded.cells, registry).cells:
        if planned.id == record.cell:
            return planned, path
    raise UserError(
        f"{path} has no run {record.cell}: it has changed since, or was run with --set or --plugin. {as_then}"
    )


def _preprocessing(planned: PlannedCell, runner: StageRunner) -> dict[str, Any]:
    """How inputs were made in training, and what outputs mean, for the JSON beside the weights; or nothing.

    Raises:
        PluginError: if a benchmark says it in what is no JSON.
    """
    from harness.errors import PluginError

    benchmark = runner.benchmark(planned.cell.training_part)
    tokenizer = benchmark.spec().tokenizer
    told = {**({"inputs": {"tokenizer": tokenizer}} if tokenizer else {}), **(benchmark.preprocessing() or {})}
    try:
        json.dumps(told, allow_nan=False)
    except (TypeError, ValueError) as error:
        name = planned.cell.training_part.plugin
        raise PluginError(f"benchmark '{name}': preprocessing() cannot be written as JSON: {error}") from error
    return {"preprocessing": told} if told else {}


def _selector(planned: PlannedCell) -> str:
    named = {name: value for name, value in planned.cell.key._asdict().items() if value is not None}
    return ",".join(f"{name}={value}" for name, value in named.items())


def _bundle(planned: PlannedCell, network: Network, runner: StageRunner) -> Bundle:
    """What the cell's evaluation computes with."""
    from harness.errors import Unsupported
    from harness.interchange.bundle import Bundle, Data, Plug, own_state

    cell, spec = planned.cell, network.architecture.data
    form = cell.evaluation.masks
    weights = network.begin_phase(hooks=network.soft)
    hard = network.hard_masks() if form == "hard" or not network.soft else None
    with runner.evaluating(network, weights, form) as module:
        effective = {name: tensor.detach().clone() for name, tensor in own_state(module).items()}
        if any(bool(bias.any()) for bias in weights.biases.values()):
            raise Unsupported(f"run {planned.id} has attention masks, which no format holds: it cannot be exported")
    return Bundle(
        architecture=Plug(
            plugin=cell.architecture_part.plugin,
            options=cell.architecture_part.files.as_written(network.architecture.options.model_dump(mode="json")),
        ),
        data=Data.of(spec),
        method=Plug(plugin=cell.method_part.plugin, options=cell.method_part.record()["options"]),
        weights=effective,
        masks=dict(hard or {}),
        method_tensors=dict(_tensors(network.method_state())),
    )


def _tensors(state: Any, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a nested state under names joined by dots; numbers are tensors of no dimension."""
    import torch

    if isinstance(state, torch.Tensor):
        return {prefix: state}
    if isinstance(state, bool | int | float):
        return {prefix: torch.tensor(state)}
    items = state.items() if isinstance(state, Mapping) else enumerate(state) if isinstance(state, list | tuple) else ()
    found: dict[str, Tensor] = {}
    for name, value in items:
        found |= _tensors(value, f"{prefix}.{name}" if prefix else str(name))
    return found


def _write(
    folder: Path,
    form: str,
    planned: PlannedCell,
    network: Network,
    bundle: Bundle,
    state: Path,
    registry: Registry,
    preprocessing: Mapping[str, Any],
) -> None:
    from harness.interchange.bundle import MASKS, WEIGHTS, Origin, file_sha256, new_folder, save_tensors, write

    assert bundle.architecture is not None and bundle.data is not None
    config = {
        "cell": planned.id,
        **preprocessing,
        "architecture": bundle.architecture.model_dump(mode="json"),
        "data": bundle.data.model_dump(mode="json"),
        "masks": planned.cell.evaluation.masks,
    }
    text = json.dumps(config, indent=2) + "\n"
    if form == "harness":
        source = Origin(importer="harness export", path=planned.id, sha256=file_sha256(state))
        write(folder, bundle, source, {"config.json": text})
        return
    with new_folder(folder) as temporary:
        if form == "safetensors":
            (temporary / "config.json").write_text(text, encoding="utf8")
            save_tensors(temporary / WEIGHTS, bundle.weights)
            if bundle.masks:
                save_tensors(temporary / MASKS, bundle.masks)
        else:
            exporter = registry.get("exporter", form)()
            if reason := exporter.unsupported(network.architecture):
                from harness.errors import Unsupported

                raise Unsupported(f"format '{form}': {reason}. Take --format harness")
            exporter.write(temporary, network.architecture, bundle.weights, _keep(network, bundle.masks))


def _keep(network: Network, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameter -> bool tensor of its shape, for those that masks touch."""
    import torch

    parameters = dict(network.module.named_parameters())
    whole: dict[str, Tensor] = {}
    for c in network.connections:
        if c.kind == "weight" and c.name in masks:
            keep = whole.setdefault(c.parameter, torch.ones_like(parameters[c.parameter], dtype=torch.bool))
            c.region(keep).copy_(masks[c.name])
    return whole
