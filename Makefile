# make demo: the whole chain from scratch.   make test: linters, types and tests.
# make faults: every kind of fault at every write, and 2,500 damaged files.   All set up .venv first.
# make gpu: what needs a CUDA device: tests, benchmark, parity, the paper's network and settings on closed drawers.
# make packages: exports against the packages that read them, in environments of their own.
PYTHON ?= $(shell command -v python3.11 || command -v python3.10 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO ?=

.PHONY: demo test faults gpu packages lint format setup wheel clean

demo: $(INSTALLED)
	$(BIN)/cog demo $(DEMO)

test: lint
	$(BIN)/python -m pytest -n 2

faults: $(INSTALLED)
	$(BIN)/python -m tests.faults
	$(BIN)/python -m tests.flips

gpu: $(INSTALLED)
	rm -rf runs/gpu && mkdir -p runs/gpu
	$(BIN)/python -m pytest tests/test_execution.py -rs
	$(BIN)/cog bench --device cuda --precision bfloat16 --out runs/gpu/bench.json --plot runs/gpu/scaling.png
	$(BIN)/cog bench --parity --device cuda --out runs/gpu/parity.json
	date +%s > runs/gpu/began
	$(BIN)/cog collect --env cog/DoubleDrawer-v0 --out runs/gpu/task --start open --max-steps 80 \
	    --behaviour grasp=1:aim_error=0.015 --episodes 1000 --seed 0
	$(BIN)/cog collect --env cog/DoubleDrawer-v0 --out runs/gpu/prior --start closed --max-steps 80 \
	    --behaviour open_drawer=0.9:suboptimal=true wander=0.1 --keep failure --episodes 1500 --seed 1
	$(BIN)/cog relabel runs/gpu/task --rule grasp_success --name success --scale 10
	$(BIN)/cog relabel runs/gpu/prior --rule zero --name zero
	$(BIN)/cog merge --out runs/gpu/drawer.json --task runs/gpu/task@success --prior runs/gpu/prior@zero
	$(BIN)/cog train --preset paper --device cuda --graphed --compiled --precision bfloat16 \
	    --data runs/gpu/drawer.json --out runs/gpu/paper --updates 300000
	$(BIN)/cog evaluate --checkpoint runs/gpu/paper --out runs/gpu/evaluation --starts open closed
	echo "$$(($$(date +%s) - $$(cat runs/gpu/began))) seconds from the first episode to the table"

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
