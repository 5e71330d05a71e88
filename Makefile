PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ENV ?= TMazeLS-v0
WORKERS ?= 2
# One thread is within a fifth of two on idle cores, and many times faster than two on busy ones.
THREADS ?= 1

# Each test worker gets one thread; more would only compete with the other worker.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

.PHONY: train test slow check lint format clean

## Train an agent on ENV and draw its adaptation curve.
train: $(VENV)/train.stamp
	$(BIN)/python -m rl_zoo3.train --algo hyper_ppo --env $(ENV) --num-threads $(THREADS)
	$(BIN)/python -m sb3_hyper.evaluate --algo hyper_ppo --env $(ENV) --folder logs --num-threads $(THREADS)

## The fast tests.
test: $(VENV)/dev.stamp
	$(TEST) -m "not slow"

## The tests that train for longer.
slow: $(VENV)/dev.stamp
	$(TEST) -m slow

## Everything that must hold before a change lands.
check: lint test

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV)

# torch first and alone: the pin in constraints.txt decides which build is taken before anything else asks for "torch".
$(VENV)/torch.stamp: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	touch $@

$(VENV)/train.stamp: $(VENV)/torch.stamp pyproject.toml $(wildcard zoo_hook/*)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[zoo,plots]"
	touch $@

$(VENV)/dev.stamp: $(VENV)/torch.stamp pyproject.toml $(wildcard zoo_hook/*)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@ $(VENV)/train.stamp
