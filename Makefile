# The commands of the project; each sets up what it needs and then runs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: repro verify test lab course data lint
.DELETE_ON_ERROR:

repro: data            ## make data, labels, trainings and reports
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro

verify: repro          ## make what is missing; did it come out as committed?
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/noisyseg verify

test: data lint        ## lint, contracts, unit tests, the whole line at tiny scale
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lab: .venv/ready       ## open JupyterLab on the first notebook
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter lab --notebook-dir . notebooks/00_start_here.ipynb

course: .venv/ready    ## the notebooks for readers (no solutions) and for teachers
	$(BIN)/noisyseg course

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

data: .venv/ready      ## the cohorts that data.dvc names: pulled, or made here
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh .ci/data

.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@
