"""Writes the parts of the documents that are made from something else: ``python docs/generate.py``.

They stand between ``<!-- NAME -->`` and ``<!-- end -->``. The README's links come from results/, the tables of
docs/suites.md and docs/clusters.md from the schemas, docs/commands.md from the command line itself, docs/install.md
from the table of extras, the helpers of docs/plugins.md from their signatures, docs/records.md and
docs/record.schema.json from the model of a record. The pages of docs/findings/ are made from suites and leaderboards.
The meaning of a suite's key is written by hand in the table where the schema has no text for it; it is kept when the
table is made again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from inspect import cleandoc, getdoc, signature
from pathlib import Path
from typing import Any, get_args

import click
import findings
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

import harness
from harness.cli import cli
from harness.cli.describe import describe_options
from harness.extras import EXTRAS
from harness.registry.plugins import KINDS, load
from harness.results.cell_record import CellRecord
from harness.suites import schema
from harness.suites.slurm_options import SlurmOptions

ROOT = Path(__file__).resolve().parent.parent
TABLES = (
    "SuiteFile",
    "Experiment",
    "ArchitectureEntry",
    "Named",
    "MethodEntry",
    "Match",
    "CellRef",
    "BudgetMatch",
    "Training",
    "Evaluation",
    "Tune",
    "Selector",
)
"""Models of the suite schema that have a table in docs/suites.md."""
_ESCAPED = r"\\\1"
RECORD_SCHEMA = ROOT / "docs/record.schema.json"
HELPERS = (
    "DensityBudget.of",
    "allocate",
    "select",
    "top_k",
    "drop_grow",
    "watch_inputs",
    "unseen_inputs",
    "NOfM",
    "NOfM.of",
    "NOfM.mask",
    "NOfM.misfit",
    "NOfM.agreed",
    "UpdateSchedule",
    "UpdateSchedule.over",
    "UpdateSchedule.due",
    "UpdateSchedule.fraction",
    "UpdateSchedule.density",
)
"""What docs/plugins.md shows with its signature."""


def documents() -> dict[Path, str]:
    """Each document as it should be, for the suite schema and command line as they are."""
    commands, plugins = ROOT / "docs/commands.md", ROOT / "docs/plugins.md"
    install, records = ROOT / "docs/install.md", ROOT / "docs/records.md"
    made: dict[Path, str] = {}
    for name, model in [*((name, getattr(schema, name)) for name in TABLES), ("SlurmOptions", SlurmOptions)]:
        path = ROOT / ("docs/clusters.md" if model is SlurmOptions else "docs/suites.md")
        text = made.get(path) or path.read_text(encoding="utf8")
        made[path] = filled(text, f"keys: {name}", key_table(model, meanings(inside(text, name))))
    return {
        **made,
        **findings.pages(ROOT),
        commands: filled(commands.read_text(encoding="utf8"), "commands", "\n".join(command_lines("harness", cli))),
        plugins: filled(plugins.read_text(encoding="utf8"), "helpers", "\n".join(helper_lines())),
        install: filled(install.read_text(encoding="utf8"), "extras", "\n".join(extra_lines())),
        records: filled(records.read_text(encoding="utf8"), "record", "\n".join(record_lines(CellRecord))),
        RECORD_SCHEMA: record_schema(),
    }


def extra_lines() -> Iterator[str]:
    """A row for each extra: what it is for, and what of it the harness imports."""
    yield "| extra | gives | brings |\n|---|---|---|"
    for name, extra in EXTRAS.items():
        yield f"| `{name}` | {extra.gives} | {', '.join(extra.modules)} |"
    yield f"| `all` | {', '.join(f'`{name}`' for name in list(EXTRAS)[:4])} | |"


def filled(text: str, name: str, content: str) -> str:
    """``text`` with ``content`` between the marker ``name`` and the next end.

    Raises:
        ValueError: unless there is exactly one such marker.
    """
    marked = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    new, count = marked.subn(lambda found: f"{found[1]}\n{content.strip()}\n\n{found[2]}", text)
    if count != 1:
        raise ValueError(f"{count} places marked '<!-- {name} -->' ... '<!-- end -->', must be one")
    return new


def inside(text: str, model: str) -> str:
    """What stands between a model's markers now."""
    return text.partition(f"<!-- keys: {model} -->")[2].partition("<!-- end -->")[0]


def meanings(table: str) -> dict[str, str]:
    """Key -> last cell of its row."""
    return {key: text.strip() for key, text in re.findall(r"^\| `(\w+)` \|.*\| ([^|]*)\|$", table, re.MULTILINE)}


def key_table(model: type[BaseModel], written: dict[str, str]) -> str:
    """Keys of a model with type, range and default; meanings from the schema, else as ``written``."""
    rows = ["| key | type, range | default | meaning |", "|---|---|---|---|"]
    for option in describe_options(model):
        if option["type"] == "Any":
            continue  # the keys of an experiment, which have their own table
        default = "required" if option["required"] else f"`{_default(option['type'], option['default'])}`"
        kind = option["type"].replace(" | ", " or ")
        meaning = option["description"] or written.get(option["name"], "")
        rows.append(f"| `{option['name']}` | {kind} | {default} | {meaning} |")
    return "\n".join(rows)


def _default(kind: str, value: Any) -> str:
    """As YAML would have it; of a mapping, its own table tells more."""
    if isinstance(value, dict):
        return "{}"
    return value.replace("(", "[").replace(")", "]") if kind.startswith("tuple") else json.dumps(value)


def options_page() -> str:
    """Options of every plugin that comes with the harness."""
    registry = load()
    lines = ["# Options", "Generated from the plugins, as `harness plugins NAME` shows them."]
    for kind in KINDS:
        lines.append(f"## {kind.capitalize()}s")
        for registered in registry.entries(kind):
            name, summary = registered.entry.name, registered.entry.summary
            lines += [f"### `{name}`", f"{summary[:1].upper()}{summary[1:]}."]
            if options := describe_options(registry.get(kind, name).Options):
                lines.append(
                    "| option | type, range | default | meaning |\n|---|---|---|---|\n" + "\n".join(map(_row, options))
                )
    return "\n\n".join(lines) + "\n"


def _row(option: dict[str, Any]) -> str:
    """An option in a table."""
    kind = option["type"].replace("|", "or")
    default = "required" if option["required"] else f"`{json.dumps(option['default'])}`"
    meaning = " ".join(option["description"].split()).replace("``", "`")
    parts = re.split(r"(`[^`]*`)", meaning)
    meaning = "".join(re.sub(r"([|])" if part.startswith("`") else r"([*_<|])", _ESCAPED, part) for part in parts)
    return f"| `{option['name']}` | `{kind}` | {default} | {meaning} |"


def record_schema() -> str:
    """The JSON Schema of a record."""
    schema = CellRecord.model_json_schema()
    schema["required"].insert(0, "schema")
    return json.dumps({"$schema": GenerateJsonSchema.schema_dialect, **schema}, indent=2, ensure_ascii=False) + "\n"


def record_lines(model: type[BaseModel], seen: set[type[BaseModel]] | None = None) -> Iterator[str]:
    """A table of a model's keys, then those of the models within it."""
    seen = {model} if seen is None else seen
    yield f"### `{model.__name__}`\n\n{cleandoc(model.__doc__ or '')}\n\n| key | type, range | meaning |\n|---|---|---|"
    inner = []
    for (name, info), told in zip(model.model_fields.items(), describe_options(model), strict=True):
        inner += [found for found in _models(info.annotation) if found not in seen and not seen.add(found)]
        kind = told["type"].replace(" | ", " or ").replace("JsonValue", "any JSON")
        yield f"| `{info.alias or name}` | {kind} | {told['description']} |"
    yield ""
    for found in inner:
        yield from record_lines(found, seen)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def command_lines(path: str, command: click.Command) -> Iterator[str]:
    """A command's arguments, options and examples, then those of its subcommands."""
    arguments = [_argument(p) for p in command.params if isinstance(p, click.Argument)]
    yield f"## `{' '.join([path, *arguments])}`\n"
    for paragraph in cleandoc(command.help or "").split("\n\n"):
        yield " ".join(paragraph.split()).replace("<", "\\<") + "\n"
    options = [p for p in command.params if isinstance(p, click.Option)]
    if options:
        yield "| option | meaning |\n|---|---|"
    for option in options:
        yield f"| {_names(option)} | {_meaning(option)} |"
    if command.epilog:
        examples = command.epilog.replace("\b\n", "").partition(":\n")[2]
        lines = [line.strip() for line in examples.splitlines() if line.strip().startswith("harness ")]
        yield "\n```sh\n" + "\n".join(lines) + "\n```"
    yield ""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from command_lines(f"{path} {name}", child)


def helper_lines() -> Iterator[str]:
    """Each helper of methods with its signature and the first sentence about it."""
    for path in HELPERS:
        owner, _, member = path.partition(".")
        found = getattr(harness, owner)
        found = getattr(found, member) if member else found
        arguments = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(signature(found))).replace("(self, ", "(")
        text = " ".join((getdoc(found) or "").partition("\n\n")[0].replace("``", "`").split())
        yield f"- `{path}{arguments.removesuffix(' -> None')}`: {text}"


def _argument(argument: click.Argument) -> str:
    choices = argument.type.choices if isinstance(argument.type, click.Choice) else ()
    name = argument.metavar or "|".join(map(str, choices)) or str(argument.name).upper()
    return name if argument.required or argument.metavar else f"[{name}]"


def _names(option: click.Option) -> str:
    if option.is_flag:
        return ", ".join(f"`{name}`" for name in option.opts)
    choices = option.type.choices if isinstance(option.type, click.Choice) else ()
    value = option.metavar or " or ".join(map(str, choices)) or option.type.name.upper().removesuffix(" RANGE")
    return ", ".join(f"`{name} {value}`" for name in option.opts)


def _meaning(option: click.Option) -> str:
    default = f" Default: `{option.default}`." if option.show_default else ""
    return (re.sub(r"\s+\[(.+)\]$", r" Default: \1.", (option.help or "").strip()) + default).strip()


def links(root: Path) -> str:
    """What has been run, at ``root``: links to what was found, and to its tables."""
    return "\n".join(
        f"- [{found.title}](docs/findings/{found.name}.md) ([tables](results/{found.name}/leaderboard.md))"
        for found in findings.findings(root)
    )


def main() -> None:
    """Write what has changed."""
    readme = ROOT / "README.md"
    for path, text in {
        **documents(),
        readme: filled(readme.read_text(encoding="utf8"), "leaderboards", links(ROOT)),
    }.items():
        if not path.is_file() or path.read_text(encoding="utf8") != text:
            path.write_text(text, encoding="utf8")
            click.echo(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
