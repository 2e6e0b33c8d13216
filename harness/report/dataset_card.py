"""The card of a dataset of results: answers first, tables, protocols, and how to load it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import yaml

from harness.formatting import count
from harness.report.tables import escape
from harness.version import __version__

if TYPE_CHECKING:
    from harness.report.results import Results
    from harness.results.store import ResultStore

_LOAD = """## Load it

Tables, with pandas alone:

```python
import pandas as pd

comparison = pd.read_parquet("hf://datasets/{repository}/comparison.parquet")
scores = pd.read_parquet("hf://datasets/{repository}/scores.parquet")
```

Everything, records, curves and masks included, with the harness:

```python
import harness
from huggingface_hub import snapshot_download

results = harness.load(snapshot_download("{repository}", repo_type="dataset") + "/results")
results.compare()
```

- `comparison.parquet`: a row for each method and density: mean over seeds, 95 % interval, rank, paired difference, p.
- `scores.parquet`: a row for each metric of each finished run, so one a seed.
- `results/SUITE/`: the records (JSON), curves over training (JSON), masks (safetensors), results by example
  (safetensors) and texts that networks wrote; `archive/` holds those of many runs. docs/records.md of the harness
  explains them. What quotes data of benchmarks is not here.
"""
_CITE = """## Citation

```bibtex
@misc{{{key},
  title = {{{title}}},
  howpublished = {{Hugging Face dataset {repository}}},
  note = {{Results of sparsity-harness {version}}}
}}
```

Please cite the works of those whose methods and data these are, too: the harness's CITATION.cff has the methods'.
"""


def card(store: ResultStore, found: Results, repository: str, licence: str) -> str:
    """The README.md of a dataset repository, with the header that the hub reads.

    Args:
        store: the results that are published, whose leaderboards are written.
        found: the same, loaded.
        repository: ``USER/NAME``.
        licence: as the hub names it.
    """
    suites = ", ".join(found.suites)
    title = f"sparsity-harness: {suites}"
    head = {
        "license": licence,
        "pretty_name": title,
        "tags": ["sparsity", "pruning", "benchmark", "sparsity-harness"],
        "configs": [
            {"config_name": "comparison", "default": True, "data_files": "comparison.parquet"},
            {"config_name": "scores", "data_files": "scores.parquet"},
        ],
    }
    cells, methods = found.frame["cell"].nunique(), found.frame["method"].nunique()
    about = (
        f"# {escape(title)}\n\nSparsity methods for neural networks, compared at equal density, data, compute and "
        f"seeds: {count(cells, 'run')} of {count(methods, 'method')}, measured with sparsity-harness.\n"
    )
    board = (store.root / "LEADERBOARD.md").read_text(encoding="utf8")
    tables, _, reading = board[board.index("\n## ") + 1 :].partition("\n## How to read the tables")
    tables = re.sub(r"\]\(([\w.%-]+/leaderboard\.md)\)", r"](results/\1)", tables)
    return "\n".join(
        [
            f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n",
            about,
            tables,
            *_figures(store),
            f"## How to read the tables{reading}",
            _LOAD.format(repository=repository),
            _CITE.format(
                key=re.sub(r"\W+", "_", repository.partition("/")[2]),
                title=title.replace("_", r"\_"),
                repository=repository,
                version=__version__,
            ),
        ]
    )


def _figures(store: ResultStore) -> list[str]:
    """The pruning curves; the others stand in the suites' own pages."""
    paths = sorted(store.root.glob("*/figures/*-pruning.svg"))
    shown = [f"![{path.stem}](results/{quote(path.relative_to(store.root).as_posix())})\n" for path in paths]
    return ["## Metric against density\n", *shown] if shown else []
