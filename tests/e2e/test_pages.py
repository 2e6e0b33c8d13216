"""The pages for users do what they say: their files are written, their commands and their Python run, in order.

A block of yaml or Python whose first line is a comment with a file's name is that file. Other Python is a script of its
own. ``sh`` is run, line by line. What needs a network, a cluster or LaTeX is in blocks of other languages, not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs/first_suite.md", *sorted((ROOT / "docs/how_to").glob("[!i]*.md")), ROOT / "SKILL.md"]
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w./]+\.(?:py|yaml))")
NEEDS = {".pdf": "cairosvg", "format parquet": "pyarrow"}
"""What a line needs that a plain installation may lack."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each block, in order, without the indentation of a list that it stands in."""
    found = BLOCK.findall(page.read_text(encoding="utf8"))
    return [(language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE)) for indent, language, text in found]


def call(arguments: list[str] | str, folder: Path) -> str:
    """Run a program in ``folder``; its stdout."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "HARNESS_DEVICE": "cpu", "HARNESS_DATA": str(folder / "no_data")}
    shell = isinstance(arguments, str)
    done = subprocess.run(
        arguments, shell=shell, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    ran = 0
    for language, text in blocks(page):
        named = FILE.match(text)
        if named and language in ("yaml", "python"):
            (tmp_path / named[1]).write_text(text, encoding="utf8")
        elif language == "python":
            call([sys.executable, "-c", text], tmp_path)
        elif language == "sh":
            for line in text.splitlines():
                if all(find_spec(module) for mark, module in NEEDS.items() if mark in line):
                    call(line, tmp_path)
                ran += 1
    assert ran


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_one_that_is_run_or_says_why_not(page: Path) -> None:
    for language, text in blocks(page):
        assert language in ("yaml", "python", "sh", "bash", "latex", "text"), f"{page.name}: a block of {language}"
        if language == "yaml":
            assert FILE.match(text), f"{page.name}: a suite without a name"
            assert isinstance(yaml.safe_load(text), dict)


def test_every_how_to_is_in_the_list() -> None:
    listed = (ROOT / "docs/how_to/index.md").read_text(encoding="utf8")
    for page in (ROOT / "docs/how_to").glob("*.md"):
        assert page.stem == "index" or f"({page.name})" in listed, f"docs/how_to/index.md lacks {page.name}"
