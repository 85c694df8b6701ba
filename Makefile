# make demo     see it work: set up, fetch the embedded model, run a real task, show what was stored
# make test     all checks and tests, those of PostgreSQL included, and a smoke test of the wheel
# make test-postgres   the whole suite on a PostgreSQL server that the tests start (or on that of MONITOR_DB)
# make probes   torch (CPU build) for activation probes, where it can be had
# make shipped-probes   train the probes in probes/ again, from the data beside them
#
# Every step leaves a stamp in .venv, so that the second time is quick. PYTHON=python3.12 chooses another Python.

PYTHON ?= python3
QUESTION ?= How do bees make honey, and what do they use it for?
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PINS := -c constraints.txt
WORKERS := -n 2 --dist worksteal
SERVER := $(or $(filter postgres%,$(MONITOR_DB)),postgresql+psycopg://)

.PHONY: help demo test test-postgres probes shipped-probes clean
.NOTPARALLEL:

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(VENV)/.made: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "set-up: Python 3.11 or newer is needed, $(PYTHON) is not; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "set-up: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }
	@echo "set-up: making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -qq $(PINS) pip
	@touch $@

$(VENV)/.embedded: $(VENV)/.made pyproject.toml hatch_build.py
	@echo "set-up: installing the monitor and what the embedded model needs (a minute or two the first time)"
	@$(PIP) install -qq $(PINS) --editable '.[embedded]'
	@touch $@

$(VENV)/.dev: $(VENV)/.embedded
	@echo "set-up: installing what the tests need"
	@$(PIP) install -qq $(PINS) --group dev
	@touch $@

$(VENV)/.weights: $(VENV)/.embedded
	@echo "set-up: the embedded model's weights (90 MB the first time)"
	@$(BIN)/monitor models pull
	@touch $@

demo: $(VENV)/.weights $(VENV)/.probes
	@$(BIN)/monitor models path >/dev/null || $(BIN)/monitor models pull
	@probe=$$($(BIN)/python -c 'import torch' 2>/dev/null && echo ' --probe truth'); \
	  echo "demo: monitor run amplify \"$(QUESTION)\"$$probe"; \
	  $(BIN)/monitor run amplify "$(QUESTION)"$$probe; code=$$?; \
	  echo; echo "demo: monitor show latest"; $(BIN)/monitor show latest || exit; \
	  echo; echo "demo: what a catch looks like: a scripted model plays a culprit"; \
	  echo 'demo: monitor run answer "Do the tests pass?" --model scripted:docs/examples/culprit.yaml'; \
	  $(BIN)/monitor run answer "Do the tests pass?" --model scripted:docs/examples/culprit.yaml; caught=$$?; \
	  [ $$caught -eq 3 ] || { echo "demo: expected the run to be blocked (exit code 3), found $$caught"; exit 1; }; \
	  echo; echo "demo: monitor show latest"; $(BIN)/monitor show latest; exit $$code

# Bytecode is kept, whatever the shell says: without it every worker and every process that a test starts compiles all anew.
test test-postgres: export PYTHONDONTWRITEBYTECODE =

test: $(VENV)/.dev $(VENV)/.weights $(VENV)/.probes
	@$(BIN)/monitor models path >/dev/null || $(BIN)/monitor models pull
	@scripts/install_browser.sh
	@echo "test: ruff";           $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "test: mypy, imports, generated docs; and the wheel beside them"; \
	  scripts/smoke_wheel.sh $(BIN)/python >$(VENV)/wheel.log 2>&1 & wheel=$$!; \
	  $(BIN)/mypy && $(BIN)/lint-imports && $(BIN)/cog --check docs/cli.md docs/importing.md docs/policy-language.md; code=$$?; \
	  wait $$wheel; built=$$?; cat $(VENV)/wheel.log; [ $$code -eq 0 ] && [ $$built -eq 0 ]
	@echo "test: pytest";         $(BIN)/pytest -q $(WORKERS)
	@echo "test: pytest on PostgreSQL"; MONITOR_DB=$(SERVER) $(BIN)/pytest -q $(WORKERS) -m "store and not embedded"

test-postgres: $(VENV)/.dev $(VENV)/.weights $(VENV)/.probes
	@scripts/install_browser.sh
	@MONITOR_DB=$(SERVER) $(BIN)/pytest -q $(WORKERS)

probes: $(VENV)/.probes

shipped-probes: $(VENV)/.probes $(VENV)/.weights
	@scripts/train_probes.sh $(BIN)/monitor

$(VENV)/.probes: $(VENV)/.embedded scripts/install_torch.sh
	@scripts/install_torch.sh $(BIN)/python
	@$(BIN)/python -c 'import torch' 2>/dev/null && touch $@ || true

clean:
	rm -rf $(VENV) build dist
