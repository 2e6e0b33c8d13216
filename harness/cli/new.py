"""``harness new``: a working plugin to start from."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

import click

from harness.cli.parameters import Choice
from harness.errors import UserError
from harness.registry.plugins import KINDS, NAME, Kind, load
from harness.storage.atomic_files import write_text


@click.command(
    name="new",
    short_help="Write a working plugin to start from.",
    epilog="""\b
Examples:
  harness new method my_method
  harness new architecture my_network --output plugins_of_mine""",
)
@click.argument("kind", type=Choice(KINDS))
@click.argument("name")
@click.option("--output", type=click.Path(path_type=Path), default=Path(), metavar="DIR", help="Default: here.")
def command(kind: Kind, name: str, output: Path) -> None:
    """Write NAME.py, a working plugin in a single file, and its test. Nothing is overwritten."""
    _check_spelling(name)
    targets = {output / f"{name}.py": f"{kind}.py.tmpl", output / f"test_{name}.py": "test.py.tmpl"}
    for path in targets:
        if path.exists():
            raise UserError(f"{path} exists and is not overwritten: choose another name, or a folder with --output")
    _check_free(kind, name)
    folder = files("harness.registry") / "templates"
    templates = {path: (folder / template).read_text(encoding="utf8") for path, template in targets.items()}
    texts = {"title": _title(kind, name, "".join(templates.values())), "name": name, "kind": kind}
    for path, text in templates.items():
        write_text(path, Template(text).substitute(texts))
        click.echo(f"wrote {path}")
    plugin, test = targets
    click.echo(f"\nTest it:  pytest {test}\nLook:     harness plugins {name} --plugin {plugin}")
    click.echo(f"Use it:   harness run SUITE.yaml --plugin {plugin}   (the suite names it under {kind}s: {name})")


def _check_spelling(name: str) -> None:
    if not NAME.fullmatch(name):
        allowed = "lower-case letters, digits and underscores, starting with a letter, for example my_method"
        raise UserError(f"'{name}' is no name for a plugin: use {allowed}")
    if keyword.iskeyword(name):
        raise UserError(f"'{name}' is a word of Python's: choose another name")


def _check_free(kind: Kind, name: str) -> None:
    """Neither a plugin nor a Python module may have the name: the test's folder comes first on the path."""
    registry = load()
    if kind in registry.kinds_of(name):
        raise UserError(f"{kind} '{name}' exists already ({registry.find(kind, name).origin}): choose another name")
    if find_spec(name) is not None:
        raise UserError(f"{name}.py would hide the Python module '{name}': choose another name")


def _title(kind: Kind, name: str, template: str) -> str:
    """The class's name; it must not be one that the template imports."""
    title = "".join(word.capitalize() for word in name.split("_"))
    taken = re.findall(r"^(?:from \S+ )?import (.*)$", template, re.MULTILINE)
    return title + kind.capitalize() if title in re.findall(r"\w+", " ".join(taken)) else title
