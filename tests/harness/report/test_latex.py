"""Cells, labels and widths of tables for papers; whether they compile is in test_pivot_table.py."""

from __future__ import annotations

import pytest
from synthetic import over_seeds
from synthetic import table as made_up

from harness.report.latex import latex, width
from harness.report.score_table import score_table
from harness.report.tables import NONE, Column, Table, interval


def cell(text: str, bold: bool = False) -> str:
    """As the only number of a table."""
    table = Table("t", [Column("a"), Column("b")], [["x", text]], bold_cells={(0, 1)} if bold else set())
    (line,) = [line for line in latex([table]).splitlines() if line.startswith("x & ")]
    return line.removeprefix("x & ").removesuffix(r" \\")


@pytest.mark.parametrize(
    ("text", "plain", "bold"),
    [
        ("0.954", "0.954", r"\textbf{0.954}"),
        ("0.877 ± 0.029", r"$0.877_{\pm .029}$", r"$\mathbf{0.877}_{\pm .029}$"),
        ("0.967 (0.947 to 0.980)", "$0.967^{+.013}_{-.020}$", r"$\mathbf{0.967}^{+.013}_{-.020}$"),
        ("-0.026 (-0.058 to -0.003)", "$-0.026^{+.023}_{-.032}$", r"$\mathbf{-0.026}^{+.023}_{-.032}$"),
        ("+0.005 ± 0.011 random", r"$+0.005_{\pm .011}$ random", r"$\mathbf{+0.005}_{\pm .011}$ random"),
        ("1008436 (719862 to 1412691)", "$1008436^{+404255}_{-288574}$", None),
        (interval(3.681e11, -1.2e12, 2e12, 0), r"3.68$\cdot10^{11}$ $\pm$ 1.6$\cdot10^{12}$", None),
        ("3.2e-05 in every seed", r"3.2$\cdot10^{-5}$ in every seed", r"\textbf{3.2$\cdot10^{-5}$ in every seed}"),
        ("sweep_1e-3", r"sweep\_1e-3", None),
        ("3716.3 ± 934.2", r"$3716.3_{\pm 934.2}$", None),
        ("0.327 ± 0.140 cut 2/10", r"$0.327_{\pm .140}$ cut 2/10", None),
        ("-0.0005 to -0.0003", "$-$0.0005 to $-$0.0003", None),
        (f"0.956 to 0.969 at 0.49{NONE}0.73", "0.956 to 0.969 at 0.49--0.73", None),
        ("600 + 200", "600 + 200", None),
        ("< 0.001", r"\textless{} 0.001", None),
    ],
)
def test_cells(text: str, plain: str, bold: str | None) -> None:
    assert cell(text) == plain
    if bold is not None:
        assert cell(text, bold=True) == bold


@pytest.mark.parametrize(
    ("mean", "low", "high"), [(0.5, 0.4, 0.6), (0.5, 0.2, 0.6), (-3.0, -9.0, -1.5), (120, 80, 900)]
)
@pytest.mark.parametrize("places", [0, 1, 4])
def test_every_interval_is_set_raised_and_lowered(mean: float, low: float, high: float, places: int) -> None:
    set_ = cell(interval(mean, low, high, places))
    assert set_.startswith(f"${mean:.{places}f}") and set_.endswith("}$")
    assert " to " not in set_ and "±" not in set_


def test_equal_labels_are_numbered() -> None:
    table = Table("Won/tied/lost", [Column("a")], [["x"]], label="s-A_b at 0.1")
    text = latex([table, table, Table("Won/tied/lost", [Column("a")], [["x"]])])
    assert [line for line in text.splitlines() if "label" in line] == [
        rf"\label{{tab:{name}}}" for name in ("s-a-b-at-0.1", "s-a-b-at-0.1-2", "won-tied-lost")
    ]


def test_wide_tables_go_over_both_columns_and_wider_ones_say_so() -> None:
    def of(columns: int) -> str:
        row = ["some_method", *["0.967 (0.947 to 0.980)"] * columns]
        table = Table("t", [Column("method"), *(Column(f"c{i}") for i in range(columns))], [row])
        text = latex([table])
        assert (r"\begin{table*}" in text) == (width(table) > 84) and ("Wider than a page" in text) == (
            width(table) > 178
        )
        return text

    assert r"\begin{table}" in of(3)
    assert r"\begin{table*}" in of(7) and "Wider" not in of(7)
    assert "Wider than a page" in of(14)


def test_a_column_stands_aside_only_if_all_of_its_rows_are_alone_in_it() -> None:
    columns = [Column("method"), Column("1", aside="at density 1"), Column("0.5")]
    alone = latex([Table("t", columns, [["dense", "0.9", NONE], ["random", NONE, "0.8"]])])
    assert r"dense & \multicolumn{1}{l@{}}{0.9 at density 1} \\" in alone and r"method & 0.5 \\" in alone
    both = latex([Table("t", columns, [["dense", "0.9", NONE], ["random", "0.9", "0.8"]])])
    assert r"dense & 0.9 & -- \\" in both and r"method & 1 & 0.5 \\" in both


def test_without_a_caption_of_its_own_a_table_has_its_title() -> None:
    table = Table("50% of _all_", [Column("a_b")], [["R&D <1>"]], notes=["a note", "WARNING: mind this."])
    text = latex([table])
    assert r"\caption{50\% of \_all\_.}" in text
    assert "% a note" in text.splitlines()
    assert r"R\&D \textless{}1\textgreater{} \\" in text and r"a\_b \\" in text
    assert r"{\raggedright Mind this.}" in text


@pytest.mark.parametrize(("rows", "floats"), [(1, 1), (40, 1), (70, 2), (200, 5)])
def test_a_table_higher_than_a_page_is_continued_with_labels_of_its_own(rows: int, floats: int) -> None:
    table = Table(
        "t", [Column("method"), Column("loss")], [[f"m{i}", "0.5"] for i in range(rows)], below="Small print."
    )
    text = latex([table, table])
    labels = [line for line in text.splitlines() if line.startswith(r"\label")]
    assert len(labels) == len(set(labels)) == 2 * floats
    assert labels[0] == r"\label{tab:t}" and labels[floats] == r"\label{tab:t-2}"
    assert text.count(r"\caption{t.}") == text.count("Small print.") == 2
    assert text.count(r"\caption{Table~\ref{tab:t}, continued.}") == floats - 1
    sizes = [part.count(" & 0.5") for part in text.split(r"\begin{table}")[1:]]
    assert sum(sizes) == 2 * rows and max(sizes) <= 50 and max(sizes) - min(sizes) <= floats


def test_what_a_heading_does_not_say_stands_below_where_the_column_is_shown() -> None:
    results = over_seeds("a", [0.91, 0.92, 0.95], 0.5) + over_seeds("b", [0.8, 0.83, 0.82], 0.5)
    table = score_table(made_up(results, ["a against b"]))
    shown = latex([table.only(["method", "density", "p"])])
    assert "p: two-sided, paired by seed, Holm's correction over 1 test, for a minus b." in shown
    assert "minus b: difference paired by seed" not in shown
    assert "minus b: difference paired by seed" in latex([table.only(["method", "minus b"])])
    assert "density: fraction of maskable weights kept." in shown
