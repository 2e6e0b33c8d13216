"""Tables on a terminal: what goes first where room is short, what never goes, and what is said once."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness.report.tables import (
    NONE,
    Column,
    Table,
    decimals,
    difference,
    interval,
    markdown,
    print_tables,
    rough,
    shortened,
)

LONG = ["a_method_with_a_long_name_before_training", "a_method_with_a_long_name_after_training", "random"]


def table(title="small: mlp on digits", **changes):
    columns = [
        Column("rank", 3, right=True),
        Column("method", names=True, key=True, strong=True),
        Column("accuracy", strong=True),
        Column("minus random", 1),
        Column("p", 2, right=True),
        Column("density", 5, right=True, key=True),
        Column("parameters", 8, folded=True),
    ]
    rows = [["1", name, "0.9701 ± 0.0012", "+0.0120 ± 0.0030", "0.012", "0.1000", "9 / 90"] for name in LONG]
    parts = {"notes": ["accuracy: higher is better.", "WARNING: budgets differ."], "answer": ["One beats two."]}
    return Table(title, columns, rows, **{**parts, **changes})


def printed(width, *tables):
    console = Console(file=io.StringIO(), width=width or 80)
    print_tables(tables, console, width)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (None, []),
        (110, []),
        (109, ["parameters"]),
        (97, ["density", "parameters"]),
        (80, ["density", "parameters"]),  # names are cut before the rank goes
        (66, ["rank", "density", "parameters"]),
        (58, ["rank", "p", "density", "parameters"]),
        (40, ["rank", "minus random", "p", "density", "parameters"]),
    ],
)
def test_what_goes_first(width, left_out):
    text = printed(width, table())
    assert width is None or max(map(len, text.splitlines())) <= width
    assert ("--wide adds" in text) == bool(left_out)
    told = " ".join(text.split()).partition("--wide adds: ")[2]
    assert (told == f"{', '.join(left_out)}.") or not left_out
    assert text.count("0.9701 ± 0.0012") == 3, "the metric is never cut"
    heading = next(line for line in text.splitlines() if "method" in line and "accuracy" in line)
    shown = {name.strip() for name in heading.split("  ")}
    assert all((name in shown) != (name in left_out) for name in ("rank", "minus random", "p", "density"))


def test_names_are_cut_so_that_they_differ():
    lines = printed(80, table()).splitlines()
    names = [line.split()[1] for line in lines if "0.9701" in line]
    assert len(set(names)) == 3 and names[2] == "random" and "\N{HORIZONTAL ELLIPSIS}" in names[0]
    assert all(any(f" {name} " in line for line in printed(None, table()).splitlines()) for name in LONG)


def test_names_that_only_differ_in_the_middle_keep_it():
    names = [f"{'a' * 14}{i}{'b' * 14}" for i in range(3)]
    rows = [[name, "0.5"] for name in names]
    for width in range(20, 40):
        lines = printed(width, Table("", [Column("method", names=True), Column("x")], rows)).splitlines()
        shown = {line.partition(" ")[0] for line in lines if line.startswith("a")}
        assert len(shown) == 3 or width < 34


@pytest.mark.parametrize(("room", "text"), [(6, "abcdef"), (5, "abc\N{HORIZONTAL ELLIPSIS}f"), (9, "abcdef")])
def test_shortened(room, text):
    assert shortened("abcdef", room) == text


def test_a_long_heading_is_cut_before_columns_that_matter_go():
    columns = [Column("method", names=True), Column("a_metric_with_a_very_long_name"), Column("p", 2, right=True)]
    lines = printed(30, Table("", columns, [["random", "0.97 ± 0.01", "0.5"]])).splitlines()
    assert lines[1].split()[::2] == ["method", "p"] and "0.97 ± 0.01" in lines[3] and lines[3].endswith("0.5")


def test_intervals_go_before_columns_and_rows_of_which_nothing_is_left_go_with_these() -> None:
    columns = [Column("method", names=True, key=True), *(Column(name, 5) for name in ("1", "0.5", "own density"))]
    rows = [["dense", "0.95 ± 0.01", NONE, NONE], ["a", NONE, "0.9 ± 0.1", NONE], ["b", NONE, NONE, "0.8 ± 0.1 at 0.3"]]
    short = [[cell.replace(" ± 0.01", "").replace(" ± 0.1", "") for cell in row] for row in rows]
    pivot = Table("t", columns, rows, short=short, bold_cells={(1, 2)})

    def lines(width: int | None) -> list[str]:
        text = printed(width, pivot).replace(NONE, "-")
        return [line.rstrip() for line in text.splitlines() if line and "\N{BOX DRAWINGS LIGHT HORIZONTAL}" not in line]

    assert lines(None)[1:3] == ["method  1            0.5          own density", "dense   0.95 ± 0.01  -            -"]
    assert lines(40)[1:5] == [
        "method  1     0.5    own density",
        "dense   0.95  -      -",
        "a       -     0.9 *  -",
        "b       -     -      0.8 at 0.3",
    ]
    assert lines(40)[-1] == "--wide adds: intervals."
    assert lines(26)[1:4] == ["method  1     0.5", "dense   0.95  -", "a       -     0.9 *"]
    assert " ".join(" ".join(lines(26)[-2:]).split()) == "--wide adds: intervals, own density."
    assert lines(12)[1:3] == ["method  1", "dense   0.95"]


def test_the_answer_comes_first_and_constants_are_said_once():
    other = table(title="other", notes=["accuracy: higher is better.", "WARNING: budgets differ.", "More."])
    text = printed(120, table(), other)
    assert text.index("One beats two.") < text.index("0.9701")
    assert text.count("higher is better") == 1 and text.count("WARNING: budgets differ.") == 2
    assert "Otherwise as above." in text.partition("other")[2] and "Otherwise" not in text.partition("other")[0]


def test_markdown_folds_columns_with_the_row_they_are_of():
    text = markdown(table())
    main, _, more = text.partition("<details><summary>More columns</summary>")
    assert "parameters" not in main and "accuracy" in main and more.rstrip().endswith("</details>")
    heads = [[cell.strip() for cell in line.strip("|").split("|")] for line in more.splitlines() if "method" in line]
    assert heads[0] == ["method", "density", "parameters"]
    assert text.startswith("- One beats two.\n\n|")


def test_markdown_does_not_break_a_range():
    text = markdown(Table("", [Column("density")], [["0.25\N{EN DASH}0.75"], ["\N{EN DASH}"]]))
    assert "0.25\N{EN DASH}\N{WORD JOINER}0.75" in text and text.count("\N{WORD JOINER}") == 1


def test_columns_are_as_wide_as_their_characters_are_many_whatever_is_installed() -> None:
    table = Table("wide", [Column("name"), Column("b")], [["\N{CJK UNIFIED IDEOGRAPH-6578}" * 4, "1"], ["abcd", "2"]])
    assert {len(line) for line in markdown(table).splitlines() if line.startswith("|")} == {len("| name   | b   |")}


@pytest.mark.parametrize(
    ("mean", "low", "high", "places", "text"),
    [
        (0.97, 0.96, 0.98, 4, "0.9700 ± 0.0100"),
        (0.97, 0.9602, 0.9802, 4, "0.9700 ± 0.0100"),
        (0.97, 0.9615, 0.9815, 4, "0.9700 (0.9615 to 0.9815)"),
        (10.33, 10.33, 10.33, 2, "10.33 in every seed"),
        (0.6038, 0.6038 - 1e-14, 0.6038 + 1e-15, 4, "0.6038 in every seed"),
        (10.33, None, None, 2, "10.33"),
        (999_999.0, None, None, 0, "999999"),
        (368135191458.0, -1.2157e12, 1.952e12, 0, "3.68e+11 ± 1.58e+12"),
        (12.0, 0.5, 3e7, 1, "12 (0.5 to 3e+07)"),
        (3.2e-5, 2.2e-5, 4.2e-5, 4, "3.2e-05 ± 1e-05"),
        (3.2e-5, -3e-4, 3.64e-4, 4, "0.0000 ± 0.0003"),
        (1e-4, None, None, 4, "0.0001"),
        (0.0, 0.0, 0.0, 4, "0.0000 in every seed"),
        (1.4e-14, None, None, 1, "0.0"),
    ],
)
def test_an_interval_has_one_form_that_shows_its_size(mean, low, high, places, text):
    assert interval(mean, low, high, places) == text
    signed = difference(mean, low, high, places)
    assert signed.startswith(f"+{text.split(' ')[0]}") and ("in every seed" in signed) == ("in every seed" in text)


def test_both_ends_stand_where_one_number_would_say_otherwise_about_zero() -> None:
    assert difference(-9.1, -17.2, 0.48, 1) == "-9.1 (-17.2 to +0.5)"
    assert difference(-9.1, -17.2, -0.48, 1) == "-9.1 ± 8.4"


def test_a_very_large_score_leaves_the_others_their_decimals():
    assert decimals([368135191458.0, 7.974]) == decimals([7.974]) == 4 and decimals([3e11]) == 4


def test_rough_numbers_have_an_exponent_from_a_million_on():
    numbers = [0.0341, 5.52, 1312, 940_000, 3.6e12, 2.2e-6]
    assert [rough(number) for number in numbers] == ["0.034", "5.5", "1,300", "940,000", "3.6e+12", "2.2e-06"]
