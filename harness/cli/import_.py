"""``harness import``: a published checkpoint becomes a folder that suites can start from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import data_option, plugin_option

if TYPE_CHECKING:
    from pydantic import BaseModel

    from harness.interchange.bundle import Bundle, Imported
    from harness.interchange.formats import Importer
    from harness.registry.plugins import Registry

EXAMPLES = """\b
Examples:
  harness import gpt2_hf ~/models/gpt2 --name gpt2
  harness import ndna_gpt2 genome_ckpt.pt --name ndna --option masks=soft --suite ndna_soft.yaml
  harness import ndna_genome genome_final.pt --name grown
"""


@click.command(
    name="import", epilog=EXAMPLES, short_help="Bring in a published checkpoint, so that suites can start from it."
)
@click.argument("importer")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="What suites will call it: weights: NAME.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the importer; repeatable.")
@click.option("--suite", type=click.Path(path_type=Path), help="Write a suite that evaluates it to this file.")
@plugin_option
@data_option
def command(
    importer: str,
    source: Path,
    name: str,
    options: Sequence[str],
    suite: Path | None,
    plugin_files: tuple[Path, ...],
) -> None:
    """Read SOURCE, a file or folder, with IMPORTER, and keep it under NAME in the data folder's models/.

    Names are mapped strictly: a tensor that is missing, unexpected or of another shape is an error. Files that
    would run code when loaded are refused. Nothing is half-written.
    """
    from pydantic import ValidationError

    from harness.errors import UserError
    from harness.interchange.bundle import MANIFEST, Origin, file_sha256, models_directory, read, write
    from harness.registry.plugins import NAME, load
    from harness.storage.atomic_files import write_text

    registry = load(plugin_files)
    cls = registry.get("importer", importer)
    reader: Importer[Any] = cls(_options(importer, cls.Options, options))
    if not NAME.fullmatch(name.lower().replace("-", "_")):
        raise UserError(f"'{name}' is no name: use letters, digits, - and _, beginning with a letter, for example gpt2")
    folder = models_directory() / name
    for path in (folder, *([suite] if suite else [])):
        if path.exists():
            made = f", made of {read(path).manifest.source.path}" if (path / MANIFEST).is_file() else ""
            raise UserError(f"{path} is there already{made}: choose another name, or remove it first")
    if not source.exists():
        raise UserError(f"{source} does not exist: give the file or folder that {importer} is to read")
    try:
        bundle = reader.load(source, name)
    except ValidationError as error:
        raise UserError(f"{source} holds no network that can be built: {error}") from error
    _check(bundle, registry)
    content = _suite(name, bundle, registry)
    if suite is not None and content is None:
        raise UserError("there is no network to evaluate, only a method's tensors: import without --suite")
    imported = write(folder, bundle, Origin(importer=importer, path=str(source.resolve()), sha256=file_sha256(source)))
    click.echo("\n".join(_described(imported, bundle)))
    if content is None:
        return
    text = f"# Evaluates '{name}' as it was imported, without training.\n{_yaml(content)}"
    if suite is None:
        click.echo(f"\nA suite that evaluates it (--suite FILE writes it):\n\n{text}", nl=False)
    else:
        write_text(suite, text)
        click.echo(f"\nEvaluate it:  harness run {suite}")


def _options(importer: str, model: type[BaseModel], given: Sequence[str]) -> BaseModel:
    """Options from the command line; values are read as YAML, as in suites."""
    from pydantic import ValidationError

    from harness.errors import UserError, unknown_name
    from harness.suites.wrong_value import wrong_value
    from harness.suites.yaml_tree import plain_value

    values = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--option {text}: write it as key=value")
        if key not in model.model_fields:
            raise UserError(f"--option {text}: {unknown_name('option', key, model.model_fields, importer)}")
        values[key] = plain_value(value, f"--option {key}=")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UserError(f"--option: {wrong_value(error, model, lambda _: tuple(model.model_fields))}") from error


def _check(bundle: Bundle, registry: Registry) -> None:
    """What an importer brings fits the network that it names: nothing is written that no cell could load.

    Raises:
        PluginError: if it does not.
    """
    import torch

    from harness.errors import PluginError
    from harness.interchange.bundle import own_state

    if bundle.architecture is None or bundle.data is None:
        return
    data = bundle.data
    cls = registry.get("architecture", bundle.architecture.plugin)
    options = cls.Options.model_validate(bundle.architecture.options)
    architecture = cls(options, data.spec)
    if reason := architecture.unsupported():
        raise PluginError(f"architecture '{bundle.architecture.plugin}' {reason}")
    with torch.device("meta"):
        wanted = {name: tuple(t.shape) for name, t in own_state(architecture.build()).items()}
    shapes = {c.name: c.shape for c in architecture.connections()}
    for what, given, known in (
        ("weights", bundle.weights, wanted),
        ("masks", bundle.masks, {name: shapes.get(name) for name in bundle.masks}),
    ):
        found = {name: tuple(tensor.shape) for name, tensor in given.items()}
        if wrong := sorted(n for n in known.keys() | found.keys() if known.get(n) != found.get(n)):
            raise PluginError(f"the importer's {what} do not fit {bundle.architecture.plugin}: {', '.join(wrong[:5])}")


def _described(imported: Imported, bundle: Bundle) -> Iterator[str]:
    yield f"imported into {imported.path}"
    if bundle.architecture is not None and bundle.data is not None:
        data = bundle.data
        yield f"  architecture  {bundle.architecture.plugin} {_flow(bundle.architecture.options)}"
        yield f"  data          {data.kind}, inputs {data.inputs}, outputs {data.outputs:,}  {data.tokenizer}".rstrip()
        size = sum(tensor.numel() for tensor in bundle.weights.values())
        nonzero = sum(int(tensor.count_nonzero()) for tensor in bundle.weights.values())
        yield f"  parameters    {size:,}, density {nonzero / max(1, size):.6f} (total)"
    if bundle.masks:
        size = sum(mask.numel() for mask in bundle.masks.values())
        kept = sum(int(mask.sum()) for mask in bundle.masks.values())
        yield f"  masks         {kept:,} of {size:,} weights kept, density {kept / size:.6f}"
    if bundle.method_tensors:
        size = sum(tensor.numel() for tensor in bundle.method_tensors.values())
        yield f"  method        {size:,} numbers: {', '.join(sorted(bundle.method_tensors))}"
    yield f"  digest        {imported.digest}"
    for note in bundle.notes:
        yield f"  note: {note}"


def _suite(name: str, bundle: Bundle, registry: Registry) -> Mapping[str, Any] | None:
    """A suite that evaluates the bundle, or None if it holds no network."""
    if bundle.architecture is None:
        return None
    plug = bundle.architecture
    fields = registry.get("architecture", plug.plugin).Options.model_fields
    options = {k: v for k, v in plug.options.items() if v != fields[k].get_default(call_default_factory=True)}
    method = bundle.method
    return {
        "name": f"imported_{name}",
        "architectures": {name: {"use": plug.plugin, "weights": name, **options}},
        "methods": {method.plugin: dict(method.options)} if method else {"dense": {}},
        "training": {"steps": 0},
        **bundle.suite,
    }


def _yaml(content: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=None, width=110)


def _flow(options: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(options), sort_keys=False, default_flow_style=True, width=10_000).strip()
