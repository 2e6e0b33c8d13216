"""``harness plugins``: what is registered, and what one of it can do."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from harness.cli import plugin_option
from harness.cli.fitting import terminal_width
from harness.cli.parameters import Choice
from harness.errors import UserError, unknown_name
from harness.formatting import fitted
from harness.registry.plugins import KINDS, TOOLS, Registered, Registry, load

_TITLES = {"architectures": "works on architectures", "benchmarks": "can be trained on benchmarks"}
_ROOMY = 116
"""Columns from which options stand in a table."""


@click.command(
    name="plugins",
    short_help="List architectures, methods, benchmarks and tools, or explain one.",
    epilog="""\b
Examples:
  harness plugins
  harness plugins random
  harness plugins my_method --plugin my_method.py --format json""",
)
@click.argument("name", required=False)
@plugin_option
@click.option("--format", "form", type=Choice(["table", "json"]), default="table", show_default=True)
def command(name: str | None, plugin_files: tuple[Path, ...], form: str) -> None:
    """List architectures, methods and benchmarks, what imports, exports and logs; with NAME, explain one.

    An explanation gives the options, and what goes with it.
    """
    registry = load(plugin_files)
    if name is None:
        _list(registry, form)
    else:
        _explain(registry, name, form)


def _list(registry: Registry, form: str) -> None:
    everything = [registered for kind in (*KINDS, *TOOLS) for registered in registry.entries(kind)]
    if form == "json":
        plugins = [{**_row(r), "origin": str(r.origin)} for r in everything]
        failures = [{"origin": str(f.origin), "message": f.message, "location": f.location} for f in registry.failures]
        click.echo(json.dumps({"plugins": plugins, "failures": failures}, indent=2))
        return
    if not everything:
        click.echo("no plugin is installed")
    elif (width := terminal_width()) is None:
        rows = [[*_row(r).values(), _short_origin(r)] for r in everything]
        click.echo(tabulate(rows, headers=["kind", "name", "summary", "origin"]))
    else:
        _list_within(everything, width)
    for failure in registry.failures:
        click.echo(f"failed: {failure}", err=True)


def _list_within(everything: Sequence[Registered], width: int) -> None:
    """A block for each kind; what most plugins come from is said once."""
    usual = Counter(map(_short_origin, everything)).most_common(1)[0][0]
    longest = max(len(r.entry.name) for r in everything)
    for kind, some in groupby(everything, key=lambda r: r.kind):
        click.echo(f"{kind}s")
        for r in some:
            origin = "" if _short_origin(r) == usual else f" ({_short_origin(r)})"
            click.echo(fitted(f"  {r.entry.name:<{longest}}  {r.entry.summary}{origin}".rstrip(), width, longest + 2))
    click.echo(fitted(f"of {usual}, where nothing else is said; harness plugins NAME explains one", width))


def _row(registered: Registered) -> dict[str, str]:
    return {"kind": registered.kind, "name": registered.entry.name, "summary": registered.entry.summary}


def _short_origin(registered: Registered) -> str:
    origin = registered.origin
    return str(origin.file or f"{origin.distribution or origin.plugin} {origin.version or ''}".strip())


def _explain(registry: Registry, name: str, form: str) -> None:
    found = [registry.find(kind, name) for kind in registry.kinds_of(name)]
    tools = [r for kind in TOOLS for r in registry.entries(kind) if r.entry.name == name]
    if not found and not tools:
        known = {r.entry.name for kind in (*KINDS, *TOOLS) for r in registry.entries(kind)}
        failed = [f"failed: {failure}" for failure in registry.failures]
        raise UserError("\n".join([unknown_name("plugin", name, known), *failed]))
    from harness.cli.describe import describe  # imports torch

    descriptions = [describe(registry, registered) for registered in found]
    if form == "json":
        click.echo(json.dumps([*descriptions, *({**_row(r), "origin": str(r.origin)} for r in tools)], indent=2))
    else:
        width = terminal_width()
        texts = [*(_text(description, width) for description in descriptions), *(_tool(registry, r) for r in tools)]
        click.echo(fitted("\n\n".join(texts), width))


def _tool(registry: Registry, tool: Registered) -> str:
    """A tool for a reader: what its class says of itself."""
    doc = inspect.getdoc(registry.get(tool.kind, tool.entry.name)) or tool.entry.summary
    return f"{tool.kind} {tool.entry.name} ({_short_origin(tool)})\n{_indented(doc)}"


def _text(description: dict[str, Any], width: int | None) -> str:
    """One description for a reader; keys that only one kind has come in the order of the description."""
    from harness.report.tables import BETTER  # takes time

    d = dict(description)
    origin = d.pop("origin")
    where = origin["file"] or f"{origin['distribution']} {origin['version']}"
    lines = [f"{d.pop('kind')} {d.pop('name')}, version {d.pop('version')} ({where})"]
    summary, doc = d.pop("summary"), d.pop("doc")
    lines.append(_indented(doc or summary))
    lines += ["", "options:" if d["options"] else "options: none"]
    rows = [[o["name"], o["type"], _default(o), o["description"]] for o in d.pop("options")]
    if width is not None and width < _ROOMY:
        for name, *facts, text in rows:
            lines += filter(None, [f"  {name}: {', '.join(facts)}", textwrap.indent(_indented(text), "    ")])
    elif rows:
        lines.append(
            _indented(tabulate(rows, tablefmt="plain", disable_numparse=True, maxcolwidths=[None, 36, 24, 60]))
        )
    lines.append("")
    for key, value in d.items():
        title = _TITLES.get(key) or key.replace("_", " ")
        if isinstance(value, dict):
            lines += [f"{title}:", _indented(tabulate(value.items(), tablefmt="plain", disable_numparse=True))]
        elif value and isinstance(value[0], dict):
            units = [f" ({m['unit']})" if m["unit"] else "" for m in value]
            metrics = zip(value, units, strict=True)
            lines += [f"{title}:", *(f"  {m['name']}{unit}, {BETTER[m['direction']]}" for m, unit in metrics)]
        else:
            lines.append(f"{title}: {', '.join(value) if isinstance(value, list) else value}")
    return "\n".join(lines)


def _indented(text: str) -> str:
    return textwrap.indent(text.replace("``", "'"), "  ")


def _default(option: dict[str, Any]) -> str:
    return "required" if option["required"] else f"default {json.dumps(option['default'])}"
