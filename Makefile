# `make` alone lists the targets. PYTHON and CC choose the interpreter and the compiler; .ci/toolchain finds them otherwise.

PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
PROMTOOL ?= promtool
SANITIZE_DIR := build/sanitize
export PIP_DISABLE_PIP_VERSION_CHECK := 1

CORE_SOURCES := setup.py $(wildcard ext/*.pyx ext/*.pxd ext/*.pxi ext/*.h ext/*.c)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup build run api-fuzz test lint format bench bench-report bench-compare bench-baseline chaos backup-coverage \
	sanitize check-alerts check-deploy prod-local check lock clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: build $(VENV)/.dev ## create .venv with everything for development, and build the core

build: $(VENV)/.built ## compile the core in place and register the `cashflow` command

run: build ## serve on http://127.0.0.1:8000 (PORT= for another port)
	@exec $(BIN)/cashflow serve --port $(PORT)

test: setup ## run the tests
	$(BIN)/python -m pytest -n 2 --import-mode=importlib

chaos: setup ## kill, starve and cut off what must survive it, against servers of their own (minutes)
	timeout 3600 $(BIN)/python -m pytest --import-mode=importlib -m chaos -rA --tb=short tests

# Child processes that the tests start are not counted; what they run is run in this process too.
backup-coverage: setup ## show which branches of api/backup the tests take
	$(BIN)/python -m coverage run --branch --source=api/backup -m pytest -q --import-mode=importlib tests/backup
	$(BIN)/python -m coverage report --show-missing --fail-under=100

lint: setup ## check style, formatting, types and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy engine api
	$(BIN)/lint-imports

format: $(VENV)/.dev ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

api-fuzz: setup ## let schemathesis look for faults of the REST interface for three minutes (OPTIONS= for others of its)
	$(BIN)/python -m tests.api.fuzz $(OPTIONS)

bench: setup ## run all of bench/: tables at the end, results in build/bench/results.json
	@mkdir -p build/bench
	$(BIN)/python -m pytest bench --benchmark-only --benchmark-columns=min,median,rounds --benchmark-json=build/bench/results.json

bench-report: setup ## draw the last run of `make bench` as one HTML file, build/bench/report.html
	$(BIN)/python -m bench.report

bench-compare: setup ## count the kernel's instructions (valgrind) and hold them and the last times against the baseline
	$(BIN)/python -m bench.compare

bench-baseline: setup ## make today's instructions and the last times the baseline
	$(BIN)/python -m bench.compare --save

# The engine is loaded from the instrumented build; "." comes after it and is there for the tests themselves.
sanitize: setup ## run the engine's tests under AddressSanitizer and UndefinedBehaviorSanitizer (Linux)
	rm -rf $(SANITIZE_DIR)/lib
	CC="$$(.ci/toolchain cc)" SANITIZE=1 $(BIN)/python setup.py -q build --build-base $(SANITIZE_DIR) --build-lib $(SANITIZE_DIR)/lib
	cc="$$(.ci/toolchain cc)"; \
	LD_PRELOAD="$$($$cc -print-file-name=libasan.so) $$($$cc -print-file-name=libstdc++.so.6)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	PYTHONSAFEPATH=1 PYTHONPATH=$(SANITIZE_DIR)/lib:. PYTHONMALLOC=malloc \
	timeout 1500 $(BIN)/python -m pytest -n 2 --import-mode=importlib -p no:cacheprovider --capture=sys -q tests/engine

check-alerts: ## check the Prometheus configuration and try every alert (promtool, Debian's package prometheus)
	cd prometheus && $(PROMTOOL) check config prometheus.yml && $(PROMTOOL) test rules alerts_test.yml

# Two environments of their own: what the checkers depend on must not move what the service depends on.
check-deploy: $(VENV)-deploy/.done $(VENV)-checkov/.done ## check the Docker, Kubernetes, AWS, CI and monitoring files, offline
	CHECKOV_BIN=$(VENV)-checkov/bin/checkov $(VENV)-deploy/bin/python scripts/check_deploy.py

# Ends by itself; KEEP=1 leaves it running until Ctrl-C.
prod-local: setup ## run the production profile here, without containers, and walk through the guide (KEEP=1 to stay)
	$(BIN)/python -m scripts.prod_local $(if $(KEEP),--keep)

check: lint test ## what continuous integration checks

lock: $(VENV)/.dev ## resolve the dependencies again into requirements/*.lock
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --extra plot -o requirements/runtime.lock pyproject.toml
	$(BIN)/uv pip compile $(LOCK_OPTIONS) -c requirements/runtime.lock --group build -o requirements/build.lock
	$(BIN)/uv pip compile $(LOCK_OPTIONS) -c requirements/runtime.lock -c requirements/build.lock \
		--extra plot --group dev -o requirements/dev.lock pyproject.toml
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --group deploy -o requirements/deploy.lock
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --group checkov -o requirements/checkov.lock

# One version for all supported Pythons, with hashes and without the address of any index.
LOCK_OPTIONS := --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --upgrade

clean: ## remove what was built
	rm -rf build dist *.egg-info engine/_core*.so .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	rm -f $(VENV)/.built
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv too
	rm -rf $(VENV) $(VENV)-deploy $(VENV)-checkov

# Stamps: a step runs again when what it depends on is newer.

$(VENV)-%/.done: requirements/%.lock
	@python="$$(.ci/toolchain python)" && "$$python" -m venv $(VENV)-$*
	$(VENV)-$*/bin/python -m pip install --quiet --require-hashes -r $<
	@touch $@

$(VENV)/.created:
	@python="$$(.ci/toolchain python)" && echo "Creating $(VENV) with $$("$$python" --version)" && "$$python" -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: requirements/runtime.lock requirements/build.lock | $(VENV)/.created
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/runtime.lock -r requirements/build.lock
	@touch $@

$(VENV)/.dev: requirements/dev.lock | $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.lock
	@touch $@

$(VENV)/.built: $(CORE_SOURCES) pyproject.toml $(VENV)/.runtime
	@echo "compiling the core: a minute or two"
	CC="$$(.ci/toolchain cc)" $(BIN)/python setup.py -q build_ext --inplace
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
