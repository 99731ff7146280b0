# The commands of mailsvc. `make help` lists them. Everything lives in .venv; nothing is installed outside it,
# except by `make system`, which asks the system's package manager for what the tests drive (a browser, strace).

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN    := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
NPM    := tests/javascript/node_modules/.installed

.DEFAULT_GOAL := help
.PHONY: help run test test-postgres faulttest check bench crashtest deploy-check format system javascript lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

run: $(RUN) ## install what is needed into .venv and serve on http://127.0.0.1:8080
	@$(BIN)/python -m mailsvc serve

test: $(DEV) system check javascript ## the whole test suite: lint, types, unit, contract, e2e
	@$(BIN)/python -m pytest -n auto --dist loadgroup

test-postgres: $(DEV) system javascript ## every e2e test that can, on PostgreSQL; `make test` runs the main ones on both
	@E2E_DATABASE=postgres $(BIN)/python -m pytest -q -n auto --dist loadgroup tests/e2e

faulttest: $(DEV) ## kill, or fail, each write of one accept and one send, one after the other: minutes
	@FAULTS=all $(BIN)/python -m pytest -q -n auto tests/e2e/test_storage_sweep.py tests/e2e/test_shutdown_series.py tests/e2e/test_postgres_crash.py

check: $(DEV) ## lint, format check, types
	@$(BIN)/ruff check --output-format concise .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(DEV) ## the benchmarks: ratios within one run; JSON to the file named by BENCH_JSON
	@$(BIN)/python -m bench

crashtest: $(RUN) ## kill the service 200 times and count what became of every mail; minutes
	@$(BIN)/python -m mailsvc crashtest --cycles 200

deploy-check: $(DEV) system ## the files in deploy/ by their own tools, and nginx with TLS before the real process
	@$(BIN)/python -m pytest tests/deploy

format: $(DEV) ## put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

system: ## the programs that tests drive and that pip cannot bring
	@sh tests/system.sh

javascript: $(NPM) ## what examples in JavaScript import, and the SDKs that are driven, into tests/javascript

lock: $(DEV) ## requirements.in -> requirements.txt: exact versions with hashes
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' requirements.in -o requirements.txt
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' requirements-dev.in -o requirements-dev.txt

clean: ## remove .venv and caches, never a database
	@rm -rf $(VENV) tests/javascript/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mailsvc needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make run PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }

$(RUN): requirements.txt $(VENV)/bin/python
	@echo "installing requirements.txt into $(VENV) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check -q --require-hashes -r requirements.txt
	@printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s/$(BIN)/python" -m mailsvc "$$@"\n' "$(CURDIR)" "$(CURDIR)" > $(BIN)/mailsvc
	@chmod +x $(BIN)/mailsvc
	@touch $@

$(DEV): requirements-dev.txt $(RUN)
	@echo "installing requirements-dev.txt into $(VENV) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check -q --require-hashes -r requirements-dev.txt
	@touch $@

$(NPM): tests/javascript/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: the SDKs in JavaScript are not tested" >&2; exit 0; }; \
	  echo "installing tests/javascript ..."; \
	  cd tests/javascript && npm ci --silent --no-audit --no-fund --ignore-scripts && touch node_modules/.installed
