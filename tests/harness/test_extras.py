"""What is optional, what is said where it is missing, and that nothing else is needed."""

from __future__ import annotations

import ast
import pickle
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hidden_packages import without

from harness.errors import NotInstalled, UserError
from harness.extras import EXTRAS, explained, hint, installed, require

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
DISTRIBUTIONS = {"PIL": "pillow", "pydantic_core": "pydantic", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Of modules that are called otherwise, or are a part of one."""


def distribution(module: str) -> str:
    return DISTRIBUTIONS.get(module, module).lower().replace("_", "-")


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+(\[[\w,]+\])?", line)[0].lower().replace("_", "-") for line in requirements}


def test_the_table_is_that_of_the_project() -> None:
    optional = PROJECT["optional-dependencies"]
    assert set(optional) == {*EXTRAS, "all", "dev"}
    for name, extra in EXTRAS.items():
        own = {"sparsity-harness[train]"} if extra.gives.endswith("; has train") else set()
        assert names(optional[name]) == {distribution(module) for module in extra.modules} | own, name
    whole = list(EXTRAS)[:4]
    assert names(optional["all"]) == {f"sparsity-harness[{','.join(whole)}]"}
    # Trackio wants another pillow than constraints.txt has.
    tested = [name for name in list(EXTRAS)[4:] if name != "trackio"]
    assert f"sparsity-harness[{','.join(['all', *tested])}]" in names(optional["dev"])


def test_every_package_that_is_imported_is_needed_or_optional() -> None:
    known = names(PROJECT["dependencies"]) | {distribution(m) for extra in EXTRAS.values() for m in extra.modules}
    own = {"harness", *(path.name for path in (ROOT / "plugins").glob("harness_*"))}
    for path in [*(ROOT / "harness").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for module in {name.partition(".")[0] for name in found} - own - sys.stdlib_module_names:
                assert distribution(module) in known, f"{path} imports {module}"


def test_what_is_missing_is_said_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"torch", "torchvision"}
    monkeypatch.setattr("harness.extras.find_spec", lambda name: object() if name in here else None)
    require("torch", "torchvision")
    with pytest.raises(NotInstalled) as one:
        require("torch", "submitit", what="harness run")
    command = "pip install 'sparsity-harness[slurm]'"
    assert str(one.value) == f"harness run needs submitit, which is not installed: {command}"
    here.clear()
    with pytest.raises(NotInstalled, match=r"^this needs torch and sklearn and tqdm, which are .*\[train,language\]'$"):
        require("torch", "sklearn", "tqdm")
    assert hint("submitit") == f" (after {command})"
    here.add("submitit")
    assert hint("submitit") == ""


def test_a_module_that_may_not_be_looked_for_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed("json")
    monkeypatch.setitem(sys.modules, "json", None)
    assert not installed("json")


def test_errors_of_imports_are_explained_where_the_table_has_the_package() -> None:
    missing = explained(ModuleNotFoundError("No module named 'torch'", name="torch"), "that")
    assert str(missing) == "that needs torch, which is not installed: pip install 'sparsity-harness[train]'"
    assert isinstance(missing, UserError) and isinstance(missing, ImportError)
    assert explained(missing) is missing
    assert str(pickle.loads(pickle.dumps(missing))) == str(missing)
    assert explained(ModuleNotFoundError("No module named 'mine'", name="mine")) is None
    assert explained(ModuleNotFoundError("No module named 'torch.later'", name="torch.later")) is None
    assert explained(ImportError("cannot import name 'x' from 'torch'", name="torch")) is None


CODE = """
import harness
from harness import Entry, UserError, load
for name in ("Masks", "make_fast"):
    try:
        getattr(harness, name)
    except ImportError as error:
        print(type(error).__name__, error)
print(len(load("results").frame) > 0)
"""


def test_the_facade_reads_results_without_torch_and_says_what_the_rest_takes(tmp_path: Path) -> None:
    (tmp_path / "hide").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results/quickstart").symlink_to(ROOT / "results/quickstart")
    environment = without({"torch"}, tmp_path / "hide")
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stderr == ""
    told = "needs torch, which is not installed: pip install 'sparsity-harness[train]'"
    assert done.stdout.splitlines() == [
        *(f"NotInstalled harness.{name} {told}" for name in ("Masks", "make_fast")),
        "True",
    ]
