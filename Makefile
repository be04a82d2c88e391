# make demo: the whole chain from scratch.   make test: linters, types and tests.
# make faults: every kind of fault at every write, and 2,500 damaged files.   All set up .venv first.
# make packages: exports against the packages that read them, in environments of their own.
PYTHON ?= $(shell command -v python3.11 || command -v python3.10 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO ?=

.PHONY: demo test faults packages lint format setup wheel clean

demo: $(INSTALLED)
	$(BIN)/cog demo $(DEMO)

test: lint
	$(BIN)/python -m pytest -n 2

faults: $(INSTALLED)
	$(BIN)/python -m tests.faults
	$(BIN)/python -m tests.flips

# The folders `tests` and `datasets` of this repository share their names with packages, hence the detour.
packages: .venv-packages/.installed .venv-lerobot/.installed
	mkdir -p build/packages && ln -sfn $(CURDIR)/tests build/packages/tests
	for venv in .venv-packages .venv-lerobot; do \
	    PYTHONPATH=build/packages PYTHONSAFEPATH=1 HF_HUB_OFFLINE=1 $$venv/bin/python -m pytest \
	        --import-mode=append -rs -W ignore tests/packages || exit 1; \
	done

.venv-packages/.installed: tests/packages/requirements.txt tests/packages/requirements-alone.txt setup.cfg
.venv-lerobot/.installed: tests/packages/lerobot.txt tests/packages/lerobot-alone.txt setup.cfg
.venv-packages/.installed .venv-lerobot/.installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $(word 1,$^)
	$(@D)/bin/python -m pip install --quiet --no-deps --requirement $(word 2,$^) --editable .
	touch $@

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
	rm -rf $(VENV) .venv-packages .venv-lerobot build dist *.egg-info
