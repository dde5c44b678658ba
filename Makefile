# The same commands for people and CI. 'make demo' and 'make test' set up what they need on a fresh machine
# (Debian or Ubuntu with Python >= 3.11, make and a package index); a second call does not install again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FONT := /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all check format bench lock clean fonts

help:  ## Show the commands
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

install: $(STAMP)  ## Create .venv and install cocoscribe and its tools, as locked

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "cocoscribe needs Python >= 3.11; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "python3 -m venv failed: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# Only to render new scenes (training, the tests of the renderer, which skip without it): the demo's are shipped.
fonts:
	@test -e $(FONT) || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		{ apt-get update -qq && apt-get install -y -qq fonts-noto-color-emoji; } >/dev/null 2>&1; } || \
		echo "Noto Color Emoji is missing, tests that render new scenes are skipped: apt-get install fonts-noto-color-emoji"

demo: install  ## Run the whole pipeline on bundled images served over HTTP on this machine (output in demo-output/)
	$(BIN)/cocoscribe demo $(ARGS)

test: install fonts  ## Run the tests (minutes; no network)
	$(BIN)/python -m pytest $(ARGS)

test-all: install fonts  ## Run all tests, also the slow ones
	$(BIN)/python -m pytest -m 'not gpu' $(ARGS)

check: install  ## Lint, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## Format and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install  ## Run the benchmarks (see benchmarks/README.md)
	$(BIN)/python -m benchmarks.engine $(ARGS)

lock: install  ## Write constraints.txt from the present environment
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable; } > constraints.new && mv constraints.new constraints.txt

clean:  ## Remove the environment and the demo's output
	rm -rf $(VENV) demo-output
