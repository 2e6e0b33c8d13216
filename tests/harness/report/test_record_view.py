"""What `harness show` prints and the page opens, against the record itself."""

from pathlib import Path

from click.testing import CliRunner

from harness.cli import show
from harness.report.record_view import record_view
from harness.results.cell_record import CellRecord
from harness.results.store import ResultStore

STORE = ResultStore(Path(__file__).parents[3] / "results")


def test_every_part_of_a_record_is_shown_once_in_order_of_interest():
    name = next(name for name in STORE.names("quickstart") if ".genome.s0." in name)
    record = STORE.record("quickstart", name)
    assert isinstance(record, CellRecord)
    sections = list(record_view(record))
    titles = [section.title for section in sections]
    assert titles[:4] == ["", "test", "validation", "density"] and len(set(titles)) == len(titles)
    head = dict(sections[0].facts)
    assert head["cell"] == name and head["seed"] == "0" and head["method"].startswith("genome = genome version")
    accuracy = record.metrics["accuracy"]
    assert dict(sections[1].facts)["accuracy"].startswith(f"{accuracy.value:.6g} ± {accuracy.stderr:.4g}")
    density = sections[3]
    assert dict(density.facts)["kept"] == f"{record.density.kept:,}"
    assert len(density.rows) == len(record.density.connections) and len(density.columns) == len(density.rows[0])
    filled = {key for key, value in record.content().items() if value not in (None, {}, [])}
    told = {*head, *titles, "schema", "metrics"}
    told |= {"training_data"}  # here the benchmark's own, which the head has
    assert filled <= told


def test_phases_say_what_is_not_as_usual_and_nothing_is_empty():
    name = next(name for name in STORE.names("quickstart") if ".magnitude.d0.1.s1." in name)
    record = STORE.record("quickstart", name)
    assert isinstance(record, CellRecord)
    (program,) = [section.facts for section in record_view(record) if section.title == "program"]
    kinds = [text.partition(":")[0] for _, text in program]
    assert kinds == ["Train without hooks", "Prune", "Finetune without hooks"]
    assert not [text for _, text in program if "type" in text or "-" in text]
    assert f"steps {record.program[0].model_dump()['steps']:,}" in program[0][1]
    for section in record_view(record):
        assert all(text for _, text in section.facts), section.title


def test_show_prints_every_word_of_the_view_and_no_other():
    name = next(name for name in STORE.names("quickstart") if ".magnitude.d0.1.s1." in name)
    record = STORE.record("quickstart", name)
    assert isinstance(record, CellRecord)
    found = CliRunner(env={"COLUMNS": "1000"}).invoke(show.command, [name, "--results", str(STORE.root)])
    assert found.exit_code == 0, found.exception
    words: list[str] = []
    for section in record_view(record):
        words += section.title.split()
        for fact in section.facts:
            words += " ".join(fact).split()
        for row in [section.columns, *section.rows]:
            words += " ".join(row).split()
    assert found.output.split() == words
