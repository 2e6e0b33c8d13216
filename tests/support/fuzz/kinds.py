"""Generators of inputs: each gives the calls of the command line for one of them."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import random
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fuzz.values import changed_json, damaged, wild_text, wild_yaml

SUITE = """\
architectures: {mlp: {hidden: [8]}}
benchmarks: digits
seeds: 2
training: {steps: 10, batch_size: 32}
evaluation: {checks: 2}
methods: {dense: , magnitude: {density: 0.5, recovery_steps: 5}, random: {density: {match: magnitude}}}
"""


@dataclass(frozen=True)
class Call:
    """One call: what it is about, for the report, its arguments, and what else is in the environment."""

    about: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


Kind = Callable[[random.Random, Path], Iterator[Call]]


def _dry(folder: Path, content: bytes, about: str, *more: str) -> Call:
    path = folder / "s.yaml"
    path.write_bytes(content)
    return Call(f"{about} {content[:300]!r}", ["run", str(path), "--dry-run", "--results", str(folder / "r"), *more])


PATHS = [
    "name",
    "description",
    "seeds",
    "scope",
    "baseline",
    "smallest_difference",
    "profiles.p.seeds",
    "profile",
    "tune.trials",
    "tune.seeds",
    "tune.space.lr",
    "training.steps",
    "training.epochs",
    "training.batch_size",
    "training.lr",
    "training.betas",
    "training.warmup_steps",
    "training.threads",
    "training.pack",
    "training.cooldown_steps",
    "training.final_lr",
    "training.clip_norm",
    "training.micro_batches",
    "training.precision",
    "evaluation.checks",
    "evaluation.select",
    "evaluation.name",
    "evaluation.masks",
    "methods.magnitude.density",
    "methods.magnitude.recovery_steps",
    "methods.magnitude.recovery_lr",
    "methods.magnitude.scope",
    "methods.magnitude.published",
    "methods.magnitude.space.recovery_steps",
    "methods.magnitude.training",
    "methods.random.density.match",
    "methods.random.note",
    "methods.random.budget.match",
    "methods.dense.source",
    "architectures.mlp.hidden",
    "architectures.mlp.weights",
    "benchmarks.digits.use",
    "include",
    "exclude",
    "questions",
    "slurm.time",
    "slurm.mem",
    "slurm.sbatch.x",
    "slurm.methods.dense.time",
    "train_on",
    "experiments.a.seeds",
    "methods",
    "architectures",
    "benchmarks",
    "training",
    "evaluation",
    "slurm",
    "tune",
]


def suites(r: random.Random, folder: Path) -> Iterator[Call]:
    """A sound suite with one value, or one stretch of its text, replaced."""
    if r.random() < 0.5:
        yield _dry(folder, damaged(r, SUITE.encode()), "suite")
    else:
        path, value = r.choice(PATHS), wild_yaml(r)
        steps = path.split(".")
        inner = "".join("{" + step + ": " for step in steps[1:]) + value + "}" * (len(steps) - 1)
        text = "".join(line + "\n" for line in SUITE.splitlines() if not line.startswith(steps[0] + ":"))
        yield _dry(folder, (text + f"{steps[0]}: {inner}\n").encode("utf8", "surrogatepass"), "suite")


def overrides(r: random.Random, folder: Path) -> Iterator[Call]:
    """``--set`` and ``--slurm``."""
    option = r.choice(["--set", "--set", "--slurm"])
    path = r.choice(PATHS)
    if option == "--slurm":
        path = r.choice(
            [
                "time",
                "mem",
                "gpus",
                "cpus",
                "nodes",
                "partition",
                "account",
                "sbatch.x",
                "methods.dense.mem",
                "setup",
                "retries",
                "x",
            ]
        )
    text = f"{path}={wild_yaml(r)}" if r.random() < 0.9 else wild_text(r)
    yield _dry(folder, SUITE.encode(), f"{option} {text[:200]!r}", option, text.replace("\0", ""))


@cache
def _options() -> list[tuple[str, str, str]]:
    """Kind of plugin, its name, and one of its options."""
    from harness.registry.plugins import KINDS as PLUGINS
    from harness.registry.plugins import load

    registry = load()
    return [
        (kind, entry.entry.name, option)
        for kind in PLUGINS
        for entry in registry.entries(kind)
        if kind != "benchmark" or entry.entry.name in ("digits", "text", "corpus", "mnist")
        for option in registry.get(kind, entry.entry.name).Options.model_fields
    ]


def options(r: random.Random, folder: Path) -> Iterator[Call]:
    """An option of a plugin."""
    kind, name, option = r.choice(_options())
    value = wild_yaml(r)
    if kind == "architecture":
        text = SUITE.replace("{mlp: {hidden: [8]}}", f"{{a: {{use: {name}, {option}: {value}}}}}")
    elif kind == "method":
        text = SUITE.replace("{dense: ,", f"{{dense: , m: {{use: {name}, {option}: {value}}},")
    else:
        text = SUITE.replace("benchmarks: digits", f"benchmarks: {{b: {{use: {name}, {option}: {value}}}}}")
    yield _dry(folder, text.encode("utf8", "surrogatepass"), "option")


def claims(r: random.Random, folder: Path) -> Iterator[Call]:
    """A file of claims."""
    sources = sorted((Path(__file__).parents[3] / "claims").glob("*.yaml"))
    (folder / "claims").mkdir()
    (folder / "claims" / "a.yaml").write_bytes(damaged(r, r.choice(sources).read_bytes()[:20_000]))
    yield Call("claims", ["claims", "--claims", str(folder / "claims"), "--results", str(folder / "r")])


@cache
def _results() -> dict[str, bytes]:
    """The files of a small results folder: relative path -> content."""
    root = Path(__file__).parents[3] / "results" / "quickstart"
    from harness.results.store import ResultStore

    store = ResultStore(root.parent)
    found = {"suite.json": (root / "suite.json").read_bytes()}
    cells = store.names("quickstart")[:6]
    for cell in cells:
        for kind in ("cells", "series", "examples"):
            file = store.file("quickstart", kind, cell)
            if file.exists:
                found[str(file.path.relative_to(root))] = file.read()
    return found


READERS = (
    "status NAME",
    "show CELL",
    "compare --suite NAME",
    "compare --suite NAME --seeds",
    "leaderboard",
    "report -o OUT",
    "verify",
    "archive NAME",
    "logs NAME",
)


def results(r: random.Random, folder: Path) -> Iterator[Call]:
    """A file of a results folder, damaged, of another shape, a pipe, a link; then whoever reads it."""
    root, files = folder / "r", dict(_results())
    name = r.choice(sorted(files))
    for path, content in files.items():
        (root / "quickstart" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "quickstart" / path).write_bytes(content)
    about = _harm_file(r, root / "quickstart" / name, folder)
    live = root / ".work" / r.choice(["running/quickstart.h.1.json", "slurm/quickstart/submitted/1-2.json"])
    if r.random() < 0.3:
        live.parent.mkdir(parents=True)
        live.write_bytes(
            json.dumps(changed_json(r, {"suite": "quickstart", "host": "h", "pid": 1, "jobs": []})).encode()
        )
    cell = Path(name).stem if "/" in name else "x"
    for words in r.sample(READERS, 3):
        arguments = (
            words.replace("NAME", "quickstart").replace("CELL", cell).replace("OUT", str(folder / "o.html")).split()
        )
        yield Call(f"{words} after {about}", [*arguments, "--results", str(root)])


def _harm_file(r: random.Random, path: Path, folder: Path) -> str:
    how = r.choice(["bytes", "json", "json", "json", "pipe", "link", "folder", "gone", "empty", "twice"])
    content = path.read_bytes()
    path.unlink()
    if how == "bytes":
        path.write_bytes(damaged(r, content))
    elif how == "json":
        whole = json.loads(content) if path.suffix == ".json" else {}
        text = json.dumps(changed_json(r, whole))
        path.write_bytes(text.encode("utf8", "surrogatepass"))
        return f"json {path.name}: {text[:0]}"
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "link":
        path.symlink_to(r.choice(["/dev/zero", "/etc/passwd", path.name, "/nowhere", str(folder)]))
    elif how == "folder":
        path.mkdir()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "twice":
        path.write_bytes(content * 2)
    return f"{how} {path.name}"


def corpora(r: random.Random, folder: Path) -> Iterator[Call]:
    """Text and token files, prepared and planned."""
    ending = r.choice([".txt", ".jsonl", ".json", ".csv", ".bin", ".parquet", ".jsonl.gz"])
    texts = [wild_text(r, controls=True) for _ in range(r.randint(0, 40))]
    if ending.startswith(".json"):
        rows = [{r.choice(["text", "text", "text", "body"]): text} for text in texts]
        whole = "\n".join(map(json.dumps, rows)) if r.random() < 0.7 else json.dumps(rows)
    elif ending == ".csv":
        out = io.StringIO()
        csv.writer(out).writerows([["text", "label"], *([text, 1] for text in texts)])
        whole = out.getvalue()
    else:
        whole = "\n".join(texts)
    content = whole.encode("utf8", "surrogatepass")
    if ending == ".bin":
        head = struct.pack(
            "<256i", r.choice([20240520, 20240801, 20240522, 1]), r.choice([1, 7, 0]), len(texts), *[0] * 253
        )
        content = (head if r.random() < 0.5 else b"") + content
    content = r.choice([b"", b"", b"\xef\xbb\xbf", b"\xff\xfe"]) + (
        damaged(r, content) if r.random() < 0.5 else content
    )
    name = f"train{ending}" if ending == ".bin" else f"t{ending}"
    (folder / name).write_bytes(content)
    if ending == ".bin":
        (folder / "val.bin").write_bytes(content)
    use, path = r.choice(["corpus, workers: 1", "corpus, workers: 1", "text"]), (name if ending != ".bin" else ".")
    fractions = "validation_fraction: 0.3, test_fraction: 0.3"
    benchmark = f"{{use: {use}, path: {path}, tokenizer: bytes, context: 8, {fractions}}}"
    text = SUITE.replace("benchmarks: digits", f"benchmarks: {{b: {benchmark}}}")
    text = text.replace("{mlp: {hidden: [8]}}", "{t: {use: gpt2, n_layers: 1, width: 8, heads: 1, context: 8}}")
    call = _dry(folder, text.encode(), f"corpus {ending} {content[:200]!r}")
    yield Call(call.about, ["data", "prepare", call.arguments[1]])
    yield call


def imports(r: random.Random, folder: Path) -> Iterator[Call]:
    """Checkpoints that are none, and options of importers."""
    import torch

    path = folder / r.choice(["a.pt", "a.safetensors", "pytorch_model.bin", "config.json"])
    state: Any = {"h.0.attn.c_attn.weight": torch.ones(2, 2), "wte.weight": torch.full((4, 2), float("nan"))}
    content = r.choice(
        [pickle.dumps({"a": r.random()}), json.dumps(changed_json(r, {"weight_map": {"a": "b"}})).encode()]
    )
    if r.random() < 0.5:
        torch.save(r.choice([state, {"model": state}, [state], {"model": 3}, {"a": {"b": state}}]), path)
        content = path.read_bytes()
    path.write_bytes(damaged(r, content) if r.random() < 0.7 else content)
    header = json.dumps(changed_json(r, {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})).encode()
    if r.random() < 0.3:
        path.write_bytes(struct.pack("<Q", r.choice([len(header), 2**63, 5])) + header + b"\0" * 4)
    importer = r.choice(["gpt2_hf", "hf", "ndna_gpt2", "ndna_genome", "connectome", "biogpt", "ndna_networks"])
    option = ["--option", f"{r.choice(['heads', 'context', 'masks', 'x'])}={wild_yaml(r)}"] if r.random() < 0.3 else []
    source = path if r.random() < 0.7 else folder
    arguments = ["import", importer, str(source), "--name", "n", *(text.replace("\0", "") for text in option)]
    yield Call(f"import {importer} {path.name} {option}", arguments)


def environment(r: random.Random, folder: Path) -> Iterator[Call]:
    """Variables."""
    names = (
        "HARNESS_DEVICE HARNESS_DATA XDG_CACHE_HOME HARNESS_PLUGINS HARNESS_LOG HARNESS_CLUSTER RANK WORLD_SIZE COLUMNS"
    )
    name = r.choice([*names.split(), "SLURM_NTASKS", "XDG_CONFIG_HOME", "CUDA_VISIBLE_DEVICES", "TIKTOKEN_CACHE_DIR"])
    value = r.choice(
        ["", "x", "-1", "cpu:x", "\udcff", "a" * 5_000, "/dev/null", "/etc/passwd", "cuda:99", "0", "[/b]"]
    )
    more = {name: value, "WORLD_SIZE": "x"} if name == "RANK" else {name: value}
    (folder / "s.yaml").write_text(SUITE)
    for words in ("doctor", "data list digits", "run s.yaml --dry-run --results r", "plugins"):
        arguments = [str(folder / word) if word in ("s.yaml", "r") else word for word in words.split()]
        yield Call(f"{words} with {name}={value[:20]!r}", arguments, more)


KINDS: dict[str, Kind] = {
    kind.__name__: kind for kind in (suites, overrides, options, claims, results, corpora, imports, environment)
}
