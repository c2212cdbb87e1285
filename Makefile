# make demo   serve a recording of a real kernel's DAMON on :10555
# make test   everything that continuous integration checks
# make image  the image of the Dockerfile, with docker or ENGINE=podman
# make dist   wheel and sdist
# The first two set up what they need: a virtual environment, and for the tests, on Debian as root, system packages.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
LISTEN ?= :10555

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' damon_exporter/__init__.py)
REVISION = $(shell git describe --always --abbrev=40 --exclude '*' --dirty 2>/dev/null || echo unknown)
DIST ?= dist
ENGINE ?= docker
IMAGE ?= damon-exporter:$(VERSION)

.PHONY: demo demo-recording test soak check coverage system-packages docs dashboards dashboard-pictures screenshots
.PHONY: format targets-cost clean dist image lock version

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

# The wheel is made from the sdist, so that this is known to be enough.
dist: $(VENV)/.dev
	$(BIN)/python -m build --outdir $(DIST)

# HEALTHCHECK is one of Docker's own fields: podman and buildah leave it out of their usual format. BASE is another base
# than the Dockerfile's, IMAGE_FLAGS are for the engine.
image:
	BUILDAH_FORMAT=docker $(ENGINE) build $(if $(BASE),--build-arg BASE=$(BASE)) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$(REVISION) $(IMAGE_FLAGS) --tag $(IMAGE) .

version:
	@echo $(VERSION)

# What the image is made of, anew: the newest versions that pyproject.toml accepts.
lock: $(VENV)/.dev
	PATH="$(abspath $(BIN)):$$PATH" tools/lock.sh

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
