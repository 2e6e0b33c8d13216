"""What a cell can start from, and be scored on: imported weights, another cell, data it was not trained on."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from harness.errors import SuiteError, Unsupported, UserError
from harness.interchange import bundle
from harness.registry.plugins import Registry, load
from harness.results.record import evaluated
from harness.results.store import ResultStore
from harness.stages.graph import Graph, compile_graph
from harness.stages.network import initial_module
from harness.stages.runner import StageRunner
from harness.stages.store import StageStore
from harness.suites.suite import load_suite
from harness.training.distributed import Substrate

CPU = torch.device("cpu")
HEAD = "architectures: {net: {}}\nbenchmarks: blobs\ntraining: {steps: 20, batch_size: 16}\n"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load([Path(__file__).parents[1] / "toy_plugin.py"])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    yield


def graph_of(folder: Path, registry: Registry, text: str, *overrides: str) -> Graph:
    path = folder / "suite.yaml"
    path.write_text(text)
    return compile_graph(load_suite(path, registry, overrides).cells, registry)


def run(folder: Path, registry: Registry, graph: Graph) -> StageRunner:
    runner = StageRunner(registry, StageStore(folder), Substrate(0, 1, CPU))
    for stage in graph.stages.values():
        runner.run(stage)
    return runner


def net(registry: Registry, seed: int, **options: object) -> torch.nn.Module:
    cls, data = registry.get("architecture", "net"), registry.get("benchmark", "blobs")
    return initial_module(cls(cls.Options(**options), data(data.Options()).spec()), seed)


def folder_of(path: Path, module: torch.nn.Module) -> Path:
    return written(path, dict(module.state_dict()))


def written(path: Path, weights: dict[str, torch.Tensor]) -> Path:
    source = bundle.Origin(importer="test", path="-", sha256="0" * 64)
    bundle.write(path, bundle.Bundle(weights=weights), source)
    return path


def test_imported_weights_are_where_every_method_starts_and_steps_0_trains_nothing(
    tmp_path: Path, registry: Registry
) -> None:
    module = net(registry, 99)
    folder = folder_of(tmp_path / "weights", module)
    text = HEAD.replace("{net: {}}", f"{{net: {{weights: {folder}}}}}").replace("steps: 20", "steps: 0")
    graph = graph_of(
        tmp_path,
        registry,
        text + "methods: {a: {use: programmed, program: nothing}, "
        "b: {use: programmed, program: only_prune, density: 0.5}}\n",
    )
    runner = run(tmp_path, registry, graph)
    dense, pruned = graph.cells
    state = runner.store.state(dense.stages[-1].hash)["weights"]
    assert all(torch.equal(state[name], tensor) for name, tensor in module.state_dict().items())
    record, samples, *_ = evaluated(pruned, runner, registry, CPU)
    assert record.density.mask == 0.5 and record.spent.steps == 0 and not samples
    assert record.architecture.weights == bundle.read(folder).digest
    largest = module.state_dict()["first.weight"].abs().flatten().max()
    kept = runner.store.state(pruned.stages[-1].hash)["weights"]["first.weight"]
    assert kept.abs().max() == largest


def test_other_weights_are_another_stage(tmp_path: Path, registry: Registry) -> None:
    hashes = set()
    for seed in (None, 1, 2):
        arch = "{}" if seed is None else f"{{weights: {folder_of(tmp_path / f'w{seed}', net(registry, seed))}}}"
        text = HEAD.replace("{net: {}}", f"{{net: {arch}}}") + "methods: {a: {use: programmed}}\n"
        hashes |= set(graph_of(tmp_path, registry, text).stages)
    assert len(hashes) == 3


def test_weights_that_do_not_fit_name_what_differs(tmp_path: Path, registry: Registry) -> None:
    folder = folder_of(tmp_path / "weights", net(registry, 0, norm=False))
    text = HEAD.replace("{net: {}}", f"{{net: {{weights: {folder}}}}}") + "methods: {a: {use: programmed}}\n"
    fault = r"suite.yaml:\d+:\d+: .*do not fit the network: norm.bias is missing(; [^;]*){4}\. Give the options"
    with pytest.raises(UserError, match=fault):
        graph_of(tmp_path, registry, text)  # before anything is trained


def test_only_five_of_many_differences_are_told(tmp_path: Path, registry: Registry) -> None:
    weights = dict(net(registry, 0, norm=False).state_dict())
    weights |= {"out.offset": weights.pop("out.bias"), "out.matrix": weights.pop("out.weight")}
    folder = written(tmp_path / "weights", weights)  # five of the norm and two of the output are missing, two are new
    text = HEAD.replace("{net: {}}", f"{{net: {{weights: {folder}}}}}") + "methods: {a: {use: programmed}}\n"
    with pytest.raises(UserError, match=r"network: norm\.bias is missing(; [^;]*){4} and 4 more\. Give the options"):
        run(tmp_path, registry, graph_of(tmp_path, registry, text))


def test_weights_of_another_shape_do_not_fit_though_they_could_be_repeated(tmp_path: Path, registry: Registry) -> None:
    weights = dict(net(registry, 0).state_dict())
    weights["out.bias"] = weights["out.bias"][:1].clone()
    folder = written(tmp_path / "weights", weights)
    text = HEAD.replace("{net: {}}", f"{{net: {{weights: {folder}}}}}") + "methods: {a: {use: programmed}}\n"
    with pytest.raises(UserError, match=r"network: out.bias is \(1,\), the network's is \(3,\)\. Give the options"):
        run(tmp_path, registry, graph_of(tmp_path, registry, text))


def test_weights_that_are_not_there_are_an_error_with_the_line(tmp_path: Path, registry: Registry) -> None:
    text = HEAD.replace("{net: {}}", "{net: {weights: nowhere}}") + "methods: {a: {use: programmed}}\n"
    with pytest.raises(SuiteError, match=r"suite.yaml:1:\d+: unknown imported model 'nowhere'"):
        graph_of(tmp_path, registry, text)


def test_an_heir_starts_from_the_weights_and_masks_of_its_source(tmp_path: Path, registry: Registry) -> None:
    methods = "methods: {a: {use: programmed, program: prune, density: 0.4}, b: {use: heir, source: a}}\n"
    graph = graph_of(tmp_path, registry, HEAD + methods, "methods.b.training.steps=0")
    runner = run(tmp_path, registry, graph)
    states = [runner.store.state(cell.stages[-1].hash) for cell in graph.cells]
    assert all(torch.equal(states[0]["weights"][n], states[1]["weights"][n]) for n in states[0]["weights"])
    records = [evaluated(cell, runner, registry, CPU).record.content() for cell in graph.cells]
    assert records[0]["metrics"] == records[1]["metrics"]
    assert records[0]["density"]["kept"] == records[1]["density"]["kept"] > 0
    assert records[1]["spent"]["steps"] == records[0]["spent"]["steps"] > 0, "what it inherits was trained as well"
    trained = graph_of(tmp_path, registry, HEAD + methods)
    after = run(tmp_path, registry, trained).store.state(trained.cells[1].stages[-1].hash)
    assert not torch.equal(after["weights"]["first.weight"], states[0]["weights"]["first.weight"])
    assert after["masks"] is not None and torch.equal(
        after["weights"]["first.weight"] == 0, states[0]["weights"]["first.weight"] == 0
    )


def test_an_heir_of_another_network_is_refused(tmp_path: Path, registry: Registry) -> None:
    text = HEAD.replace("{net: {}}", "{net: {}, other: {use: net, norm: false}}")
    methods = "methods: {a: {use: programmed}, b: {use: heir, source: {method: a, architecture: net}}}\n"
    graph = graph_of(tmp_path, registry, text + methods)
    with pytest.raises(Unsupported, match="do not fit this run"):
        run(tmp_path, registry, graph)


def test_what_was_found_on_each_example_is_kept_beside_the_record(tmp_path: Path, registry: Registry) -> None:
    text = HEAD.replace("benchmarks: blobs", "benchmarks: [blobs, scorer]\ntrain_on: blobs")
    graph = graph_of(tmp_path, registry, text + "methods: {a: {use: programmed}}\n")
    assert len(graph.stages) == 1, "both benchmarks score the same training"
    runner = run(tmp_path, registry, graph)
    record, samples, *_ = evaluated(graph.cells[1], runner, registry, CPU)
    mean = sum(sample["logit"] for sample in samples) / 5
    assert record.metrics["mean_logit"].value == pytest.approx(mean)
    store = ResultStore(tmp_path / "results")
    entry = store.write_samples("s", "cell", samples)
    assert entry is not None
    path = tmp_path / "results" / "s" / "samples" / entry.file
    text = gzip.decompress(path.read_bytes())
    assert [json.loads(line) for line in text.splitlines()] == list(samples) and entry.rows == 5
    assert hashlib.sha256(text).hexdigest() == entry.sha256
    first = path.read_bytes()
    store.write_samples("s", "cell", samples)
    assert path.read_bytes() == first, "the same samples are the same bytes"
    assert store.write_samples("s", "none", []) is None


def test_a_list_under_a_benchmark_is_one_benchmark_per_task(tmp_path: Path, registry: Registry) -> None:
    text = HEAD.replace("benchmarks: blobs", "benchmarks: {blobs: , scorer: [one, two]}\ntrain_on: blobs")
    cells = graph_of(tmp_path, registry, text + "methods: {a: {use: programmed}}\n").cells
    assert [(c.cell.benchmark, c.cell.benchmark_part.plugin) for c in cells] == [
        ("blobs", "blobs"),
        ("one", "scorer"),
        ("two", "scorer"),
    ]
    assert cells[2].cell.benchmark_part.options.model_dump() == {"task": "two"}
    with pytest.raises(SuiteError, match="'blobs' is given twice"):
        graph_of(tmp_path, registry, text.replace("[one, two]", "[one, blobs]") + "methods: {a: {use: programmed}}\n")


def test_a_benchmark_that_cannot_score_a_network_says_why(tmp_path: Path, registry: Registry) -> None:
    text = HEAD.replace("benchmarks: blobs", "benchmarks: {blobs: , scorer: {task: tiny}}\ntrain_on: blobs")
    with pytest.raises(SuiteError, match=r"suite.yaml:2:\d+: benchmark 'scorer' cannot score 'net': it has 6 inputs"):
        graph_of(tmp_path, registry, text + "methods: {a: {use: programmed}}\n")


def test_too_little_data_is_refused_with_the_number_of_passes(tmp_path: Path, registry: Registry) -> None:
    text = HEAD.replace("benchmarks: blobs", "benchmarks: finite") + "methods: {a: {use: programmed, program: short}}\n"
    with pytest.raises(SuiteError, match=r"trains on 480 tokens, and 'finite' has 96: 5.0 epochs.*allow_repeat: true"):
        graph_of(tmp_path, registry, text)
    repeated = text.replace("benchmarks: finite", "benchmarks: {finite: {allow_repeat: true}}")
    assert len(graph_of(tmp_path, registry, repeated).cells) == 1
    assert len(graph_of(tmp_path, registry, text.replace("program: short", "program: one_step")).cells) == 1


def test_a_profile_sets_what_it_names_and_enters_the_suites_name(tmp_path: Path, registry: Registry) -> None:
    profiles = "profiles: {small: {training.steps: 5, seeds: [7]}}\n"
    text = HEAD + profiles + "methods: {a: {use: heir, source: b}, b: {use: programmed}}\n"
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    plain = load_suite(path, registry)
    assert plain.name == "suite" and {(c.training.steps, c.seed) for c in plain.cells} == {(20, 0)}
    small = load_suite(path, registry, ["profile=small"])
    assert small.name == "suite-small" and {(c.training.steps, c.seed) for c in small.cells} == {(5, 7)}
    set_too = load_suite(path, registry, ["profile=small", "training.steps=6"])
    assert {(c.training.steps, c.seed) for c in set_too.cells} == {(6, 7)}
    with pytest.raises(UserError, match=r"--set profile=smal: unknown profile 'smal'\. Did you mean 'small'\?"):
        load_suite(path, registry, ["profile=smal"])
    path.write_text(text.replace("training.steps: 5", "training.stepz: 5"))
    with pytest.raises(UserError, match=r"suite.yaml:4:20: unknown key 'stepz'"):
        load_suite(path, registry, ["profile=small"])


def test_what_was_found_on_an_example_may_be_no_number(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    entry = store.write_samples(
        "s", "cell", [{"loss": float("inf"), "parts": (1.5, float("nan"), {"x": float("-inf")})}]
    )
    assert entry is not None
    text = gzip.decompress((tmp_path / "s" / "samples" / entry.file).read_bytes())
    assert json.loads(text) == {"loss": "inf", "parts": [1.5, "nan", {"x": "-inf"}]}
