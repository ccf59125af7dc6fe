# Everything a newcomer types. Each target installs what it needs into .venv, to the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help demo test lint learn traps fuzz fuzz-wire chaos bench bench-studio studio-pictures stubs clean

help:
	@echo "make demo    serve the factory line over gRPC, train PPO on it, compare with the best fixed rule (2 minutes)"
	@echo "make test    the whole fast test suite"
	@echo "make lint    ruff, mypy, the walls between packages, the protos"
	@echo "make learn   the learning thresholds: over an hour, goes on where it was interrupted"
	@echo "make traps   put known mistakes back into a copy of the learning side; every one must be noticed: minutes"
	@echo "make fuzz    160,000 hostile inputs for the server: minutes"
	@echo "make fuzz-wire  coverage-guided fuzzing of the readers of bytes: 5 minutes; needs Atheris (Linux)"
	@echo "make chaos   cuts, kills, hangs and leaks at full size: a quarter of an hour"
	@echo "make bench   the benchmarks"
	@echo "make studio-pictures  walk through the studio in Chromium, in both languages, and take its pictures: 5 minutes"
	@echo "make stubs   regenerate the protobuf stubs"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# What training on the factory line takes.
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV): PyTorch and others, a few minutes."
	@$(PIP) install -c constraints.txt -e ".[train,sim]"
	@touch $@

# What developing takes.
$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV): PyTorch, linters, test tools, a few minutes."
	@$(PIP) install -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint

# The learning thresholds: minutes each. Goes on where it was interrupted; docs/learning-results.md is its table.
learn: $(VENV)/.dev
	$(BIN)/python benchmarks/learn.py

# Mutants of the learning side, one for each known trap; tests/learn/test_traps.py keeps the table true.
traps: $(VENV)/.dev
	$(BIN)/python scripts/mutate_traps.py

# Hostile inputs, 20,000 at each door: unary and streamed gRPC, Connect, plain JSON, WebSocket, shared memory (three).
fuzz: $(VENV)/.dev
	FUZZ_INPUTS=$${FUZZ_INPUTS:-20000} $(BIN)/python -m pytest tests/fuzz -v -s --timeout=3000

# Coverage-guided, where Atheris has a wheel (Linux, CPython 3.11 to 3.13); FUZZ_SECONDS to go on for longer.
fuzz-wire: $(VENV)/.dev
	@$(PIP) install --only-binary :all: atheris || \
		{ echo "Atheris has no wheel for this Python and system: this target needs Linux and CPython 3.11 to 3.13"; exit 1; }
	$(BIN)/python -m tests.fuzz.atheris_wire -max_total_time=$${FUZZ_SECONDS:-300}

# Thousands of cut connections, killed servers and abandoned clients.
chaos: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow tests/chaos -v -s --timeout=1800

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/bridge.py
	$(BIN)/python benchmarks/train_over_grpc.py
	$(BIN)/python benchmarks/sessions_in_flight.py
	$(BIN)/python benchmarks/against_sb3.py
	$(BIN)/python benchmarks/plant_batches.py

# Needs a Chromium on the PATH (Debian: apt-get install chromium). --help of either says what is looked for.
studio-pictures: $(VENV)/.browser
	$(BIN)/python scripts/walk_studio.py --pictures docs/studio

bench-studio: $(VENV)/.browser
	$(BIN)/python benchmarks/studio.py

$(VENV)/.browser: $(VENV)/.dev
	@$(PIP) install -c constraints.txt playwright
	@touch $@

stubs:
	scripts/make_stubs.sh

clean:
	rm -rf $(VENV) .stubs build dist
