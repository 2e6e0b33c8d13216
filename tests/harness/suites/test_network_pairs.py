"""Which rows a question about networks means, and what is said of one that means none."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from harness.suites.network_pairs import network_pairs


@dataclass
class Cell:
    experiment: str
    architecture: str
    method: str
    seed: int = 0
    benchmark: str = "data"
    density: float | None = None
    trial: str | None = None


def told(text: str, *cells: str) -> list[str]:
    """Pairs as text; cells are given as experiment.architecture.method."""
    found = network_pairs(text, [Cell(*cell.split(".")) for cell in cells])  # type: ignore[misc]
    return [" / ".join(one.names[-1] for one in (pair.first, pair.second)) for pair in found]


CELLS = ("a.vgg.dense", "a.vgg.snip", "a.resnet.dense", "a.resnet.snip", "a.resnet.rigl", "b.resnet.dense")


def test_each_method_that_both_have() -> None:
    assert told("resnet against vgg", *CELLS) == ["a.resnet.dense / a.vgg.dense", "a.resnet.snip / a.vgg.snip"]


def test_methods_that_are_named_need_not_be_the_same() -> None:
    assert told("resnet.rigl against vgg.dense", *CELLS) == ["a.resnet.rigl / a.vgg.dense"]
    assert told("resnet.rigl against resnet.snip", *CELLS) == ["a.resnet.rigl / a.resnet.snip"]
    assert told("resnet.snip against vgg", *CELLS) == ["a.resnet.snip / a.vgg.snip"]


def test_experiments_that_are_named_need_not_be_the_same() -> None:
    assert told("b.resnet against a.vgg", *CELLS) == ["b.resnet.dense / a.vgg.dense"]
    assert told("b.resnet against vgg", *CELLS) == ["b.resnet.dense / a.vgg.dense"]  # in one experiment alone


def test_within_each_experiment_that_has_both() -> None:
    both = told("net against own", "a.net.m", "a.own.m", "b.net.m", "b.own.m", "c.net.m")
    assert both == ["a.net.m / a.own.m", "b.net.m / b.own.m"]


@pytest.mark.parametrize(
    ("text", "cells", "said"),
    [
        ("resnett against vgg", CELLS, "unknown network 'resnett'. Did you mean 'resnet'? Known: resnet, vgg."),
        ("resnet.snipp against vgg", CELLS, "unknown network 'resnet.snipp'. Did you mean 'resnet.snip'?"),
        ("vgg against vgg", CELLS, "compares a network with itself"),
        ("x against y", ("a.x.m", "a.y.n"), "networks that have no method in common: name one of each"),
        ("x against y", ("a.x.m", "b.x.m", "c.y.m"), "'x' is in the experiments a and b: write a.x"),
        ("y against x", ("a.x.m", "b.x.m", "c.y.m", "d.y.m"), "'y' is in the experiments c and d: write c.y"),
        ("x against y", ("a.x.m.0", "a.y.m.1"), "no benchmark and seed in common"),
    ],
)
def test_what_means_nothing_is_refused(text: str, cells: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        told(text, *cells)
    assert said in str(caught.value)


def test_a_density_that_both_have_or_one_of_their_own() -> None:
    at = [("x", 0.5), ("x", 0.25), ("y", 0.2), ("y", 0.1), ("z", 0.5)]
    cells = [Cell("a", network, "snip", density=density) for network, density in at] + [Cell("a", "y", "dense")]
    with pytest.raises(
        ValueError, match=r"no density is in both; x\.snip at 0\.25 and 0\.5, y\.snip at 0\.1 and 0\.2$"
    ):
        network_pairs("x against y", cells)  # type: ignore[arg-type]
    assert len(network_pairs("x against z", cells)) == 1  # type: ignore[arg-type]
    assert len(network_pairs("x.snip against y.dense", cells)) == 1  # type: ignore[arg-type]


def test_trials_are_no_rows() -> None:
    cells = [Cell("a", "x", "m"), Cell("a", "y", "m"), Cell("a.1", "x", "m", trial="a.1")]
    assert len(network_pairs("x against y", cells)) == 1  # type: ignore[arg-type]


def test_suites_point_at_the_line(refusal, suite) -> None:
    text = """
architectures: {one: {use: mlp, hidden: [8]}, two: {use: mlp, hidden: [9]}}
benchmarks: digits
training: {steps: 1, batch_size: 8}
methods: {dense: , random: {density: 0.5}}
networks:
  - one against two
  - one against tow
"""
    assert "s.yaml:8:5: networks: unknown network 'tow'. Did you mean 'two'?" in refusal(text)
    right = text.replace("tow", "two.random").replace("one against two.", "one.dense against two.")
    found = [(pair.first.names[2], pair.second.names[2]) for pair in suite(right).networks_asked]
    assert found == [("one.dense", "two.dense"), ("one.random", "two.random"), ("one.dense", "two.random")]
    assert "'one versus two' is not NETWORK against NETWORK" in refusal(
        text.replace("one against tow", "one versus two")
    )
