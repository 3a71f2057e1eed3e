# Python 3.11 or newer and make are enough; uv is used where it can be had.
PYTHON ?= python3
INSTALLER ?= uv
BIN := .venv/bin
STAMP := .venv/.installed

# Data that may stand beside the checkout is looked at first; what a person set stays after it.
ifneq ($(wildcard ../shared/data),)
export SHOESTRING_DATA := $(abspath ../shared/data)$(if $(SHOESTRING_DATA),:$(SHOESTRING_DATA))
endif

.PHONY: help demo test coverage check fix slow bench

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: $(STAMP) ## a minute of handwritten digits and one of dates, with bundles and receipts
	rm -rf runs/demo runs/dates
	$(BIN)/shoestring train mnist --budget 60s --out runs/demo
	$(BIN)/shoestring verify runs/demo
	$(BIN)/shoestring evaluate runs/demo mnist:test
	$(BIN)/shoestring receipt runs/demo
	$(BIN)/shoestring train dates --network lstm-small --budget 60s --out runs/dates
	echo "<de> 3. Oktober 1990" | $(BIN)/shoestring predict runs/dates

test: $(STAMP) ## every test but the slow ones
	$(BIN)/python -m pytest

coverage: $(STAMP) ## the same, with a floor under the coverage
	$(BIN)/python -m pytest --cov --cov-report=term --cov-fail-under=92

check: $(STAMP) ## format, lint, types, and the tests that read the source
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_readme.py tests/test_dependencies.py

fix: $(STAMP) ## format, lint what can be mended, and the README's file tree
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python scripts/tree.py

slow: $(STAMP) ## the tests that take minutes, and mutation testing
	$(PYTHON) scripts/environment.py .venv all,dev,browser $(INSTALLER)
	$(BIN)/python -m pytest -m slow
	$(PYTHON) scripts/environment.py .venv all,dev,mutation $(INSTALLER)
	$(BIN)/python scripts/mutation.py

bench: $(STAMP) ## the figures of bench/README.md, each script printing its own
	$(PYTHON) scripts/environment.py .venv all,dev,bench $(INSTALLER)
	sh bench/peers/setup.sh
	@set -e; for script in bench/[a-z]*.py; do echo "== $$script"; \
	  case $$script in *mnist_time.py) more=--with-keras;; *) more=;; esac; \
	  $(BIN)/python $$script $$more; done

$(STAMP): pyproject.toml constraints.txt scripts/environment.py
	$(PYTHON) scripts/environment.py .venv all,dev $(INSTALLER)
	@touch $@
