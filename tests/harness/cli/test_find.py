"""Which run is meant by a part of its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.find import find_cell, find_suite, find_suites
from harness.errors import UserError
from harness.results.store import ResultStore, SuitePlan

OLD, NEW = "main.mlp.digits.dense.s0.00000000", "main.mlp.digits.dense.s0.99999999"
OTHERS = [f"main.mlp.digits.mag.d0.06.s{seed}.{seed}a3f{seed}b5c" for seed in (3, 6)]


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    found = ResultStore(tmp_path)
    (tmp_path / "s" / "cells").mkdir(parents=True)
    for name in (OLD, NEW, *OTHERS):
        (tmp_path / "s" / "cells" / f"{name}.json").write_text("{}")
    return found


def test_of_two_runs_of_one_name_the_one_that_the_suite_asks_for_now(store: ResultStore) -> None:
    with pytest.raises(UserError, match="fits 2 runs, give more of the name"):
        find_cell(store, "main.mlp.digits.dense.s0")
    store.write_plan("s", SuitePlan(suite="s", cells=[OLD, *OTHERS]))
    assert find_cell(store, "s/main.mlp.digits.dense.s0") == ("s", OLD)
    assert find_cell(store, "dense") == ("s", OLD)
    assert find_cell(store, NEW) == ("s", NEW)
    with pytest.raises(UserError, match="fits 2 runs"):  # both are asked for
        find_cell(store, "mag")


@pytest.mark.parametrize("given", ["main.mlp.digits.magnitude.d0.06.s3", "s/main.mlp.digits.magnitude.d0.06.s3"])
def test_the_nearest_is_found_without_its_hash(store: ResultStore, given: str) -> None:
    with pytest.raises(UserError, match=f"Did you mean '{given.partition('main')[0]}{OTHERS[0]}'"):
        find_cell(store, given)


def test_what_nothing_is_near_has_no_suggestion(store: ResultStore) -> None:
    with pytest.raises(UserError, match=r"^unknown run 'nosuch\.s0', and none of 4 in .* is near it\. Suites: s$"):
        find_cell(store, "nosuch.s0")
    with pytest.raises(UserError, match=r"Did you mean .main\.mlp\.digits\.dense\.s0"):
        find_cell(store, "dnese.s0")


class TestSuites:
    """Suites by name or file; results of a profile are called after it."""

    @pytest.fixture
    def file(self, store: ResultStore, tmp_path: Path) -> Path:
        for name in ("t-small", "t-large", "t-other"):
            (tmp_path / name / "cells").mkdir(parents=True)
            (tmp_path / name / "cells" / f"{OLD}.json").write_text("{}")
        path = tmp_path / "t.yaml"
        path.write_text("profile: small\nprofiles: {large: {}, small: {}}\n")
        return path

    def test_by_name(self, store: ResultStore) -> None:
        assert find_suites(store, ["s", "s"]) == ["s"]
        assert find_suites(store, []) == []
        with pytest.raises(UserError, match=r"^unknown suite 't'.* Known: s\. Looked in "):
            find_suites(store, ["s", "t"])

    def test_a_file_means_all_of_its_profiles(self, store: ResultStore, file: Path) -> None:
        assert find_suites(store, [str(file)]) == ["t-small", "t-large"]
        with pytest.raises(UserError, match="results of several profiles, name one: t-small, t-large"):
            find_suite(store, str(file))

    def test_a_file_means_its_own_name(self, store: ResultStore, file: Path) -> None:
        file.write_text("name: s\n")
        assert find_suite(store, str(file)) == "s"

    def test_a_file_without_results(self, store: ResultStore, file: Path) -> None:
        file.write_text("profiles: {new: {}}\n")
        with pytest.raises(UserError, match=r"t\.yaml has no results in .*, where they would be in t or t-new: run"):
            find_suites(store, [str(file)])

    def test_a_file_that_is_gone_means_its_stem(self, store: ResultStore, tmp_path: Path) -> None:
        assert find_suite(store, str(tmp_path / "s.yaml")) == "s"
