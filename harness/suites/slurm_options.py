"""What is asked of a SLURM cluster: the ``slurm`` section of a suite, cluster profiles, ``--slurm``."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from harness.errors import UserError, unknown_name
from harness.suites.schema import Label, Schema
from harness.suites.wrong_value import wrong_value
from harness.suites.yaml_source import YamlSource
from harness.suites.yaml_tree import plain_value


def _minutes(value: Any) -> int:
    """Minutes from a number of them, or from H:MM:SS, D-H, D-H:MM, D-H:MM:SS; rounded up."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0:
        return math.ceil(value)
    text = str(value)
    if re.fullmatch(r"[1-9]\d*", text):
        return int(text)
    if found := re.fullmatch(r"(\d+):(\d\d):(\d\d)", text):
        hours, minutes, seconds = map(int, found.groups())
        total = hours * 3600 + minutes * 60 + seconds
    elif found := re.fullmatch(r"(\d+)-(\d+)(?::(\d\d))?(?::(\d\d))?", text):
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        total = days * 86400 + hours * 3600 + minutes * 60 + seconds
    else:
        total = 0
    if total <= 0:
        raise ValueError(
            "time is a number of minutes, or text like 2:30:00 (hours) or 1-12:00:00 (days-hours); a stage that takes "
            "longer goes on in the next job"
        )
    return -(-total // 60)


def _memory(value: Any) -> str:
    """SLURM's ``32GB`` and ``32G`` are the same; 0 is all that a node has."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return f"{value}M" if value else "0"
    if isinstance(value, str) and (found := re.fullmatch(r"(0|[1-9]\d*)([KMGT]?)B?", value, re.IGNORECASE)):
        return found[1] + found[2].upper()
    raise ValueError("mem is memory per node like 16G or 800M, or 0 for all that a node has")


def _gpus(value: Any) -> int | str:
    """A number of GPUs, or ``TYPE:NUMBER`` as sbatch takes it."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (found := re.fullmatch(r"([A-Za-z][\w.-]*:)?([1-9]\d*)", value)):
        return value if found[1] else int(value)
    raise ValueError("gpus is a number, or a type and a number like a100:2; anything else is sbatch: {gres: ...}")


def _text(value: Any) -> Any:
    """Names that look like numbers, and ``[a100|h100]``, which YAML takes for a list."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return f"[{','.join(value)}]"
    if isinstance(value, str | None):
        return value
    raise ValueError("this is text for sbatch: write it in quotes, like '007'")


def _option(value: Any) -> Any:
    return value if isinstance(value, bool) else _text(value)


Minutes = Annotated[int, BeforeValidator(_minutes)]
Memory = Annotated[str, BeforeValidator(_memory)]
Gpus = Annotated[int | str, BeforeValidator(_gpus)]
Text = Annotated[str, BeforeValidator(_text)]
Option = Annotated[str | bool, BeforeValidator(_option)]


_TEXTS = ("partition", "account", "qos", "constraint")
"""Keys whose values are text whatever they look like."""


class Request(Schema):
    """What one job asks for. What is None is not asked for: the cluster's own default holds."""

    partition: Text | None = Field(None, description="as of sbatch, like the next three")
    account: Text | None = Field(None, description="who pays")
    qos: Text | None = Field(None, description="quality of service")
    constraint: Text | None = Field(None, description="features of nodes, like a100")
    time: Minutes | None = Field(None, description="limit of a job; a longer stage goes on in the next one  [4:00:00]")
    nodes: int | None = Field(None, ge=1, description="nodes of one run, for data-parallel training  [1]")
    gpus_per_node: Gpus | None = Field(
        None, description="GPUs of one run on each node, like 2 or a100:2; also called gpus  [0]"
    )
    tasks_per_node: int | None = Field(
        None, ge=1, description="processes of one run on each node  [one per GPU, at least one]"
    )
    cpus: int | None = Field(None, ge=1, description="cores of each process  [threads of a run x cells_per_gpu]")
    mem: Memory | None = Field(None, description="memory per node, like 16G; 0 for all of it")
    cells_per_gpu: int | None = Field(
        None, ge=1, description="stages that run side by side in a job, on one GPU or on the job's cores  [1]"
    )
    setup: list[str] | None = Field(None, description="shell commands before the job, like 'module load cuda'")
    sbatch: dict[str, Option] | None = Field(None, description="any other option of sbatch, without dashes")

    @model_validator(mode="before")
    @classmethod
    def _alias(cls, value: Any) -> Any:
        if isinstance(value, dict) and "gpus" in value:
            if "gpus_per_node" in value:
                raise ValueError("gpus is another name of gpus_per_node: give one of them")
            value = {("gpus_per_node" if key == "gpus" else key): item for key, item in value.items()}
        return value

    @property
    def processes(self) -> int:
        """Processes that train one cell together."""
        return (self.nodes or 1) * self.processes_per_node

    @property
    def processes_per_node(self) -> int:
        """One per GPU, unless said otherwise."""
        return self.tasks_per_node or max(1, self.gpus)

    @property
    def gpus(self) -> int:
        """GPUs of one cell on each node, of whatever type."""
        return int(str(self.gpus_per_node or 0).rpartition(":")[2])

    @property
    def memory_bytes(self) -> int:
        """Memory per node; 0 where the cluster's default holds, or all that a node has."""
        found = re.fullmatch(r"(\d+)([KMGT]?)", self.mem or "0")
        assert found is not None
        return int(found[1]) << 10 * " KMGT".index(found[2] or "M")

    @property
    def minutes(self) -> int:
        """Time limit of a job."""
        return self.time or 240


class SlurmOptions(Request):
    """A whole ``slurm`` section: what jobs ask for, exceptions by label, and how they are handed in."""

    array_parallelism: int = Field(256, ge=1, description="jobs of one array that may run at the same time")
    max_array_size: int | None = Field(
        None,
        ge=1,
        description="most jobs of one array  [the cluster's MaxArraySize; fewer where the queue takes fewer]",
    )
    min_job_minutes: float = Field(10.0, ge=0, description="stages expected to be shorter share a job")
    retries: int = Field(
        3, ge=0, description="times a stage is begun again after its job was lost, since it last got further"
    )
    signal_seconds: int = Field(120, ge=10, description="warning before the time limit: enough to save a checkpoint")
    poll_seconds: float = Field(10.0, gt=0, description="time between two questions to SLURM")
    architectures: dict[Label, Request] = Field({}, description="exceptions by label")
    methods: dict[Label, Request] = Field({}, description="exceptions by label, over those of the architecture")

    def request(self, architecture: str, method: str) -> Request:
        """What a job of an architecture and a method asks for; the method's exceptions go over the architecture's."""
        merged = _given(self, Request.model_fields)
        for exceptions in (self.architectures.get(architecture), self.methods.get(method)):
            if exceptions is not None:
                merged = _merge(merged, _given(exceptions, Request.model_fields))
        request = Request.model_validate(merged)
        if request.processes > 1 and (request.cells_per_gpu or 1) > 1:
            raise UserError(
                f"slurm: {architecture} {method} has {request.processes} processes for one run and cells_per_gpu "
                f"{request.cells_per_gpu} runs for one process: give one of the two"
            )
        return request


def resolve(
    suite: SlurmOptions | None = None, cluster: str | None = None, overrides: Sequence[str] = ()
) -> SlurmOptions:
    """The options of a run: those of the cluster profile, over them the suite's, over them ``overrides``.

    Args:
        suite: the suite's section, if it has one.
        cluster: name of a cluster profile; None is ``$HARNESS_CLUSTER``, else ``default`` if there is such a one.
        overrides: ``key=value`` each, as given to ``--slurm``; ``methods.NAME.time=2:00:00`` for one method.

    Raises:
        UserError: for an unknown cluster profile or key, or a value out of range.
    """
    layers = [_cluster_profile(cluster), suite]
    merged: dict[str, Any] = {}
    for layer in layers:
        if layer is not None:
            merged = _merge(merged, _given(layer, type(layer).model_fields))
    for text in overrides:
        merged = _merge(merged, _override(text))
    return SlurmOptions.model_validate(merged)


def cluster_profiles() -> Path:
    """Their folder."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "harness" / "clusters"


def _cluster_profile(name: str | None) -> SlurmOptions | None:
    name = name or os.environ.get("HARNESS_CLUSTER") or None
    path = cluster_profiles() / f"{name or 'default'}.yaml"
    if not path.is_file():
        if name is None:
            return None
        known = [p.stem for p in cluster_profiles().glob("*.yaml")]
        if known:
            raise UserError(unknown_name("cluster profile", name, known) + f" They are in {cluster_profiles()}.")
        raise UserError(f"there is no cluster profile '{name}': write {path}, with keys like partition: gpu")
    source = YamlSource(path)
    try:
        return SlurmOptions.model_validate(source.content)
    except ValidationError as error:
        raise source.validation_error(error, SlurmOptions, lambda loc: loc, known_keys) from error


def known_keys(loc: Sequence[str | int]) -> tuple[str, ...]:
    """The keys that are allowed beside the last step of a location within a section."""
    return tuple(Request.model_fields if len(loc) > 1 else SlurmOptions.model_fields)


def _override(text: str) -> dict[str, Any]:
    """A section with one key, from ``a.b=value``."""
    path, equals, value = text.partition("=")
    if not equals or not all(path.split(".")):
        raise UserError(f"--slurm takes key=value, for example --slurm partition=gpu, not '{text}'")
    steps = path.split(".")
    textual = steps[-1] in _TEXTS or steps[-2:-1] == ["sbatch"]
    try:
        section = plain_value(value, f"--slurm {path}=")
    except UserError:
        if not textual:
            raise
        section = value
    if textual and not isinstance(section, str | None) and not (isinstance(section, bool) and steps[-1] not in _TEXTS):
        section = value
    for step in reversed(steps):
        section = {step: section}
    try:
        given = SlurmOptions.model_validate(section)
    except ValidationError as error:
        message = wrong_value(error, SlurmOptions, lambda loc: known_keys(loc[1:]))
        raise UserError(f"--slurm {text}: {message}") from error
    return _given(given, SlurmOptions.model_fields)


def _given(model: Schema, fields: Iterable[str]) -> dict[str, Any]:
    """What was written, not what follows from defaults."""
    return {name: value for name, value in model.model_dump(exclude_unset=True).items() if name in fields}


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged, everything else replaced."""
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged
