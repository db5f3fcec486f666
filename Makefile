# Two commands for a fresh machine: `make demo` restores a film, `make test` runs every check.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMFYUI ?= $(or $(COMFYUI_PATH),$(HOME)/comfy/ComfyUI)
FILM ?= assets/demo_film.mp4
OUT ?=

.PHONY: env demo test lint types pytest

env: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml tests/constraints.txt scripts/setup_environment.py vldm_core/machine/vision_operators.py $(wildcard $(COMFYUI)/requirements.txt)
	$(PYTHON) scripts/setup_environment.py $(VENV)
	touch $@

demo: env
	$(BIN)/python scripts/demo.py --film "$(FILM)" $(if $(OUT),--out "$(OUT)")

test: env lint types pytest

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env
	$(BIN)/mypy

pytest: env
	$(BIN)/pytest -n auto
