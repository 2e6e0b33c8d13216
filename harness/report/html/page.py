"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files

from harness.report.html.data import page_data
from harness.report.leaderboard import READING
from harness.results.store import LeftOut, ResultStore

SCRIPTS = (
    "tools",
    "theme",
    "filters",
    "scales",
    "plot",
    "records",
    "difference",
    "leaderboard",
    "overview",
    "suites",
    "panels",
    "chooser",
    "curves",
    "training",
    "masks",
    "samples",
    "start",
)
"""The page's program, in the order in which its parts stand in one script element."""
_BOLD = re.compile(r"\*\*(.+?)\*\*")
_MARK = re.compile(r"\{\{(\w+)\}\}")


def page(
    store: ResultStore, suites: Sequence[str] | None = None, tell: Callable[[Sequence[LeftOut]], None] | None = None
) -> str:
    """The HTML of a report about some suites (default: all); equal result files give an equal text.

    It loads nothing and may not: its Content-Security-Policy allows this very script and style, and pictures
    that are inside the page. What comes from files reaches the page as data and is shown as text. ``tell`` is given
    what is not counted.

    Raises:
        UserError: if a suite has no results.
    """
    data = page_data(store, suites)
    if tell is not None:
        tell(data.left)
    style = _asset("style.css")
    script = '(async () => {\n"use strict";\n' + "\n".join(_asset(f"scripts/{name}.js") for name in SCRIPTS) + "})();\n"
    title = "Sparsity report: " + ", ".join(data.suites)
    scripts = [f'<script type="application/json" id="{name}">{text}</script>' for name, text in data.scripts.items()]
    figures = [f'<template id="figure-{number}">{svg}</template>' for number, svg in enumerate(data.figures.svgs)]
    parts = {
        "policy": _policy([style, *data.figures.sheets()], script),
        "title": escape(title.encode("utf8", "replace").decode("utf8")),
        "reading": _reading(),
        "style": style,
        "data": "\n".join([*figures, *scripts]),
        "script": script,
    }
    return _MARK.sub(lambda mark: parts[mark[1]], _asset("page.html"))


def _policy(styles: Sequence[str], script: str) -> str:
    """What the page may load: nothing but its own style and script, known by their hashes, and data: pictures."""
    allowed = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": " ".join(_hash(style) for style in dict.fromkeys(styles)),
        "script-src": _hash(script),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in allowed.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _reading() -> str:
    """How to read the tables, as the markdown leaderboards say it, in HTML."""
    items = [f"<li>{escape(' '.join(item.split()))}</li>" for item in READING.split("\n- ")[1:]]
    return "<ul>" + _BOLD.sub(r"<strong>\1</strong>", "".join(items)) + "</ul>"


def _asset(name: str) -> str:
    """A file of this package."""
    return (files(__package__ or __name__) / name).read_text(encoding="utf8")
