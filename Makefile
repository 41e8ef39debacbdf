# The one door to the project; `make` alone prints what there is.

PYTHON ?= python3
# What the engine runs, it finds on PATH.
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"

.DEFAULT_GOAL := help
.PHONY: help demo down test test-long test-mesos test-node test-kubernetes test-docker check robustness bench bench-sync bench-mesos bench-probe bench-declare tools tools-tests tools-kubernetes tools-docker tools-packages setup lock clean

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | column -t -s '|'

demo: setup ## migrate a live cluster from blue to green on this machine (KEEP=1 leaves it running)
	@$(RUN) python -m stacks.demo $(if $(filter-out 0 no false off,$(KEEP)),--keep)

down: setup ## stop and remove everything that the demo started
	@$(RUN) python -m stacks.demo down

test: setup tools-tests ## run the default suite (ARGS="..." goes to pytest)
	@$(RUN) pytest $(ARGS)

test-long: setup tools-tests ## run what takes longer, as CI does: whole ways on Kubernetes, killed engines, each example deployed
	@$(RUN) pytest -m "long and not robustness" $(ARGS)

test-mesos: setup ## run the contract tests on the mesos-master and mesos-agent of PATH
	@$(RUN) python -m tests.local.against_mesos $(ARGS)

test-node: setup tools-kubernetes ## run the tests on a real Kubernetes node, built first, one after the other (half an hour)
	@$(RUN) pytest tests/kubernetes -m turns -n 0 $(if $(filter test-node,$(MAKECMDGOALS)),$(ARGS))

test-kubernetes: test-node ## run these, and the tests against a real Kubernetes API server
	@$(RUN) pytest tests/kubernetes -m "not turns" $(ARGS)

test-docker: setup tools-docker ## run the tests on a real Docker engine (root; the distribution's, in a network namespace of its own)
	@$(RUN) pytest tests/docker -m "not robustness" $(ARGS)

check: setup ## check format, lint, types, import contracts, spelling and tidiness
	@$(RUN) python -m tools.check

robustness: setup ## run the long fault runs (ROBUSTNESS_SEED=7 for other choices)
	@$(RUN) pytest -m robustness --timeout 0 $(ARGS)

bench: bench-sync bench-mesos bench-probe bench-declare ## run all benchmarks

bench-sync: setup ## measure the sync engine (ARGS="--quick", ARGS="--only lag rate")
	@$(RUN) python -m tests.performance.sync $(ARGS)

bench-mesos: setup ## measure Mesos and our clients of it (ARGS="--quick", ARGS="--only launch drain")
	@$(RUN) python -m tests.performance.mesos $(ARGS)

bench-probe: setup ## measure the probe in scenarios of its own (root; ARGS="--only containers-50")
	@$(RUN) python -m tests.performance.probe $(ARGS)

bench-declare: setup ## measure a preview of both colours on Kubernetes
	@$(RUN) python -m tests.performance.declare

setup: ## make this checkout ready to run; the other targets do it by themselves
	@$(PYTHON) -m tools.bootstrap
	@$(RUN) python -m stacks.demo setup

tools: ## build or fetch the outside programs
	@$(PYTHON) -m tools.install

tools-kubernetes: setup ## build a Kubernetes control plane and node for the tests, Consul and Mesos-DNS (about 20 minutes, once)
	@$(RUN) python -m tools.install kubernetes-rig

tools-docker: ## see to it that tests can have a Docker engine (root installs the distribution's packages)
	@$(PYTHON) -m tools.install docker-rig

tools-packages: ## install the distribution's programs that tests use: HAProxy, Prometheus (root)
	@$(PYTHON) -m tools.packages

tools-tests: ## fetch what only tests run: old ZooKeepers, Elasticsearch's grok
	@$(PYTHON) -m tools.install for-tests

lock: setup ## compile requirements/ anew from pyproject.toml
	@$(RUN) python -m tools.lock

clean: ## remove outputs; .venv and built programs stay
	rm -rf build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
