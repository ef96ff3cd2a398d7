# make demo: set up .venv and go the whole way on example data, offline.   make test: the tests that take minutes.
# make bench: training speed against the notebook's recipe, in 10 minutes; BENCH='--data FILE …' for texts of your own.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The installation itself needs the network; what is run afterwards must not.
OFFLINE := HF_HUB_OFFLINE=1
PYTEST := $(OFFLINE) $(BIN)/python -m pytest
# A process for each core, as tests compute in one thread; who is done takes over from the others.
SIDE_BY_SIDE := -n auto --maxprocesses=8 --dist worksteal
NUMERIC := $(shell grep -rl --include="test_*.py" "mark.numeric" tests)

.PHONY: demo test test-all check docs bench clean

demo: $(VENV)/.demo
	rm -rf runs/demo
	$(OFFLINE) $(BIN)/secondcoder demo --output runs/demo

# In fp32, and then what is about numbers in bf16, whatever this processor is fast at: both are computed everywhere.
test: $(VENV)/.dev
	SECONDCODER_TEST_PRECISION=fp32 $(PYTEST) $(SIDE_BY_SIDE)
	SECONDCODER_TEST_PRECISION=bf16 $(PYTEST) $(SIDE_BY_SIDE) -m "numeric and not slow" $(NUMERIC)

test-all: $(VENV)/.all
	SECONDCODER_TEST_PRECISION=fp32 SECONDCODER_TEST_EXAMPLES=many $(PYTEST) $(SIDE_BY_SIDE) -m "slow or not slow"
	SECONDCODER_TEST_PRECISION=bf16 $(PYTEST) $(SIDE_BY_SIDE) -m numeric

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) -q -m "slow or not slow" tests/test_layering.py tests/test_signatures.py

docs: $(VENV)/.dev
	$(BIN)/python docs/generate_command_line.py

bench: $(VENV)/.dev
	$(OFFLINE) $(BIN)/python benchmarks/training.py $(BENCH)

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "secondcoder needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev,fast,lora,tune]'
	touch $@

# Ray takes 240 MB.
$(VENV)/.all: $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]'
	touch $@
