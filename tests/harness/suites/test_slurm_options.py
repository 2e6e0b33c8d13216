"""What is asked of a cluster: layers, exceptions, errors that point at their place."""

from pathlib import Path

import pytest

from harness.errors import SuiteError, UserError
from harness.suites.slurm_options import SlurmOptions, resolve


@pytest.fixture(autouse=True)
def no_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("HARNESS_CLUSTER", raising=False)
    folder = tmp_path / "harness" / "clusters"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("written", "minutes"),
    [(90, 90), ("90", 90), (0.5, 1), ("0:00:01", 1), ("2:30:00", 150), ("2:30:01", 151), ("1-0", 1440),
     ("1-12:00", 2160), ("2-03:04:05", 3065)],
)  # fmt: skip
def test_time_is_minutes_rounded_up(written: object, minutes: int) -> None:
    assert SlurmOptions.model_validate({"time": written}).request("a", "m").minutes == minutes


@pytest.mark.parametrize("written", ["2:30", "", "0", 0, -5, True, "1-", "x", "0:00:00", float("inf")])
def test_time_that_could_mean_two_things_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r"time is a number of minutes, or text like 2:30:00"):
        SlurmOptions.model_validate({"time": written})


@pytest.mark.parametrize(
    ("written", "asked"),
    [("16G", "16G"), (800, "800M"), ("800", "800"), ("32GB", "32G"), ("2g", "2G"), (0, "0"), ("0", "0")],
)
def test_memory(written: object, asked: str) -> None:
    assert SlurmOptions.model_validate({"mem": written}).mem == asked


@pytest.mark.parametrize("written", ["1.5G", "", "G", "-1", "16 G", -1, 1.5, True, [16]])
def test_memory_that_sbatch_does_not_take_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="mem is memory per node like 16G or 800M, or 0"):
        SlurmOptions.model_validate({"mem": written})


@pytest.mark.parametrize("key", ["partition", "account", "qos", "constraint", "methods.x.account", "sbatch.comment"])
@pytest.mark.parametrize(
    "value",
    ["a", "123456", "007", "1e3", "0x1F", "-5", "1.50", ".inf", "[a100|h100]", "[a&b]", "a&b", "[a", "a: b", "@x"],
)
def test_what_sbatch_takes_as_text_is_text_whatever_it_looks_like(key: str, value: str) -> None:
    request = resolve(None, None, [f"{key}={value}"]).request("a", "x")
    *_, last = key.split(".")
    assert (request.sbatch or {}).get("comment") == value if "sbatch" in key else getattr(request, last) == value


def test_quotes_and_nothing_mean_what_they_mean_in_yaml() -> None:
    assert resolve(None, None, ["account='007'"]).account == "007"
    assert resolve(None, None, ["account=a", "account="]).account is None
    assert resolve(None, None, ["sbatch.exclusive=true", "sbatch.nice=1"]).sbatch == {"exclusive": True, "nice": "1"}
    assert resolve(None, None, ["account=true"]).account == "true"


def test_in_a_file_a_number_that_yaml_would_change_wants_quotes(no_profiles: Path) -> None:
    path = no_profiles / "default.yaml"
    path.write_text("account: 123456\nconstraint: [a100|h100]\nsbatch: {nice: 5, exclusive: true}\n")
    found = resolve()
    assert (found.account, found.constraint, found.sbatch) == (
        "123456",
        "[a100|h100]",
        {"nice": "5", "exclusive": True},
    )
    path.write_text("partition: p\naccount: 007\n")
    with pytest.raises(SuiteError, match=r"default.yaml:2:10: account: .*write it in quotes, like '007'"):
        resolve()


@pytest.mark.parametrize(("written", "count"), [(2, 2), ("a100:2", 2), ("h100.80gb:1", 1), (0, 0), (None, 0)])
def test_gpus_may_have_a_type(written: object, count: int) -> None:
    request = SlurmOptions.model_validate({"gpus": written}).request("a", "m")
    assert (request.gpus, request.gpus_per_node) == (count, written)
    assert request.processes == max(1, count)


@pytest.mark.parametrize("written", ["a100", "a100:0", ":2", -1, True, 1.5, "0x2"])
def test_gpus_that_cannot_be_counted_are_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r"gpus is a number, or a type and a number like a100:2; .*gres"):
        SlurmOptions.model_validate({"gpus": written})


def test_exceptions_go_over_each_other() -> None:
    options = SlurmOptions.model_validate(
        {
            "partition": "cpu",
            "time": 60,
            "sbatch": {"nice": 5, "comment": "all"},
            "architectures": {"big": {"partition": "gpu", "gpus": 1, "time": 120}},
            "methods": {"grown": {"time": 240, "sbatch": {"comment": "grown"}}},
        }
    )
    assert options.request("small", "dense").model_dump(exclude_none=True) == {
        "partition": "cpu", "time": 60, "sbatch": {"nice": "5", "comment": "all"}
    }  # fmt: skip
    both = options.request("big", "grown")
    assert (both.partition, both.gpus_per_node, both.minutes) == ("gpu", 1, 240)
    assert both.sbatch == {"nice": "5", "comment": "grown"}
    assert options.request("big", "dense").minutes == 120


def test_a_profile_lies_under_the_suite_and_the_suite_under_the_command_line(no_profiles: Path) -> None:
    (no_profiles / "mine.yaml").write_text("partition: p\naccount: a\nqos: q\ntime: 1:00:00\n")
    suite = SlurmOptions.model_validate({"account": "b", "qos": "r"})
    found = resolve(suite, "mine", ["qos=s", "methods.x.time=2:00:00"])
    assert (found.partition, found.account, found.qos, found.minutes) == ("p", "b", "s", 60)
    assert found.request("a", "x").minutes == 120
    assert resolve(suite).partition is None


def test_the_default_profile_needs_no_name(no_profiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (no_profiles / "default.yaml").write_text("partition: one\n")
    (no_profiles / "other.yaml").write_text("partition: two\n")
    assert resolve().partition == "one"
    monkeypatch.setenv("HARNESS_CLUSTER", "other")
    assert resolve().partition == "two"
    assert resolve(None, "default").partition == "one"


def test_what_follows_from_what_is_asked() -> None:
    plain = resolve().request("a", "m")
    assert (plain.processes, plain.processes_per_node, plain.minutes) == (1, 1, 240)
    wide = resolve(None, None, ["gpus=4", "nodes=2"]).request("a", "m")
    assert (wide.processes, wide.processes_per_node) == (8, 4)
    assert resolve(None, None, ["tasks_per_node=2"]).request("a", "m").processes == 2


def test_bad_input_says_where_and_what_is_allowed(no_profiles: Path) -> None:
    def told(*overrides: str) -> str:
        with pytest.raises(UserError) as error:
            resolve(None, None, overrides)
        return str(error.value)

    assert told("partitio=x").startswith("--slurm partitio=x: unknown key 'partitio'. Did you mean 'partition'?")
    assert "Did you mean 'time'?" in told("methods.genome.tim=3")
    assert told("x").startswith("--slurm takes key=value, for example")
    assert "nodes is a whole number, at least 1, not 0" in told("nodes=0")
    (no_profiles / "mine.yaml").write_text("partition: p\nnods: 2\n")
    with pytest.raises(SuiteError, match=r"mine.yaml:2:1: unknown key 'nods'. Did you mean 'nodes'"):
        resolve(None, "mine")
    with pytest.raises(UserError, match=r"unknown cluster profile 'min'. Did you mean 'mine'"):
        resolve(None, "min")


def test_gpus_has_two_names_but_one_value() -> None:
    with pytest.raises(ValueError, match="gpus is another name of gpus_per_node"):
        SlurmOptions.model_validate({"gpus": 1, "gpus_per_node": 1})


def test_many_processes_and_many_cells_do_not_go_together() -> None:
    with pytest.raises(UserError, match="2 processes for one run and cells_per_gpu 3"):
        resolve(None, None, ["gpus=2", "cells_per_gpu=3"]).request("a", "m")


def test_no_profile_says_which_file_to_write(no_profiles: Path) -> None:
    with pytest.raises(UserError, match=r"there is no cluster profile 'mine': write .*mine.yaml"):
        resolve(None, "mine")
