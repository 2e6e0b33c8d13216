"""Does a benchmark keep its contract?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness.core.benchmark import Benchmark, Model
from harness.core.data import AugmentedData, DataSpec, Split
from harness.errors import Unsupported
from harness.testing.checks import CPU, Options, maker, require, require_json


def check_benchmark(cls: type[Benchmark[Any]], options: Options = None, model: Model | None = None) -> None:
    """Check a benchmark's contract.

    Args:
        cls: the benchmark.
        options: as a suite would give them; default: none.
        model: maps inputs to logits or numbers; default: a fixed linear map that fits ``spec()``. To be given where a
            benchmark only evaluates and has no ``spec()``, or scores networks of a special kind.

    Raises:
        DataMissing: if its data is not on this machine.
    """
    make = maker("benchmark", cls, options)
    benchmark, again, name = make(), make(), cls.__name__
    trains, evaluates = (getattr(cls, hook) is not getattr(Benchmark, hook) for hook in ("training_data", "evaluate"))
    require(trains or evaluates, f"{name} offers neither training_data() nor evaluate()")
    require(benchmark.fingerprint() == again.fingerprint(), f"{name}.fingerprint() differs between two instances")
    source = benchmark.data_source()
    require(source == again.data_source(), f"{name}.data_source() differs between two instances")
    require_json(f"{name}.data_source()", source and dict(source))
    require_json(f"{name}.preprocessing()", benchmark.preprocessing())
    if trains:
        _check_training_data(benchmark, again)
    if evaluates:
        _check_evaluation(benchmark, model)
    problems = benchmark.verify()
    require(not problems, f"{name}.verify() reports: {'; '.join(problems)}")


def _check_training_data(benchmark: Benchmark[Any], again: Benchmark[Any]) -> None:
    name, spec = type(benchmark).__name__, benchmark.spec()
    data, same = benchmark.training_data(CPU), again.training_data(CPU)
    require(len(data) == spec.examples, f"{name}: spec() says {spec.examples} examples, there are {len(data)}")
    indices = torch.tensor([0, len(data) - 1, 0])
    inputs, targets = data.batch(indices)
    whole = spec.inputs if spec.kind != "text_classification" else (min(inputs.shape[-1], spec.inputs[0]),)
    require(tuple(inputs.shape) == (3, *whole), f"{name}: inputs are {tuple(inputs.shape)}, not (3, *{spec.inputs})")
    if spec.token_ids:
        ids = 0 <= inputs.min().item() <= inputs.max().item() < spec.token_ids
        require(ids, f"{name}: token ids outside [0, {spec.token_ids})")
    shape, dtype = (3, *spec.targets), torch.float32 if spec.real_targets else torch.int64
    require(tuple(targets.shape) == shape, f"{name}: targets are {tuple(targets.shape)}, must be {shape}")
    require(targets.dtype == dtype, f"{name}: targets are {targets.dtype}, must be {dtype}")
    many = data.batch(torch.arange(min(len(data), 1000)))
    for what, numbers in zip(("inputs", "targets"), many, strict=True):
        require(bool(numbers.isfinite().all()), f"{name}: {what} have numbers that are not finite")
    if spec.kind != "regression":
        last = 1 if spec.kind == "video" else spec.outputs - 1
        inside = 0 <= many[1].min().item() <= many[1].max().item() <= last
        require(inside, f"{name}: targets outside [0, {last}]")
    require(torch.equal(inputs[0], inputs[2]), f"{name}: one example comes in two versions within a batch")
    repeated = same.batch(indices)
    require(
        torch.equal(inputs, repeated[0]) and torch.equal(targets, repeated[1]),
        f"{name}: training data differs between two instances",
    )
    if hasattr(data, "draws"):
        numbers = torch.rand(3, data.draws, generator=torch.Generator().manual_seed(0))
        numbers[2] = numbers[0]
        altered, twice = (cast("AugmentedData", one).augmented(indices, numbers)[0] for one in (data, same))
        right = altered.shape == inputs.shape and altered.dtype == inputs.dtype
        require(right, f"{name}: augmented() gives {altered.dtype} {tuple(altered.shape)}, unlike batch()")
        alike = torch.equal(altered, twice) and torch.equal(altered[0], altered[2])
        require(alike, f"{name}: augmented() depends on more than an example and its numbers")


def _check_evaluation(benchmark: Benchmark[Any], given: Model | None) -> None:
    model = given if given is not None else _fitting_model(benchmark)
    name, metrics = type(benchmark).__name__, [metric.name for metric in benchmark.metrics]
    require(bool(metrics), f"{name}.metrics is empty: declare what evaluate() returns")
    require(len(set(metrics)) == len(metrics), f"{name}.metrics repeats a name: {metrics}")
    require(bool(benchmark.protocol), f"{name}.protocol is empty: say in one line how the score is taken")
    seen: dict[Split, str] = {}
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        digest = hashlib.sha256()
        try:
            with torch.no_grad():
                with _recording(model, digest) as recorded:
                    scores = benchmark.evaluate(recorded, split, CPU)
                again = benchmark.evaluate(model, split, CPU)
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            if given is not None:
                raise
            raise AssertionError(
                f"{name}.evaluate('{split}') fails on a linear map that fits spec() ({type(error).__name__}: {error}): "
                "if it needs another network, pass model=, a function or module from inputs to logits that it can score"
            ) from error
        seen[split] = digest.hexdigest()
        known, n = benchmark.examples(split), scores[metrics[0]].n if metrics[0] in scores else 0
        require(known in (None, n), f"{name}.examples('{split}') says {known}, but evaluate() scores {n}")
        if split == "validation" and not scores:
            continue  # a benchmark may have none
        require(sorted(scores) == sorted(metrics), f"{name}.evaluate() returned {sorted(scores)}, declares {metrics}")
        timed = {metric.name for metric in benchmark.metrics if metric.timed}
        alike = all(scores[metric] == again[metric] for metric in scores if metric not in timed)
        require(alike, f"{name}.evaluate('{split}') differs when called again")
        for metric, m in scores.items():
            require(isfinite(m.value), f"{name}: {metric} on {split} is {m.value}")
            require(m.n >= 1, f"{name}: {metric} on {split} counts {m.n} examples")
            require(m.stderr is None or m.stderr >= 0, f"{name}: {metric} on {split} has stderr {m.stderr}")
    require(seen["validation"] != seen["test"], f"{name}: validation and test data are the same")


@contextmanager
def _recording(model: Model, digest: Any) -> Iterator[Model]:
    """The model as it is, whose inputs go into the digest; of a module, those of all its parts, whatever is called."""

    def note(*inputs: Any) -> None:
        for tensor in inputs:
            if isinstance(tensor, Tensor):
                digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())

    def recorded(inputs: Tensor) -> Tensor:
        note(inputs)
        return model(inputs)

    if not isinstance(model, nn.Module):
        yield recorded
        return
    handles = [part.register_forward_pre_hook(lambda _, inputs: note(*inputs)) for part in model.modules()]
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()


def _fitting_model(benchmark: Benchmark[Any]) -> Model:
    try:
        return _linear_model(benchmark.spec())
    except (NotImplementedError, Unsupported) as error:
        raise AssertionError(
            f"{type(benchmark).__name__}.spec() does not say what a network looks like ({error}): pass model=, a "
            "function or module from the inputs that evaluate() gives to logits"
        ) from error


def _linear_model(spec: DataSpec) -> Model:
    generator = torch.Generator().manual_seed(0)
    rank = 4
    if spec.kind == "language":
        table = torch.randn(spec.outputs, rank, generator=generator)
        head = torch.randn(rank, spec.outputs, generator=generator)
        return lambda inputs: table[inputs] @ head
    if spec.token_ids:
        table = torch.randn(spec.token_ids, spec.outputs, generator=generator)
        return lambda inputs: (table[inputs] * (inputs != spec.padding).unsqueeze(-1)).mean(1)
    weight = torch.randn(torch.Size(spec.inputs).numel(), spec.outputs, generator=generator)
    shape = spec.targets if spec.kind == "video" else (spec.outputs,)
    return lambda inputs: (inputs.flatten(1).float() @ weight).view(-1, *shape)
