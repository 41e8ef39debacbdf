# The one door to the project; `make` alone prints what there is.

PYTHON ?= python3
# What the engine runs, it finds on PATH.
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"

.DEFAULT_GOAL := help
.PHONY: help demo down test test-mesos test-kubernetes check robustness bench bench-sync bench-mesos bench-probe tools tools-tests tools-kubernetes setup lock clean

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | column -t -s '|'

demo: setup ## migrate a live cluster from blue to green on this machine (KEEP=1 leaves it running)
	@$(RUN) python -m stacks.demo $(if $(filter-out 0 no false off,$(KEEP)),--keep)

down: setup ## stop and remove everything that the demo started
	@$(RUN) python -m stacks.demo down

test: setup tools-tests ## run the default suite (ARGS="..." goes to pytest)
	@$(RUN) pytest $(ARGS)

test-mesos: setup ## run the contract tests on the mesos-master and mesos-agent of PATH
	@$(RUN) python -m tests.local.against_mesos $(ARGS)

test-kubernetes: setup tools-kubernetes ## run the tests against a real Kubernetes API server, built first
	@$(RUN) pytest tests/kubernetes $(ARGS)

check: setup ## check format, lint, types, import contracts, spelling and tidiness
	@$(RUN) python -m tools.check

robustness: setup ## run the long fault runs (ROBUSTNESS_SEED=7 for other choices)
	@$(RUN) pytest -m robustness --timeout 0 $(ARGS)

bench: bench-sync bench-mesos bench-probe ## run all benchmarks

bench-sync: setup ## measure the sync engine (ARGS="--quick", ARGS="--only lag rate")
	@$(RUN) python -m tests.performance.sync $(ARGS)

bench-mesos: setup ## measure Mesos and our clients of it (ARGS="--quick", ARGS="--only launch drain")
	@$(RUN) python -m tests.performance.mesos $(ARGS)

bench-probe: setup ## measure the probe in scenarios of its own (root; ARGS="--only containers-50")
	@$(RUN) python -m tests.performance.probe $(ARGS)

setup: ## make this checkout ready to run; the other targets do it by themselves
	@$(PYTHON) -m tools.bootstrap
	@$(RUN) python -m stacks.demo setup

tools: ## build or fetch the outside programs
	@$(PYTHON) -m tools.install

tools-tests: ## fetch the old ZooKeepers that only tests run
	@$(PYTHON) -m tools.install for-tests

tools-kubernetes: ## build a Kubernetes control plane for the tests (about ten minutes, once)
	@$(PYTHON) -m tools.install kubernetes-rig

lock: setup ## compile requirements/ anew from pyproject.toml
	@$(RUN) python -m tools.lock

clean: ## remove outputs; .venv and built programs stay
	rm -rf build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
