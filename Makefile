# The verbs of this repository. `make` alone lists them.
#
# `setup` is a no-op while requirements.lock, pyproject.toml and this file are unchanged.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Many processes of ours start in the tests; where nobody keeps what was compiled, each compiles it again.
unexport PYTHONDONTWRITEBYTECODE
STAMP := $(VENV)/.paritygate-$(shell cat requirements.lock pyproject.toml Makefile | cksum | cut -d' ' -f1)

# The first Python that the project can use; name another with make PYTHON=...
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	  "$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && { echo "$$p"; break; }; \
	done)

.PHONY: help setup demo test check calibrate faults-commands faults-join docs lock broker-up broker-down clean bench-evaluation bench-join bench-dashboard

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## install everything into .venv, versions and hashes from requirements.lock

$(STAMP):
	@test -n "$(PYTHON)" || { echo "setup: no Python 3.11 to 3.14 found: install one, or say make PYTHON=/path/to/python"; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "setup: $(PYTHON) cannot make a virtual environment: install its venv package (Debian: apt-get install python3-venv)"; exit 2; }
	@began=$$(date +%s); \
	echo "setup: $$("$(PYTHON)" --version) environment in $(VENV)"; \
	"$(BIN)/python" -c '' 2>/dev/null || "$(PYTHON)" -m venv --clear "$(VENV)"; \
	echo "setup: downloading and installing $$(grep -c '^[a-z].*==' requirements.lock) packages by their hashes"; \
	awk '/^[a-z]/ { mine = /^uv==/ } mine' requirements.lock > "$(VENV)/uv.lock"; \
	"$(BIN)/python" -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r "$(VENV)/uv.lock"; \
	"$(BIN)/uv" pip install -q --no-config --python "$(BIN)/python" --require-hashes --no-deps -r requirements.lock || { \
	  echo "setup: uv could not reach the packages; pip tries, which takes two minutes"; \
	  "$(BIN)/python" -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements.lock; }; \
	"$(BIN)/uv" pip install -q --python "$(BIN)/python" --offline --no-deps --no-build-isolation -e .; \
	rm -f "$(VENV)"/.paritygate-*; touch "$@"; \
	echo "setup: done in $$(( $$(date +%s) - began )) s"

demo: setup ## run the demo on a real Kafka; ARGS="--scenario NAME --json FILE" for one scenario
	@"$(BIN)/paritygate" demo $(ARGS)

# What needs no broker runs on all cores; what does, two files at a time, for it mostly waits; the demo alone, for
# it is held to what users would see.
test: setup lint ## check, then every test, also on the real broker and 60 s of fuzzing; ARGS go to pytest
	@failed=0; empty=0; \
	run() { \
	  code=0; "$(BIN)/pytest" --durations=10 --durations-min=5 "$$@" $(ARGS) || code=$$?; \
	  case $$code in 0) ;; 5) empty=$$((empty + 1)) ;; *) failed=$$code ;; esac; \
	}; \
	export PARITYGATE_FUZZ_S=$${PARITYGATE_FUZZ_S-60}; \
	run -n auto --dist loadfile -m "not (broker or demo or docker)"; \
	run -n 2 --dist loadfile -m "(broker or docker) and not demo"; \
	run -m demo; \
	if [ $$empty = 3 ]; then exit 5; fi; exit $$failed

check: setup lint ## style, types, floors, and what is in the wheel
	@"$(BIN)/pytest" -q tests/test_packaging.py tests/test_floors.py tests/test_compose.py

calibrate: setup ## simulate false alarms and delays of every gate into benchmarks/results; ARGS="--runs N"
	@"$(BIN)/python" benchmarks/calibration.py --json benchmarks/results/calibration.json $(ARGS)

faults-commands: setup ## ten times the histories of plans, commands and verdicts that make test runs
	@"$(BIN)/pytest" -q --timeout=3600 --hypothesis-profile=faults tests/unit/rollouts/test_command_machine.py $(ARGS)

faults-join: setup ## hurt the join on a real Kafka and compare with DuckDB; ARGS="--pairs N --seed N --only a,d"
	@"$(BIN)/python" -m tests.faults.run --json benchmarks/results/faults_join.json $(ARGS)

bench-evaluation: setup ## time one look at the gates into benchmarks/results; ARGS="--repeats N"
	@"$(BIN)/python" benchmarks/evaluation.py --json benchmarks/results/evaluation.json $(ARGS)

bench-join: setup ## measure the join and its peers on a real Kafka into benchmarks/results; ARGS="--quick"
	@"$(BIN)/python" benchmarks/join.py --json benchmarks/results/join.json $(ARGS)

docs: setup ## refresh the tables and snippets in README.md and docs/ from the code
	@"$(BIN)/python" docs/build.py

bench-dashboard: setup ## time the page with 1,000 segments and 200 viewers into benchmarks/results
	@"$(BIN)/python" benchmarks/dashboard.py --json benchmarks/results/dashboard.json $(ARGS)

.PHONY: lint
lint: setup
	@echo "check: ruff"; "$(BIN)/ruff" check -q . && "$(BIN)/ruff" format -q --check .
	@echo "check: mypy --strict"; "$(BIN)/mypy"
	@echo "check: floors"; "$(BIN)/lint-imports" --no-cache

lock: setup ## resolve pyproject.toml anew into requirements.lock and the locks of the image
	@compile() { "$(BIN)/uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" "$$@" pyproject.toml; }; \
	compile $(UPGRADE) --extra demo --extra membroker --extra sign --extra trace --group dev -o requirements.lock; \
	compile -c requirements.lock --extra stream --extra dashboard --extra sign -o deploy/worker.lock; \
	compile -c requirements.lock --extra demo --extra sign -o deploy/demo.lock
	@echo "lock: written; UPGRADE=--upgrade takes newer versions"

broker-up: setup ## start a real Kafka in run/broker
	@"$(BIN)/paritygate" broker up

broker-down: ## stop it; its data stay
	@test ! -x "$(BIN)/paritygate" || "$(BIN)/paritygate" broker down

clean: broker-down ## stop the broker and delete what runs and builds left (not .venv)
	@rm -rf run build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache src/*.egg-info
