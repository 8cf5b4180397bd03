# make parity   both backends on a photo, stage by stage
# make test     the whole test suite
# make test-lowest  the test suite with the lowest versions that pyproject.toml allows, on Python 3.10
# make test-matrix  PyTorch, MXNet, both, neither and the wheel alone, on Python 3.10 to 3.13; ROWS="3.12-* *-bare" chooses
# make test-peers  the toolboxes that use ResNeSt, and their own suites on ours, in an environment of their own: Python 3.11
# make mutants  small faults in the code, and which of them a test notices: hours, and it goes on where it was stopped;
#               AT=HEAD tries what no test noticed again, with the code and the tests of that commit; COUNT=50 TESTS=specs
#               draws fewer and has them meet these folders or files of tests alone
# make check    lint, format check, types, which floor may import which
# make venv     only the environment that these run in
# PYTHON=...    the interpreter to make it with: 3.10 to 3.12 for both backends, newer for PyTorch alone

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
BACKENDS := $(shell $(PYTHON) -c 'import sys; print("torch,gluon" if sys.version_info < (3, 13) else "torch")')
BIN := .venv/bin
READY := .venv/ready-$(VERSION)

PEERS := .venv-peers
PEERS_READY := $(PEERS)/ready-$(VERSION)
SMP := https://github.com/qubvel-org/segmentation_models.pytorch
SMP_COMMIT := 5006616357631a48c7c8e11977cf5abb00803590
SMP_CHECKOUT := $(PEERS)/suites/smp
TIMM := https://github.com/huggingface/pytorch-image-models
TIMM_TESTS := $(PEERS)/suites/timm
TIMM_SCRIPTS := $(PEERS)/suites/timm-scripts

MUTANTS := build/mutants

.PHONY: parity test test-lowest test-matrix test-peers mutants check venv lock
.DELETE_ON_ERROR:

parity: venv
	$(BIN)/resnest parity resnest50
	$(BIN)/resnest parity resnest50 --dtype float64 --train

test: venv
	$(BIN)/pytest --numprocesses auto --dist worksteal --backends $(BACKENDS)

test-lowest: venv
	$(BIN)/pip install --quiet uv
	$(BIN)/python tools/versions.py '*-lowest'

test-matrix: venv
	$(BIN)/pip install --quiet uv
	$(BIN)/python tools/versions.py $(foreach row,$(ROWS),'$(row)')

test-peers: $(PEERS_READY) | $(SMP_CHECKOUT) $(TIMM_TESTS) $(TIMM_SCRIPTS)
	$(PEERS)/bin/pytest -rs peers

# cosmic-ray makes the mutants, in an environment of its own: it needs nothing of ours. Remove the sample for another one.
$(MUTANTS)/sample.jsonl:
	$(PYTHON) -m venv --clear $(MUTANTS)/venv
	$(MUTANTS)/venv/bin/pip install --quiet cosmic-ray==8.7.0
	$(MUTANTS)/venv/bin/python benchmarks/mutants/sample.py $(MUTANTS) $(COUNT:%=--count %)

mutants: venv $(MUTANTS)/sample.jsonl
	$(BIN)/pip install --quiet --upgrade --target $(MUTANTS)/coverage coverage==7.17.4
	PYTHONPATH=$(MUTANTS)/coverage $(BIN)/python benchmarks/mutants/cover.py $(MUTANTS) $(AT:%=--at %) $(TESTS)
	$(BIN)/python benchmarks/mutants/trial.py $(MUTANTS) $(AT:%=--at %)
	$(BIN)/python benchmarks/mutants/report.py $(MUTANTS) > benchmarks/results/mutants.md

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

venv: $(READY)

$(READY): requirements-dev.txt pyproject.toml setup.cfg
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

$(PEERS_READY): peers/requirements.txt pyproject.toml setup.cfg
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/pip install --quiet --upgrade pip
	$(PEERS)/bin/pip install --quiet --requirement peers/requirements.txt
	$(PEERS)/bin/pip install --quiet --editable .
	touch $@

# smp's own tests, which its packages come without. Where they cannot be fetched, pytest says what it leaves out.
$(SMP_CHECKOUT): | $(PEERS_READY)
	git init --quiet $@.new && git -C $@.new fetch --quiet --depth 1 $(SMP) $(SMP_COMMIT) \
		&& git -C $@.new checkout --quiet FETCH_HEAD && mv $@.new $@ || rm -rf $@.new

# timm's own tests, which its source distribution has: of the version that is installed beside them.
$(TIMM_TESTS): | $(PEERS_READY)
	$(PEERS)/bin/pip download --quiet --no-deps --no-binary timm --dest $@.new $$(grep ^timm== peers/requirements.txt)
	tar -xzf $@.new/timm-*.tar.gz -C $@.new
	mkdir $@ && mv $@.new/timm-*/tests $@ && rm -r $@.new

# Its scripts for training and validation, which it has in its repository alone.
$(TIMM_SCRIPTS): | $(PEERS_READY)
	git init --quiet $@.new && git -C $@.new fetch --quiet --depth 1 $(TIMM) \
		$$(sed -n 's/^timm==/refs\/tags\/v/p' peers/requirements.txt) \
		&& git -C $@.new checkout --quiet FETCH_HEAD -- train.py validate.py && mv $@.new $@ || rm -rf $@.new

# Pin every package that development needs, for all supported interpreters at once.
lock: venv
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --extra dev --no-emit-package resnest \
		--constraint requirements-dev.in --output-file requirements-dev.txt pyproject.toml
