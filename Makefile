# Visage: every command that a person, a hook or a workflow runs. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3.11
BIN := .venv/bin
# DVC and the stages that it runs are found on PATH
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := 1
export ORT_DISABLE_TELEMETRY := 1
# A user's own settings may send packages elsewhere, or bring the code of another checkout. .venv has both here.
export PIP_USER := 0
unexport CDPATH PYTHONHOME PYTHONINSPECT PYTHONOPTIMIZE PYTHONPATH PYTHONSAFEPATH
# Where packages come from, and how to get there, is a person's choice; which ones are installed, and where, is not.
THEIRS := %_CACHE_DIR %_CERT %_CONFIG_FILE %_FIND_LINKS %_INDEX_URL %_KEYRING_PROVIDER %_TIMEOUT PIP_NO_INDEX PIP_PROXY \
	PIP_RETRIES PIP_TRUSTED_HOST UV_CONCURRENT% UV_DEFAULT_INDEX UV_INDEX% UV_INSECURE_HOST UV_LINK_MODE UV_NATIVE_TLS \
	UV_OFFLINE UV_SYSTEM_CERTS
unexport $(filter-out PIP_USER $(THEIRS),$(filter PIP_% UV_%,$(.VARIABLES)))
# The programs that build a distribution come from the lock too, with their digests.
export UV_BUILD_CONSTRAINT := requirements.lock

# The lock pins torch by version alone. The CPU wheel comes from a folder of wheels where PIP_FIND_LINKS names
# one, else from PyTorch's own index; TORCH_BACKEND=auto picks a CUDA build on a machine with a GPU.
TORCH_BACKEND ?= cpu
UV_TORCH := $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)",--torch-backend $(TORCH_BACKEND))

.PHONY: help setup setup-gitops setup-gates setup-documents hooks up down clean logs status test test-all test-hostile test-compose compose image-facts bench dags-test demo-drift demo-year new-dag new-environment docs pictures lint lint-documents audit audit-packages lock lock-uv pin-images cml pin-cml schemas airflow-options system-packages

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}'

setup: .venv/.installed .venv/dvc-site-cache ## Make .venv from the lock, with all distributions of the workspace

DISTRIBUTIONS := $(wildcard src/*/pyproject.toml)
# In a .venv that has everything, less is there too.
LESS := $(if $(wildcard .venv/.installed),,$(filter setup-gitops setup-gates setup-documents,$(MAKECMDGOALS:lint-documents=setup-documents)))
STAMP := .venv/.$(or $(firstword $(LESS)),installed)
# The programs of .venv name its folder: in a checkout that was moved or copied, they start nothing, or the code of
# another checkout.
MOVED := $(shell [ -L .venv ] || [ ! -e $(BIN)/gitops ] || [ "$$(sed -nE '1,3s@^[^/]*(/.*)/python.*@\1@p' $(BIN)/gitops)" -ef $(BIN) ] || echo moved)

setup-gitops: $(STAMP) .venv/dvc-site-cache ## Make .venv with only gitops, in seconds: no Airflow, no PyTorch
setup-documents: $(STAMP) .venv/dvc-site-cache ## Make .venv with gitops and the checks of documents: no Airflow, no PyTorch
setup-gates: $(STAMP) .venv/dvc-site-cache ## Make .venv with gitops and the libraries that compare models: no Airflow, no PyTorch

# The form of all failures: your action and the reason, then the next command. The line after it is make's own.
failed = { printf 'Cannot %s\nNext: %s\n' $(1) $(2) >&2; exit 1; }

define make_venv
@test ! -L .venv || $(call failed,"make .venv: it is a link to that of another checkout","rm .venv && make setup")
$(if $(MOVED),@rm -r .venv)
@command -v $(PYTHON) >/dev/null || $(call failed,"make .venv: $(PYTHON) is not on PATH; Visage needs Python 3.11","make setup PYTHON=/path/to/python3.11")
@test -x $(BIN)/python || $(PYTHON) -m venv .venv
@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || $(call failed,"make .venv: the one that is here is not Python 3.11","rm -r .venv && make setup")
$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement infra/uv.txt
endef

# The stamp is the last thing written: an interrupted installation is done again.
.venv/.installed .venv/.setup-gitops .venv/.setup-gates .venv/.setup-documents: $(MOVED)
.PHONY: moved

.venv/.installed: infra/uv.txt requirements.lock pyproject.toml $(DISTRIBUTIONS)
	$(make_venv)
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(UV_TORCH) --requirements requirements.lock
	@# The one distribution of earlier checkouts, with the same plugins
	@$(BIN)/uv pip uninstall --quiet --python $(BIN)/python visage
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps $(DISTRIBUTIONS:%/pyproject.toml=--editable %)
	@touch $@

.venv/.setup-gitops .venv/.setup-gates .venv/.setup-documents: infra/uv.txt requirements.lock pyproject.toml $(DISTRIBUTIONS)
	$(make_venv)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints requirements.lock --editable 'src/gitops[s3]' $(if $(filter %-gates,$@),--editable src/face_attributes) $(if $(filter %-documents,$@),--group documents)
	@touch $@

# By default DVC keeps this cache where every user of the machine may write, and unpickles the files in it.
.venv/dvc-site-cache: | $(STAMP)
	@$(BIN)/dvc config --local core.site_cache_dir "$(CURDIR)/$@"
	@install -d -m 700 $@

hooks: setup ## Install the git hooks (pre-commit) in this clone
	@$(BIN)/pre-commit install

up: setup ## Start the environments and take a model from raw images to the last one (VISAGE_ENVIRONMENTS=...)
	@$(BIN)/python -m infra.local up

down: setup ## Stop all processes that make up started
	@$(BIN)/python -m infra.local down

clean: setup ## Stop and delete .visage with its git repository, models and data (asks, or YES=1)
	@$(BIN)/python -m infra.local clean $(if $(YES),--yes)

logs: ## Follow the output of all processes that make up started (of one environment: ENV=prod)
	@ls .visage/$(or $(ENV),*)/logs/*.log >/dev/null 2>&1 || $(call failed,"follow the logs: $(or $(ENV),any environment) has none here","make up")
	@exec tail -n 20 -F .visage/$(or $(ENV),*)/logs/*.log

status: setup ## Show the release of each environment, its age and its accuracy, and each process that ended
	@$(BIN)/python -m infra.local status

# A process for each core, up to four: each loads PyTorch and Airflow. Each process begins with a folder of its own, so
# that the fixtures of a folder are made once, and takes over tests of other folders at the end.
WORKERS := --numprocesses logical --maxprocesses 4 --dist worksteal

# Slipcover takes its probes out of lines that have run: coverage.py made these tests a sixth slower.
test: setup ## Run the tests that need only Python, git and make
	@$(BIN)/python -m slipcover --source src --json --out .coverage.json -m pytest $(WORKERS) -m "not system and not long and not docker"
	@$(BIN)/python -c 'import json; print("The tests run", json.load(open(".coverage.json"))["summary"]["percent_covered_display"], "% of the lines in src/, without those that other processes run")'

# They reach each place that runs git, DVC, pip or uv; tests/test_hostile.py compares. HOSTILE=tests runs all.
HOSTILE := tests/gitops/git tests/gitops/dvc tests/gitops/training/test_stages.py tests/gitops/diff/test_dags.py \
	tests/gitops/airflow/test_bundle.py tests/gitops/test_isolation.py tests/gitops/test_cli.py \
	tests/face_attributes/data/test_append.py tests/infra/local/test_origin.py tests/infra/local/test_command.py \
	tests/infra/local/test_machine.py tests/test_makefile.py tests/test_hooks.py tests/test_hostile.py

test-hostile: setup ## Run tests under a HOME that changes every common setting of git, DVC and pip
	@TESTS_HOSTILE=1 $(BIN)/python -m pytest $(WORKERS) -m "not system and not long and not docker" $(HOSTILE)

test-all: setup ## Run all tests, including those that need system packages or many minutes, and test-hostile
	@$(BIN)/python -m pytest -m "not docker" --ignore=tests/gitops/test_fuzz.py
	@$(BIN)/python -m pytest $(WORKERS) tests/gitops/test_fuzz.py
	@$(MAKE) --no-print-directory test-hostile

test-compose: setup ## Build the image, then start, use and stop an environment with Docker Compose
	@$(BIN)/python -m pytest -m docker tests/infra/compose tests/infra/preview

compose: ## Start an environment on this server with Docker Compose (make compose ENV=prod)
	@scripts/up.sh "$(or $(ENV),dev)"

image-facts: ## Print name and sources of the image of a tag (OWNER=me TAG=v1.2.3)
	@scripts/image_facts.sh

bench: setup ## Measure the model of `dvc repro`: training, inference and scoring against their limits
	@for name in training inference scoring; do $(BIN)/python -m benchmarks.$$name; done

dags-test: setup ## Run every DAG with every environment's settings, once normally and once with an injected failure (8 minutes)
	@$(BIN)/python -m infra.dag_smoke_test

demo-drift: setup ## Simulate drift: start the Airflows, train, change main and promote (20 minutes; asks, or YES=1)
	@$(BIN)/python -m infra.local demo-drift $(if $(YES),--yes)

demo-year: setup ## Simulate 52 weeks of releases on a fake clock, and print sizes, times and counts (10 minutes)
	@$(BIN)/python -m pytest --quiet -p no:cacheprovider tests/gitops/upkeep/test_year.py

new-dag: setup ## Create a DAG with the common defaults, its test and its runbook (make new-dag NAME=count_faces)
	@$(BIN)/python -m infra.new_dag -- '$(subst ','\'',$(NAME))'

new-environment: setup ## Create an environment: order, settings, overlay, port, colour (NAME=qa AFTER=dev, WAVE=...)
	@$(BIN)/python -m infra.new_environment '--after=$(subst ','\'',$(AFTER))' '--wave=$(subst ','\'',$(WAVE))' '--title=$(subst ','\'',$(TITLE))' -- '$(subst ','\'',$(NAME))'

pictures: setup ## Take the pictures of the documents from the running engine (NAMES="visage loop")
	@$(BIN)/python -m tests.pictures $(NAMES)

docs: setup ## Build the documentation into site/; fails on a broken link
	@$(BIN)/zensical build --strict --clean
	@echo "It is in site/index.html; with its search: .venv/bin/zensical serve"

lint: setup ## Run the hooks of pre-commit over every file
	@$(BIN)/pre-commit run --all-files --show-diff-on-failure

# The hook `docs` runs more of these tests, which need Airflow and the model code.
lint-documents: setup-documents ## Run the hooks over the documents, metrics and release files that a branch changes (BASE=origin/main)
	@SKIP=docs $(BIN)/pre-commit run --from-ref $(or $(BASE),origin/main) --to-ref HEAD --show-diff-on-failure
	@$(BIN)/zensical build --strict --clean
	@$(BIN)/python -m pytest --quiet -p no:cacheprovider $(patsubst %,tests/docs/test_%.py,instructions links settings threat_model twins)

PIP_AUDIT_VERSION := 2.10.1

audit: setup audit-packages ## Check locked packages and pinned actions for known vulnerabilities (needs the internet)
	$(BIN)/zizmor --quiet --persona=auditor --collect=all .github

audit-packages: ## Check locked packages alone, with the uv that make setup-gitops installs
	$(BIN)/uv tool run --quiet pip-audit==$(PIP_AUDIT_VERSION) --requirement requirements.lock --no-deps --disable-pip --strict

# Debian's npm cannot be installed beside a Node.js from elsewhere, which has its own.
SYSTEM_PACKAGES := chromium chromium-driver jq openssh-client postgresql prometheus redis-server $(if $(shell command -v npm),,npm)

system-packages: ## Install the system packages of make test-all (Debian, Ubuntu)
	$(if $(filter 0,$(shell id -u)),,sudo) apt-get update --quiet
	$(if $(filter 0,$(shell id -u)),,sudo) apt-get install --yes --quiet $(SYSTEM_PACKAGES)
	@command -v kubectl >/dev/null || echo "kubectl: no package of Debian 12 is new enough; see https://kubernetes.io/docs/tasks/tools/"

pin-images: ## Write the digests of the base images into the files that name them (needs Docker and the internet)
	@scripts/pin_images.sh

cml: ## Download CML, which posts reports, by version and SHA-256 (infra/cml.txt)
	@scripts/cml.sh

pin-cml: ## Write the SHA-256 of CML into infra/cml.txt (needs the internet)
	@scripts/cml.sh --pin

schemas: setup ## Write schemas/ after a change of a class that reads a file
	@PYTHONPATH=dags $(BIN)/python -m scripts.schemas

# UPGRADE= adds new requirements of a pyproject.toml, and keeps all other versions.
UPGRADE ?= --upgrade

lock: ## Update requirements.lock from every pyproject.toml, with the hashes of all files but PyTorch's
	$(BIN)/uv pip compile --quiet pyproject.toml $(DISTRIBUTIONS) --all-extras --python-version 3.11 --no-header --generate-hashes $(UPGRADE) --upgrade-package torch $(UV_TORCH) $(DISTRIBUTIONS:src/%/pyproject.toml=--no-emit-package visage-%) --output-file requirements.lock
	@# A build of PyTorch for the CPU and one for CUDA have the same version and different files.
	sed -i.bak -E '/^torch==/,/^    # via/{/--hash=/d; s/^(torch==[0-9.]+).*/\1/;}' requirements.lock && rm requirements.lock.bak

lock-uv: ## Update infra/uv.txt to another version of uv (UV=0.13.9)
	@test -n "$(UV)" || $(call failed,"update uv: no version is named","make lock-uv UV=0.13.9")
	{ head -n 1 infra/uv.txt; echo "uv==$(UV)" | $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-annotate --universal -; } > infra/uv.txt.new
	mv infra/uv.txt.new infra/uv.txt

airflow-options: setup ## Update the list of options of Airflow and its providers, after make lock
	$(BIN)/python -m gitops.release.airflow_options

# Any other word is a mistake in typing.
.DEFAULT:
	@$(call failed,"make $@: no such target","make help")
