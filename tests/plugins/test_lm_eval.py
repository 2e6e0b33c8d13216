"""The lm_eval benchmark: its catalogue, its documents, whole tasks, and lm-eval's own backend as the judge."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from harness import CorruptFile, DataMissing, DataSpec, Measurement, Metric, Scores, Unsupported, UserError
from harness_architectures.gpt2 import Gpt2, Gpt2Options, load_hf
from harness_architectures.gpt2_network import Gpt2Network, Gpt2Shape
from harness_language.tokenizers import tokenizer
from harness_lm_eval.benchmark import LmEval, LmEvalOptions
from harness_lm_eval.catalogue import Group, Task, find
from harness_lm_eval.columns import columns
from harness_lm_eval.documents import fetch, load, places

CPU = torch.device("cpu")
ROWS: dict[str, list[dict[str, Any]]] = {
    "hellaswag": [
        {
            "ctx_a": f"A man {what}.",
            "ctx_b": "he then",
            "activity_label": "Sport",
            "endings": ["falls [title] down.", "goes home.", "swims on.", f"{what}."],
            "label": str(number % 4),
        }
        for number, what in enumerate(["jumps high", "runs far", "eats a red apple"])
    ],
    "lambada_openai": [{"text": "the dog saw a cat and the cat saw the dog"}, {"text": "one two three four"}],
    "wikitext": [{"page": " = A title = \n the cat sat on the mat . "}, {"page": "hello @-@ world , again . " * 30}],
    "arc_easy": [
        {
            "question": "What is warm?",
            "choices": {"text": ["the sun", "ice", "snow"], "label": ["A", "B", "C"]},
            "answerKey": "A",
        },
        {"question": "What is wet?", "choices": {"text": ["a stone", "rain"], "label": ["1", "2"]}, "answerKey": "2"},
    ],
    "winogrande": [
        {"sentence": "Ann thanked Bea because _ had helped.", "option1": "Ann", "option2": "Bea", "answer": "2"},
        {"sentence": "Ann asked Bea because _ was lost.", "option1": "Ann", "option2": "Bea", "answer": "1"},
    ],
    "piqa": [{"goal": "To open a door,", "sol1": "turn the handle", "sol2": "sing", "label": 0}],
    "gsm8k": [{"question": f"What is 1 + {n}?", "answer": f"It is {n + 1}. #### {n + 1}"} for n in range(4)],
}
SPLITS = {"hellaswag": "validation", "winogrande": "validation", "piqa": "validation"}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    return tmp_path


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


def local(folder: Path, task: str) -> dict[str, str]:
    return {SPLITS.get(task, "test"): write(folder / f"{task}.jsonl", ROWS[task])}


def benchmark(task: str, **options: Any) -> LmEval:
    return LmEval(LmEvalOptions.model_validate({"task": task, "tokenizer": "bytes", **options}))


def network(vocabulary: int = 256, context: int = 512) -> Gpt2Network:
    torch.manual_seed(0)
    built = Gpt2Network(Gpt2Shape(vocabulary, vocabulary, context, 1, 16, 2, 32, 0.0, True, True)).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return built


def scores(asked: LmEval, model: Gpt2Network | None = None) -> Scores:
    found = asked.evaluate(model or network(), "test", CPU)
    assert list(found) == [metric.name for metric in asked.metrics]
    json.dumps(found.samples, allow_nan=False)
    return found


# Planning


def test_tasks_and_groups_are_found_with_their_metrics() -> None:
    hellaswag = find("hellaswag")
    assert isinstance(hellaswag, Task)
    assert hellaswag.config["process_docs"] == "utils.process_docs"
    assert [column.key for column in columns(hellaswag)] == ["acc,none", "acc_norm,none"]
    assert [column.metric for column in columns(find("lambada_openai"))] == [
        Metric("perplexity", "perplexity/target", "min"),
        Metric("acc", "fraction", "max"),
    ]
    assert [column.metric.direction for column in columns(find("wikitext"))] == ["min"] * 3
    assert [column.key for column in columns(find("gsm8k"))] == [
        "exact_match,strict-match",
        "exact_match,flexible-extract",
    ]
    mmlu = find("mmlu")
    assert isinstance(mmlu, Group)
    assert (len(mmlu.tasks), len(mmlu.groups)) == (57, 4)
    assert mmlu.tasks[0].config["output_type"] == "multiple_choice", "from the included template"
    assert [column.metric.name for column in columns(mmlu)] == ["acc"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hellaswg", r"unknown task 'hellaswg'\. Did you mean 'hellaswag'"),
        ("mlmu", "Did you mean 'mmlu'"),
        ("glue", "'glue' is a tag of tasks without a common score: name one of cola, mnli"),
        ("squadv2", "'squadv2' is a Python class"),
        ("humaneval", "runs the code that the network writes"),
    ],
)
def test_names_that_cannot_be_had(name: str, text: str) -> None:
    with pytest.raises(UserError, match=text):
        benchmark(name)


def test_planning_does_not_import_lm_eval(data: Path) -> None:
    code = """
import sys
from harness_lm_eval.benchmark import LmEval, LmEvalOptions
for task in ("hellaswag", "mmlu"):
    benchmark = LmEval(LmEvalOptions(task=task))
    assert benchmark.metrics and benchmark.protocol and benchmark.files()
print([name for name in ("lm_eval", "datasets", "transformers", "tiktoken") if name in sys.modules])
"""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert run.stdout.strip() == "[]", run.stderr


def test_protocol_and_fingerprint_say_what_changes_the_number(data: Path) -> None:
    files = local(data, "hellaswag")
    asked = benchmark("hellaswag", local_data=files, limit=2)
    assert asked.protocol.endswith("hellaswag version 1.0, 0-shot, first 2 documents of each task, "
                                   "documents from hellaswag.jsonl")  # fmt: skip
    before = asked.fingerprint()
    assert benchmark("hellaswag", local_data=files).fingerprint() == before
    assert benchmark("hellaswag", local_data=files, tokenizer="bytes").files() == [data / "hellaswag.jsonl"]
    write(data / "hellaswag.jsonl", ROWS["hellaswag"][:2])
    assert asked.fingerprint() != before
    assert benchmark("mmlu_anatomy", num_fewshot=5).protocol.endswith("5-shot")
    assert benchmark("blimp", num_fewshot=5).protocol.endswith("0-shot"), "its tasks fix 0"


def test_networks_that_cannot_be_scored() -> None:
    def gpt2(context: int, coder: str) -> Gpt2:
        return Gpt2(Gpt2Options(), DataSpec("language", (context,), 256, 10, context, coder))

    assert benchmark("hellaswag").unsupported(gpt2(64, "bytes")) is None
    assert "'tiktoken:gpt2'" in str(benchmark("hellaswag").unsupported(gpt2(64, "tiktoken:gpt2")))
    assert "writes up to 256 tokens" in str(benchmark("gsm8k").unsupported(gpt2(64, "bytes")))
    with pytest.raises(Unsupported, match="only evaluates"):
        benchmark("hellaswag").spec()
    with pytest.raises(ValidationError, match="task"):
        LmEvalOptions.model_validate({})


# Documents


def test_files_of_a_task(data: Path) -> None:
    anatomy = find("mmlu_anatomy")
    assert isinstance(anatomy, Task)
    folder = data / "lm_eval" / "cais--mmlu" / "anatomy"
    assert places(anatomy, None, None) == {"test": folder / "test.parquet"}
    assert places(anatomy, 5, None) == {"test": folder / "test.parquet", "dev": folder / "dev.parquet"}
    assert places(anatomy, 0, {"test": "{name}/{task}.jsonl"}) == {"test": data / "anatomy/mmlu_anatomy.jsonl"}
    with pytest.raises(UserError, match="needs the split 'dev', but local_data has test"):
        places(anatomy, 5, {"test": "x.jsonl"})
    with pytest.raises(UserError, match=r"x\.txt must be one of \.jsonl"):
        places(anatomy, 0, {"test": "x.txt"})


def test_tasks_on_other_files_of_one_data_set_keep_files_of_their_own(data: Path) -> None:
    def place(**options: Any) -> Path:
        config = {"dataset_path": "owner/set", "test_split": "test", "dataset_kwargs": options}
        return places(Task("t", Path(), config), None, None)["test"]

    plain = data / "lm_eval/owner--set/default/test.parquet"
    assert place() == place(trust_remote_code=True) == plain
    one, other = place(data_files={"test": "one.json"}), place(data_files={"test": "other.json"})
    assert len({plain, one, other}) == 3 and one == place(data_files={"test": "one.json"})


def test_missing_and_broken_documents_say_what_to_do(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = benchmark("piqa")
    for call in (asked.fingerprint, asked.prepare, lambda: asked.prepare(download=False), lambda: scores(asked)):
        with pytest.raises(DataMissing, match=r"piqa/default/validation\.parquet is not here.*local_data"):
            call()
    with pytest.raises(DataMissing, match="HF_HUB_OFFLINE is set"):
        asked.prepare()
    broken = benchmark("piqa", local_data={"validation": "piqa.jsonl"})
    with pytest.raises(DataMissing):
        broken.prepare()
    (data / "piqa.jsonl").write_text('{"goal": "a"}\n{"goal": \n')
    with pytest.raises(CorruptFile, match=r"piqa\.jsonl:2: "):
        scores(broken)
    (data / "piqa.jsonl").write_text('{"goal": "a"}\n')
    with pytest.raises(UserError, match=r"'piqa' cannot be made of its documents.*columns"):
        scores(broken)
    (data / "piqa.parquet").write_text("no parquet")
    with pytest.raises(CorruptFile, match=r"piqa\.parquet cannot be read"):
        scores(benchmark("piqa", local_data={"validation": "piqa.parquet"}))


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield server.server_name
    server.shutdown()
    thread.join()
    server.server_close()


def test_fetched_documents_are_kept_and_used(data: Path, endpoint: str) -> None:
    name = write(data / "rows.jsonl", ROWS["piqa"])
    config = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"validation": str(data / name)}}}
    path = data / "lm_eval/x/validation.parquet"
    fetch(Task("piqa", Path(), config), "validation", path)
    assert [entry.name for entry in path.parent.iterdir()] == ["validation.parquet"]
    kept = load({"validation": str(path)}, str(data / "work"))["validation"]
    assert kept.to_list() == ROWS["piqa"]
    assert scores(benchmark("piqa", local_data={"validation": "lm_eval/x/validation.parquet"}))["acc"].n == 1
    with pytest.raises(DataMissing, match=r"json \(train\) cannot be fetched"):
        fetch(Task("piqa", Path(), config), "train", path)


# Whole tasks


def logprob(model: Gpt2Network, context: str, target: str) -> float:
    """By hand: all logits of one sequence, in float64."""
    text = torch.tensor([list((context + target).encode())])
    logprobs = model.double()(text[:, :-1])[0].log_softmax(-1)
    model.float()
    first = len(context.encode())
    return float(sum(logprobs[i - 1, text[0, i]] for i in range(first, text.shape[1])))


@torch.no_grad()
def test_multiple_choice_by_hand(data: Path) -> None:
    model = network()
    found = scores(benchmark("hellaswag", local_data=local(data, "hellaswag")), model)
    right, right_norm = [], []
    for row, sample in zip(ROWS["hellaswag"], found.samples, strict=True):
        context = f"Sport: {row['ctx_a']} {row['ctx_b'].capitalize()}"
        endings = [ending.replace(" [title]", ". ").replace("  ", " ") for ending in row["endings"]]
        totals = [logprob(model, context, f" {ending}") for ending in endings]
        assert [answer[0][0] for answer in sample["answers"]] == pytest.approx(totals, abs=1e-4)
        norms = [total / len(ending) for total, ending in zip(totals, endings, strict=True)]
        right.append(float(totals.index(max(totals)) == int(row["label"])))
        right_norm.append(float(norms.index(max(norms)) == int(row["label"])))
        assert sample["metrics"] == {"acc": right[-1], "acc_norm": right_norm[-1]}
    for name, expected in (("acc", Measurement.mean(torch.tensor(right))),
                           ("acc_norm", Measurement.mean(torch.tensor(right_norm)))):  # fmt: skip
        assert (found[name].value, found[name].n) == (pytest.approx(expected.value), 3)
        assert found[name].stderr == pytest.approx(expected.stderr)
        kept = found[name].examples
        assert kept is not None and expected.examples is not None and kept.unit == "document"
        assert kept.values.tolist() == expected.examples.values.tolist()
    assert benchmark("hellaswag").evaluate(model, "validation", CPU) == {}


@torch.no_grad()
def test_loglikelihood_and_rolling_by_hand(data: Path) -> None:
    model = network()
    found = scores(benchmark("lambada_openai", local_data=local(data, "lambada_openai")), model)
    totals = [logprob(model, row["text"].rpartition(" ")[0], f" {row['text'].rpartition(' ')[2]}")
              for row in ROWS["lambada_openai"]]  # fmt: skip
    assert found["perplexity"].value == pytest.approx(math.exp(-sum(totals) / 2), rel=1e-4)
    assert found["perplexity"].stderr is not None
    kept = found["perplexity"].examples
    assert kept is not None and kept.transform == "exp_mean"
    assert kept.values == pytest.approx([-total for total in totals], rel=1e-4)
    found = scores(benchmark("wikitext", local_data=local(data, "wikitext")), model)
    texts = [sample["target"] for sample in found.samples]
    short, long = texts
    assert 512 < len(long) < 1024, "two windows"
    totals = [logprob(model, "\n", short)]
    # The second window is filled up with context from the left.
    totals.append(logprob(model, "\n", long[:512]) + logprob(model, long[len(long) - 513 : 512], long[512:]))
    sizes = [len(row["page"].encode()) for row in ROWS["wikitext"]]
    expected = -sum(totals) / sum(sizes) / math.log(2)
    assert found["bits_per_byte"].value == pytest.approx(expected, rel=1e-5)
    assert found["byte_perplexity"].value == pytest.approx(2**expected, rel=1e-5)
    for name, transform in (("bits_per_byte", "ratio"), ("byte_perplexity", "exp_ratio")):
        kept = found[name].examples
        assert kept is not None and kept.sizes is not None and kept.transform == transform
        assert kept.sizes.tolist() == sizes and kept.value == pytest.approx(found[name].value)
    ratio = Measurement.ratio(-torch.tensor(totals), torch.tensor(sizes))
    assert found["bits_per_byte"].stderr == pytest.approx(ratio.stderr / math.log(2), rel=1e-4)  # type: ignore[operator]
    assert found["byte_perplexity"].stderr == pytest.approx(ratio.stderr * 2**expected, rel=1e-4)  # type: ignore[operator]


def test_a_group_within_groups_is_the_mean_over_documents(data: Path) -> None:
    group = find("mmlu")
    assert isinstance(group, Group)
    for number, task in enumerate(group.tasks):
        rows = [
            {"question": f"{number}?" * (1 + i), "choices": ["a", "b", "c", "d"], "answer": (number + i) % 4}
            for i in range(1 + number % 3)
        ]
        write(data / f"{task.config['dataset_name']}.jsonl", rows)
    found = scores(benchmark("mmlu", local_data={"test": "{name}.jsonl"}))
    values = [sample["metrics"]["acc"] for sample in found.samples]
    assert found["acc"].n == len(values) == 19 * (1 + 2 + 3)
    assert 0 < found["acc"].value < 1
    assert found["acc"].value == pytest.approx(sum(values) / len(values))
    assert {sample["task"] for sample in found.samples} == {task.name for task in group.tasks}


def test_a_group_can_be_the_mean_over_tasks(data: Path) -> None:
    group = find("blimp")
    assert isinstance(group, Group)
    for number, task in enumerate(group.tasks):
        rows = [{"sentence_good": "b" * (1 + (number + i) % 3), "sentence_bad": "bb"} for i in range(2 + number % 2)]
        write(data / f"{task.config['dataset_name']}.jsonl", rows)
    found = scores(benchmark("blimp", local_data={"train": "{name}.jsonl"}))
    values: dict[str, list[float]] = {}
    for sample in found.samples:
        values.setdefault(sample["task"], []).append(sample["metrics"]["acc"])
    tasks = [Measurement.mean(torch.tensor(accuracies)) for accuracies in values.values()]
    assert (len(tasks), found["acc"].n) == (67, 2 * 34 + 3 * 33)
    assert found["acc"].value == pytest.approx(sum(task.value for task in tasks) / 67)
    assert found["acc"].examples is None
    variance = sum(task.stderr**2 for task in tasks if task.stderr is not None)
    assert found["acc"].stderr == pytest.approx(math.sqrt(variance) / 67)


def test_examples_in_the_prompt_and_generated_answers(data: Path) -> None:
    files = {split: write(data / f"{split}.jsonl", ROWS["gsm8k"]) for split in ("test", "train")}
    found = scores(benchmark("gsm8k", local_data=files, num_fewshot=1, limit=2), network(context=700))
    assert [(sample["doc_id"], sample["filter"]) for sample in found.samples] == [
        (0, "strict-match"),
        (1, "strict-match"),
        (0, "flexible-extract"),
        (1, "flexible-extract"),
    ]
    assert found["exact_match.strict-match"] == Measurement(0.0, 2, 0.0)
    with pytest.raises(Unsupported, match=r"do not fit into the network's context of 100"):
        scores(benchmark("gsm8k", local_data=files, num_fewshot=1, limit=2), network(context=100))


def test_evaluation_leaves_no_traces(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = local(data, "piqa")
    before = dict(os.environ)
    scores(benchmark("piqa", local_data=files))
    assert dict(os.environ) == before
    assert [entry.name for entry in data.iterdir()] == ["piqa.jsonl"]
    assert capfd.readouterr() == ("", "")


# lm-eval's own backend as the judge


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Callable[[], Any]]:
    """lm-eval's HFLM around a random GPT-2 of transformers, and our adapter around equal weights."""
    pytest.importorskip("accelerate", reason="lm-eval's backend for transformers needs accelerate")
    from lm_eval.models.huggingface import HFLM
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    from harness_lm_eval.adapter import HarnessLM

    path = tmp_path_factory.mktemp("tokenizer") / "bpe.json"
    bpe = ByteLevelBPETokenizer()
    words = [json.dumps(rows) for rows in ROWS.values()] * 3
    bpe.train_from_iterator(words, vocab_size=400, min_frequency=2, special_tokens=["<|endoftext|>"])
    bpe.save(str(path))
    coder = tokenizer(str(path))
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=coder.vocabulary, n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=0,
                        eos_token_id=0, initializer_range=0.3)  # fmt: skip
    published = GPT2LMHeadModel(config).eval()
    ours = Gpt2Network(Gpt2Shape(coder.vocabulary, coder.vocabulary, 64, 2, 16, 2, 64, 0.0, True, True)).eval()
    load_hf(ours, published.state_dict())
    fast = PreTrainedTokenizerFast(
        tokenizer_file=str(path), eos_token="<|endoftext|>", bos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    theirs = HFLM(pretrained=published, tokenizer=fast, batch_size=3, device="cpu")
    return theirs, lambda: HarnessLM(ours, coder, CPU)


@pytest.mark.filterwarnings("ignore")
def test_equal_to_lm_evals_own_backend(judged: tuple[Any, Callable[[], Any]], data: Path) -> None:
    from harness_lm_eval.evaluation import loaded

    theirs, make = judged
    ours = make()
    kinds = set()
    for task in ("hellaswag", "lambada_openai", "wikitext", "arc_easy", "winogrande", "piqa"):
        with loaded(find(task), None, local(data, task)) as built:
            built["tasks"][task].build_all_requests()
            asked = built["tasks"][task].instances
            kind = asked[0].request_type
            kinds.add(kind)
            expected = getattr(theirs, kind)(asked, disable_tqdm=True)
            found = getattr(ours, kind)(asked)
        if kind == "loglikelihood":
            assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
            found, expected = [total for total, _ in found], [total for total, _ in expected]
        assert found == pytest.approx(expected, abs=1e-4), task
    assert kinds == {"loglikelihood", "loglikelihood_rolling"}


@pytest.mark.filterwarnings("ignore")
def test_generated_text_is_that_of_lm_evals_own_backend(judged: tuple[Any, Callable[[], Any]]) -> None:
    from lm_eval.api.instance import Instance

    theirs, make = judged
    prompts = ["the cat", "A man runs far. " * 20, "What is"]
    for options in ({"until": ["a", " t"], "max_gen_toks": 12}, {"until": [], "max_gen_toks": 20, "do_sample": False}):
        asked = [Instance("generate_until", {}, (prompt, dict(options)), 0) for prompt in prompts]
        assert make().generate_until(asked) == theirs.generate_until(asked, disable_tqdm=True)
    sampled = Instance("generate_until", {}, ("a", {"until": [], "do_sample": True}), 0)
    with pytest.raises(Unsupported, match="only greedy"):
        make().generate_until([sampled])
