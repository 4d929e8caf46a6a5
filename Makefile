# Every target is one line that works by hand as well. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
SHARED := -n 2 --dist loadfile
NBVAL := --ignore notebooks/src --nbval --nbval-cell-timeout 300 $(SHARED) -p no:cacheprovider --verbose
BENCH_STAMP := .venv/.installed-bench

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-browser-all lab lint format notebooks readme picture site evidence evidence-quick bench gpu clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv with everything the course needs

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "van_tutorial needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,site]"
	@touch $(STAMP)

demo: setup  ## train plain, residual and VAN on real data, and show the results (under 2 minutes)
	@$(BIN)/van-tutorial demo

test: setup  ## run the tests, and every lesson with its recorded outputs compared
	@mkdir -p reports
	$(BIN)/python -m pytest tests van_tutorial -m "not slow" $(SHARED) --no-loadscope-reorder --junitxml reports/tests.xml
	$(BIN)/python -m pytest notebooks --ignore notebooks/instructor $(NBVAL) --junitxml reports/notebooks.xml

test-all: setup  ## run the slow tests too, every lesson in a real browser and the instructor's notebooks
	@mkdir -p reports
	$(BIN)/python -m pytest tests van_tutorial $(SHARED) --no-loadscope-reorder --junitxml reports/tests.xml
	$(BIN)/python -m pytest notebooks $(NBVAL) --junitxml reports/notebooks.xml

test-browser-all: setup  ## run every lesson and its panel in a real browser
	@mkdir -p reports
	$(BIN)/python -m pytest tests -m browser $(SHARED) --junitxml reports/browser.xml

lab: setup  ## open JupyterLab on the course
	@$(BIN)/van-tutorial lab

lint: setup  ## style, types, and whether the generated notebooks match their sources
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tools.notebooks --check
	$(BIN)/python -m tools.readme --check
	$(BIN)/python -m tools.evidence --check

format: setup  ## let ruff fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: setup  ## make the notebooks again from notebooks/src
	$(BIN)/python -m tools.notebooks

readme: setup  ## write the recorded results into README.md
	$(BIN)/python -m tools.readme

picture: setup  ## make the README's picture of the playground again, in a real browser
	VAN_TUTORIAL_SCREENSHOTS=assets/figures $(BIN)/python -m pytest tests/test_browser_playground.py -k half_way

site: setup  ## make the course as a web site in site/ (runs every lesson once: about 5 minutes)
	$(BIN)/python -m tools.site

evidence: setup  ## measure what assets/results records and docs/evidence.md shows (hours; needs the full data sets)
	$(BIN)/python -m tools.record
	$(BIN)/python -m tools.evidence
	$(BIN)/python -m tools.readme

evidence-quick: setup  ## a small part of each recording, in minutes, and its page, into runs/evidence-quick
	$(BIN)/python -m tools.record --quick

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[bench]"
	@touch $(BENCH_STAMP)

bench: $(BENCH_STAMP)  ## measure what loop, skip weights, inference and diagnostics cost, as ratios, Lightning beside the loop
	$(BIN)/python -m benchmarks.training_step
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.ensemble
	$(BIN)/python -m benchmarks.gradients
	$(BIN)/python -m benchmarks.convolution
	$(BIN)/python -m benchmarks.inference
	$(BIN)/python -m benchmarks.playground

gpu:  ## on a machine with a CUDA device: the tests for one, and what a step takes there
	@$(PYTHON) -m benchmarks.gpu

clean:  ## remove what the other targets made
	rm -rf .venv runs reports site .mypy_cache .pytest_cache .ruff_cache
