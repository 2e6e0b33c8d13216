"""How often intervals hold the truth, families of tests err, and printed detectable differences are found.

Every number is a share of draws in which the truth is known; the table goes between the markers of docs/statistics.md.
About two minutes of one core. The same seed gives the same table.

    python benchmarks/interval_coverage.py             # 2,000 draws each, rewrites the page
    python benchmarks/interval_coverage.py --draws 200 --print
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import checkout
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri
from tabulate import tabulate

from harness.analysis.crossed import Estimate, ExamplesPart, difference, estimate, examples_part, influence
from harness.analysis.power import detectable
from harness.analysis.ranks import wins
from harness.analysis.scales import LOGIT
from harness.analysis.statistics import Array, holm

PAGE = checkout.ROOT / "docs/statistics.md"
SEEDS, ACCURACIES, EXAMPLES = (3, 5, 10), (0.5, 0.9, 0.98), (360, 10_000)
SPREAD = 0.15
"""Standard deviation over seeds, on the logit; half of the variance is common to the rows of a seed."""
DIFFICULTY = 0.5
"""Share of an example's latent that is its own, whatever the seed."""
STEP = 0.3
"""True difference of two rows, on the logit."""
BEGIN, END = "<!-- simulated -->", "<!-- end -->"
CHANCE = 0.1
"""What a broken seed scores."""


SETTINGS = {"seeds", "accuracy", "examples", "rows", "chance of a broken seed", "tests in the family"}


class Draw(NamedTuple):
    """One experiment: right answers of rows, (rows, seeds, examples), 0 or 1."""

    right: Array

    @property
    def scores(self) -> Array:
        """(rows, seeds) on the logit."""
        return LOGIT.forward(self.right.mean(axis=-1), self.right.shape[-1])

    def influences(self, row: int) -> Array:
        """(seeds, examples) on the logit."""
        slope = LOGIT.derivative(self.right[row].mean(axis=-1), self.right.shape[-1])
        return influence(self.right[row]) * slope[:, None]


def seeds_on_the_logit(draws: np.random.Generator, centres: Array, seeds: int) -> Array:
    """(rows, seeds) true logits: normal, and alike for the rows of a seed."""
    common, own = draws.normal(size=seeds), draws.normal(size=(len(centres), seeds))
    return centres[:, None] + SPREAD * math.sqrt(0.5) * (common + own)


def experiment(draws: np.random.Generator, truths: Array, examples: int) -> Draw:
    """Binomial examples, each of a difficulty that all networks share: right where a latent is below the threshold.

    The latent is standard normal over examples, so that each network's accuracy over all examples is exactly its own.
    """
    latent = draws.standard_normal((*truths.shape, examples), np.float32)
    own = draws.standard_normal(examples, np.float32)
    threshold = ndtri(expit(truths))[..., None] - math.sqrt(DIFFICULTY) * own
    return Draw((latent < threshold / math.sqrt(1 - DIFFICULTY)).astype(np.float64))


def share(hit: NDArray[np.bool_]) -> float:
    """Of draws, in percent."""
    return 100 * float(np.mean(hit))


def held(found: Estimate, truth: float) -> float:
    """Percent of intervals that hold it."""
    return share((found.low <= truth) & (truth <= found.high))


def coverage(draws: np.random.Generator, runs: int, seeds: int, accuracy: float, examples: int) -> list[float]:
    """Percent: one row, the same over seeds only, a paired difference, the same over seeds only."""
    centres = logit(accuracy) + np.array([0.0, STEP])
    scores = np.empty((2, runs, seeds))
    alone: list[ExamplesPart] = []
    both: list[ExamplesPart] = []
    for run in range(runs):
        drawn = experiment(draws, seeds_on_the_logit(draws, centres, seeds), examples)
        scores[:, run] = drawn.scores
        one, other = drawn.influences(0), drawn.influences(1)
        alone.append(examples_part(one))
        both.append(examples_part(other - one))
    return [
        held(estimate(scores[0], alone), float(centres[0])),
        held(estimate(scores[0]), float(centres[0])),
        held(difference(scores[1], scores[0], both), STEP),
        held(difference(scores[1], scores[0]), STEP),
    ]


def mixture(draws: np.random.Generator, runs: int, seeds: int, chance_broken: float) -> list[float]:
    """Percent: one row of seeds of which some are broken, of all draws and of those in which one is seen.

    The truth is the mean on the logit over intact and broken networks.
    """
    broken = draws.random((runs, seeds)) < chance_broken
    truths = np.where(broken, logit(CHANCE), logit(0.9) + SPREAD * draws.standard_normal((runs, seeds)))
    right = draws.binomial(10_000, expit(truths)) / 10_000
    found = estimate(LOGIT.forward(right, 10_000))
    truth = chance_broken * logit(CHANCE) + (1 - chance_broken) * logit(0.9)
    hit = (found.low <= truth) & (truth <= found.high)
    return [share(hit), share(broken.any(axis=1)), share(hit[broken.any(axis=1)])]


def errors(draws: np.random.Generator, runs: int, seeds: int, rows: int) -> list[float]:
    """Percent of families with an error, all rows being equal: each against the first, and all pairs."""
    family = pairs = 0
    for _ in range(runs):
        truths = seeds_on_the_logit(draws, np.full(rows, logit(0.9)), seeds)
        drawn = experiment(draws, truths, 360)
        scores, influences = drawn.scores, [drawn.influences(row) for row in range(rows)]
        p, mean = np.full((rows, rows), np.nan), np.zeros((rows, rows))
        for row in range(1, rows):
            parts = [examples_part(influences[row] - influences[other]) for other in range(row)]
            pairs_of_row = difference(np.repeat(scores[row : row + 1], row, axis=0), scores[:row], parts)
            p[row, :row] = p[:row, row] = pairs_of_row.p
            mean[:row, row], mean[row, :row] = pairs_of_row.centre, -pairs_of_row.centre
        family += bool((holm(p[0, 1:]) < 0.05).any())
        pairs += bool(wins(mean, p, np.zeros(rows, np.int64), np.full(rows, seeds)).any())
    return [100 * family / runs, 100 * pairs / runs]


def found(draws: np.random.Generator, runs: int, seeds: int, tests: int, of_examples: float) -> float:
    """Percent of true differences as large as the printed detectable one that are found at 5 % / tests.

    The standard deviation is known where the difference is printed, and estimated by each test; ``of_examples`` is the
    test sample's share in the variance, also known to the test, as thousands of examples make it.
    """
    added = SPREAD**2 / seeds * of_examples / (1 - of_examples)
    part = ExamplesPart(added, 10_000.0, 0.0)
    smallest = float(detectable(SPREAD, seeds, tests, added, part.freedom))
    centres = draws.normal(smallest, math.sqrt(added), (runs, 1))
    tested = estimate(centres + draws.normal(0, SPREAD, (runs, seeds)), [part] * runs)
    return share(tested.p < 0.05 / tests)


def tables(runs: int, seed: int = 0) -> Iterator[str]:
    """Titled markdown tables; every cell of one has a stream of random numbers of its own."""
    cells = [(s, a, n) for s in SEEDS for a in ACCURACIES for n in EXAMPLES]
    yield table(
        "Intervals that hold the truth",
        ["seeds", "accuracy", "examples", "one row", "over seeds only", "difference", "over seeds only"],
        [[*cell, *coverage(np.random.default_rng([seed, 1, i]), runs, *cell)] for i, cell in enumerate(cells)],
    )
    mixed = [(s, q) for s in SEEDS for q in (0.1, 0.3, 0.5)]
    yield table(
        "The same for rows of which some seeds are broken: published, not promised",
        ["seeds", "chance of a broken seed", "intervals", "draws with a broken seed", "intervals in these"],
        [[*cell, *mixture(np.random.default_rng([seed, 2, i]), runs, *cell)] for i, cell in enumerate(mixed)],
    )
    families = [(s, k) for s in SEEDS for k in (3, 8)]
    yield table(
        "Families of equal rows in which Holm's procedure tells some apart",
        ["seeds", "rows", "each against its control", "all pairs"],
        [[*cell, *errors(np.random.default_rng([seed, 3, i]), runs, *cell)] for i, cell in enumerate(families)],
    )
    tests = [(s, m) for s in SEEDS for m in (1, 10, 100)]
    yield table(
        "True differences as large as the printed detectable one that are found, standard deviation known",
        ["seeds", "tests in the family", "seeds only", "half of the variance from examples"],
        [
            [*cell, *(found(np.random.default_rng([seed, 4, i]), runs, *cell, part) for part in (0.0, 0.5))]
            for i, cell in enumerate(tests)
        ],
    )


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[float]]) -> str:
    """Settings as they are, percentages with one digit."""
    settings = [
        name in ("seeds", "accuracy", "examples", "rows") or "chance" in name or "tests" in name for name in head
    ]
    cells = [[f"{x:,g}" if given else f"{x:.1f}" for x, given in zip(row, settings, strict=True)] for row in rows]
    return f"{title}, in percent:\n\n" + tabulate(
        cells, head, tablefmt="github", disable_numparse=True, colalign=["right"] * len(head)
    )


def main() -> None:
    """Print the tables, and write them into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--print", action="store_true", help="only: leave the page as it is")
    options = parser.parse_args()
    written = []
    for text in tables(options.draws, options.seed):
        print(text, end="\n\n", flush=True)
        written.append(text)
    if not options.print:
        page = PAGE.read_text(encoding="utf8")
        before, rest = page.split(BEGIN)
        content = "\n\n".join(written)
        PAGE.write_text(f"{before}{BEGIN}\n\n{content}\n\n{END}{rest.split(END)[1]}", encoding="utf8")


if __name__ == "__main__":
    main()
