"""The examples of docs/plugins.md, as plugins."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[3] / "docs" / "plugins.md"


@pytest.fixture
def example() -> Callable[[str, str], str]:
    """Gives the document's code of a method class, registered under a name that suites can use."""

    def source(name: str, registered: str) -> str:
        blocks = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf8"), re.MULTILINE | re.DOTALL)
        (block,) = [block for block in blocks if f"class {name}(" in block]
        return (
            f"from harness import Entry, hookimpl\n{block}\n\n@hookimpl\n"
            f'def harness_register_methods():\n    return [Entry("{registered}", {name})]\n'
        )

    return source
