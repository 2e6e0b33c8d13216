import gzip
import json
from itertools import combinations

import numpy as np
import pytest
from result_files import loose
from safetensors.numpy import save_file

from harness.errors import CorruptFile
from harness.report.html.cells import CountedCell, evaluations, networks
from harness.report.html.masks import convergence, pictures
from harness.report.html.samples import texts
from harness.report.html.section import fill
from harness.report.html.training import densities
from harness.results.cell_record import CellRecord
from harness.results.mask_pictures import MaskPicture
from harness.results.parsing import parse_series
from harness.results.record_parts import ArchitecturePart, BenchmarkPart, ConnectionCounts, Density, MethodPart


def cell(row="random", seed=0, stage=None, density=0.5, benchmark="digits", suite="s"):
    name = f"{benchmark}.{row}.{seed}"
    run = (suite, "main", "mlp", "digits", row)
    return CountedCell(suite, name, run, benchmark, row, row, seed, density, 3, stage, ("Train",))


def test_cells_that_evaluate_one_network_are_shown_once():
    found = [cell(seed=s, stage=f"{s}", benchmark=b) for b in ("digits", "letters") for s in (1, 0)]
    groups = networks(found)
    assert [[(c.seed, c.benchmark) for c in group] for group in groups.values()] == [[(0, "digits"), (1, "digits")]]
    assert list(groups) == ["s: main, mlp on digits, random"]


def test_texts_of_one_benchmark_stand_together_by_seed_from_dense_to_sparse():
    found = [cell("b", 1, density=0.1), cell("a", 0, density=0.1), cell("c", 0, density=0.9), cell(benchmark="x")]
    groups = evaluations(found)
    assert [(c.row, c.seed) for c in groups["s: main, mlp on digits"]] == [("c", 0), ("a", 0), ("b", 1)]
    assert len(groups["s: main, mlp on x"]) == 1


def test_a_full_section_lacks_later_seeds_and_says_so(tmp_path):
    groups = {f"run {row}": [cell(row, seed) for seed in range(3)] for row in "ab"}
    file = tmp_path / "any"
    file.touch()
    noise = np.random.RandomState(0).bytes(300).hex()
    everything = fill(groups, lambda c: loose(file), lambda _, c: noise, 10**6)
    size = len(everything.chunks[0])
    section = fill(groups, lambda c: loose(file), lambda _, c: noise, 4 * size)
    assert [[m["seed"] for m in group["members"]] for group in section.groups] == [[0, 1], [0, 1]]
    assert sorted(m["chunk"] for group in section.groups for m in group["members"]) == [0, 1, 2, 3]
    assert "2 further files" in section.notes[0]
    assert not everything.notes


def test_damaged_files_are_listed_and_cells_without_a_file_are_not(tmp_path):
    groups = {"run": [cell(seed=0), cell(seed=1), cell(seed=2)]}
    path = tmp_path / "there"
    path.touch()

    def make(file, c):
        raise CorruptFile(f"{file.where} is too short")

    section = fill(groups, lambda c: loose(path if c.seed else tmp_path / "not"), make, 100)
    assert [item.reason for item in section.left] == ["is damaged: there is too short"]  # once for both cells
    assert not section.groups and not section.chunks


def test_densities_over_training():
    rows = [[0, 10, {"a": [1.0, 0.123456], "b": [0.0, None]}], [1, 5, {"b": [0.5, None], "a": [0.25, 1.0]}]]
    part = {"label": "m"}
    record = CellRecord(
        status="failed",
        cell="c",
        suite="s",
        architecture=ArchitecturePart(**part),
        method=MethodPart(**part),
        benchmark=BenchmarkPart(**part),
        seed=0,
        density=Density(
            connections={"a": ConnectionCounts(size=30, kept=3), "b": ConnectionCounts(size=10, kept=1)},
        ),
        metrics={},
    )

    def curves(rows):
        return parse_series(json.dumps({"densities": rows}).encode())

    assert densities(curves(rows), cell(), record) == {
        "phases": ["Train"],
        "times": [[0, 10], [1, 5]],
        "connections": ["a", "b"],
        "sizes": [30, 10],
        "hard": [[1.0, 0.0], [0.25, 0.5]],
        "soft": [[0.1235, None], [1.0, None]],
    }
    assert densities(curves(rows), cell(), None)["sizes"] is None
    long = densities(curves([[0, i, {"a": [i / 5000, None]}] for i in range(5001)]), cell(), record)
    assert len(long["times"]) == 400
    assert (long["times"][0], long["times"][-1]) == ([0, 0], [0, 5000])
    assert densities(curves([]), cell(), record) is None and densities(None, cell(), record) is None


@pytest.mark.parametrize(
    ("kind", "role", "heading"),
    [
        ("weight", "temporal_conv", "weights"),
        ("attention", "temporal_attention", "temporal attention"),
        ("attention", None, "attention"),
    ],
)
def test_pictures_stand_under_what_the_file_says_and_not_under_what_a_name_suggests(tmp_path, kind, role, heading):
    about = {"frames.time": {"shape": [2, 4], "kept": 3, "kind": kind, **({"role": role} if role else {})}}
    path = tmp_path / "masks"
    save_file({"frames.time/bits": np.packbits(np.arange(8) < 3)}, path, {"connections": json.dumps(about)})
    assert [c["kind"] for c in pictures(loose(path), cell())["connections"]] == [heading]


def test_texts_are_found_by_their_shape(tmp_path):
    path = tmp_path / "samples.jsonl.gz"

    def write(*rows):
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))

    write(*({"prompt": f"p{i}", "text": "x" * 3000, "other": 1} for i in range(40)))
    found = texts(loose(path), cell())
    assert len(found) == 30
    assert found[0] == {"prompt": "p0", "text": "x" * 2000 + " [cut]"}
    write({"index": 0, "correct": True})
    assert texts(loose(path), cell()) is None
    write({"prompt": "p", "text": "t"}, {"prompt": "p"})
    with pytest.raises(ValueError, match="lacks"):
        texts(loose(path), cell())


def test_a_file_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path):
    path = tmp_path / "samples.jsonl.gz"
    row = json.dumps({"prompt": "p", "text": "t"}) + "\n"
    path.write_bytes(gzip.compress(row.encode() + b" " * 300_000_000, compresslevel=1))
    assert texts(loose(path), cell()) == [{"prompt": "p", "text": "t"}]


@pytest.mark.parametrize("content", [b"", b"{}", gzip.compress(b'{"prompt": "p", "text": "t"}\n', mtime=0)[:-12]])
def test_broken_sample_files_are_refused(tmp_path, content):
    path = tmp_path / "samples.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises((ValueError, EOFError)):
        texts(loose(path), cell())


def test_overlap_of_networks_is_counted_over_all_weights_beside_chance():
    random = np.random.RandomState(0)
    shapes = {"a": (20, 30), "b": (5, 4)}
    bits = [{n: random.rand(*s) < p for (n, s), p in zip(shapes.items(), (0.3, 0.8), strict=True)} for _ in range(3)]
    masks = [
        {
            n: MaskPicture(shapes[n], int(b.sum()), "weight", None, b.ravel(), np.zeros((1, 1), np.uint8))
            for n, b in one.items()
        }
        for one in bits
    ]
    found = convergence(masks, [cell(seed=s) for s in (4, 5, 6)])
    assert found["seeds"] == [4, 5, 6]
    for i, j in combinations(range(3), 2):
        one, other = (np.concatenate([bits[k][n].ravel() for n in shapes]) for k in (i, j))
        assert (
            found["overlap"][i][j] == found["overlap"][j][i] == pytest.approx((one & other).sum() / (one | other).sum())
        )
        both = sum(bits[i][n].sum() * bits[j][n].sum() / bits[i][n].size for n in shapes)
        assert found["chance"][i][j] == pytest.approx(both / (one.sum() + other.sum() - both))
    assert [name for name, _, _ in found["connections"]] == ["a", "b"]


def test_chance_is_what_shuffled_masks_share():
    random = np.random.RandomState(1)
    bits = [random.permutation(100_000) < kept for kept in (10_000, 40_000)]
    grey = np.zeros((1, 1), np.uint8)
    masks = [{"a": MaskPicture((1000, 100), int(b.sum()), "weight", None, b[:65_536], grey)} for b in bits]
    found = convergence(masks, [cell(seed=0), cell(seed=1)])
    assert found["overlap"][0][1] == pytest.approx(found["chance"][0][1], rel=0.05)
    assert found["chance"][0][1] == pytest.approx(0.04 / 0.46)
    empty = {"a": MaskPicture((2, 2), 0, "weight", None, np.zeros(4, bool), np.zeros((1, 1), np.uint8))}
    assert convergence([empty, empty], [cell(), cell()])["overlap"][0][1] == 1.0


def test_the_folder_of_a_damaged_file_is_not_in_its_reason(tmp_path):
    section = fill({"run": [cell()]}, lambda c: loose(tmp_path), lambda file, c: None, 1)
    assert not section.left
    path = tmp_path / "x"
    path.touch()

    def make(file, c):
        raise OSError(13, "Permission denied", str(file.where))

    assert fill({"run": [cell()]}, lambda c: loose(path), make, 1).left[0].reason == "cannot be read: Permission denied"
