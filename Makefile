# Every task of Shopstream, on AWS or on this machine. `make help` lists them.

# Where to: dev and prod are AWS (terraform/env/<ENV>.tfvars), local is the stack that `make up` starts.
ENV    ?= dev
# What to replay: path of a .csv or .csv.gz in the data set's format. Default: look-alike data.
DATA   ?= build/data/look-alike.csv.gz
# How many labelled burst bots to mix in.
BURSTS ?= 5
# Replay speed: a factor of the data's own pace; by default as fast as it goes. Event times: now (the first event happens
# now, gaps stay) or original. Further options of `python -m simulator replay`, such as --rate 200 or --aggregate.
SPEED  ?=
TIME   ?= now
ARGS   ?=
# Who attacks in DATA, for score: {"attackers": {"<user_id>": {"scenario": ...}}}.
LABELS ?=
# Values of the rules that backtest tries: {"burst": {"threshold": 8}}.
VALUES ?=
# Days (UTC, included) for etl, backtest and reprocess: of arrival, default today, but reprocess wants both. For
# insights: of the events, default all.
FROM   ?=
TO     ?=

# First of the local stack's ports, e.g. 4560. By default it takes ports that are free.
PORT   ?=

PYTHON ?= python3
# Runs on the user's own Python, before anything is installed.
INSTALL = $(PYTHON) -c "" 2> /dev/null || { echo "error: Python is missing: looked for $(PYTHON) on the PATH. To \
  install it: Debian/Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.13" >&2; exit 1; }; \
  PYTHONPATH=src $(PYTHON) -m install
TOOLS  := .tools
UV     := $(TOOLS)/bin/uv
RUN    := PYTHONPATH=src .venv/bin/python -m
LOCAL_CLOUD = $(RUN) local_cloud --home $(BUILD)
MAVEN  := mvn --quiet --batch-mode
# Where the stack of `make up` lives; tests choose another.
BUILD      ?= build
LOCAL      := $(BUILD)/local
LOOK_ALIKE := build/data/look-alike.csv.gz
# The one input that is made here; any other must exist.
MADE_DATA  = $(filter $(LOOK_ALIKE),$(DATA))
PORTS      = $(if $(PORT),--first-port $(PORT))

SHELL := /bin/bash
# Terraform else asks its maker for a newer version.
export CHECKPOINT_DISABLE := 1
# A settings file that is named but missing would be a warning in every output of Terraform's.
ifeq ($(shell test -f "$$TF_CLI_CONFIG_FILE" && echo there),)
unexport TF_CLI_CONFIG_FILE
endif
# uv else trusts only the certificates that it brings.
UV_SYSTEM_CERTS ?= 1
export UV_SYSTEM_CERTS
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help require data-file days access aws install build demo up down status simulate upload drain etl insights \
        flink-ui init plan deploy destroy test test-unit test-terraform test-simulator test-detection \
        test-glue test-notebook test-e2e bench-simulator bench-detector bench-latency score backtest reprocess \
        notebook check lint format clean

help: ## list all tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  with ENV=dev|prod|local (default dev), DATA=file.csv[.gz], BURSTS=n, SPEED=x, TIME=now|original, ARGS=, FROM=, TO=, VALUES=, PORT=, PYTHON="

##@ One machine

demo: require data-file ## the whole platform once on this machine, from a file to alerts and answers
	@start=$$(date +%s); $(MAKE) --silent install build $(MADE_DATA) && \
	$(LOCAL_CLOUD) demo "$(DATA)" --bursts $(BURSTS) $(PORTS) --install-s $$(($$(date +%s) - start))

up: install build ## start the same stack and keep it; then use ENV=local
	@$(LOCAL_CLOUD) up $(PORTS)

down: .venv/installed ## stop what `make up` started
	@$(LOCAL_CLOUD) down

status: .venv/installed ## show the local stack's processes
	@$(LOCAL_CLOUD) status

drain: .venv/installed ## local: let the detector judge the last events of a finite replay
	@$(LOCAL_CLOUD) drain

##@ Single steps, on AWS or (ENV=local) on this machine

# Programs learn names and places from Terraform's outputs, and local ones the endpoints from the stack.
ifeq ($(ENV),local)
ACCESS = test -f $(LOCAL)/env || { echo "error: no local stack: start one with 'make up'" >&2; exit 1; }
ENTER  = . $(LOCAL)/env
OUTPUT = $$(.venv/bin/python -c 'import json; print(json.load(open("$(LOCAL)/outputs.json"))["$(1)"])')
ENGINE = trino
else
ACCESS = .venv/bin/python src/check_aws_access.py
ENTER  = region=$$(terraform -chdir=terraform output -state=state/$(ENV).tfstate -raw region 2> /dev/null) || \
  { echo "error: nothing is deployed for ENV=$(ENV): call make deploy first, or use ENV=local after make up" >&2; \
  exit 1; }; export AWS_DEFAULT_REGION=$$region
OUTPUT = $$(terraform -chdir=terraform output -state=state/$(ENV).tfstate -raw $(1))
ENGINE = athena
endif

access: .venv/installed
	@$(ACCESS)

aws:
	@test "$(ENV)" != local || \
	  { echo "error: 'make up' deploys to this machine; plan, deploy and destroy are for ENV=dev or prod" >&2; exit 1; }
	@test -f terraform/env/$(ENV).tfvars || \
	  { echo "error: ENV is '$(ENV)', but there is no terraform/env/$(ENV).tfvars: use dev or prod, or write it" >&2; exit 1; }

simulate: data-file access install $(MADE_DATA) ## replay DATA with BURSTS bots into stream 1
	@$(ENTER); mkdir -p build/simulate && $(RUN) simulator replay "$(DATA)" --stream $(call OUTPUT,raw_stream_name) \
	  --bursts $(BURSTS) --time $(TIME) $(if $(SPEED),--speed $(SPEED)) \
	  --malformed build/simulate/malformed.jsonl --labels build/simulate/labels.json $(ARGS)
ifeq ($(ENV),local)
	@$(LOCAL_CLOUD) drain
endif

upload: data-file access install ## put DATA and a sample of it into the raw bucket, unpacked too
	@$(ENTER); $(RUN) simulator upload "$(DATA)" --bucket $(call OUTPUT,raw_bucket)

etl: access install ## run the curate job over what arrived FROM..TO
ifeq ($(ENV),local)
	@$(LOCAL_CLOUD) etl $(if $(FROM),--from-date $(FROM)) $(if $(TO),--to-date $(TO))
else
	@$(ENTER); $(RUN) glue_etl.start_job_run --job $(call OUTPUT,curate_job_name) \
	  --from-date $(or $(FROM),$$(date -u +%F)) --to-date $(or $(TO),$$(date -u +%F))
endif

insights: access install ## answer every question of sql/insights
	@$(ENTER); ATHENA_WORKGROUP=$(call OUTPUT,workgroup_name) \
	$(RUN) insights --engine $(ENGINE) --database $(call OUTPUT,database) --out build/insights $(if $(FROM),--from-date $(FROM)) $(if $(TO),--to-date $(TO))

flink-ui: access .venv/installed ## print the address of Flink's page of the detector: records in and out, lag, watermarks
ifeq ($(ENV),local)
	@$(ENTER); echo "$$FLINK_URL"
else
	@$(ENTER); $(RUN) detector.flink_page --application $(call OUTPUT,detector_name)
endif

##@ AWS

init: ## fetch Terraform's provider
	@$(MAKE) --silent terraform/.terraform/installed

plan: aws access install build ## show what `make deploy` would change
	@mkdir -p terraform/state
	terraform -chdir=terraform plan -var-file=env/$(ENV).tfvars -state=state/$(ENV).tfstate

deploy: aws access install build ## build, zip and apply to AWS (asks before it changes anything)
	@mkdir -p terraform/state
	terraform -chdir=terraform apply -var-file=env/$(ENV).tfvars -state=state/$(ENV).tfstate

destroy: aws access install build ## remove everything from AWS again (asks first)
	terraform -chdir=terraform destroy -var-file=env/$(ENV).tfvars -state=state/$(ENV).tfstate

##@ Build

# What a machine may lack comes first, so that it is named before the large downloads.
FOUND     := $(UV) $(TOOLS)/pythons/3.11 $(TOOLS)/pythons/3.13 terraform/.terraform/installed
INSTALLED := .venv/installed src/detector/.venv/installed src/glue_etl/.venv/installed \
             src/local_cloud/emulator/.venv/installed $(TOOLS)/spark-jars/installed $(TOOLS)/trino/installed

require:
	@$(INSTALL) check

data-file:
	@test -f "$(DATA)" || test "$(DATA)" = $(LOOK_ALIKE) || \
	  { echo "error: DATA is '$(DATA)', which is no file: give the path of a .csv or .csv.gz" >&2; exit 1; }

days:
	@test -n "$(FROM)" -a -n "$(TO)" || \
	  { echo "error: reprocess needs the days of arrival: give FROM and TO, such as FROM=2026-11-01 TO=2026-11-02" >&2; exit 1; }

install: require ## install all that is needed into this folder, pinned by lock files
	@$(MAKE) --silent --jobs 3 $(FOUND) && $(MAKE) --silent --jobs 3 $(INSTALLED)

$(UV):
	@$(INSTALL) uv

# Links to interpreters of this machine, or of uv's. 3.13 may lead to the next best.
$(TOOLS)/pythons/%: | $(UV)
	@$(INSTALL) python $*

.venv/installed: pyproject.toml uv.lock | $(UV)
	@$(INSTALL) environment .

src/detector/.venv/installed src/glue_etl/.venv/installed: src/%/.venv/installed: src/%/pyproject.toml src/%/uv.lock | $(TOOLS)/pythons/3.11
	@$(INSTALL) environment src/$* 3.11

src/local_cloud/emulator/.venv/installed: src/%/.venv/installed: src/%/pyproject.toml src/%/uv.lock | $(TOOLS)/pythons/3.13
	@$(INSTALL) environment src/$* 3.13

terraform/.terraform/installed: terraform/versions.tf $(wildcard terraform/modules/*/*.tf terraform/tests/*.tftest.hcl)
	@$(INSTALL) provider

$(TOOLS)/spark-jars/installed: src/local_cloud/spark/pom.xml
	@$(INSTALL) jars "Spark's jars" $< $(@D)

# One Maven at a time: they share a repository, which knows no locks.
$(TOOLS)/trino/installed: src/local_cloud/trino/pom.xml | $(TOOLS)/spark-jars/installed
	@$(INSTALL) jars Trino $< $(@D)

# Only a test reads these, so `make install` goes without.
$(TOOLS)/notebook-jars/installed: tests/integration/notebook/pom.xml | $(TOOLS)/trino/installed
	@$(INSTALL) jars "readers of the note" $< $(@D)

build: require build/detector.zip ## build what Terraform deploys: build/detector.zip, build/lambda_alert.zip

PACKAGED := src/build_packages.py src/detector/main.py $(wildcard sql/detection/*.sql sql/detection/*/*.sql) \
            $(wildcard src/lambda_alert/*.py) src/lambda_alert/uv.lock

build/detector.zip: src/detector/target/pyflink-dependencies.jar $(PACKAGED) | .venv/installed
	@.venv/bin/python src/build_packages.py $(UV)

src/detector/target/pyflink-dependencies.jar: src/detector/pom.xml $(wildcard src/detector/src/main/java/*/*.java src/detector/src/main/resources/META-INF/services/*)
	@echo "building the detector's connector jar" && $(MAVEN) -f $< package

$(LOOK_ALIKE): $(wildcard src/simulator/*.py src/simulator/*/*.py) | .venv/installed
	@echo "making look-alike data" && mkdir -p $(@D) && $(RUN) simulator generate $@ --events 50000 --seed 1

##@ Tests

test: lint test-unit test-terraform test-simulator test-detection test-glue test-notebook test-e2e ## all tests

test-unit: .venv/installed ## Python tests that need no stack
	.venv/bin/pytest tests/unit tests/contract

test-terraform: install build ## Terraform's own tests, at plan
	terraform -chdir=terraform fmt -check -recursive
	terraform -chdir=terraform validate
	terraform -chdir=terraform test

test-simulator: install ## the simulator against an emulator, with faults
	.venv/bin/pytest tests/integration/simulator

test-detection: install build ## the rules on real Flink
	src/detector/.venv/bin/python -m pytest tests/integration/detection

test-glue: install ## the curate job on real Spark and Iceberg
	src/glue_etl/.venv/bin/python -m pytest tests/integration/glue_etl

test-notebook: install $(TOOLS)/notebook-jars/installed ## the note in Zeppelin's own parser and on real Flink 1.15
	src/detector/.venv/bin/python -m pytest tests/integration/notebook

test-e2e: install build ## the whole platform on the local stack
	.venv/bin/pytest tests/e2e

score: .venv/installed src/detector/.venv/installed ## recall, precision and false alarms of the rules beside the seed's, in build/score (DATA=, LABELS=)
	@$(RUN) evaluation.score $(if $(filter-out $(LOOK_ALIKE),$(DATA)),--data "$(DATA)") $(if $(LABELS),--labels "$(LABELS)")

# With DATA a file; without, what arrived in the raw bucket FROM..TO.
ifeq ($(MADE_DATA),)
backtest: .venv/installed src/detector/.venv/installed ## whom the rules would have flagged in DATA, or in the raw bucket FROM..TO
	@$(RUN) evaluation.history --data "$(DATA)" $(if $(VALUES),--values '$(VALUES)')
else
backtest: access .venv/installed src/detector/.venv/installed
	@$(ENTER); $(HISTORY) $(if $(VALUES),--values '$(VALUES)')
endif

# The deployed values, the rules of this folder.
HISTORY = $(RUN) evaluation.history --bucket $(call OUTPUT,raw_bucket) --application $(call OUTPUT,detector_name) \
  $(if $(FROM),--from-date $(FROM)) $(if $(TO),--to-date $(TO))

reprocess: days access .venv/installed src/detector/.venv/installed ## store what the rules find in the raw bucket FROM..TO as incidents, marked; tells nobody
	@$(ENTER); $(HISTORY) --incidents $(call OUTPUT,incident_table_name) --out build/reprocess

bench-simulator: install ## the simulator beside other senders, in build/bench/simulator.json
	PYTHONPATH=src .venv/bin/python bench/simulator.py

bench-detector: install ## what the rules cost on both state backends, in build/bench/detector.json
	src/detector/.venv/bin/python bench/detector.py $(ARGS)

bench-latency: install build ## seconds from an event to its alert, beside the seed's rule, in build/bench/latency.json
	PYTHONPATH=src .venv/bin/python bench/latency.py $(ARGS)

notebook: .venv/installed ## write the Studio notebook's note, notebooks/*.zpln, from sql/detection
	@$(RUN) notebook

check: .venv/installed ## fail if the note is not what sql/detection gives today
	@$(RUN) notebook --check

lint: .venv/installed check ## style of Python and SQL
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/sqlfluff lint sql/insights # its Flink dialect cannot parse sql/detection yet

format: .venv/installed ## put Python and Terraform into shape
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .
	terraform -chdir=terraform fmt -recursive

clean: ## stop the local stack and delete what was built and measured (installed tools and Terraform's state stay)
	@test ! -x .venv/bin/python || $(LOCAL_CLOUD) down
	rm -rf build
