"""Which numbers a task or group gives, in the harness's terms: known before any data is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness import Metric, UserError
from harness_lm_eval.catalogue import Group, Task

# What lm-eval takes where a task says nothing.
_DEFAULTS = {
    "loglikelihood": ("perplexity", "acc"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "multiple_choice": ("acc", "acc_norm"),
    "generate_until": ("exact_match",),
}
_LOWER_IS_BETTER = {"perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "brier_score", "ter"}
_UNITS = {
    "perplexity": "perplexity/target",
    "word_perplexity": "perplexity/word",
    "byte_perplexity": "perplexity/byte",
    "bits_per_byte": "bits/byte",
    "exact_match": "fraction",
    "acc": "fraction",
    "acc_norm": "fraction",
}


@dataclass(frozen=True, slots=True)
class ScoreColumn:
    """One number: the ``metric`` as the harness names it, and ``key``, its key in lm-eval's results."""

    key: str
    metric: Metric


def columns(found: Task | Group) -> tuple[ScoreColumn, ...]:
    """The numbers of a task, or those that a group aggregates.

    A metric has lm-eval's name; where it is taken from the filtered output, the filter's name follows a dot.

    Raises:
        UserError: for a group that aggregates nothing.
    """
    if isinstance(found, Task):
        return tuple(dict.fromkeys(_of_task(found.config)))
    aggregated = found.config.get("aggregate_metric_list") or []
    wanted = [aggregated] if isinstance(aggregated, Mapping) else aggregated
    below = tuple(dict.fromkeys(column for task in found.tasks for column in columns(task)))
    chosen = []
    for entry in wanted:
        filters = entry.get("filter_list")
        filters = [filters] if isinstance(filters, str) else filters
        for column in below:
            metric, _, kept = column.key.partition(",")
            if metric == entry["metric"] and (filters is None or kept in filters):
                chosen.append(column)
    if not chosen:
        members = ", ".join([*(group.name for group in found.groups), *(task.name for task in found.tasks)][:20])
        raise UserError(f"lm_eval: the group '{found.name}' has no common score: name one of its members, {members}.")
    return tuple(chosen)


def _of_task(config: Mapping[str, Any]) -> Iterator[ScoreColumn]:
    output = config.get("output_type", "generate_until")
    entries = config.get("metric_list") or [{"metric": name} for name in _DEFAULTS[output]]
    filters = [entry["name"] for entry in config.get("filter_list") or [{"name": "none"}]]
    for kept in filters:
        for entry in entries:
            name = str(entry["metric"]).rpartition(".")[2]
            higher = entry.get("higher_is_better", name not in _LOWER_IS_BETTER)
            label = name if kept == "none" else f"{name}.{kept}"
            yield ScoreColumn(f"{name},{kept}", Metric(label, _UNITS.get(name, "score"), "max" if higher else "min"))
