"""What a single-file plugin is known by."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness.registry.own_code import own_code

HERE = "import json, torch\nfrom harness import Masks\nfrom harness_random.method import Random\n"
FILES = {
    "constant.py": "A = 1\n",
    "lazy.py": "import deeper.inner\n",
    "deeper/__init__.py": "",
    "deeper/inner.py": "B = 1\n",
    "never.py": "C = 1\n",
    "json.py": "not the one that is imported\n",
}


def code(folder: Path, text: str) -> str:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        if not (folder / name).exists():
            (folder / name).write_text(content)
    return own_code(folder / "plugin.py", text.encode())


def test_a_file_alone_is_its_content(tmp_path: Path) -> None:
    """What is installed, this checkout included, is known by its version."""
    assert code(tmp_path, HERE) == hashlib.sha256(HERE.encode()).hexdigest()
    assert code(tmp_path, HERE + "#") != code(tmp_path, HERE)


@pytest.mark.parametrize(
    ("imports", "file"),
    [
        ("import constant\n", "constant.py"),
        ("import constant as c\n", "constant.py"),
        ("from constant import A\n", "constant.py"),
        ("from constant import *\n", "constant.py"),
        ("def later():\n    import lazy\n", "lazy.py"),
        ("def later():\n    from lazy import inner\n", "deeper/inner.py"),
        ("from deeper import inner\n", "deeper/inner.py"),
        ("import deeper.inner\n", "deeper/__init__.py"),
        ("try:\n    import constant\nexcept ImportError:\n    pass\n", "constant.py"),
    ],
)
def test_modules_beside_it_count_however_they_are_imported(tmp_path: Path, imports: str, file: str) -> None:
    before = code(tmp_path, imports)
    (tmp_path / "never.py").write_text("C = 2\n")
    assert code(tmp_path, imports) == before != hashlib.sha256(imports.encode()).hexdigest()
    (tmp_path / file).write_text("A = 2\n")
    assert code(tmp_path, imports) != before


@pytest.mark.parametrize("content", [b"def (", b"\0", b"\xff\xfe", b"(" * 5000])
def test_a_module_that_is_no_python_counts_by_its_content(tmp_path: Path, content: bytes) -> None:
    text = "try:\n    import constant\nexcept Exception:\n    pass\n"
    before = code(tmp_path, text)
    (tmp_path / "constant.py").write_bytes(content)
    assert before != code(tmp_path, text) != hashlib.sha256(text.encode()).hexdigest()


def test_imports_in_a_circle_and_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "constant.py").write_text("import lazy, plugin\n")
    (tmp_path / "lazy.py").write_text("import constant, no_such_module\nfrom . import anything\n")
    assert len(code(tmp_path, "import constant\n")) == 64
