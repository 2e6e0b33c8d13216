# The project's commands. `make quickstart` and `make test` need Python 3.11 and nothing else.

PYTHON ?= python3
BIN := .venv/bin
# Not results/: what is there was committed, and finished cells are not run again.
RESULTS ?= runs

.PHONY: quickstart test results install dev readme clean

quickstart: install
	$(BIN)/harness run suites/quickstart.yaml --results $(RESULTS)

test: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Everything that is computed from the committed result files; the same files give the same bytes.
results: install
	$(BIN)/harness claims
	$(BIN)/harness leaderboard
	$(BIN)/harness report -o results/report.html

install: .venv/installed

dev: .venv/dev

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/dev: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

readme: install
	$(BIN)/python docs/generate.py

clean:
	rm -rf .venv build *.egg-info
