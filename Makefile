# One command each; `make help` lists them. Needs make and Python 3.11 or newer with its venv module; the rest
# comes from the package index into .venv, exactly as uv.lock says. All paths are relative: the checkout's own may
# hold spaces.

VENV := .venv
PY := $(VENV)/bin/python
PROTO_VENV := .venv-proto
PROTO_PY := $(PROTO_VENV)/bin/python
UV_VERSION := 0.13.9

# Whatever environment happens to be active has no say here, and no Python is ever downloaded.
unexport VIRTUAL_ENV CONDA_PREFIX PYTHONHOME PYTHONPATH UV_PYTHON UV_FROZEN UV_LOCKED UV_SYSTEM_PYTHON
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
# Certificates as the machine trusts them, so that an index behind a company's proxy works too.
export UV_SYSTEM_CERTS := 1
# A user without a home of their own (some CI) still gets a cache.
ifeq ($(shell [ -w "$$HOME" ] && echo yes),)
export UV_CACHE_DIR ?= $(VENV)/.cache/uv
export BUF_CACHE_DIR ?= $(VENV)/.cache/buf
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name what; do \
		printf '  make %-8s %s\n' "$$name" "$$what"; done

.PHONY: setup
setup: $(VENV)/.synced ## make the environment, as locked; every target does it by itself

.PHONY: run
run: setup ## start authsvc with everything embedded; ARGS go to `authsvc dev`
	@$(PY) -m authsvc dev --data .dev $(ARGS)

.PHONY: test
test: setup ## all tests, on real PostgreSQL, SQLite and Valkey; ARGS go to pytest
	@$(PY) -m pytest -n 2 --dist loadgroup $(ARGS)

.PHONY: check
check: lint audit test ## what CI does: lint, types, import rules, stubs current, known vulnerabilities, tests

.PHONY: lint
lint: setup $(PROTO_VENV)/.synced ## check without the tests
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports --no-logo
	@$(VENV)/bin/buf lint protos
	@$(PROTO_PY) protos/generate.py --check

.PHONY: audit
audit: setup ## known vulnerabilities of what is installed, where the package index tells; elsewhere it says so
	@$(PY) -m tests.security.audit_dependencies

.PHONY: format
format: setup ## format the code and mend what the linter can
	@$(PY) -m ruff check --fix --exit-zero
	@$(PY) -m ruff format

.PHONY: bench
bench: setup ## the table of costs against a bare gRPC echo; ARGS="--only NAME,NAME" runs a part
	@$(PY) -m benchmarks $(ARGS)

.PHONY: faults
faults: setup ## break a deployment and see what it promises hold; ARGS="--minutes 10 --seed 1"
	@$(PY) -m tests.faults $(ARGS)

.PHONY: proto
proto: $(PROTO_VENV)/.synced ## write the stubs in authsvc/v1 anew from protos/
	@$(PROTO_PY) protos/generate.py

.PHONY: lock
lock: $(VENV)/.made ## resolve the dependencies anew into uv.lock, newest allowed
	@$(PY) -m uv lock --upgrade --python $(PY)

.PHONY: clean
clean: ## remove all that these targets made, the data of `make run` too
	rm -rf $(VENV) $(PROTO_VENV) .dev dist .hypothesis .*_cache

# The environment holds the path of its checkout: it is made again where that is no longer true (a copy, a move)
# or its interpreter is gone.
ifneq ($(shell [ -x $(PY) ] && cat $(VENV)/.made 2>/dev/null),$(CURDIR))
.PHONY: $(VENV)/.made
endif

$(VENV)/.made: Makefile
	@echo "setting up $(VENV), a minute the first time"
	@[ "$$(cat $@ 2>/dev/null)" = "$(CURDIR)" ] || rm -rf $(VENV)
	@if [ -n "$(PYTHON)" ]; then set -- "$(PYTHON)"; else set -- python3 python3.13 python3.12 python3.11 python3.14; fi; \
	for candidate do \
		if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
			then exec "$$candidate" -m venv $(VENV); fi; done; \
	echo "of $$*: none is Python 3.11 or newer with its venv module; name one: make PYTHON=/path/to/python" >&2; exit 1
	@$(PY) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@echo "$(CURDIR)" > $@

$(VENV)/.synced: pyproject.toml uv.lock $(VENV)/.made
	@$(PY) -m uv sync --quiet --locked --all-extras --python $(PY)
	@touch $@

# The stub generators want older versions of what the service runs on, so they live apart.
$(PROTO_VENV)/.synced: protos/requirements.txt $(VENV)/.made
	@$(PY) -m uv venv --quiet --clear --python $(PY) $(PROTO_VENV)
	@$(PY) -m uv pip install --quiet --python $(PROTO_PY) --only-binary :all: --requirement protos/requirements.txt
	@touch $@
