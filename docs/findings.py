"""Pages of what the committed suites found: from the suite's own comment, and from its leaderboard.

The comment at the top of a suite has parts, each behind a heading at the beginning of a line: ``What it shows``,
``What came out``, ``Limits``, ``How it ran``, ``What it costs``, ``Data``. A part may be a list of names, mostly of
experiments, each followed by at least two spaces; what goes on further right belongs to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

HEADINGS = (
    "What it shows",
    "How to read it",
    "Protocol",
    "What came out",
    "Limits",
    "How it ran",
    "What it costs",
    "Data",
)
_HEADING = re.compile(rf"({'|'.join(HEADINGS)})\b([^:]*):\s*(.*)")
_NAMED = re.compile(r" {2,4}([\w]+) {2,}(\S.*)")
MOST = 12
"""Answers on a page; the leaderboard has all."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A suite that has run: its file, its folder of results, and the parts of its comment."""

    suite: Path
    results: Path
    parts: dict[str, str]

    @property
    def name(self) -> str:
        """Of the results' folder, with the profile."""
        return self.results.name

    @property
    def question(self) -> str:
        """The suite's description."""
        return " ".join(yaml.safe_load(self.suite.read_text(encoding="utf8"))["description"].split())

    @property
    def title(self) -> str:
        """The description up to its first halt, with the first word of what stands in brackets, and what is missing."""
        text = re.sub(r" \(([^,)]*)[^)]*\)", r" (\1)", self.question)
        return re.split(r"[:;] |, (?=each|densities|two)|(?<=\)), |\. |\.$", text)[0] + self.so_far

    @property
    def so_far(self) -> str:
        """`` (30 of 157 runs so far)``, so that a suite's words promise nothing that has not run; "" if all have."""
        board = (self.results / "leaderboard.md").read_text(encoding="utf8")
        line = board.partition("\n- Runs: ")[2].partition("\n")[0]
        runs = [int(number) for number in re.findall(r"\d+", line.replace(",", ""))]
        counted, *others = runs
        return f" ({counted:,} of {sum(runs):,} runs so far)" if any(others) else ""

    @property
    def short(self) -> str:
        """The first sentence of what came out."""
        text = re.sub(r"^(\*.*\*\n\n)?(- \*\*\w+\*\*: )?", "", self.parts["What came out"])
        text = text[:1].upper() + text[1:]
        return (
            re.split(r"(?<=[a-z0-9)])\. (?=[A-Z])|\n- ", text.replace("\n  ", " ").replace("\n", " "))[0].rstrip(".")
            + "."
        )


def findings(root: Path) -> list[Finding]:
    """All suites with committed results, by name."""
    found = []
    for page in sorted((root / "results").glob("*/leaderboard.md")):
        file = root / "suites" / f"{re.sub('-.*', '', page.parent.name)}.yaml"
        found.append(Finding(file, page.parent, parts(file.read_text(encoding="utf8"))))
    return found


def parts(text: str) -> dict[str, str]:
    """Heading -> Markdown, of the comment at the top of a suite."""
    lines = [line.removeprefix("#").removeprefix(" ") for line in text.split("\n") if line.startswith("#")]
    found: dict[str, list[str]] = {}
    heading = ""
    for line in lines[: len(list(_until(text)))]:
        if begun := _HEADING.fullmatch(line):
            heading = begun[1]
            note = re.sub(r"^\((.*)\)$", r"\1", begun[2].strip(" ,"))
            found[heading] = [
                *([f"*{note[:1].upper()}{note[1:]}.*", ""] if note else []),
                *filter(None, [begun[3][:1].upper() + begun[3][1:]]),
            ]
        elif heading:
            found[heading].append(line)
    return {heading: _markdown(lines) for heading, lines in found.items()}


def _until(text: str) -> Iterator[str]:
    """Lines of the comment that the file begins with."""
    for line in text.split("\n"):
        if not line.startswith("#"):
            return
        yield line


def _markdown(lines: list[str]) -> str:
    """Names with what they mean as a list, the rest as it is; no line of it is taken for Markdown's code."""
    made: list[str] = []
    for line in lines:
        if named := _NAMED.fullmatch(line):
            made.append(f"- **{named[1]}**: {named[2]}")
        elif line.startswith("  - "):
            made.append(line.strip())
        elif line.startswith("  ") and made and made[-1].startswith(("- ", "  ")):
            made.append(f"  {line.strip()}")
        else:
            if made and made[-1].startswith(("- ", "  ")):
                made.append("")
            made.append(line.strip())
    text = "\n".join(made).strip()
    text = re.sub(r"(?<![`\w])harness (data prepare|run) ([\w./ -]*\w)(?!`)", r"`harness \1 \2`", text)
    return text[:1].upper() + text[1:]


def sections(board: str) -> list[tuple[str, list[str], str]]:
    """Title, answers, and figure (Markdown, or "") of each part of a leaderboard; first where most is decided."""
    found = []
    for part in board.split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        lines = text.partition("\n|")[0].split("\n")
        told = [line for line in lines if line.startswith("- ") and not line.startswith("- Best means")]
        if told and (": " in title or title.startswith("All architectures")):
            found.append((title, told, next(iter(re.findall(r"^!\[.*\)$", text, re.MULTILINE)), "")))
    # To beat a network that is cut says nothing.
    # Networks come last: what they bring besides, the suite's own words say.
    return sorted(
        found,
        key=lambda one: (
            ": " not in one[0],
            -sum(" beat" in line and not re.search("cut|constant", line) for line in one[1]),
        ),
    )


def page(finding: Finding) -> str:
    """Question, answer, figure, limits, and how to repeat it."""
    where = f"../../results/{finding.name}"
    found = sections((finding.results / "leaderboard.md").read_text(encoding="utf8"))
    picture = next((picture for _, _, picture in found if picture), "").replace("](figures", f"]({where}/figures")
    told, number = "", 0
    for title, lines, _ in found:
        if number < MOST:
            told += f"*{title}*\n\n" + "\n".join(lines[: MOST - number]) + "\n\n"
        number += len(lines)
    link = f"[leaderboard]({where}/leaderboard.md)"
    more = f"{MOST} of {number} answers; the {link} has all" if number > MOST else f"The {link} has them"
    profile = finding.name.partition("-")[2]
    asked = f" --set profile={profile}" if profile else ""
    texts = {
        "What came out": f"{finding.parts['What came out']}\n\n{picture}",
        "What the data decide": f"{told}{more} with tables, intervals and every seed.",
        **{name: finding.parts.get(name, "") for name in ("Limits", "How to read it", "Protocol", "How it ran")},
        "Repeat it": f"```sh\nharness run suites/{finding.suite.name}{asked}\n```\n\n"
        + "\n\n".join(f"{name}: {finding.parts[name]}" for name in ("What it costs", "Data") if name in finding.parts),
    }
    head = f"# {finding.title}\n\n*{finding.question}*\n\n{finding.parts['What it shows']}\n"
    return head + "".join(f"\n## {name}\n\n{text.strip()}\n" for name, text in texts.items() if text)


def index(found: list[Finding]) -> str:
    """The list of all pages."""
    lines = [
        "# Findings",
        "What the suites in the repository have found, each with its question, its answer, a figure and its limits. "
        "All of it ran on two cores: these are small networks, and none of it says what holds for large ones.",
        "\n".join(f"- [{finding.title}]({finding.name}.md): {finding.short}" for finding in found),
        "What papers report beside what was measured here, with verdicts by written rules: "
        "[claims](../../results/CLAIMS.md).",
    ]
    return "\n\n".join(lines) + "\n"


def pages(root: Path) -> dict[Path, str]:
    """Every page as it should be."""
    found = findings(root)
    folder = root / "docs/findings"
    return {folder / "index.md": index(found), **{folder / f"{one.name}.md": page(one) for one in found}}
