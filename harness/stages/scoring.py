"""What an evaluation returned, checked: only what was declared and can be a number becomes a score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from harness.core.benchmark import Benchmark, Measurement, Scores
from harness.core.data import Split
from harness.core.examples import Examples
from harness.errors import BadScore, unknown_name


class Checked(NamedTuple):
    """Scores of one split.

    Attributes:
        scores: metric -> finite measurement, in the order that the benchmark declares.
        not_finite: metric -> ``inf``, ``-inf`` or ``nan``, for those that no file of numbers can hold.
        samples: what was found on each example, where the benchmark tells.
    """

    scores: Mapping[str, Measurement]
    not_finite: Mapping[str, str]
    samples: Sequence[Mapping[str, Any]]

    @property
    def values(self) -> dict[str, float]:
        """The finite scores."""
        return {name: measurement.value for name, measurement in self.scores.items()}


def hook(benchmark: Benchmark[Any], split: Split) -> str:
    """What scored, for messages: ``Neurons.evaluate_network('test')``."""
    own = type(benchmark).evaluate_network is not Benchmark.evaluate_network
    return f"{type(benchmark).__name__}.evaluate{'_network' * own}('{split}')"


def checked(benchmark: Benchmark[Any], split: Split, found: object) -> Checked:
    """Check what ``benchmark.evaluate`` returned for a split.

    Raises:
        BadScore: if it is no mapping of every declared metric to a measurement over at least one example. An empty
            mapping says that there is no such split, which only validation may say.
    """
    what = hook(benchmark, split)
    if not isinstance(found, Mapping):
        raise BadScore(f"{what} returned {found!r:.80}; it must return a mapping from metric to harness.Measurement")
    declared = [metric.name for metric in benchmark.metrics]
    if unknown := [str(name) for name in found if name not in declared]:
        raise BadScore(f"{what} returned {unknown_name('metric', unknown[0], declared)} Declare it in `metrics`.")
    missing = [name for name in declared if name not in found]
    if missing and (found or split == "test"):
        text = "has no examples to score" if not found else f"lacks the declared {', '.join(missing)}"
        raise BadScore(f"{what} {text}: returned {', '.join(found) or 'no score'}")
    scores: dict[str, Measurement] = {}
    beyond: dict[str, str] = {}
    units = {metric.name: metric.unit for metric in benchmark.metrics}
    for name in declared if found else ():
        measurement = _measurement(f"{what}['{name}']", found[name])
        if math.isfinite(measurement.value):
            if units[name] == "fraction" and not 0 <= round(measurement.value, 9) <= 1:
                raise BadScore(f"{what}['{name}'] is {measurement.value:.8g}; its unit is fraction, from 0 to 1")
            scores[name] = measurement
        else:
            beyond[name] = str(measurement.value)
    return Checked(scores, beyond, found.samples if isinstance(found, Scores) else ())


def _measurement(what: str, found: object) -> Measurement:
    if not isinstance(found, Measurement):
        raise BadScore(f"{what} is {found!r:.80}; it must be a harness.Measurement(value, n)")
    value = _number(what, found.value)
    if isinstance(found.n, bool) or not isinstance(found.n, Integral) or found.n <= 0:
        raise BadScore(f"{what} is over n = {found.n!r:.40} examples; n must be a whole number of at least 1")
    stderr = None if found.stderr is None else _number(f"stderr of {what}", found.stderr)
    if stderr is not None and stderr < 0:
        raise BadScore(f"stderr of {what} is {stderr}, below 0")
    if stderr is not None and not math.isfinite(stderr):
        stderr = None
    return Measurement(value, int(found.n), stderr, _examples(what, found.examples, value))


def _examples(what: str, found: object, value: float) -> Examples | None:
    """What a value is made of, if it is said and finite."""
    if found is None:
        return None
    if not isinstance(found, Examples):
        raise BadScore(f"examples of {what} are {found!r:.40}, a {type(found).__name__}; they must be harness.Examples")
    with np.errstate(over="ignore"):
        whole = found.value
    if not math.isfinite(value) or not math.isfinite(whole):
        return None
    if not math.isclose(whole, value, rel_tol=1e-6, abs_tol=1e-9):
        raise BadScore(f"{what} is {value:.8g}, and the {found.transform} of its {len(found)} examples {whole:.8g}")
    return found


def _number(what: str, value: object) -> float:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise BadScore(f"{what} is {value!r:.40}, a {type(value).__name__}; it must be a number")
    try:
        return float(value)
    except OverflowError:  # a whole number beyond all floats
        return math.inf if cast("int", value) > 0 else -math.inf
