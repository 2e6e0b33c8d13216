"""The suite of pruned language models: what it says without its data, and all of its methods on a tiny OPT."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from harness.errors import SuiteError
from harness.registry.plugins import load
from harness.results.record import evaluated
from harness.stages.graph import compile_graph
from harness.stages.runner import StageRunner
from harness.stages.store import StageStore
from harness.suites.suite import load_suite
from harness.training.distributed import Substrate

pytest.importorskip("transformers", reason="transformers is not installed")

SUITE = Path(__file__).parents[2] / "suites/llm_pruning.yaml"
CPU = torch.device("cpu")
WORDS = ("a sparse network keeps few of its weights", "the dense one keeps all", "and both read the same text")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing downloaded."""
    torch.set_num_threads(1)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_without_the_models_it_says_how_to_get_them() -> None:
    with pytest.raises(SuiteError, match=r"llm_pruning\.yaml.*hf download facebook/opt-125m"):
        load_suite(SUITE, load()).cells  # noqa: B018


def in_small(folder: Path) -> Path:
    """Its first experiment with an OPT of two blocks that reads bytes, and files of one's own."""
    from transformers import OPTConfig, OPTForCausalLM

    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=256,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=32,
        word_embed_proj_dim=16,
        max_position_embeddings=32,
    )
    OPTForCausalLM(config).save_pretrained(folder / "opt")
    (folder / "wikitext-2-raw").mkdir()
    text = "\n".join(WORDS[i % 3] for i in range(60))
    (folder / "wikitext-2-raw/wiki.test.raw").write_text(text)
    (folder / "c4.txt").write_text("\n<|endoftext|>\n".join(text[i:] for i in range(40)))
    suite: dict[str, Any] = yaml.safe_load(SUITE.read_text())
    experiment = suite.pop("experiments")["opt_125m"]
    experiment["architectures"]["opt_125m"]["model"] = "opt"
    c4 = {"use": "corpus", "path": "c4.txt", "name": "c4", "context": 32, "tokenizer": "bytes", "workers": 1}
    suite["benchmarks"] = {
        "c4": c4 | {"tokens": 20_000, "validation_fraction": 0.1, "test_fraction": 0.1},
        "wikitext_2": {"window": 32, "stride": 32, "tokenizer": "bytes"},
    }
    suite |= {"architectures": experiment["architectures"], "seeds": 1, "include": [{"benchmark": "wikitext_2"}]}
    suite["smallest_difference"] = {"wikitext_2": 0.1}
    for label, method in suite["methods"].items():
        if label.startswith(("wanda", "sparsegpt")):
            method["samples"] = 16
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(suite, sort_keys=False))
    return path


def test_every_method_of_it_prunes_a_trained_network_without_training(tmp_path: Path) -> None:
    registry, path = load(), in_small(tmp_path)
    suite = load_suite(path, registry, dry=True)
    for _, benchmark in suite.benchmarks():
        benchmark.prepare(download=False)
    graph = compile_graph(load_suite(path, registry).cells, registry)
    runner = StageRunner(registry, StageStore(tmp_path / "runs"), Substrate(0, 1, CPU))
    weights, records = {}, {}
    for planned in graph.cells:
        for stage in planned.stages:
            runner.run(stage)
        network = runner.restored(planned.stages[-1], planned.cell)
        weights[planned.cell.method] = network.module.state_dict()
        if planned.cell.method in ("dense", "wanda", "sparsegpt_owl_30", "sparsegpt_2_4"):
            records[planned.cell.method] = evaluated(planned, runner, registry, CPU).record.content()
    assert len(weights) == 12
    linear = 2 * (4 * 16 * 16 + 2 * 16 * 32)
    for method, record in records.items():
        asked = 1 if method == "dense" else 0.3 if method.endswith("30") else 0.5
        assert record["density"]["kept"] == round(asked * linear), method
        assert record["spent"]["steps"] == 0
        looks = 0 if method == "dense" else 16
        assert record["spent"]["calibration"] == {"batches": looks, "examples": looks}, method
        assert "wikitext-2: perplexity of wiki.test.raw, lines joined by blank lines" in record["benchmark"]["protocol"]
        assert "window 32, stride 32" in record["benchmark"]["protocol"]
        head = "model.model.decoder.embed_tokens.weight"
        assert torch.equal(weights[method][head], weights["dense"][head]), "only blocks are pruned"
    fc1 = "model.model.decoder.layers.1.fc1.weight"
    for method in ("magnitude", "wanda", "magnitude_2_4", "wanda_2_4"):
        kept = weights[method][fc1] != 0
        assert torch.equal(weights[method][fc1][kept], weights["dense"][fc1][kept]), method
    for method in ("magnitude_2_4", "wanda_2_4", "sparsegpt_2_4"):
        assert ((weights[method][fc1] != 0).reshape(-1, 4).sum(1) == 2).all(), method
    assert (weights["wanda"][fc1] != 0).sum(1).tolist() == [8] * 32
    assert len({tuple((weights[method][fc1] != 0).flatten().tolist()) for method in weights}) > 8
