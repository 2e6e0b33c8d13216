"""Results as they stand in a folder, or as they stood in a git revision of one."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.errors import UserError
from harness.machine import nearest_folder
from harness.results.archive import PACKED
from harness.results.store import MARKS, ResultStore

_NEEDED = re.compile(rf"suite\.json|cells/[^/]+\.json|examples/[^/]+\.safetensors\.gz|archive/({'|'.join(PACKED)})")
"""Files of a suite's folder that comparing reads."""
_FILES = {"100644", "100755"}
"""Modes in git's trees: no links, which lead elsewhere, and no repositories within."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Results to compare with others.

    Attributes:
        name: what the user called them.
        store: where they can be read.
        suites: the suites meant.
        alone: whether it is one suite's folder that was named, and not the folder of all.
    """

    name: str
    store: ResultStore
    suites: Collection[str]
    alone: bool = False


def is_folder(name: str) -> bool:
    """Whether a name is that of a folder, which goes before a revision of the same name."""
    return bool(name) and Path(name).is_dir()


@contextmanager
def snapshot(name: str, results: Path, suite: str | None = None) -> Iterator[Snapshot]:
    """The results that ``name`` stands for, while the block runs: a folder, else a git revision of ``results``.

    A revision's files are copied to a temporary folder, byte for byte as they were committed, and neither the work tree
    nor the repository is touched. ``suite`` spares those of other suites.

    Raises:
        UserError: if it is neither, or has no results.
    """
    if is_folder(name):
        found = _folder(name)
        if not found.suites:
            raise UserError(f"no results in {name}: name a results folder, or the folder of one suite in it")
        yield found
        return
    top, commit = _commit(name, results)
    with TemporaryDirectory(prefix="harness-compare-") as folder:
        if not (suites := _copy(top, commit, results, Path(folder), suite)):
            raise UserError(f"revision {name} has no results in {results}: name the folder with --results")
        yield Snapshot(name, ResultStore(Path(folder)), suites)


def _folder(name: str) -> Snapshot:
    path = Path(name)
    if any((path / mark).exists() for mark in MARKS):
        path = path.resolve()  # else '.' would have no name
        return Snapshot(name, ResultStore(path.parent), [path.name], alone=True)
    store = ResultStore(path)
    return Snapshot(name, store, store.suites())


def _commit(name: str, results: Path) -> tuple[Path, str]:
    """The repository's top folder, and a revision's full hash, which cannot be taken for an option or a path."""
    allowed = "name a results folder, one suite's folder, or a git revision (HEAD~3, a tag, a branch)"
    try:
        top = _git(nearest_folder(results), "rev-parse", "--show-toplevel").decode().rstrip("\n")
    except UserError as error:
        raise UserError(f"'{name}' is no folder, and no revision of {results} ({error}): {allowed}") from None
    try:
        if name.startswith("-"):
            raise UserError("it looks like an option")
        return Path(top), _git(Path(top), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()
    except UserError:
        raise UserError(f"'{name}' is neither a folder nor a git revision in {top}: {allowed}") from None


def _copy(top: Path, commit: str, results: Path, folder: Path, suite: str | None) -> set[str]:
    """Write what comparing needs of a commit's results below a folder; the suites there are, copied or not.

    By blobs and not by ``git archive``, which leaves out, rewrites and filters files as attributes say.
    """
    try:
        inside = results.resolve().relative_to(top.resolve()).as_posix()
    except ValueError:
        raise UserError(
            f"{results} is not within the git repository {top}: give another folder with --results"
        ) from None
    tree = f"{commit}:{'' if inside == '.' else inside}"
    try:
        listing = _git(top, "ls-tree", "-r", "-z", tree)
    except UserError:
        return set()
    suites, wanted = set[str](), list[tuple[str, Path]]()
    for entry in listing.split(b"\0")[:-1]:
        about, _, raw = entry.partition(b"\t")
        mode, kind, blob = about.decode().split()
        of, _, path = raw.decode("utf8", "surrogateescape").partition("/")
        if mode in _FILES and kind == "blob" and of not in ("..", ".") and _NEEDED.fullmatch(path):
            suites.add(of)
            wanted += [(blob, folder / of / path)] if suite in (None, of) else []
    command = ["git", "-C", str(top), "cat-file", "--batch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        for blob, target in wanted:
            process.stdin.write(f"{blob}\n".encode())
            process.stdin.flush()
            answer = process.stdout.readline().split()
            if len(answer) != 3:
                raise UserError(f"git cannot give {target.relative_to(folder)} of {commit[:12]}: fetch it first")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(process.stdout.read(int(answer[2])))
            process.stdout.read(1)
        process.stdin.close()
    return suites


def _git(folder: Path, *arguments: str) -> bytes:
    """What git prints.

    Raises:
        UserError: with what it says instead; or if there is none.
    """
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise UserError("there is no git on this machine") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(said[0].removeprefix("fatal: ") if said else "git refuses it")
    return done.stdout
