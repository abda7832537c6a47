# Every target sets up what it needs: `make cifar10-eval` and `make test` work on a fresh clone.
#   DATA_ROOT  official files as you have them (default data/)      RUNS_ROOT  downloads, caches, runs (default runs/)
#   BACKBONE   what to measure (default: a network of the project)    LAYERS  conv1,conv2 or 'layer*'    DEVICE  cpu, cuda
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOWEST := .venv-lowest
export DATA_ROOT ?= data
export RUNS_ROOT ?= runs
# recipes name variables as $$NAME, so that the shell executes nothing of a value: a folder may be called `a`

.PHONY: setup cifar10-eval svhn-eval mnist-eval dedup tables report docs lint test test-lowest bench clean
.DEFAULT_GOAL := setup

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12" >&2; exit 2; }
	@echo "Setting up $(VENV): about 1.5 GB with a CPU build of torch (6 GB where pip gets the GPU build), 1 to 5 minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

cifar10-eval: $(READY)
	@echo "CIFAR-10 takes 0.5 GB to download and pack; the default network takes 7 GB for features, 1 GB of memory (7 more as file cache),"
	@echo "and on 2 cores 6 to 15 minutes the first time, seconds when measured before. BACKBONE=imagenet32-half takes half."
	$(BIN)/dcgan-eval eval --table cifar10

# PROTOCOL=svhn/1000-of-1083 if you have only that part of SVHN: a different protocol, with a row of its own.
svhn-eval: $(READY)
	$(BIN)/dcgan-eval eval --table svhn $${PROTOCOL:+--protocol "$$PROTOCOL"}

# GENERATOR: a class-conditional generator.safetensors, measured after real data; SAMPLES: how many it draws (50000)
mnist-eval: $(READY)
	@echo "Real data takes about 20 seconds on 2 cores; a generator as long for 10,000 samples."
	$(BIN)/dcgan-eval eval real --table mnist
	[ -z "$$GENERATOR" ] || $(BIN)/dcgan-eval eval "$$GENERATOR" --table mnist $${SAMPLES:+--samples "$$SAMPLES"}

# SET and AGAINST: names of sets, folders or zips; AGAINST= searches within SET. METHOD: near-duplicates, phash, semantic ...
export SET ?= cifar10-test
export AGAINST ?= cifar10-train
export METHOD ?= near-duplicates
dedup: $(READY)
	$(BIN)/dcgan-eval dedup "$$SET" $${AGAINST:+--against "$$AGAINST"} --method "$$METHOD"

tables: $(READY)
	$(BIN)/dcgan-eval table

report: $(READY)
	$(BIN)/dcgan-eval report

# The documentation as a site, with an API page for each library; broken links end it with exit code 2.
docs: $(READY)
	$(BIN)/python -m docs.tools.make_site

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: $(READY)
	$(BIN)/pytest

# The fast tests with the lowest versions that pyproject.toml declares, on Python 3.11: make test-lowest PYTHON=python3.11
test-lowest: $(LOWEST)/.ready
	$(LOWEST)/bin/pytest -m 'not slow and not browser'

$(LOWEST)/.ready: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check -c constraints-lowest.txt torch
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check -c constraints-lowest.txt -e '.[dev]'
	@touch $@

# This takes a few minutes. Where there is a GPU: python -m experiments.studies.gpu (under three minutes). Longer studies,
# each with --help: experiments.studies.benchmark_few_labels (the SVHN protocol at its true sizes), false_alarms (of
# compare), benchmark_search (against faiss and imagededup, which you install by hand), planted_copies (recall on
# altered copies, on Tiny-ImageNet) and reliability (hostile inputs, flipped bits, kills, a judge of dedup; half an hour).
bench: $(READY)
	$(BIN)/python -m experiments.studies.benchmark_features_and_svm
	$(BIN)/python -m experiments.studies.benchmark_hashing
	$(BIN)/python -m experiments.studies.benchmark_training --width 64 --repeats 3

# Removes only caches: measured results and trained networks stay.
clean:
	@if [ "$${RUNS_ROOT:-runs}" -ef "$${DATA_ROOT:-data}" ] || [ "$${RUNS_ROOT:-runs}" -ef "$$HOME" ]; then \
		echo "RUNS_ROOT is DATA_ROOT or your home, whose folders may be your own: remove the caches by hand" >&2; exit 2; fi
	cd "$${RUNS_ROOT:-runs}" 2>/dev/null && rm -rf downloads packed packing features photos matplotlib || true
	rm -rf site .pytest_cache .ruff_cache .mypy_cache .hypothesis
