"""Preparing corpora: formats, splits, workers, kills, several processes, full disks, no network."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import CorruptFile, DataMissing, UserError
from harness.storage.leases import Lease, Leases
from harness_language.corpora import hub
from harness_language.corpora.local_files import LocalFiles
from harness_language.corpora.preparation import LEASE, Preparation
from harness_language.corpus import Corpus, CorpusOptions

WORDS = {"<|endoftext|>": 2, "document": 3, "lorem": 4, "ipsum": 5, "dolor": 6}
TEXTS = [f"document {i}: " + "lorem ipsum dolor " * (i * 7919 % 1000) for i in range(600)]
SCRIPT = """
import sys
from pathlib import Path
from harness import HarnessError, data_directory
from harness_language.corpora.local_files import LocalFiles
from harness_language.corpora.preparation import Preparation
from harness_language.corpora.preparation import Pass, Preparation

def preparation(name, train, held=None, tokens=None, size=10**9, workers=1):
    root = data_directory()
    passes = [Pass(LocalFiles(root / train, "text", ""), 0.01, 0.01, ("train",))]
    if held:
        passes.append(Pass(LocalFiles(root / held, "text", ""), 0.5, 0.5, ("validation", "test")))
    limits = {"train": tokens, "validation": None, "test": None}
    return Preparation(root / "corpora" / name, "bytes", passes, limits, size, workers, {})

if __name__ == "__main__":
    try:
        preparation(**eval(sys.argv[1])).run()
    except HarnessError as error:
        sys.exit(f"{type(error).__name__}: {error}")
"""


def preparation(**options: Any) -> Preparation:
    """What a process of SCRIPT runs, in this one."""
    namespace: dict[str, Any] = {}
    exec(SCRIPT, namespace)
    made: Preparation = namespace["preparation"](**options)
    return made


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("HARNESS_DATA", str(root))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return root


@pytest.fixture
def words(data: Path) -> str:
    """A tokenizer with an end token; every word that it does not know is 0."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    coder = Tokenizer(models.WordLevel({"?": 0, "<pad>": 1, **WORDS}, unk_token="?"))
    coder.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    coder.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    coder.save(str(data / "words.json"))
    return "words.json"


@pytest.fixture
def texts(data: Path) -> str:
    (data / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return "texts.jsonl"


def corpus(**options: object) -> Corpus:
    given = {"tokenizer": "bytes", "context": 8, "name": "c", "workers": 1, **options}
    return Corpus(CorpusOptions.model_validate(given))


def written(data: Path, name: str = "c") -> dict[str, bytes]:
    files = sorted((data / "corpora" / name).glob("*"))
    return {path.name: path.read_bytes() for path in files if not path.name.startswith(LEASE)}


def start(data: Path, before: str = "", **options: Any) -> subprocess.Popen[str]:
    """A process that prepares, without torch: it starts at once."""
    script = data.parent / "prepare.py"
    script.write_text(before + SCRIPT)
    return subprocess.Popen([sys.executable, str(script), repr(options)], stderr=subprocess.PIPE, text=True)


def naive(texts: list[str], validation: float, test: float, words: bool = False) -> dict[str, list[int]]:
    """Tokens of each split, one document after the other."""
    splits: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for text in texts:
        place = int(hashlib.sha256(text.encode()).hexdigest(), 16) / 2**256
        name = "validation" if place < validation else "test" if place < validation + test else "train"
        splits[name] += [*(WORDS.get(w, 0) for w in text.split()), 2] if words else text.encode()
    return splits


# --- what is written -----------------------------------------------------------------------------


def test_shards_hold_the_documents_of_their_split(data: Path, texts: str, words: str) -> None:
    corpus(path=texts, tokenizer=words, validation_fraction=0.2, test_fraction=0.1, shard_tokens=200_000).prepare()
    expected = naive(TEXTS, 0.2, 0.1, words=True)
    manifest = json.loads(written(data)["manifest.json"])
    for split, tokens in expected.items():
        shards = manifest["splits"][split]["shards"]
        sizes = [200_000] * (len(tokens) // 200_000) + [len(tokens) % 200_000]
        assert [shard["tokens"] for shard in shards] == sizes
        content = b"".join(written(data)[shard["file"]] for shard in shards)
        assert np.array_equal(np.frombuffer(content, "<u2"), tokens)
        for shard in shards:
            assert shard["sha256"] == hashlib.sha256(written(data)[shard["file"]]).hexdigest()
    assert sum(manifest["splits"][split]["documents"] for split in expected) == len(TEXTS)
    assert manifest["identity"].startswith("tokenizers:") and manifest["complete"] and manifest["end"] == 2


def test_any_number_of_workers_writes_the_same(data: Path, texts: str) -> None:
    for workers in (1, 3):
        corpus(path=texts, workers=workers, name=f"w{workers}", shard_tokens=700_001).prepare()
    assert written(data, "w1") == written(data, "w3")
    assert len(written(data, "w1")) > 6


def test_formats_with_the_same_documents_give_the_same_shards(data: Path) -> None:
    from pyarrow import Table, parquet

    documents = [f'Title {i}\n\nsome text, with "quotes" and ümlauts\n' for i in range(50)]
    rows = [{"id": i, "body": text} for i, text in enumerate(documents)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    marked = "".join(f"{text}<|endoftext|>\n" for text in documents)
    (data / "a.jsonl").write_text(lines)
    (data / "a.json").write_text(json.dumps(rows))
    with gzip.open(data / "a.jsonl.gz", "wt") as packed:
        packed.write(lines)
    with gzip.open(data / "a.txt.gz", "wt") as packed:
        packed.write(marked)
    parquet.write_table(Table.from_pylist(rows), data / "a.parquet", row_group_size=7)
    with gzip.open(data / "a.csv.gz", "wt", newline="") as packed:
        writer = csv.DictWriter(packed, ["id", "body"])
        writer.writeheader()
        writer.writerows(rows)
    (data / "folder" / "sub").mkdir(parents=True)
    (data / "folder" / ".hidden.txt").write_text("no")
    (data / "folder" / "sub" / "b.txt").write_text(marked[700:])
    (data / "folder" / "a.txt").write_text(marked[:700])
    names = ["a.jsonl", "a.json", "a.jsonl.gz", "a.txt.gz", "a.parquet", "a.csv.gz"]
    for name in names:
        corpus(path=name, text_field="body", name=name, validation_fraction=0.1, test_fraction=0.1).prepare()
    contents = [{k: v for k, v in written(data, name).items() if k.endswith(".bin")} for name in names]
    assert all(content == contents[0] for content in contents)
    expected = naive(documents, 0.1, 0.1)
    assert contents[0]["train_00000.bin"] == np.array(expected["train"], "<u2").tobytes()
    assert [path.name for path in LocalFiles(data / "folder", "text", "").paths] == ["a.txt", "b.txt"]
    assert [path.name for path in LocalFiles(data / "a.json*", "text", "").paths] == ["a.json", "a.jsonl", "a.jsonl.gz"]


def test_splits_of_their_own(data: Path, texts: str) -> None:
    (data / "held.jsonl").write_text("".join(json.dumps({"text": f"held out {i}"}) + "\n" for i in range(100)))
    (data / "test.txt").write_text("for the test")
    corpus(path=texts, validation_path="held.jsonl", name="halves").prepare()
    halves = naive([f"held out {i}" for i in range(100)], 0.5, 0.5)
    found = written(data, "halves")
    for split in ("validation", "test"):
        assert list(found[f"{split}_00000.bin"][::2]) == halves[split]
    assert list(found["train_00000.bin"][::2]) == naive(TEXTS, 0, 0)["train"]
    corpus(path=texts, test_path="test.txt", validation_fraction=0.1, name="own").prepare()
    assert written(data, "own")["test_00000.bin"][::2] == b"for the test"
    assert list(written(data, "own")["validation_00000.bin"][::2]) == naive(TEXTS, 0.1, 0)["validation"]


def test_target_number_of_tokens(data: Path, texts: str) -> None:
    corpus(path=texts, tokens=1_500_000, validation_tokens=1000, validation_fraction=0.1).prepare()
    manifest = json.loads(written(data)["manifest.json"])
    assert manifest["splits"]["train"]["shards"][0]["tokens"] == 1_500_000
    assert manifest["splits"]["validation"]["shards"][0]["tokens"] == 1000
    assert manifest["complete"] is False
    assert list(written(data)["train_00000.bin"][::2]) == naive(TEXTS, 0.1, 0.005)["train"][:1_500_000]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"one\r\n<|endoftext|>\r\ntwo\r\n"),
        ("a.csv", b'text,n\r\n"one\r\n",1\r\n"two\r\n",2\r\n'),
        ("a.jsonl", b'{"text": "one\\n"}\n{"text": "two\\n"}\n'),
        ("a.json", b'[{"text": "one\\n"}, {"text": "two\\n"}]'),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_marks_and_the_line_ends_of_windows_are_no_text(data: Path, name: str, content: bytes, mark: bytes) -> None:
    (data / name).write_bytes(mark + content)
    corpus(path=name, validation_fraction=0, test_fraction=0).prepare()
    assert written(data)["train_00000.bin"][::2].replace(b"\0", b"") == b"one\ntwo\n"


def test_rows_without_text_can_be_left_out(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "a.jsonl").write_text('{"text": "a"}\n{"text": null}\n{"text": ""}\n{"text": "b"}\n')
    corpus(path="a.jsonl", validation_fraction=0, test_fraction=0, skip_empty=True).prepare()
    assert written(data)["train_00000.bin"][::2].replace(b"\0", b"") == b"ab"
    assert "2 rows without text were left out" in capsys.readouterr().err


def test_half_a_character_in_json(data: Path) -> None:
    (data / "a.jsonl").write_text(r'{"text": "a\ud800b"}')
    corpus(path="a.jsonl", validation_fraction=0, test_fraction=0).prepare()
    assert written(data)["train_00000.bin"][::2] == b"a?b"


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', UserError, "a.jsonl:2: no valid JSON"),
        ("a.jsonl", b'{"body": "a"}\n', UserError, "no column 'text', but body. Set `text_field`"),
        ("a.jsonl", b'{"text": 3}\n', UserError, "row 1: 'text' is int, must be text"),
        ("a.txt", b"\xff\xfe", UserError, "a.txt is not all UTF-8"),
        ("a.txt.gz", gzip.compress(b"hello" * 99, mtime=0)[:-9], CorruptFile, "a.txt.gz is truncated"),
        ("a.parquet", b"PAR1 no", CorruptFile, "cannot be read as Parquet"),
        ("a.csv", b"id,body\n1,2\n", UserError, "no column 'text', but id, body"),
        (
            "a.csv",
            b'text,n\na,1\n"b,2\nc,3\n',
            UserError,
            "the row after row 1, which ends with line 2, is no valid CSV",
        ),
        (
            "a.jsonl",
            b'{"text": null}\n',
            UserError,
            "must be text. Give skip_empty: true to leave out rows without text",
        ),
        ("a.jsonl", b'{"text": ' + b"[" * 100_000, UserError, "a.jsonl:1: no valid JSON"),
        ("a.txt", b" \n", DataMissing, "holds no training text"),
        ("a.doc", b"", DataMissing, "no file, folder or pattern"),
    ],
)
def test_wrong_sources(data: Path, name: str, content: bytes, error: type[Exception], said: str) -> None:
    (data / name).write_bytes(content)
    with pytest.raises(error, match=said):
        corpus(path=name).prepare()
    assert not (data / "corpora/c/manifest.json").exists()


# --- kills, neighbours, full disks ---------------------------------------------------------------


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
def test_killed_preparation_goes_on_with_the_same_bytes(data: Path, capfd: Any) -> None:
    documents = [json.dumps({"text": text}) for text in TEXTS]
    (data / "train.jsonl").write_text("\n".join(documents))
    (data / "held.jsonl").write_text("\n".join(documents[:9]))
    # A whole number of shards: the limit and the end of a shard are reached at once.
    options = {"train": "train.jsonl", "held": "held.jsonl", "size": 250_000, "tokens": 5_000_000}
    preparation(**options, name="whole").run()
    process = start(data, **options, name="c", workers=2)
    folder = data / "corpora" / "c"
    while not (folder / "journal.npz").exists() or not (folder / "train_00002.bin").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "manifest.json").exists(), "it was killed too late to say anything"
    assert len(workers) >= 2
    (folder / ".train_00009.bin.xyz.tmp").write_bytes(b"half")
    finished = (folder / "train_00000.bin").stat().st_mtime_ns
    preparation(**options, name="c").run()
    assert "goes on after" in capfd.readouterr().err
    assert written(data) == written(data, "whole")
    assert (folder / "train_00000.bin").stat().st_mtime_ns == finished, "a finished shard was written again"
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()], "workers outlive their parent"


def test_killed_when_all_training_tokens_are_there(data: Path, texts: str) -> None:
    options = {"train": texts, "size": 500_000, "tokens": 2_000_000}
    preparation(**options, name="whole").run()
    with pytest.raises(KeyboardInterrupt):
        interrupted(preparation(**options, name="c"), after=4).run()
    assert (data / "corpora/c/journal.npz").exists()
    preparation(**options, name="c").run()
    assert written(data) == written(data, "whole")


def test_changed_source_begins_anew(data: Path, texts: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(preparation(train=texts, size=500_000, name="c"), after=2).run()
    (data / texts).write_text(json.dumps({"text": "another"}) + "\n")
    preparation(train=texts, size=500_000, name="c").run()
    assert sorted(written(data)) == ["manifest.json", "train_00000.bin"]
    assert written(data)["train_00000.bin"][::2] == b"another"


def interrupted(made: Preparation, after: int) -> Preparation:
    """The same, with Ctrl-C when there are so many training shards, after the journal has noted them."""
    note = made._note

    def stop(*arguments: Any) -> None:
        note(*arguments)
        if len(made.writers["train"].shards) >= after:
            raise KeyboardInterrupt

    made._note = stop  # type: ignore[method-assign]
    return made


def leases(data: Path) -> Leases:
    """Those of the corpus ``c``, as any process on any machine sees them."""
    return Leases(data / "corpora" / "c")


def said_that_it_waits(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "prepares it; waiting" in line
    return line


def test_two_processes_at_once(data: Path, texts: str) -> None:
    preparation(train=texts, size=1_000_000, name="alone").run()
    with leases(data).hold(LEASE, lambda: None):
        both = [start(data, train=texts, size=1_000_000, name="c") for _ in range(2)]
        for process in both:
            assert f"process {os.getpid()} on " in said_that_it_waits(process)
        assert written(data) == {}
    assert [(process.communicate(timeout=600), process.returncode)[1] for process in both] == [0, 0]
    assert written(data) == written(data, "alone")
    assert list((data / "corpora" / "c").glob(".*")) == []


def test_whoever_waits_uses_what_another_machine_has_prepared(data: Path, texts: str) -> None:
    preparation(train=texts, size=1_000_000, name="alone").run()
    path = data / "corpora" / "c" / f"{LEASE}.1"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"nonce": "other", "machine": "elsewhere", "pid": 1, "started": "1", "host": "far"}))
    process = start(data, train=texts, size=1_000_000, name="c")
    assert "process 1 on far prepares it; waiting" in said_that_it_waits(process)
    assert written(data) == {}
    for name, content in written(data, "alone").items():  # what the other machine writes
        (data / "corpora" / "c" / name).write_bytes(content)
    times = {path.name: path.stat().st_mtime_ns for path in (data / "corpora" / "c").glob("*.bin")}
    path.unlink()
    process.communicate(timeout=600)
    assert process.returncode == 0
    assert {path.name: path.stat().st_mtime_ns for path in (data / "corpora" / "c").glob("*.bin")} == times


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="elsewhere a zombie counts as alive")
def test_when_the_first_is_killed_the_second_takes_over(data: Path, texts: str) -> None:
    preparation(train=texts, size=1_000_000, name="whole").run()
    hold = "import time\nfrom harness_language.corpora.preparation import Preparation\n"
    hold += "note = Preparation._note\n"
    hold += "Preparation._note = lambda *a: (note(*a), time.sleep(600))\n"  # after the first shard
    first = start(data, hold, train=texts, size=1_000_000, name="c")
    while not (data / "corpora/c/journal.npz").exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    second = start(data, train=texts, size=1_000_000, name="c")
    assert f"process {first.pid} on " in said_that_it_waits(second)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    _, said = second.communicate(timeout=600)
    assert second.returncode == 0 and "goes on after" in said
    assert written(data) == written(data, "whole")


def test_whoever_was_taken_for_dead_waits_and_uses_the_others_work(data: Path, texts: str, capfd: Any) -> None:
    preparation(train=texts, size=1_000_000, name="whole").run()
    slow, other = (preparation(train=texts, size=1_000_000, name="c") for _ in range(2))
    note = slow._note
    held: list[Lease] = []
    read = slow._read

    def remember(*arguments: Any) -> None:
        held.append(arguments[-1])
        read(*arguments)

    def stand_still(*arguments: Any) -> None:
        note(*arguments)
        slow._note = note  # type: ignore[method-assign]
        for path in (data / "corpora" / "c").glob(f"{LEASE}.*"):
            path.unlink()
        other.run()
        held[0].lost = True  # which its thread sees a little later

    slow._note, slow._read = stand_still, remember  # type: ignore[method-assign]
    slow.run()
    assert "another one took over" in capfd.readouterr().err
    assert len(held) == 1, "the second time there was nothing to do"
    assert written(data) == written(data, "whole")


def test_full_disk(data: Path, texts: str) -> None:
    limit = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, -1))\n"
    process = start(data, limit, train=texts, size=10**6, name="c")
    _, said = process.communicate()
    assert process.returncode == 1
    assert "StorageError: cannot write" in said and "train_00000.bin" in said
    assert written(data) == {}
    preparation(train=texts, name="c").run()
    assert len(written(data)) == 4


def test_one_large_text(data: Path) -> None:
    text = "line\n" * 300_000
    (data / "a.txt").write_text(text)
    (data / "b.txt").write_text("more")
    corpus(path="*.txt", validation_fraction=0, test_fraction=0).prepare()
    assert written(data)["train_00000.bin"][::2].decode() == text + "more"


# --- the hub -------------------------------------------------------------------------------------


def online(**options: object) -> Corpus:
    return corpus(dataset="owner/name", name=None, **options)


def test_unreachable_hub_is_an_error_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    begin = time.monotonic()
    with pytest.raises(
        DataMissing, match=r"owner/name.*127.0.0.1:9 does not answer.*HF_ENDPOINT.*`path`.*HARNESS_DATA"
    ):
        online().prepare()
    assert time.monotonic() - begin < 3


def test_hub_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(DataMissing, match="does not answer"):
            online().prepare()


def test_offline_on_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataMissing, match=r"HF_HUB_OFFLINE is set\. Unset it"):
        online().prepare()


def test_no_download_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(DataMissing, match="'owner--name' is not whole in"):
            online().prepare(download=False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_streams_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import Table, parquet

    folder = tmp_path / "set"
    folder.mkdir()
    texts = [f"row {i}" for i in range(60)]
    for part in range(3):
        rows = [{"text": text, "other": 1} for text in texts[part * 20 : part * 20 + 20]]
        parquet.write_table(Table.from_pylist(rows), folder / f"train-{part}.parquet", row_group_size=6)
    monkeypatch.setattr(hub, "CHUNK", 50)

    def stream(position: Any) -> list[Any]:
        return list(hub.HubDataset(str(folder), None, "train", "text", None, False).chunks(position))

    chunks = stream(None)
    assert [text for chunk in chunks for text in chunk.texts if text] == texts
    assert len(chunks) > 5
    for number in (0, 3, len(chunks) - 2):
        rest = stream(json.loads(json.dumps(chunks[number].position)))
        assert [chunk.texts for chunk in rest] == [chunk.texts for chunk in chunks[number + 1 :]]
    with pytest.raises(UserError, match="no column 'body', but text, other"):
        list(hub.HubDataset(str(folder), None, "train", "body", None, False).chunks(None))
    with pytest.raises(DataMissing, match=r"cannot be read.*ValueError.*Check `dataset`"):
        list(hub.HubDataset(str(folder), None, "valid", "text", None, False).chunks(None))


def test_lines_of_articles_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    articles = [["", f" = Article {i} = \n", "", " text \n", " = = Section = = \n", " more \n"] for i in range(9)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for a in articles for line in a))
    monkeypatch.setattr(hub, "CHUNK", 70)

    def stream(position: Any) -> list[Any]:
        return list(hub.HubDataset(str(tmp_path), None, "train", "text", None, True).chunks(position))

    chunks = stream(None)
    documents = [text for chunk in chunks for text in chunk.texts if text.strip()]
    assert documents == ["".join(article) for article in articles]
    rest = stream(json.loads(json.dumps(chunks[1].position)))
    assert [chunk.texts for chunk in rest] == [chunk.texts for chunk in chunks[2:]]


# --- real text -----------------------------------------------------------------------------------


@pytest.mark.skipif("HARNESS_TEST_DATA" not in os.environ, reason="HARNESS_TEST_DATA names no folder of real data")
def test_wikipedia(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tiktoken

    real = Path(os.environ["HARNESS_TEST_DATA"])
    if not (real / "lm_wikipedia").is_dir():
        pytest.skip(f"{real} has no lm_wikipedia")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(real / "tiktoken"))
    files = real / "lm_wikipedia"
    benchmark = corpus(
        path=files / "wikipedia_en_2014_train_*.txt.gz",
        validation_path=files / "wikipedia_en_2014_valid.txt.gz",
        tokenizer="gpt2",
        tokens=200_000,
    )
    benchmark.prepare(download=False)
    with gzip.open(files / "wikipedia_en_2014_train_00.txt.gz", "rt", encoding="utf8") as text:
        beginning = text.read(2_000_000)
    direct = tiktoken.get_encoding("gpt2").encode(beginning, allowed_special="all")
    # The line break behind a mark belongs to the mark.
    expected = [t for before, t in zip([0, *direct], direct, strict=False) if (before, t) != (50256, 198)][:200_000]
    assert np.frombuffer(written(data)["train_00000.bin"], "<u2").tolist() == expected
    held = benchmark.manifest.splits
    assert held["validation"].tokens + held["test"].tokens == 519_170 - 1000
    assert held["validation"].documents is not None and held["test"].documents is not None
    assert held["validation"].documents + held["test"].documents == 1000
    assert benchmark.spec().tokenizer == "tiktoken:gpt2"
