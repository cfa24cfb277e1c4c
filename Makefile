# The only developer entry. `make` alone lists the targets.
# PYTHON names the interpreter (3.11 or newer), TORCH_INDEX another index for torch, such as one
# with CPU-only builds; without it the plain pip configuration is used.

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# A build with a local version, such as 2.13.0+cpu, is newer to pip than the plain one.
TORCH_OPTIONS := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
# The official SDKs do not share an environment: each test file names the one that it needs.
SDK2 := .venv-sagemaker2
SDK3 := .venv-sagemaker3
INTEROP_OPTIONS := -m interop --confcutdir tests/interop -W ignore

.DEFAULT_GOAL := help
.PHONY: help quickstart test setup check lint format types imports notebooks bench image \
	golden constraints test-gpu test-aws test-wheel test-interop clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python $(SDK2)/bin/python $(SDK3)/bin/python: %/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "Python lacks venv; install it (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $*

$(VENV)/local.done: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) $(TORCH_OPTIONS) torch
	$(PIP) --editable '.[local]'
	@touch $@

$(VENV)/dev.done: $(VENV)/local.done
	$(PIP) --editable '.[dev]'
	@touch $@

$(SDK2)/interop.done $(SDK3)/interop.done: .venv-%/interop.done: .venv-%/bin/python pyproject.toml tests/interop/constraints-%.txt
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint tests/interop/constraints-$*.txt \
		--editable . sagemaker 'moto[s3]' pytest pytest-socket pytest-timeout
	@touch $@

quickstart: $(VENV)/local.done  ## train a sifted model on this machine and show the result
	$(BIN)/sagemaker-sift quickstart

test: $(VENV)/dev.done  ## run the tests that need neither GPU nor account nor network
	$(PYTEST) --numprocesses 2 --dist loadfile

setup: $(VENV)/dev.done  ## make .venv with everything that development needs

check: lint types imports  ## what a change must pass besides the tests

lint: $(VENV)/dev.done  ## ruff, its formatter and the spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell sagemaker_sift smart_sifting entry_points tests docs README.md CONTRIBUTING.md

format: $(VENV)/dev.done  ## let ruff mend and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(VENV)/dev.done  ## mypy --strict
	$(BIN)/mypy

imports: $(VENV)/dev.done  ## who may import whom
	$(BIN)/lint-imports

notebooks: $(VENV)/dev.done  ## execute the notebooks against the local backend
	$(BIN)/python notebooks/execute.py

bench: $(VENV)/dev.done  ## run the benchmarks on this machine
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/client.py --rounds 3 --size
	$(BIN)/python benchmarks/rank_agreement.py
	$(BIN)/python benchmarks/data_path.py --quick
	$(BIN)/python benchmarks/bookkeeping.py --quick
	$(BIN)/python benchmarks/trainer_speed.py --quick
	$(BIN)/python benchmarks/scoring_price.py --quick
	$(BIN)/python benchmarks/throughput.py --quick
	$(BIN)/python benchmarks/equal_accuracy.py quick --seeds 0 --epochs 2 \
	  --ways plain "fresh, beta 1" "last visit, beta 1" "random, as many"
	$(BIN)/python benchmarks/gpu.py --quick
	$(BIN)/python benchmarks/local_tuning.py --quick
	$(BIN)/python benchmarks/shared_cpu.py $(BENCH_OPTIONS)

image:  ## build the container image
	@echo "The image is not part of this version yet: there is no entry_points/Dockerfile."; exit 1

golden: $(VENV)/dev.done  ## rewrite the golden files; look at the diff
	SIFT_REWRITE_GOLDEN=1 $(PYTEST) tests/golden

constraints: $(VENV)/dev.done  ## rewrite constraints.txt from what is installed
	{ echo "# The exact versions that CI and make install. Rewrite with: make constraints"; \
	  $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu//'; } > constraints.tmp
	mv constraints.tmp constraints.txt

test-wheel: $(VENV)/dev.done  ## build the wheel, install it into an empty environment, train (network)
	$(PYTEST) -m packaging tests/packaging

test-interop: $(SDK2)/interop.done $(SDK3)/interop.done  ## compare with the official SDKs v2 and v3 (network, 1.5 GB)
	$(SDK2)/bin/python -m pytest $(INTEROP_OPTIONS) tests/interop/test_sagemaker2_*.py
	$(SDK3)/bin/python -m pytest $(INTEROP_OPTIONS) tests/interop/test_sagemaker3_*.py

test-gpu: $(VENV)/dev.done  ## run the tests that need a GPU
	$(PYTEST) -m gpu

test-aws: $(VENV)/dev.done  ## run the tests that need an AWS account; costs money
	$(PYTEST) -m aws || [ $$? -eq 5 ]

clean:  ## remove the environment and every cache; jobs stay
	rm -rf $(VENV) $(SDK2) $(SDK3) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build
