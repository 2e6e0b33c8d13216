"""Who has no torch reads results all the same: with packages hidden, and by a wheel in an empty environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from hidden_packages import without

from harness.extras import EXTRAS
from harness.version import __version__

ROOT = Path(__file__).parents[2]
CELL = "digits.skip_mlp.digits.genome.s0"
READING = [
    "compare --suite quickstart",
    "claims",
    "leaderboard",
    "report -o report.html",
    "status",
    "watch quickstart --once",
    f"show {CELL}",
    f"show {CELL} --against digits.skip_mlp.digits.genome.s1",
    "verify",
    "archive quickstart",
    "logs " + CELL,
    "cancel quickstart",
    "plugins",
    "merge results other -o merged",
]
"""Commands that read results, with all that they write."""
REFUSED = {
    "run suites/quickstart.yaml": "harness run needs torch",
    "run suites/quickstart.yaml --executor slurm": "harness run needs torch and submitit",
    f"reproduce {CELL}": "architecture 'skip_mlp' needs torch",
    f"export {CELL} --to somewhere": "this needs torch",
    "plugins genome": "this needs torch",
    "data list": "this needs torch",
    "compare --suite quickstart --format parquet": "--format parquet needs pyarrow",
}
ALL = """
import sys
from harness.cli import main
for line in sys.stdin.read().splitlines():
    print("$", line, flush=True)
    try:
        main(line.split())
    except SystemExit as end:
        print("exit code", end.code, flush=True)
"""
"""One process for all commands, so that each module is imported once."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What a checkout has of one suite's results; ``other`` is a second folder of results."""
    folder = tmp_path / "project"
    for name in ("claims", "suites"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("results", "other"):
        shutil.copytree(ROOT / "results/quickstart", folder / name / "quickstart")
    return folder


def everything(project: Path, environment: dict[str, str], commands: list[str]) -> tuple[str, dict[str, bytes]]:
    """What the commands print, and the files that are there afterwards."""
    done = subprocess.run(
        [sys.executable, "-c", ALL],
        input="\n".join(commands),
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    files = {str(path.relative_to(project)): path for path in sorted(project.rglob("*")) if path.is_file()}
    return done.stdout, {name: path.read_bytes() for name, path in files.items() if "/.work/" not in name}


def without_extras(folder: Path, hidden: set[str]) -> dict[str, str]:
    folder.mkdir()
    return without(hidden, folder)


@pytest.mark.slow
def test_results_are_read_without_any_extra_as_with_all(project: Path, tmp_path: Path) -> None:
    again = shutil.copytree(project, tmp_path / "again")
    hidden = {module for extra in EXTRAS.values() for module in extra.modules}
    said, files = everything(project, without_extras(tmp_path / "none", hidden), READING)
    with_all, files_with_all = everything(again, without_extras(tmp_path / "all", set()), READING)
    assert said == with_all
    assert files.keys() == files_with_all.keys() and "merged/LEADERBOARD.md" in files
    assert [name for name in files if files[name] != files_with_all[name]] == []
    # A SLURM job that there never was, and nothing else.
    assert re.findall(r"^exit code (\d+)$", said, re.MULTILINE) == ["2" if "logs" in line else "0" for line in READING]


def test_what_needs_more_says_what_to_install(project: Path, tmp_path: Path) -> None:
    hidden = {module for extra in EXTRAS.values() for module in extra.modules}
    said, _ = everything(project, without_extras(tmp_path / "none", hidden), list(REFUSED))
    for command, text in REFUSED.items():
        told = said.partition(f"$ {command}\n")[2].partition("$ ")[0]
        assert re.match(
            rf"error: {re.escape(text)}, which (is|are) not installed: pip install 'sparsity-harness\[", told
        )
        assert told.endswith("exit code 2\n") and "Traceback" not in told, told


@pytest.mark.slow
def test_a_suite_that_needs_train_alone_runs_with_train_alone(project: Path, tmp_path: Path) -> None:
    hidden = {module for name, extra in EXTRAS.items() for module in extra.modules if name != "train"}
    environment = without_extras(tmp_path / "train", hidden)
    arguments = (
        "run suites/quickstart.yaml --set training.steps=2 --only seed=0,method=random --workers 1 --results new"
    )
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments.split()],
        cwd=project,
        env={**environment, "HARNESS_DEVICE": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((project / "new/quickstart/cells").glob("*.json"))) > 1


# --- the wheel -----------------------------------------------------------------------------------


def pip(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing of an earlier build gets into it."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("harness", "plugins", "tests"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source" / name)
    if pip("--version").returncode:
        pytest.skip("this environment has no pip")
    done = pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "source")
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_a_wheel_has_all_packages_and_their_data_and_no_tests(wheel: Path) -> None:
    assert wheel.name == f"sparsity_harness-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = archive.read(f"sparsity_harness-{__version__}.dist-info/METADATA").decode()
    expected = {
        path.relative_to(parent).as_posix()
        for parent in (ROOT, ROOT / "plugins")
        for top in parent.glob("harness*")
        for path in top.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == expected
    assert {Path(name).suffix for name in inside} == {".py", ".typed", ".tmpl", ".html", ".css", ".js"}
    needed = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata, re.MULTILINE)
    assert "click" in needed and not {"torch", "torchvision", "datasets", "lm-eval", "submitit"} & set(needed)
    assert set(re.findall(r"^Provides-Extra: (.+)$", metadata, re.MULTILINE)) == {*EXTRAS, "all", "dev"}


@pytest.mark.slow
def test_a_wheel_installed_into_an_empty_environment_reads_results(wheel: Path, project: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment)
    python = environment / "bin/python"
    done = pip("--python", python, "--retries", 1, "install", "--quiet", "-c", ROOT / "constraints.txt", wheel)
    if done.returncode and "No matching distribution found" in done.stderr:
        pytest.skip("no package index can be reached from here, or it lacks a package of the core")
    assert done.returncode == 0, done.stderr

    def harness(line: str) -> tuple[int, str]:
        found = subprocess.run(
            [environment / "bin/harness", *line.split()],
            cwd=project,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        return found.returncode, found.stdout + found.stderr

    code = "import sys, harness.cli; from importlib.util import find_spec; print(harness.__file__, find_spec('torch'))"
    where = subprocess.run(
        [python, "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60
    ).stdout
    assert where.startswith(str(environment)) and where.endswith(" None\n")
    assert harness("--version") == (0, f"harness, version {__version__}\n")
    for line in ("--help", "compare --suite quickstart", "claims", "leaderboard", "report -o report.html", "status"):
        assert harness(line)[0] == 0, harness(line)[1]
    assert CELL in harness(f"show {CELL}")[1]
    assert "Everything agrees" in harness("verify")[1]
    page = "quickstart/leaderboard.md"
    assert (project / "results" / page).read_bytes() == (ROOT / "results" / page).read_bytes()
    assert "plugin failed" not in harness("doctor")[1]
    told = "error: harness run needs torch, which is not installed: pip install 'sparsity-harness[train]'\n"
    assert harness("run suites/quickstart.yaml") == (2, told)
