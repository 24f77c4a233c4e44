# The door to every task of Shopstream. It installs, builds and calls the command line `shopstream` (src/shopstream).

# Where to: dev and prod are AWS (terraform/env/<ENV>.tfvars), local is the stack that `make up` starts.
ENV    ?= dev
# Events to read: files, folders, globs or s3:// addresses. Default: look-alike events, made at the first call.
DATA   ?= $(LOOK_ALIKE)
# What the columns of DATA are, where they are not the contract's: a file, or a name of src/simulator/mappings.
MAPPING ?=
# demo: how many of DATA's rows are read (default: all).
LIMIT  ?=
# Labelled burst bots to mix in; speed, a factor of the data's own pace (default: no waiting); event times: now, original.
BURSTS ?= 5
SPEED  ?=
TIME   ?= now
# Further options of the command, such as ARGS="--rate 200 --aggregate".
ARGS   ?=
# Days (UTC, both included): of arrival for etl, backtest and reprocess, of the events for insights and reconcile.
FROM   ?=
TO     ?=
# score: who attacks in DATA. backtest: rule values to try, such as VALUES='{"burst": {"threshold": 8}}'.
LABELS ?=
VALUES ?=
# Of the local stack: its first port (default: free ones) and its folder. The Python that installs everything.
PORT   ?=
BUILD  ?= build
PYTHON ?= python3

LOOK_ALIKE := build/data/look-alike.csv.gz
MADE_DATA   = $(filter $(LOOK_ALIKE),$(DATA))
SHOPSTREAM := .venv/bin/shopstream
COLUMNS     = $(if $(MAPPING),--mapping "$(MAPPING)")
WHERE       = --env $(ENV) --home $(BUILD)
DAYS        = $(if $(FROM),--from-date $(FROM)) $(if $(TO),--to-date $(TO))
PORTS       = $(if $(PORT),--first-port $(PORT))
TERRAFORM  := terraform -chdir=terraform
STATE       = -state=state/$(ENV).tfstate
PYTEST     := .venv/bin/pytest
# What runs the rules without a stack.
RULES_JOB  := src/detector/.venv/installed src/detector/target/pyflink-dependencies.jar

SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: $(shell { grep -oE '^[a-z0-9-]+:' Makefile | tr -d :; } 2> /dev/null)
# Terraform asks for no newer version, and does not warn of a settings file that is not there. uv trusts the system.
export CHECKPOINT_DISABLE := 1
ifeq ($(shell test -f "$$TF_CLI_CONFIG_FILE" && echo there),)
unexport TF_CLI_CONFIG_FILE
endif
UV_SYSTEM_CERTS ?= 1
export UV_SYSTEM_CERTS
# Three parts install at a time, where make is not called with --jobs.
JOBS = $(if $(findstring --jobserver,$(MAKEFLAGS)),,--jobs 3)
STARTED := $(shell date +%s 2> /dev/null)

include install.mk

help: ## list all tasks
	@awk -F ':.*## ' '/^##@/ { print "\n" substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile
	@echo; echo "Variables: ENV=dev|prod|local DATA= MAPPING= LIMIT= BURSTS= SPEED= TIME=now|original ARGS= FROM= TO= LABELS= VALUES= PORT= BUILD= PYTHON="
	@echo "All commands with all options: $(SHOPSTREAM) --help"

##@ One machine
demo: data-exists install build $(MADE_DATA) ## run the whole platform once, from events to alerts and answers
	@$(SHOPSTREAM) demo "$(DATA)" $(COLUMNS) $(if $(LIMIT),--limit $(LIMIT)) --home $(BUILD) --bursts $(BURSTS) $(PORTS) --install-s $$(($$(date +%s) - $(STARTED)))
up: install build ## start the same stack and keep it; then use ENV=local
	@$(SHOPSTREAM) up --home $(BUILD) $(PORTS)
down: .venv/installed ## stop what `make up` started
	@$(SHOPSTREAM) down --home $(BUILD)
status: .venv/installed ## show the processes of the local stack
	@$(SHOPSTREAM) status --home $(BUILD)
drain: .venv/installed ## local: let the detector judge the last events of a finite replay
	@$(SHOPSTREAM) drain --home $(BUILD)

inspect: data-exists .venv/installed $(MADE_DATA) ## show what is in DATA and how it would be sent; no stack
	@$(SHOPSTREAM) inspect "$(DATA)" $(COLUMNS) $(ARGS)

##@ Single steps, on AWS or (ENV=local) on this machine
simulate: data-exists install $(MADE_DATA) ## replay DATA with BURSTS bots into stream 1
	@$(SHOPSTREAM) simulate "$(DATA)" $(COLUMNS) $(WHERE) --bursts $(BURSTS) --time $(TIME) $(if $(SPEED),--speed $(SPEED)) $(ARGS)
upload: data-exists install $(MADE_DATA) ## put DATA and a sample of it into the raw bucket, unpacked too
	@$(SHOPSTREAM) upload "$(DATA)" $(WHERE)
etl: install ## run the curate job over what arrived FROM..TO (default: today)
	@$(SHOPSTREAM) etl $(WHERE) $(DAYS)
insights: install ## answer every question of sql/insights
	@$(SHOPSTREAM) insights $(WHERE) $(DAYS)
reconcile: install ## compare what arrived with what the detector judged, by event date FROM..TO (default: all)
	@$(SHOPSTREAM) reconcile $(WHERE) $(DAYS) $(ARGS)
incidents: .venv/installed ## list the open incidents
	@$(SHOPSTREAM) incidents $(WHERE) $(ARGS)
flink-ui: .venv/installed ## print the address of Flink's own page of the detector
	@$(SHOPSTREAM) flink-ui $(WHERE)

##@ AWS
plan: aws ## show what `make deploy` would change
	$(TERRAFORM) plan -var-file=env/$(ENV).tfvars $(STATE)
deploy: aws ## build, zip and apply to AWS (asks before it changes anything)
	$(TERRAFORM) apply -var-file=env/$(ENV).tfvars $(STATE)
	@$(SHOPSTREAM) start-detector --env $(ENV)
destroy: aws ## remove everything from AWS again (asks first)
	$(TERRAFORM) destroy -var-file=env/$(ENV).tfvars $(STATE)
aws: .venv/installed
	@$(SHOPSTREAM) access --env $(ENV)
	@$(MAKE) --silent install build && mkdir -p terraform/state

##@ Rules
score: .venv/installed $(RULES_JOB) ## recall, precision, false alarms of the rules, beside the tutorial's
	@$(SHOPSTREAM) score $(if $(MADE_DATA),,--data "$(DATA)" $(COLUMNS)) $(if $(LABELS),--labels "$(LABELS)")
backtest: .venv/installed $(RULES_JOB) ## what the rules find in DATA, or in the raw bucket FROM..TO
	@$(SHOPSTREAM) backtest $(if $(MADE_DATA),$(WHERE) $(DAYS),--data "$(DATA)" $(COLUMNS)) $(if $(VALUES),--values '$(VALUES)')
reprocess: .venv/installed $(RULES_JOB) ## store findings in the raw bucket FROM..TO, marked; no notices
	@$(SHOPSTREAM) reprocess $(WHERE) $(DAYS)
generate: .venv/installed ## rewrite what is derived from rules and questions: Studio note, tables in docs, notices
	@$(SHOPSTREAM) generate

##@ Tests
# The end-to-end tests replay at the pace of the clock, so they have the machine to themselves.
test: lint install build ## all tests; the suites without a stack run two at a time, and print when they end
	@$(MAKE) --no-print-directory --jobs 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=line) \
	  test-unit test-terraform test-simulator test-detection test-glue test-notebook
	@$(MAKE) --no-print-directory test-e2e
test-unit: .venv/installed ## Python tests that need neither Flink nor Spark nor a stack
	$(PYTEST) tests/unit tests/contract
test-terraform: install build ## Terraform's own tests, at plan
	$(TERRAFORM) fmt -check -recursive && $(TERRAFORM) validate && $(TERRAFORM) test
test-simulator: .venv/installed src/local_cloud/emulator/.venv/installed ## the simulator against an emulator, with faults
	$(PYTEST) tests/integration/simulator
test-detection: install build ## the rules on real Flink
	src/detector/.venv/bin/python -m pytest tests/integration/detection
test-glue: install ## the curate job on real Spark and Iceberg
	src/glue_etl/.venv/bin/python -m pytest tests/integration/glue_etl
test-notebook: install $(TOOLS)/notebook-jars/installed ## the note in Zeppelin's own parser and on real Flink 1.15
	src/detector/.venv/bin/python -m pytest tests/integration/notebook
test-e2e: install build ## the whole platform on the local stack
	$(PYTEST) tests/e2e
test-long: install build ## proofs that take long: ten minutes of backlog across reshards
	$(PYTEST) tests/e2e -m long
lint: .venv/installed ## style, types, imports, generated files
	.venv/bin/ruff check . && .venv/bin/ruff format --check .
	.venv/bin/sqlfluff lint --disable-progress-bar sql/insights # its Flink dialect cannot parse sql/detection yet
	.venv/bin/mypy && .venv/bin/lint-imports
	$(SHOPSTREAM) generate --check
format: .venv/installed ## format Python and Terraform
	.venv/bin/ruff format . && .venv/bin/ruff check --fix .
	$(TERRAFORM) fmt -recursive
bench-simulator: install ## the simulator beside other senders, in build/bench/simulator.json
	.venv/bin/python -P bench/simulator.py $(ARGS)
bench-files: .venv/installed ## what reading, mapping and sorting files costs, in build/bench/files.json
	.venv/bin/python -P bench/files.py $(ARGS)
bench-detector: install $(RULES_JOB) ## what the rules cost on both state backends, in build/bench/detector.json
	.venv/bin/python -P bench/detector.py $(ARGS)
bench-curate: install ## what the curate job costs, in build/bench/curate.json
	.venv/bin/python -P bench/curate.py $(ARGS)
bench-latency: install build ## seconds from an event to its alert, beside the tutorial's rule, in build/bench/latency.json
	.venv/bin/python -P bench/latency.py $(ARGS)
bench-alert: install ## what the alert function costs, beside the tutorial's, in build/bench/alert.json
	.venv/bin/python bench/alert.py $(ARGS)

##@ Build
install: require ## install all that is needed into this folder, pinned by lock files
	@$(MAKE) --silent $(JOBS) $(FOUND) && $(MAKE) --silent $(JOBS) $(INSTALLED)
build: require build/detector.zip ## build what Terraform deploys: build/detector.zip, build/lambda_alert.zip
clean: ## stop the local stack, delete what was built and measured (installed tools and Terraform's state stay)
	@test ! -x $(SHOPSTREAM) || $(SHOPSTREAM) down --home $(BUILD)
	rm -rf build
