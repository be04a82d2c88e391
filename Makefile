# make demo: the whole chain from scratch.   make test: linters, types and tests.
# make faults: every kind of fault at every write, and 2,500 damaged files.   All set up .venv first.
# make gpu: what needs a CUDA device, in three parts: gpu-bench (tests, benchmark, parity), gpu-paper (the paper's
# network and settings on closed drawers, from the first episode to the table), gpu-seeds (three seeds at once).
# make packages: exports against the packages that read them, TD3+BC against d3rlpy's, in environments of their own.
# PYTHON names the Python of new environments; otherwise .ci/find-python looks for one and says if there is none.
PYTHON ?= $(shell .ci/find-python || echo false)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO ?=
UPDATES ?= 300000

.NOTPARALLEL:
.PHONY: demo test faults gpu gpu-bench gpu-paper gpu-seeds packages lint format setup wheel clean

demo: $(INSTALLED)
	$(BIN)/cog demo $(DEMO)

test: lint
	$(BIN)/python -m pytest -n 2

faults: $(INSTALLED)
	$(BIN)/python -m tests.faults
	$(BIN)/python -m tests.faults.flips

gpu: gpu-bench gpu-paper gpu-seeds

gpu-bench: $(INSTALLED)
	mkdir -p runs/gpu
	$(BIN)/python -m pytest tests/training/test_execution.py tests/training/test_several.py tests/replay/test_buffer.py -rs
	$(BIN)/cog bench --device cuda --precision bfloat16 --out runs/gpu/bench.json --plot runs/gpu/scaling.png
	$(BIN)/cog bench --parity --device cuda --out runs/gpu/parity.json

gpu-paper: $(INSTALLED)
	rm -rf runs/gpu/paper
	$(BIN)/cog reproduce --rows closed --arms cog_reference --seeds 0 --updates $(UPDATES) --device cuda \
	    --out runs/gpu/paper

gpu-seeds: $(INSTALLED)
	test -e runs/gpu/paper/results.json || $(MAKE) gpu-paper
	rm -rf runs/gpu/seeds
	$(BIN)/cog train --preset paper --device cuda --graphed --compiled --precision bfloat16 --threads 1 \
	    --data runs/gpu/paper/merges/*.json --updates $(UPDATES) --out runs/gpu/seeds --seeds 0 1 2
	echo "seconds of training, one seed and three at once:"
	tail -q -n 1 runs/gpu/paper/runs/*/timings.jsonl runs/gpu/seeds/seed*/timings.jsonl

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

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): setup.cfg constraints.txt | $(BIN)/python
	.ci/build-pybullet $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

wheel: $(INSTALLED)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) .venv-packages .venv-lerobot build dist *.egg-info
