"""Finding and loading plugins: entry points of installed distributions, and single files."""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import pluggy

from harness.errors import PluginError, UserError, unknown_name
from harness.extras import explained
from harness.registry import hookspecs
from harness.registry.blame import caller
from harness.registry.hookspecs import GROUP, Entry
from harness.registry.own_code import FILE, own_code
from harness.storage.reading import read_bytes

Kind = Literal["architecture", "method", "benchmark"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Tool = Literal["importer", "exporter", "logger"]
TOOLS: tuple[Tool, ...] = get_args(Tool)
"""What no suite names, but a command does."""
VARIABLE = "HARNESS_PLUGINS"
NAME = re.compile(r"[a-z][a-z0-9_]*")
RESERVED = frozenset(
    {
        "use",
        "density",
        "source",
        "budget",
        "scope",
        "training",
        "evaluation",
        "published",
        "controls",
        "space",
        "inverted",
        "note",
        "weights",
    }
)
"""Keys that a suite gives a meaning of its own beside a plugin's options."""


@dataclass(frozen=True, slots=True)
class PluginOrigin:
    """Where a plugin comes from: an installed distribution, or a file with the SHA-256 of its code."""

    plugin: str
    distribution: str | None = None
    version: str | None = None
    file: Path | None = None
    code: str | None = None

    def __str__(self) -> str:
        if self.file is not None:
            return str(self.file)
        return (
            f"plugin '{self.plugin}' of {self.distribution or 'an unknown distribution'} {self.version or ''}".strip()
        )


@dataclass(frozen=True, slots=True)
class Registered:
    """An entry together with what it is and who brought it."""

    kind: Kind | Tool
    entry: Entry
    origin: PluginOrigin


@dataclass(frozen=True, slots=True)
class Failure:
    """Something of a plugin that cannot be used; ``location`` is ``file:line`` where that is known."""

    origin: PluginOrigin
    message: str
    location: str | None = None

    def __str__(self) -> str:
        return f"{self.origin}: {self.message}" + (f" (at {self.location})" if self.location else "")


@dataclass(slots=True)
class Registry:
    """Everything that plugins registered, and what of it failed.

    Attributes:
        failures: what could not be loaded; everything else keeps working.
        only: the entry points that ``HARNESS_PLUGINS`` allows, or None where all are loaded.
        files: single-file plugins, for other processes to load.
    """

    failures: list[Failure] = field(default_factory=list)
    only: frozenset[str] | None = None
    files: tuple[Path, ...] = ()
    _entries: dict[tuple[Kind | Tool, str], list[Registered]] = field(default_factory=dict)

    def entries(self, kind: Kind | Tool) -> list[Registered]:
        """What can be used of one kind, sorted by name."""
        usable = (found[0] for (of, _), found in self._entries.items() if of == kind and len(found) == 1)
        return sorted(usable, key=lambda registered: registered.entry.name)

    def kinds_of(self, name: str) -> list[Kind]:
        """The kinds in which some plugin brings that name."""
        return [kind for kind in KINDS if (kind, name) in self._entries]

    def find(self, kind: Kind | Tool, name: str) -> Registered:
        """The entry of that name, not imported.

        Raises:
            PluginError: if two plugins bring the name.
            UserError: if none does; the text names plugins that failed, as one of them may have meant to.
        """
        found = self._entries.get((kind, name), [])
        if len(found) == 1:
            return found[0]
        if found:
            raise PluginError(_duplicate(found))
        text = unknown_name(kind, name, [registered.entry.name for registered in self.entries(kind)])
        if not self.files:
            text += " If a file of your own has it: --plugin FILE."
        if self.only is not None:
            text += f" {VARIABLE} limits plugins to: {', '.join(sorted(self.only)) or 'none'}."
        if self.failures:
            text += "\nIt may belong to a plugin that failed:\n" + "\n".join(
                f"  {failure}" for failure in self.failures
            )
        raise UserError(text)

    def get(self, kind: Kind | Tool, name: str) -> type[Any]:
        """The class of that name, imported now and checked against its contract.

        Raises:
            NotInstalled: if an optional package of the harness is missing.
            PluginError: if it cannot be imported or breaks the contract; names plugin and cause.
            UserError: if nothing has that name.
        """
        registered = self.find(kind, name)
        target = registered.entry.target
        try:
            found = _resolve(target) if isinstance(target, str) else target
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a plugin raises
            if missing := explained(error, f"{kind} '{name}'"):
                raise missing from error
            cause = Failure(registered.origin, f"{kind} '{name}' cannot be imported: {_describe(error)}", _where(error))
            raise PluginError(str(cause)) from error
        if problem := contract_problem(kind, found):
            raise PluginError(f"{registered.origin}: {kind} '{name}' {problem}")
        assert isinstance(found, type)
        return found

    def identity(self, kind: Kind, name: str) -> dict[str, str]:
        """What enters a stage's hash: name and version, and the code of a single-file plugin."""
        identity = {"plugin": name, "version": self.get(kind, name).version}
        if code := self.find(kind, name).origin.code:
            identity["code"] = code
        return identity

    def _register(self, origin: PluginOrigin, plugin: ModuleType) -> None:
        """Take in one plugin; whatever is wrong with it becomes a failure."""
        manager = pluggy.PluginManager(GROUP)
        manager.add_hookspecs(hookspecs)
        try:
            manager.register(plugin, name=origin.plugin)
        except pluggy.PluginValidationError as error:
            self.failures.append(Failure(origin, str(error)))
            return
        self.failures += [Failure(origin, problem) for problem in _hook_problems(manager, plugin)]
        for kind in (*KINDS, *TOOLS):
            try:
                lists = getattr(manager.hook, f"harness_register_{kind}s")()
                entries = [entry for brought in lists for entry in brought]
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # whatever a plugin raises
                message = f"harness_register_{kind}s() raised {_describe(error)}"
                self.failures.append(Failure(origin, message, _where(error)))
                continue
            for entry in entries:
                if problem := _entry_problem(entry):
                    self.failures.append(Failure(origin, f"harness_register_{kind}s(): {problem}"))
                    continue
                found = self._entries.setdefault((kind, entry.name), [])
                found.append(Registered(kind, entry, origin))
                if len(found) > 1:
                    self.failures.append(Failure(origin, _duplicate(found)))


def load(files: Sequence[Path] = (), installed: Iterable[EntryPoint] | None = None) -> Registry:
    """Load all installed plugins, then single-file plugins.

    Installed plugins that fail are listed in ``Registry.failures``; what a user named with ``--plugin``
    must work, and is known by its :func:`harness.registry.own_code.own_code`. ``HARNESS_PLUGINS`` (comma-separated
    names of entry points, empty for none) limits the installed ones. ``installed`` stands for them where nothing
    is: in a bare checkout.

    Raises:
        PluginError: if one of ``files`` cannot be loaded; names file and line.
        UserError: if ``HARNESS_PLUGINS`` names a plugin that is not installed.
    """
    found = entry_points(group=GROUP) if installed is None else installed
    points = {(point.name, point.value): point for point in found}
    registry = Registry(files=tuple(dict.fromkeys(file.resolve() for file in files)))
    if (variable := os.environ.get(VARIABLE)) is not None:
        registry.only = frozenset(word.strip() for word in variable.split(",") if word.strip())
        names = {point.name for point in points.values()}
        for name in sorted(registry.only - names):
            raise UserError(f"{VARIABLE}: {unknown_name('plugin', name, names)}")
    for point in sorted(points.values(), key=lambda point: (point.name, point.value)):
        if registry.only is None or point.name in registry.only:
            origin = _origin(point)
            try:
                plugin = point.load()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # whatever a plugin raises
                registry.failures.append(Failure(origin, f"import failed: {_describe(error)}", _where(error)))
            else:
                registry._register(origin, plugin)
    for path in registry.files:
        before = len(registry.failures)
        registry._register(*_load_file(path))
        if len(registry.failures) > before:
            raise PluginError("\n".join(str(failure) for failure in registry.failures[before:]))
    return registry


def contract_problem(kind: Kind | Tool, found: object) -> str | None:
    """What is wrong with a plugin's class, as the end of a sentence, or None if nothing is."""
    from pydantic import BaseModel

    from harness.core.architecture import Architecture
    from harness.core.benchmark import Benchmark
    from harness.core.logger import Logger
    from harness.core.method import SparsityMethod
    from harness.interchange.formats import Exporter, Importer

    base: type = {
        "architecture": Architecture,
        "method": SparsityMethod,
        "benchmark": Benchmark,
        "importer": Importer,
        "exporter": Exporter,
        "logger": Logger,
    }[kind]
    if not (isinstance(found, type) and issubclass(found, base)):
        return f"is {found!r}: it must be a subclass of harness.{base.__name__}"
    if abstract := sorted(getattr(found, "__abstractmethods__", ())):
        return f"lacks {'(), '.join(abstract)}(): every abstract method must be defined"
    for name in ("version", *(["scaled_version"] if kind == "architecture" else [])):
        if not (isinstance(version := getattr(found, name, None), str) and version):
            return f'has {name} {version!r}: it must be a string, for example {name} = "1"'
    options = getattr(found, "Options", None)
    if not (isinstance(options, type) and issubclass(options, BaseModel)):
        return f"has Options {options!r}: it must be a pydantic model"
    if options.model_config.get("extra") != "forbid":
        return 'has Options that accept unknown keys: add model_config = ConfigDict(extra="forbid")'
    if problem := _signature_problem(base, found):
        return problem
    if kind == "method" and (problem := _method_problem(found)):
        return problem
    if kind == "architecture" and isinstance(kinds := getattr(found, "kinds", None), str):
        return f"has kinds = {kinds!r}: it must be several, ({kinds!r},)"
    keys = {key for name, info in options.model_fields.items() for key in (name, info.alias) if key}
    if taken := sorted(keys & RESERVED):
        return f"has options named {', '.join(taken)}, which suites reserve: rename them"
    return None


def _method_problem(found: type[Any]) -> str | None:
    """What is wrong with the words in which a method's class says what it does."""
    from harness.core.connections import Kind as Masked
    from harness.core.method import Use

    if hasattr(found, "dense_gradients"):
        return "defines dense_gradients, which nothing reads: the fraction is called dense_gradient_share"
    words = {"mode": ("projected", "composed"), "takes_density": get_args(Use), "takes_source": get_args(Use)}
    for name, known in words.items():
        if (value := getattr(found, name)) not in known:
            return f"has {name} = {value!r:.80}: it must be one of {', '.join(known)}"
    kinds = found.kinds
    if not (isinstance(kinds, set | frozenset) and kinds <= {*get_args(Masked)}):
        return f"has kinds = {kinds!r:.80}: it must be a set of {', '.join(get_args(Masked))}"
    return None


def _signature_problem(base: type, found: type) -> str | None:
    """The first function that cannot be called as the harness calls that of its base; None if all can."""
    for name, own in inspect.getmembers(base, callable):
        given = getattr(found, name)
        if given is own or name.startswith("__") or isinstance(own, type):
            continue
        if not callable(given):
            return f"has {name} = {given!r:.80}: it must be a function"
        wanted = inspect.signature(own)
        named = [p.name for p in wanted.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
        positional = [p.name for p in wanted.parameters.values() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        try:
            inspect.signature(given).bind(*positional, **dict.fromkeys(named))
        except TypeError:
            code = getattr(inspect.unwrap(given), "__code__", None)
            line = f" in line {code.co_firstlineno}" if code else ""
            return (
                f"has {name}{inspect.signature(given)}{line}, which is called as "
                f"{name}({', '.join([*positional, *(f'{key}=...' for key in named)])})"
            )
    return None


def _load_file(path: Path) -> tuple[PluginOrigin, ModuleType]:
    """Import a single-file plugin; its module's name holds its content, so an edited file is a new module."""
    if path.suffix != ".py":
        raise PluginError(f"{path}: a single-file plugin is a Python file (.py); install packages with pip instead")
    try:
        content = read_bytes(path)
    except OSError as error:
        raise PluginError(f"{path}: cannot be read: {error.strerror}. Check the path given to --plugin") from error
    digest = hashlib.sha256(content).hexdigest()
    unique = hashlib.sha256(f"{path}:{digest}".encode()).hexdigest()[:16]
    name = f"{FILE}{path.stem}_{unique}"
    if name not in sys.modules:
        module = sys.modules[name] = ModuleType(name)
        module.__file__ = str(path)
        try:
            # Not through importlib: its bytecode cache misses edits within the clock's resolution.
            exec(compile(content, str(path), "exec"), module.__dict__)
        except BaseException as error:
            del sys.modules[name]
            if not isinstance(error, KeyboardInterrupt):
                where = _where(error, path)
                failure = Failure(PluginOrigin(path.stem, file=path), f"import failed: {_describe(error)}", where)
                raise PluginError(str(failure)) from error
            raise
    return PluginOrigin(path.stem, file=path, code=own_code(path, content)), sys.modules[name]


def _resolve(target: str) -> object:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _origin(point: EntryPoint) -> PluginOrigin:
    if point.dist is None:
        return PluginOrigin(point.name)
    return PluginOrigin(point.name, point.dist.name, point.dist.version)


def _hook_problems(manager: pluggy.PluginManager, plugin: ModuleType) -> list[str]:
    """Hooks that no one will ever call, each with the nearest right name."""
    known = [f"harness_register_{kind}s" for kind in (*KINDS, *TOOLS)]
    callers = manager.get_hookcallers(plugin) or []
    problems = [unknown_name("hook", caller.name, known) for caller in callers if not caller.has_spec()]
    hooked = {caller.name for caller in callers}
    functions: Mapping[str, Callable[..., Any]] = dict(inspect.getmembers(plugin, inspect.isroutine))
    for name in functions:
        if name not in hooked and difflib.get_close_matches(name, known, n=1, cutoff=0.8):
            problems.append(f"{name}() is not marked as a hook: put @hookimpl above it")
    if not callers and not problems:
        problems.append(f"registers nothing: define one of {', '.join(known)} with @hookimpl")
    return problems


def _entry_problem(entry: object) -> str | None:
    if not isinstance(entry, Entry):
        return f"returned {entry!r}: it must return a list of harness.Entry"
    if not (isinstance(entry.name, str) and NAME.fullmatch(entry.name)):
        return f"name {entry.name!r} must be lower-case letters, digits and underscores, starting with a letter"
    if isinstance(entry.target, str):
        if not re.fullmatch(r"[\w.]+:\w+", entry.target):
            return f"target {entry.target!r} of '{entry.name}' must be \"package.module:Class\" or the class itself"
    elif not isinstance(entry.target, type):
        return f"target {entry.target!r} of '{entry.name}' must be \"package.module:Class\" or the class itself"
    return None


def _duplicate(found: Sequence[Registered]) -> str:
    name = f"{found[0].kind} '{found[0].entry.name}'"
    return (
        f"{name} is registered by {' and by '.join(str(registered.origin) for registered in found)}: neither can "
        f"be used. Rename one, uninstall one, or list the plugins to load in {VARIABLE}"
    )


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _where(error: BaseException, path: Path | None = None) -> str | None:
    """``file:line`` of the failure: the innermost frame, of a plugin, or within ``path`` where one is given."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames: list[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    machinery = (__file__, importlib.__file__, importlib.metadata.__file__)
    if path is not None:
        frames = [f for f in frames if f.filename == str(path)]
    elif found := caller(error):
        return found.place
    else:
        frames = [f for f in frames if f.filename not in machinery and not f.filename.startswith("<frozen")]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None
