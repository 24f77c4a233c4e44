# What `make install` and `make build` make, and of what. The rules call the installer, src/install.

TOOLS := .tools
UV    := $(TOOLS)/bin/uv
# The installer runs on the user's own Python, before anything is installed.
INSTALL = $(PYTHON) -c "" 2> /dev/null || { echo "error: Python is missing: looked for $(PYTHON) on the PATH. To \
  install it: Debian/Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.13" >&2; exit 1; }; \
  PYTHONPATH=src $(PYTHON) -m install
# What a machine may lack comes first, so that it is named before the large downloads.
FOUND     := $(UV) $(TOOLS)/pythons/3.11 $(TOOLS)/pythons/3.13 terraform/.terraform/installed
INSTALLED := .venv/installed src/detector/.venv/installed src/glue_etl/.venv/installed \
             src/local_cloud/emulator/.venv/installed $(TOOLS)/spark-jars/installed $(TOOLS)/trino/installed
PACKAGED  := src/shopstream/packages.py $(wildcard src/detector/*.py src/lambda_alert/*.py) src/lambda_alert/rules.json \
             src/lambda_alert/uv.lock $(shell find sql/detection -type f 2> /dev/null)
DATA_FORM := give the path of a file (.csv, .tsv, .json, .jsonl, .ndjson, .parquet, each also with .gz or .zst, or a .zip \
             of them), a folder, a glob or an s3:// address, or several of them separated by spaces

.PHONY: require data-exists
require:
	@$(INSTALL) check

data-exists:
	@test -e "$(DATA)" || for one in $(DATA); do \
	  case "$$one" in s3://*|$(LOOK_ALIKE)) continue;; esac; \
	  test -e "$$one" || { echo "error: DATA is '$$one', which is no file: $(DATA_FORM)" >&2; exit 1; }; done

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

# Only a test reads these, so `make install` does not install them.
$(TOOLS)/notebook-jars/installed: tests/integration/notebook/pom.xml | $(TOOLS)/trino/installed
	@$(INSTALL) jars "readers of the note" $< $(@D)

src/detector/target/pyflink-dependencies.jar: src/detector/pom.xml $(shell find src/detector/src -type f 2> /dev/null) | $(TOOLS)/spark-jars/installed
	@echo "building the detector's connector jar" && mvn --quiet --batch-mode -f $< package

build/detector.zip: src/detector/target/pyflink-dependencies.jar $(PACKAGED) | .venv/installed
	@$(SHOPSTREAM) build --uv $(UV)

$(LOOK_ALIKE): $(wildcard src/simulator/traffic/*.py) | .venv/installed
	@echo "making look-alike events" && mkdir -p $(@D)
	@said=$$($(SHOPSTREAM) look-alike $@ --events 50000 --seed 1 2>&1) || { echo "$$said" >&2; exit 1; }
