"""What a registered class is, as plain data: its options, and what it goes together with."""

from __future__ import annotations

import inspect
import re
import types
import typing
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from harness.core.architecture import Architecture
from harness.core.benchmark import Benchmark
from harness.core.data import DataSpec
from harness.errors import DataMissing, HarnessError, Unsupported, UserError
from harness.registry.plugins import PluginOrigin, Registered, Registry
from harness.suites.cell import in_scope

GENERIC = {
    "classification": DataSpec("classification", inputs=(1, 32, 32), outputs=10, examples=1000),
    "regression": DataSpec("regression", inputs=(32,), outputs=1, examples=1000),
    "language": DataSpec("language", inputs=(32,), outputs=256, examples=1000, tokens=32),
    "video": DataSpec("video", inputs=(19, 64, 64), outputs=64 * 64, examples=1000),
    "text_classification": DataSpec("text_classification", (32,), outputs=2, examples=1000, tokens=32, vocabulary=256),
}
"""Data of each kind on which a class is tried with its default options."""

Description = dict[str, Any]


def describe_origin(origin: PluginOrigin) -> Description:
    """An origin as data; what is not known is null."""
    return {
        "plugin": origin.plugin,
        "distribution": origin.distribution,
        "version": origin.version,
        "file": str(origin.file) if origin.file else None,
    }


def describe(registry: Registry, registered: Registered) -> Description:
    """Everything about one entry; imports its class, and those it is tried with.

    Raises:
        PluginError: if the class cannot be imported or breaks its contract.
    """
    kind, entry = registered.kind, registered.entry
    cls = registry.get(kind, entry.name)
    description: Description = {
        "kind": kind,
        "name": entry.name,
        "summary": entry.summary,
        "origin": describe_origin(registered.origin),
        "version": cls.version,
        "doc": (inspect.cleandoc(cls.__doc__) if cls.__doc__ else "").split("\n\n")[0],
        "options": describe_options(cls.Options),
    }
    if kind == "method":
        description |= {
            "mode": cls.mode,
            "takes_density": cls.takes_density,
            "takes_source": cls.takes_source,
            "architectures": _architectures_of(registry, cls),
        }
    elif kind == "architecture":
        description |= {"kinds": list(cls.kinds), "benchmarks": _benchmarks_of(registry, cls)}
    else:
        description |= _measured(cls)
    return description


def describe_options(options: type[BaseModel]) -> list[Description]:
    """Name, type, default and text of every option; texts are pydantic's, else the docstring's or inherited ones."""
    documented: dict[str, str] = {}
    for model in reversed(options.__mro__):
        if issubclass(model, BaseModel) and model is not BaseModel:
            documented |= _documented(inspect.cleandoc(model.__doc__ or ""))
    return [
        {
            "name": name,
            "type": _type(info.annotation) + _limits(info),
            "required": info.is_required(),
            "default": None if info.is_required() else _plain(info.get_default(call_default_factory=True)),
            "description": " ".join((info.description or documented.get(name, "")).split()),
        }
        for name, info in options.model_fields.items()
    ]


class OptionNeeded(UserError):
    """Some options have no default."""


def default_options(cls: type[Any]) -> BaseModel:
    """The options of a class that is given none.

    Raises:
        OptionNeeded: if some have no default; says which.
    """
    try:
        options: BaseModel = cls.Options()
    except ValidationError as error:
        names = sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
        if not names:  # a rule about several of them, which says what would do
            raise OptionNeeded(f"needs options ({error.errors()[0]['msg'].removeprefix('Value error, ')})") from error
        raise OptionNeeded(f"needs {'options' if names[1:] else 'an option'}: {', '.join(names)}") from error
    return options


def _measured(cls: type[Benchmark[Any]]) -> Description:
    """Protocol and metrics, which may depend on options."""
    try:
        benchmark = cls(default_options(cls))
    except UserError as error:
        return {"protocol": f"depends on options: {error}"}
    metrics = [{"name": m.name, "unit": m.unit, "direction": m.direction} for m in benchmark.metrics]
    return {"protocol": benchmark.protocol, "metrics": metrics}


def _architectures_of(registry: Registry, method: type[Any]) -> dict[str, str]:
    """Architecture -> ``yes``, what either ``needs``, or ``no`` and why the method does not support it."""
    answers: dict[str, str] = {}
    for registered in registry.entries("architecture"):
        name = registered.entry.name
        try:
            cls: type[Architecture[Any]] = registry.get("architecture", name)
            for kind in cls.kinds:
                label = f"{name} ({kind})" if len(cls.kinds) > 1 else name
                answers[label] = _tried(_method_on, method, cls, kind)
        except HarnessError as error:
            answers[name] = _no(error)
    return answers


def _method_on(method: type[Any], cls: type[Architecture[Any]], kind: str) -> str | None:
    if kind not in GENERIC:
        return f"there is no '{kind}' data to try it on"
    architecture = cls(default_options(cls), GENERIC[kind])
    if reason := architecture.unsupported():
        return reason
    scope = in_scope("default", architecture.connections(), method.kinds)
    answer: str | None = method(default_options(method)).unsupported(architecture, scope)
    return answer


def _benchmarks_of(registry: Registry, cls: type[Architecture[Any]]) -> dict[str, str]:
    """Benchmark -> ``yes``, what either ``needs``, or ``no`` and why the architecture cannot be trained on it."""
    answers = {}
    for registered in registry.entries("benchmark"):
        name = registered.entry.name
        try:
            answers[name] = _tried(_architecture_on, cls, registry.get("benchmark", name))
        except HarnessError as error:
            answers[name] = _no(error)
    return answers


def _architecture_on(cls: type[Architecture[Any]], benchmark: type[Benchmark[Any]]) -> str | None:
    try:
        data = benchmark(default_options(benchmark)).expected()
    except DataMissing:
        return "its data, which says what it is, is not here"
    except (NotImplementedError, Unsupported):
        return "offers no training data"
    if data.kind not in cls.kinds:  # whatever its options
        return f"takes {' or '.join(cls.kinds)} data, not {data.kind}"
    return cls(default_options(cls), data).unsupported()


def _tried(question: Any, *arguments: object) -> str:
    """``yes``, ``needs an option: which``, or ``no (why)``: the answer of third-party code, whatever it does."""
    try:
        reason = question(*arguments)
    except OptionNeeded as error:
        return str(error)
    except UserError as error:
        reason = error
    except Exception as error:
        reason = f"raised {type(error).__name__}: {error}"
    return _no(reason) if reason else "yes"


def _no(reason: object) -> str:
    """The first sentence of a reason."""
    first = re.split(r":?\s*\n|\. ", str(reason), maxsplit=1)[0]
    return f"no ({first.rstrip('.')})"


def _type(annotation: Any) -> str:
    """An annotation as a suite's author reads it: ``'erk' | 'uniform'``, ``float``, ``list[int]``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "null"
    if origin is Literal:
        return " | ".join(str(value) for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_type(argument) for argument in arguments)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is not None:
        return f"{_type(origin)}[{', '.join(_type(argument) for argument in arguments)}]"
    return "..." if annotation is Ellipsis else getattr(annotation, "__name__", str(annotation))


def _limits(info: FieldInfo) -> str:
    """The allowed range: ``, > 0, <= 1``."""
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "min_length": "length >=", "max_length": "length <="}
    limits = [
        f", {sign} {getattr(constraint, name)}"
        for constraint in info.metadata
        for name, sign in signs.items()
        if getattr(constraint, name, None) is not None
    ]
    return "".join(limits)


def _plain(value: Any) -> Any:
    """A default as JSON can hold it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value if isinstance(value, (str, int, float, bool, list, dict, type(None))) else str(value)


def _documented(doc: str) -> dict[str, str]:
    """Option -> text, from an ``Attributes:`` section in a docstring."""
    section = re.search(r"^Attributes:\n((?:[ \t]+.*\n?|\n)*)", doc, flags=re.MULTILINE)
    texts: dict[str, str] = {}
    for found in re.finditer(r"^ {4}([\w, ]+): (.*(?:\n {5,}.*)*)", section[1] if section else "", flags=re.MULTILINE):
        for name in found[1].split(","):
            texts[name.strip()] = re.sub(r"\s+", " ", found[2]).strip()
    return texts
