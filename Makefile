# The project's commands. `make quickstart` and `make test` need Python 3.11 and nothing else.

PYTHON ?= python3
BIN := .venv/bin
# Not results/: what is there was committed, and finished cells are not run again.
RESULTS ?= runs
NUMERIC := $(BIN)/python -m pytest -n 2 --dist loadfile tests/golden tests/harness tests/plugins

.PHONY: quickstart test fuzz kills lint formatted types processors results install dev readme docs clean

quickstart: install
	$(BIN)/harness run suites/quickstart.yaml --results $(RESULTS)

test: lint formatted types
	$(BIN)/python -m pytest -n 2 --dist loadfile

# All malformed inputs; `make test` tries a tenth of them.
fuzz: dev
	FUZZ=3200 $(BIN)/python -m pytest -n 2 tests/e2e/test_fuzz.py

# A hundred kills of a run, and a stop of two minutes; `make test` kills ten times.
kills: dev
	HARNESS_KILLS=100 $(BIN)/python -m pytest -s tests/e2e/test_kill.py

# What comes before the tests; .pre-commit-config.yaml calls the same.
lint: dev
	$(BIN)/ruff check .

formatted: dev
	$(BIN)/ruff format --check .

types: dev
	$(BIN)/mypy

# Numeric tests as on other processors: old instructions, half old ones, this machine's own.
processors: dev
	ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE DNNL_MAX_CPU_ISA=SSE41 $(NUMERIC)
	ATEN_CPU_CAPABILITY=avx2 MKL_CBWR=AVX2 DNNL_MAX_CPU_ISA=AVX2 $(NUMERIC)
	$(NUMERIC)

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
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	touch $@

.venv/dev: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

readme: install
	$(BIN)/python docs/generate.py

# The pages of docs/ to look at and to search; a warning is an error.
docs: dev
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build

clean:
	rm -rf .venv build docs/_build *.egg-info
