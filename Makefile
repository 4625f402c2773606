# Packshot.  `make` lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
BIN := .venv/bin
# One environment for everything, named by what it was made from: a second run installs nothing.
STAMP := .venv/.made-from-$(shell cat requirements.lock pyproject.toml | sha256sum | cut -c1-16)
CODE := jobs producer worker envpack standalone

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" .ci/make-venv
	@touch $@

.PHONY: venv
venv: $(STAMP) ## make .venv from the lock

.PHONY: demo
demo: $(STAMP) ## the whole system on this machine, edits sample photographs
	@$(BIN)/packshot demo

.PHONY: up
up: $(STAMP) ## the whole system on this machine, until Ctrl-C
	@$(BIN)/packshot up

.PHONY: test
test: $(STAMP) ## every test, on embedded servers
	@$(BIN)/python -m pytest

.PHONY: test-env
test-env: $(STAMP) ## build, pack, unpack and run the real environment (30 GB of disk, minutes)
	@$(BIN)/python -m pytest tests/environment

.PHONY: test-compose
test-compose: $(STAMP) ## every test, on the servers of docker-compose.test.yml
	docker compose -f docker-compose.test.yml up --detach --wait
	PACKSHOT_TEST_DATABASE_URL=postgresql://packshot:packshot@127.0.0.1:55432/packshot \
	PACKSHOT_TEST_REDIS_URL=redis://:packshot@127.0.0.1:56379/0 \
	PACKSHOT_TEST_S3_URL=http://packshot:packshot-secret@127.0.0.1:59000/packshot \
	$(BIN)/python -m pytest; status=$$?; \
	docker compose -f docker-compose.test.yml down --volumes; exit $$status

.PHONY: chaos
chaos: $(STAMP) ## a minute of random faults, and what it cost (SEED=n; wants Debian's faketime)
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED))

.PHONY: chaos-long
chaos-long: $(STAMP) ## ten minutes of random faults, with the lease that workers have
	@$(BIN)/python -m tests.chaos --seconds 600 --lease 15 --jobs 10000 $(if $(SEED),--seed $(SEED))

.PHONY: recovery
recovery: $(STAMP) ## a worker is killed: how soon its job runs again, here and with plain Celery
	@$(BIN)/python -m tests.chaos.plain_celery

.PHONY: mutation
mutation: $(STAMP) ## take each guard away, and see its test fail
	@$(BIN)/python -m tests.mutation

.PHONY: train-tiny
train-tiny: $(STAMP) ## train the small checkpoint on from where it stopped (MINUTES=60, THREADS=2)
	@test -e build/tiny/vae || $(BIN)/python -m worker.engine.tiny.training begin models/tiny
	@nice -n 19 $(BIN)/python -m worker.engine.tiny.training --threads $(or $(THREADS),2) \
	  all $(if $(MINUTES),--minutes $(MINUTES))

.PHONY: eval-tiny
eval-tiny: $(STAMP) ## the share of right edits of models/tiny (build/bench/tiny.json; CASES=30 of each type)
	@$(BIN)/python -m worker.engine.tiny.evaluate models/tiny --json build/bench/tiny.json \
	  $(if $(CASES),--cases $(CASES))

.PHONY: bench-queue
bench-queue: $(STAMP) ## jobs per second in and out, beside other queues (build/bench/queue.json)
	@$(BIN)/python -m benchmarks.queue

.PHONY: bench-worker
bench-worker: $(STAMP) ## how busy simulated cards are kept (build/bench/worker.json)
	@$(BIN)/python -m benchmarks.worker $(ARGS)

.PHONY: bench-reconciler
bench-reconciler: $(STAMP) ## a tick with 100,000 and 300,000 queued jobs (build/bench/reconciler.json)
	@$(BIN)/python -m benchmarks.reconciler

.PHONY: bench-envpack
bench-envpack: $(STAMP) ## an environment to its first job, beside conda-pack and pip (build/bench/envpack.json)
	@$(BIN)/python -m benchmarks.envpack $(ARGS)

.PHONY: bench
bench: bench-queue bench-worker ## both

.PHONY: gpu-bench
gpu-bench: ## time the engine on this machine's GPU, or try the bench on the CPU (ARGS=...)
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m worker.engine.bench $(ARGS)

.PHONY: check
check: $(STAMP) ## ruff, mypy, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

.PHONY: format
format: $(STAMP) ## let ruff format and fix
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

.PHONY: lock
lock: $(STAMP) ## refresh requirements.lock (needs pip-tools: pip install pip-tools)
	pip-compile --quiet --extra dev --generate-hashes --strip-extras --allow-unsafe --no-annotate \
	  --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --output-file requirements.lock pyproject.toml
	@# pip-compile lists the project itself, through its own extras
	@sed -i '/^# WARNING: pip install will require/,/^packshot @/d' requirements.lock

.PHONY: clean
clean: ## remove what was built, but for .venv
	rm -rf build .packshot .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
