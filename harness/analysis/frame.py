"""Result files as one table: a row for every metric of every finished cell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import UserError, unknown_name
from harness.formatting import not_finite
from harness.results.store import LeftOut, Record, ResultStore

DEFAULT_BASELINE = "dense"
DISTRIBUTION = "sparsity-harness"
OBSOLETE = "not part of the suite"  # how ResultStore.records begins the reason of a superseded cell

TABLE = ("suite", "experiment", "architecture", "benchmark", "metric", "protocol")
"""What must be equal for two numbers to stand in one table."""

SPENT = (
    "steps",
    "examples",
    "tokens",
    "flops",
    "flops_sparse",
    "inference_flops",
    "inference_flops_sparse",
    "seconds",
    "peak_memory",
)
"""What a network has cost."""

COLUMNS = (
    "suite",
    "experiment",
    "architecture",
    "benchmark",
    "trained_on",
    "method",
    "match",  # the row whose density this cell takes, "" if none
    "density_requested",
    "density_mask",
    "density_true_zeros",  # 1 - fraction of zeros, so that it can stand beside the other densities
    "density_total",
    "density_scope",
    "metric",
    "unit",
    "direction",
    "protocol",
    "primary",
    "seed",
    "value",
    "n_examples",
    "stderr",
    "parameters",
    *SPENT,
    "published",
    "cell",
    "versions",
    "revision",
    "device",
    "made_with",  # versions and devices of training and, where it was elsewhere, of the test
)


def load(store: ResultStore, suites: Iterable[str] | None = None) -> tuple[pd.DataFrame, list[LeftOut]]:
    """Every counted number below a results folder, and every file that is not counted with the reason.

    One row per (finished cell, metric) with ``COLUMNS`` and ``baseline``, the method that the suite's plan
    compares with. Failed and diverged cells are left out, so that they are never averaged.

    Raises:
        UserError: if a suite has no results.
    """
    known = store.suites()
    rows: list[tuple[Any, ...]] = []
    left: list[LeftOut] = []
    sources: dict[str, str] = {}
    baselines: dict[str, Record] = {}
    for suite in known if suites is None else suites:
        if suite not in known:
            raise UserError(unknown_name("suite", suite, known) + f" Looked in {store.root}.")
        plan = store.plan(suite) or {}
        named = plan.get("baselines")
        baselines[suite] = named if isinstance(named, dict) else {}
        for record in store.records(suite):
            if isinstance(record, LeftOut):
                left.append(record)
                continue
            path = store.cell_path(suite, str(record["cell"]))
            try:
                if record["status"] != "done":
                    left.append(LeftOut(path, _failure(record), _identity(record, suite), _seed(record)))
                    continue
                found, beyond = _rows(record, suite), _beyond(record, suite, path)
                rows.extend(found)
                left.extend(beyond)
                sources[record["cell"]] = _label(record)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                left.append(LeftOut(path, f"is no complete record ({type(error).__name__}: {error})"))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    # A match names a cell, and so a seed; the rows of a table need the name of what all seeds are matched to.
    labels = {(cell, by): _matched(cell, by, sources) for cell, by in frame["match"].unique()}
    frame["match"] = frame["match"].map(labels).astype(str)
    frame = _once(frame, store, left)
    frame["baseline"] = [
        str(baselines[suite].get(experiment) or DEFAULT_BASELINE)
        for suite, experiment in zip(frame["suite"], frame["experiment"], strict=True)
    ]
    return frame, left


def _once(frame: pd.DataFrame, store: ResultStore, left: list[LeftOut]) -> pd.DataFrame:
    """The first cell of each row and seed, by name; others are left out, so that nothing counts twice."""
    named = frame.assign(asked=frame["density_requested"].where(frame["match"] == ""))
    again = named.duplicated([*TABLE, "method", "density_scope", "match", "asked", "seed"])
    cells = frame.loc[again, ["suite", "cell"]].drop_duplicates()
    for suite, cell in cells.itertuples(index=False):
        left.append(
            LeftOut(store.cell_path(suite, cell), "is of the same row and seed as another cell, counted already")
        )
    return frame.drop(frame.index[frame["cell"].isin(cells["cell"])]) if len(cells) else frame


def _rows(record: Record, suite: str) -> list[tuple[Any, ...]]:
    density, benchmark, spent = record["density"], record["benchmark"], record.get("spent") or {}
    environment, flops = record.get("environment") or {}, spent.get("flops") or {}
    match = density.get("match")
    protocol, seed = _text(benchmark.get("protocol") or ""), _seed(record)
    mask = _number(density["mask"])
    if not 0 <= mask <= 1:
        raise ValueError(f"a mask density of {density['mask']}")
    head = (
        suite,
        _text(record.get("experiment") or ""),
        _text(record["architecture"]["label"]),
        _text(benchmark["label"]),
        _text(record.get("trained_on") or benchmark["label"]),
        _text(record["method"]["label"]),
        (_text(match["cell"]), _text(match.get("by") or "")) if match else ("", ""),
        _number(density.get("requested")),
        mask,
        1 - _number(density.get("true_zeros")),
        _number(density.get("total")),
        _text(density.get("scope") or "maskable"),
    )
    tail = (
        _number(record["architecture"].get("parameters")),
        *(_number(spent.get(name)) for name in ("steps", "examples", "tokens")),
        *(_number(flops.get(name)) for name in ("training", "training_sparse", "inference", "inference_sparse")),
        _number(spent.get("seconds")),
        _number(spent.get("peak_memory_bytes")),
    )
    provenance = (
        record["cell"],
        ", ".join(f"{name} {environment[name]}" for name in ("harness", "torch", "python") if environment.get(name)),
        _revision(environment.get("git")),
        str(environment.get("device") or ""),
        _made_with(record),
    )
    rows = []
    for name, metric in record["metrics"].items():
        value = float(metric["value"])
        if not math.isfinite(value):
            raise ValueError(f"metric {name} is {value}")
        if metric["direction"] not in ("max", "min", "none"):
            raise ValueError(f"metric {name} has direction {metric['direction']!r}")
        primary = bool(metric.get("primary"))
        measured = (name, _text(metric.get("unit") or ""), metric["direction"], protocol, primary, seed, value)
        error = (_number(metric.get("n")), _number(metric.get("stderr")))
        published = _number(record.get("published")) if primary else math.nan
        rows.append((*head, *measured, *error, *tail, published, *provenance))
    if not rows:
        raise ValueError("no metric")
    return rows


def _beyond(record: Record, suite: str, path: Path) -> list[LeftOut]:
    """Scores that are no numbers; without the primary one a cell has failed as far as its row's rank goes."""
    if not (beyond := record.get("not_finite")):
        return []
    ranked = any(metric["primary"] for metric in record["metrics"].values())
    whose = () if ranked else (_identity(record, suite), _seed(record))
    return [LeftOut(path, f"{not_finite(beyond)}; its other scores are counted", *whose)]


def _made_with(record: Record) -> str:
    """What trained a network and, if that is another, what tested it; records of before only know the latter."""
    trained = [_made(environment) for environment in record.get("trained_by") or ()]
    tested = _made(record.get("environment") or {})
    text = ", then ".join(dict.fromkeys(trained)) or tested
    return text if text == tested or not tested else f"{text}, tested with {tested}"


def _made(environment: Record) -> str:
    versions = [f"{name} {environment[name]}" for name in ("harness", "torch", "python") if environment.get(name)]
    plugins = environment.get("plugins") or {}
    versions += [f"{name} {str(version)[:12]}" for name, version in sorted(plugins.items()) if name != DISTRIBUTION]
    if device := environment.get("device"):
        versions.append(str(environment.get("device_name") if device == "cuda" else device))
    return ", ".join(versions)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} where a name should be")
    return value


def _seed(record: Record) -> int:
    seed = record["seed"]
    if not isinstance(seed, int) or isinstance(seed, bool) or abs(seed) >= 2**63:
        raise TypeError(f"{seed!r:.40} where a seed should be")
    return seed


def asked(density: float | None) -> str:
    """A density that a suite asks for, as a name; "" for none."""
    return "" if density is None or math.isnan(density) else f"{density:g}"


def _identity(record: Record, suite: str) -> tuple[str, ...]:
    labels = (str(record[part]["label"]) for part in ("architecture", "benchmark", "method"))
    return suite, str(record.get("experiment") or ""), *labels, asked(_number(record["density"].get("requested")))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _label(record: Record) -> str:
    density = record["density"]
    asked = density.get("requested") if not density.get("match") else None
    return str(record["method"]["label"]) + (f" {asked:g}" if asked is not None else "")


def _matched(cell: str, by: str, sources: Mapping[str, str]) -> str:
    if not cell:
        return ""
    return sources.get(cell, "another cell") + (f", {by}" if by else "")


def _revision(git: Any) -> str:
    if isinstance(git, Mapping):
        return str(git.get("revision") or "") + ("+changes" if git.get("dirty") else "")
    return str(git or "")


def _failure(record: Record) -> str:
    failure = record.get("failure") or {}
    step = f" at step {failure['step']}" if failure.get("step") is not None else ""
    text = ": ".join(str(failure[key]).splitlines()[0] for key in ("type", "message") if failure.get(key))
    return f"{record['status']}{step}" + (f": {text}" if text else "")
