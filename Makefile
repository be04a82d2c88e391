# make demo: the whole chain from scratch.   make test: linters, types and tests.
# make faults: every kind of fault at every write, and 2,500 damaged files.   All set up .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3.10 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO ?=

.PHONY: demo test faults lint format setup wheel clean

demo: $(INSTALLED)
	$(BIN)/cog demo $(DEMO)

test: lint
	$(BIN)/python -m pytest -n 2

faults: $(INSTALLED)
	$(BIN)/python -m tests.faults
	$(BIN)/python -m tests.flips

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/typed && mkdir -p build/typed/cog
	ln -s $(CURDIR)/cog/* build/typed/cog/
	for part in envs datasets experiments; do ln -s $(CURDIR)/$$part build/typed/cog/$$part; done
	MYPYPATH=build/typed $(BIN)/mypy -p cog

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(INSTALLED)

$(INSTALLED): setup.cfg constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

wheel: $(INSTALLED)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist *.egg-info
