# Needs Python 3.11 or newer and make; everything else goes into .venv, which no command expects to be activated.
#
#   make PYTHON=/path/to/python3     the interpreter that creates .venv
#   make TORCH_ARGS="..."            further arguments of `pip install torch`, such as the index of another build
#   make test WORKERS=8              test processes

VENV       := .venv
PY         := $(VENV)/bin/python
PYTHON     ?=
TORCH_ARGS ?=
WORKERS    ?= 2
PIP        := $(PY) -m pip --disable-pip-version-check --quiet
TORCH      := $(shell grep '^torch==' constraints.txt)
RUNS       := $(VENV)/.stamp-runs
DEV        := $(VENV)/.stamp-dev
OLDEST      = $(shell sed -n 's/^ *"$(1)>=\([0-9.]*\)",/$(1)==\1/p' pyproject.toml | head -n 1)
# A file stays in one process: what its tests share, such as a finished fit, is made once.
PYTEST     := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile

.PHONY: help setup demo test test-slow bench-throughput bench-search bench-everyday lint format docs site test-oldest clean distclean
.DELETE_ON_ERROR:

help:
	@echo "make demo        fit a real data set and print where the report is (creates .venv)"
	@echo "make test        lint, types, layers, tests and examples: what continuous integration runs"
	@echo "make test-slow   the tests that take minutes"
	@echo "make bench-throughput BASELINE=file   milliseconds a step against plain loops: benchmarks/results/throughput.json"
	@echo "make bench-search DATA=folder   the search benchmark (hours; resumes where it stopped) and its report"
	@echo "make lint        ruff, pyright, import-linter"
	@echo "make format      let ruff format and mend what it can"
	@echo "make docs        write the tables that are generated from the code"
	@echo "make site        build the documentation site into build/site, links checked"
	@echo "make test-oldest tests on the oldest torch and scikit-learn of pyproject.toml, in .venv-oldest"
	@echo "make bench-everyday   start-up, predictions a second, memory: benchmarks/results/everyday.json"
	@echo "make setup       create .venv with everything for development"
	@echo "make clean       remove the demo and all caches;  make distclean removes .venv too"

setup: $(DEV)

demo: $(RUNS) demo/digits.npz
	$(VENV)/bin/temperance fit demo/digits.npz --trials 16 --metric log_loss --out demo/result --overwrite
	@echo "The report is $(CURDIR)/demo/result/report.html"

test: lint
	$(PYTEST)

# The slow tests of a cluster, a database server and trackers need these; without them they are skipped by name.
test-slow: $(DEV)
	-@$(PIP) install --constraint constraints.txt --editable '.[ray,postgres,tensorboard,mlflow]'
	$(PYTEST) -m slow

bench-throughput: $(DEV)
	$(PY) -m benchmarks.throughput --baseline "$(BASELINE)"

bench-search: $(DEV)
	@test -n "$(DATA)" || { echo "Expected DATA=folder with the Parquet files of the data sets." >&2; exit 1; }
	$(PY) -m benchmarks.search --data "$(DATA)"
	$(PY) -m benchmarks.search --report

lint: $(DEV)
	$(PY) -m ruff check --quiet
	$(PY) -m ruff format --check --quiet --diff
	$(PY) -m pyright
	$(PY) -m pyright --project pyright-core.json
	$(VENV)/bin/lint-imports --no-logo

format: $(DEV)
	$(PY) -m ruff format
	$(PY) -m ruff check --fix

docs: $(DEV)
	$(PY) -m tools.docs

# Tools of the site alone, so that make test needs none of them.
site: $(DEV)
	@$(PIP) install --constraint constraints.txt --editable '.[site]'
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	@echo "The site is $(CURDIR)/build/site/index.html"

# The lowest versions that pyproject.toml promises; TORCH_ARGS names an index that has a CPU build of that torch.
test-oldest: $(PY)
	@$(PY) -m venv --clear .venv-oldest
	@.venv-oldest/bin/python -m pip --disable-pip-version-check --quiet install $(TORCH_ARGS) $(call OLDEST,torch) $(call OLDEST,scikit-learn) $(call OLDEST,numpy) $(call OLDEST,pandas)
	@.venv-oldest/bin/python -m pip --disable-pip-version-check --quiet install $(call OLDEST,torch) $(call OLDEST,scikit-learn) $(call OLDEST,numpy) $(call OLDEST,pandas) --editable '.[dev]'
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -n $(WORKERS)

bench-everyday: $(RUNS)
	$(PY) benchmarks/everyday.py

clean:
	rm -rf demo build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) .venv-oldest

demo/digits.npz: docs/demo_data.py | $(RUNS)
	$(PY) docs/demo_data.py $@

# The stamps say what .venv holds; they are older than pyproject.toml or constraints.txt when it has to be installed again.
$(DEV): $(RUNS)
	@echo "Installing the tools for development into $(VENV) ..."
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@

# torch first and alone, so that a CPU build stays the one in place when the rest is resolved.
$(RUNS): pyproject.toml constraints.txt | $(PY)
	@echo "Installing $(TORCH) into $(VENV) (the largest part: a few minutes on a slow line) ..."
	@$(PIP) install --constraint constraints.txt $(TORCH_ARGS) $(TORCH)
	@echo "Installing temperance and what it needs into $(VENV) ..."
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

# The first interpreter that is new enough and can create environments; a name on the path alone proves neither.
$(PY):
	@set -e; \
	for python in $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3 python); do \
	    if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	        echo "Creating $(VENV) with $$("$$python" --version) ..."; \
	        "$$python" -m venv --clear $(VENV); \
	        exit 0; \
	    fi; \
	done; \
	echo "No Python 3.11 or newer with venv and ensurepip was found. Install one (Debian and Ubuntu: python3 and python3-venv), or name it: make PYTHON=/path/to/python3" >&2; \
	exit 1
