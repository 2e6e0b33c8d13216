"""Evaluations of language models: where their data is, what it takes to fetch it, and bad input."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from harness import Architecture, Connection, CorruptFile, DataMissing, DataSpec, NoOptions, Unsupported, UserError
from harness_language.evaluations.characters import Enwik8, Text8
from harness_language.evaluations.childrens_book import CommonNouns, CommonNounsNdna, NamedEntities, NamedEntitiesNdna
from harness_language.evaluations.hellaswag import Hellaswag, HellaswagNdna
from harness_language.evaluations.lambada import Lambada, LambadaNdna
from harness_language.evaluations.penn_treebank import PennTreebank
from harness_language.evaluations.perplexity import Perplexity
from harness_language.evaluations.samples import TextSamples
from harness_language.evaluations.source import PublishedFile
from harness_language.evaluations.wikitext import Wikitext2, Wikitext103

CPU = torch.device("cpu")
FILES = [
    CommonNouns,
    CommonNounsNdna,
    Enwik8,
    Hellaswag,
    HellaswagNdna,
    Lambada,
    LambadaNdna,
    NamedEntities,
    NamedEntitiesNdna,
    PennTreebank,
    Text8,
    Wikitext103,
    Wikitext2,
]


def make(cls: type[Any], **options: Any) -> Any:
    return cls(cls.Options.model_validate({"tokenizer": "bytes", **options}))


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    return tmp_path


def put(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf8")
    return path


# --- what a suite is told ----------------------------------------------------------------------


class Net(Architecture[NoOptions]):
    kinds = ("language", "classification")

    def build(self) -> nn.Module:
        raise NotImplementedError

    def connections(self) -> Sequence[Connection]:
        return []


def net(tokenizer: str = "bytes", context: int = 64, kind: str = "language") -> Net:
    return Net(NoOptions(), DataSpec(kind, (context,), 256, 10, context, tokenizer))


@pytest.mark.parametrize("cls", [*FILES, TextSamples, Perplexity])
def test_what_every_evaluation_says(cls: type[Any], data: Path) -> None:
    options = {"path": "a.txt"} if cls is Perplexity else {}
    window = {"window": 64, "stride": 32} if "window" in cls.Options.model_fields else {}
    benchmark = make(cls, **options, **window)
    assert benchmark.unsupported(net()) is None
    assert benchmark.protocol and "\n" not in benchmark.protocol and "bytes" in benchmark.protocol
    assert benchmark.evaluate(lambda x: x, "validation", CPU) == {}
    with pytest.raises(Unsupported, match=f"{cls.name} only evaluates"):
        benchmark.spec()
    with pytest.raises(Unsupported, match=f"{cls.name} scores text with a LanguageNetwork"):
        benchmark.evaluate(lambda x: x, "test", CPU)
    assert "'tiktoken:gpt2'" in benchmark.unsupported(net("tiktoken:gpt2"))
    assert "classification" in benchmark.unsupported(net(kind="classification"))
    reason = benchmark.unsupported(net(context=63))
    assert ("64 tokens at once, but the network at most 63" in reason) if window else reason is None


def test_stride_beyond_the_window() -> None:
    with pytest.raises(ValidationError, match="stride is 9, but must be at most the window, 8"):
        make(Enwik8, window=8, stride=9)


@pytest.mark.parametrize("cls", FILES)
def test_missing_data_says_what_to_do(cls: type[Any], data: Path) -> None:
    benchmark = make(cls)
    said = f"{benchmark.file} does not exist.*harness data prepare {cls.name}.*{benchmark.source.url}"
    for ask in (benchmark.fingerprint, benchmark.content, lambda: benchmark.prepare(download=False)):
        with pytest.raises(DataMissing, match=said):
            ask()
    assert benchmark.files() == [benchmark.file]
    assert benchmark.file.is_relative_to(data)
    assert benchmark.verify()


def test_missing_text_of_the_users_own() -> None:
    with pytest.raises(DataMissing, match=r"here.txt does not exist.*set `path`"):
        make(Perplexity, path="here.txt").prepare()


def test_a_missing_file_names_the_one_that_is_there(data: Path) -> None:
    put(data / "wikitext-2" / "wiki.test.tokens", "a b\n")
    with pytest.raises(DataMissing, match=r"There is .*wiki.test.tokens: set `form: tokens`"):
        make(Wikitext2).fingerprint()
    put(data / "ptb" / "ptb.valid.txt", "a b\n")
    with pytest.raises(DataMissing, match=r"There is .*ptb.valid.txt: set `split: valid`"):
        make(PennTreebank).fingerprint()


def test_fingerprints_follow_content_and_tokenizer(data: Path) -> None:
    path = put(data / "a.txt", "text")
    first = make(Perplexity, path="a.txt").fingerprint()
    put(data / "sub" / "b.txt", "text")
    assert make(Perplexity, path="sub/b.txt").fingerprint() == first
    put(path, "texts")
    assert make(Perplexity, path="a.txt").fingerprint() != first
    assert make(TextSamples).fingerprint() == make(TextSamples, seed=3).fingerprint()


def test_verify_knows_the_published_file(data: Path) -> None:
    put(data / "ptb" / "ptb.test.txt", "another text\n")
    assert "is damaged" in make(PennTreebank).verify()[0]
    put(data / "a.txt", "text")
    assert make(Perplexity, path="a.txt").verify() == []


# --- malformed files ---------------------------------------------------------------------------


def evaluate(benchmark: Any) -> Any:
    from harness import LanguageNetwork

    class Never(LanguageNetwork):
        context, vocabulary = 8, 256

        def states(self, inputs: Any) -> Any:
            raise AssertionError("nothing may be scored")

        def normed(self, state: Any) -> Any:
            raise AssertionError

        @property
        def head_weight(self) -> Any:
            raise AssertionError

    return benchmark.evaluate(Never(), "test", CPU)


GOOD = {"activity_label": "A", "ctx": "c", "ctx_a": "c", "ctx_b": "d", "endings": ["a", "b"], "label": 0}


@pytest.mark.parametrize(
    ("cls", "lines", "said"),
    [
        (Lambada, ['{"text": "a b"}', "", '{"text": "a'], ":3: Unterminated string"),
        (Lambada, ['{"text": "a b"}', '{"txt": "a b"}'], ":2: the field 'text' is missing"),
        (Lambada, ['{"text": "lonely"}'], ":1: the text has no last word"),
        (Lambada, ['"a b"'], ":1: .*Get the file anew"),
        (Lambada, [""], "holds no examples"),
        (Hellaswag, [json.dumps(GOOD), json.dumps({**GOOD, "label": ""})], ":2: invalid literal"),
        (Hellaswag, [json.dumps({**GOOD, "label": 2})], ":1: the label is 2, but there are 2 endings"),
        (Hellaswag, [json.dumps({**GOOD, "endings": ["a", "[step]"]})], ":1: .*none of them empty"),
        (HellaswagNdna, [json.dumps({**GOOD, "ctx": ""})], ":1: there must be a context"),
        (HellaswagNdna, [json.dumps({k: v for k, v in GOOD.items() if k != "ctx"})], ":1: the field 'ctx'"),
    ],
)
def test_malformed_lines_are_named(cls: type[Any], lines: list[str], said: str, data: Path) -> None:
    put(data / "x.jsonl", "\n".join(lines))
    with pytest.raises(CorruptFile, match=f"x.jsonl{said}" if said.startswith(":") else said):
        evaluate(make(cls, path="x.jsonl"))


def cloze(query: str = "The XXXXX .\tcat\t\tcat|dog", lines: int = 20) -> str:
    return "".join(f"{n} s\n" for n in range(1, lines + 1)) + f"21 {query}\n\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (cloze(lines=19), ":20: not line 20 of a question"),
        (cloze() + "2 s\n", ":23: not line 1 of a question"),
        (cloze() + cloze("The cat .\tcat\t\tcat|dog"), ":43: must have, divided by tabs, a sentence with XXXXX"),
        (cloze("The XXXXX .\tcat"), ":21: must have"),
        (cloze("The XXXXX .\tcow\t\tcat|dog"), ":21: the answer 'cow' is not among"),
        (cloze() + "1 s\n", " ends within a question"),
        ("\n", "has none"),
    ],
)
def test_malformed_clozes_are_named(text: str, said: str, data: Path) -> None:
    put(data / "CBTest" / "data" / "cbtest_CN_test_2500ex.txt", text)
    with pytest.raises(CorruptFile, match=said):
        evaluate(make(CommonNouns))


def test_nothing_to_score(data: Path) -> None:
    put(data / "a.txt", "a rather long line\n")
    with pytest.raises(UserError, match="with limit_tokens 5 no whole line fits"):
        evaluate(make(Perplexity, path="a.txt", limit_tokens=5))
    put(data / "a.txt", "")
    with pytest.raises(UserError, match="fewer than 2 tokens"):
        evaluate(make(Perplexity, path="a.txt"))
    (data / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not all UTF-8"):
        evaluate(make(Perplexity, path="a.txt"))


def test_a_corpus_of_another_size_has_another_end(data: Path) -> None:
    put(data / "enwik8" / "enwik8", "<mediawiki>")
    with pytest.raises(CorruptFile, match="has 11 bytes, but enwik8 has 100000000"):
        evaluate(make(Enwik8))


# --- fetching ----------------------------------------------------------------------------------


class Site:
    """A web server of some files; ``cut`` ends the first answer after so many bytes, as a lost connection does."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.cut: int | None = None
        self.ranges: list[str | None] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = files.get(self.path)
                wanted = self.headers["Range"]
                site.ranges.append(wanted)
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if content is None or start >= len(content):
                    self.send_error(404 if content is None else 416)
                    return
                self.send_response(206)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                self.wfile.write(content[start : None if site.cut is None else start + site.cut])
                site.cut = None

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("set/one.txt", "first")
        archive.writestr("set/two.txt", "second")
        archive.writestr("set/unwanted.txt", "third")
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in (("set/one.txt", b"first"), ("set/two.txt", b"second")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    return gzip.compress(buffer.getvalue())


CONTENT = {"/plain.txt": b"0123456789" * 1000, "/a.zip": zipped(), "/a.tgz": tarred()}


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site(CONTENT)
    yield site
    site.close()


def source(site: Site, path: str, *members: str) -> PublishedFile:
    return PublishedFile(site.url + path, hashlib.sha256(CONTENT[path]).hexdigest(), members)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("archive", ["/a.zip", "/a.tgz"])
def test_members_of_archives(site: Site, archive: str, tmp_path: Path) -> None:
    source(site, archive, "set/one.txt", "set/two.txt").fetch(tmp_path / "new")
    assert names(tmp_path / "new") == ["one.txt", "two.txt"]
    assert (tmp_path / "new" / "two.txt").read_text() == "second"
    source(site, archive, "set/one.txt").fetch(tmp_path / "new")
    assert len(site.ranges) == 1, "what is there is not fetched again"
    assert names(tmp_path / "new") == ["one.txt", "two.txt"]


def test_a_download_that_was_cut_off_goes_on(site: Site, tmp_path: Path) -> None:
    site.cut = 4000
    with pytest.raises(ConnectionError, match="ended early"):
        source(site, "/plain.txt").fetch(tmp_path)
    assert not (tmp_path / "plain.txt").exists()
    source(site, "/plain.txt").fetch(tmp_path)
    assert site.ranges == ["bytes=0-", "bytes=4000-"]
    assert (tmp_path / "plain.txt").read_bytes() == CONTENT["/plain.txt"]
    assert names(tmp_path) == ["plain.txt"]


def test_a_whole_download_that_was_not_unpacked(site: Site, tmp_path: Path) -> None:
    wanted = source(site, "/plain.txt")
    (tmp_path / f".{wanted.sha256[:16]}.part").write_bytes(CONTENT["/plain.txt"])
    wanted.fetch(tmp_path)
    assert (tmp_path / "plain.txt").read_bytes() == CONTENT["/plain.txt"]


def test_something_else_at_the_address_is_not_kept(site: Site, tmp_path: Path) -> None:
    wrong = PublishedFile(site.url + "/plain.txt", "0" * 64)
    for _ in range(2):
        with pytest.raises(CorruptFile, match="not the published 0000"):
            wrong.fetch(tmp_path)
    assert not (tmp_path / "plain.txt").exists()
    assert site.ranges == ["bytes=0-"] * 2, "nothing of it is taken into the next try"


def test_several_at_once_fetch_once(site: Site, tmp_path: Path) -> None:
    wanted = source(site, "/plain.txt")
    threads = [threading.Thread(target=wanted.fetch, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(site.ranges) == 1
    assert (tmp_path / "plain.txt").read_bytes() == CONTENT["/plain.txt"]


def test_prepare_fetches_and_reports(site: Site, data: Path) -> None:
    class Local(PennTreebank):
        address = source(site, "/plain.txt")

        @property
        def file(self) -> Path:
            return data / "ptb" / "plain.txt"

        @property
        def source(self) -> PublishedFile:
            return self.address

    benchmark = make(Local)
    benchmark.prepare()
    benchmark.prepare(download=False)
    assert benchmark.verify() == []
    assert len(site.ranges) == 1
    benchmark.file.unlink()
    Local.address = PublishedFile(f"{site.url}/nowhere.txt", "0" * 64)
    with pytest.raises(DataMissing, match=r"plain.txt does not exist.*The download failed: HTTP Error 404"):
        benchmark.prepare()
