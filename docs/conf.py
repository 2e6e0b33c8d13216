"""How Sphinx builds these pages: ``make docs``."""

import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import generate  # noqa: E402

import harness  # noqa: E402

project = "sparsity-harness"
author = "The sparsity-harness authors"
project_copyright = f"2026, {author}"
release = harness.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
suppress_warnings = ["myst.xref_missing"]  # links to folders of the repository; tests/e2e/test_readme.py follows all
myst_heading_anchors = 3

smartquotes = False  # it makes dashes of the two hyphens of options

html_theme = "furo"
html_title = f"sparsity-harness {release}"
html_show_sphinx = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings give shapes, units and ranges


def setup(app):
    """Write the page of all options, and let shapes such as (out, in, *kernel) be no emphasis."""
    (DOCS / "options.md").write_text(generate.options_page(), encoding="utf8")
    app.connect("autodoc-process-docstring", lambda app, what, name, obj, options, lines: _escape(lines))


def _escape(lines):
    lines[:] = [re.sub(r"(?<![\w*\\])\*(?=[\w.]+[,)])", r"\\*", line) for line in lines]
