# make demo   serve a recording of a real kernel's DAMON on :10555
# make test   everything that continuous integration checks
# Both set up what they need: a virtual environment, and for the tests, on Debian as root, system packages.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
LISTEN ?= :10555

.PHONY: demo demo-recording test soak check coverage system-packages docs dashboards dashboard-pictures screenshots
.PHONY: format targets-cost clean

demo: $(VENV)/.runtime
	$(BIN)/damon-exporter demo --web.listen-address $(LISTEN)

# A worker for each real kernel, and one for all else while the guests wait.
test: system-packages $(VENV)/.dev check
	$(BIN)/pytest -n 3 --dist loadgroup --durations=15

# Ten minutes of processes that come and go, of which the tests take one: on a fake kernel and on the real ones.
soak: system-packages $(VENV)/.dev
	CHURN_SECONDS=600 $(BIN)/pytest -n 3 --dist loadgroup tests/test_churn.py tests/vm/test_churn.py

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Boots a real kernel for five minutes.
demo-recording: system-packages $(VENV)/.dev
	$(BIN)/python -m tests.vm.make_demo

# What docs/targets.md says each way of watching costs. Boots a real kernel for six minutes.
targets-cost: system-packages $(VENV)/.dev
	$(BIN)/python -m benchmarks.targets
	$(BIN)/python -m benchmarks.targets --native

# What the tests run of the package, but for its child processes and the guests.
coverage: $(VENV)/.dev
	$(BIN)/pytest -n 2 --ignore tests/vm --cov damon_exporter --cov-report term-missing:skip-covered

docs: $(VENV)/.dev
	$(BIN)/python -m damon_exporter.metrics.reference

dashboards: $(VENV)/.dev
	$(BIN)/python -m dashboards.grafana.build
	$(BIN)/python -m deploy.k8s.prometheus_rule

# Watches the demo for as long as it lasts: four minutes.
dashboard-pictures: $(VENV)/.dev
	$(BIN)/pip install --quiet --editable '.[pictures]'
	PYTHONPATH=tests $(BIN)/python -m boards.pictures

# The pictures of the live page in the README: two minutes of the demo, as they were.
screenshots: system-packages $(VENV)/.dev
	$(BIN)/python tests/make_screenshots.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

system-packages:
	tools/system-packages.sh

# A fresh Debian has no venv module until python3-venv is installed.
$(BIN)/python:
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || tools/system-packages.sh python3-venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.runtime

clean:
	rm -rf $(VENV) build dist
