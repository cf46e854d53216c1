# One command each; `make help` lists them. Needs make and Python 3.11 or newer with venv; the rest comes from
# the package index into .venv, exactly as uv.lock says. Paths stay relative: the checkout's own may hold spaces.

VENV := .venv
PY := $(VENV)/bin/python
PROTO_PY := .venv-proto/bin/python
UV_VERSION := 0.13.9

# Another environment that happens to be active has no say here.
unexport VIRTUAL_ENV CONDA_PREFIX PYTHONHOME PYTHONPATH UV_PYTHON UV_FROZEN UV_LOCKED
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
# Certificates as the machine trusts them, so that an index behind a company's proxy works too.
export UV_SYSTEM_CERTS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name what; do \
		printf '%-14s %s\n' "$$name" "$$what"; done

.PHONY: setup
setup: $(VENV)/.synced ## make .venv as locked (the other targets do it themselves)

.PHONY: run
run: setup ## start authsvc here with everything embedded; ARGS go to `authsvc dev`
	@$(PY) -m authsvc dev --data .dev $(ARGS)

.PHONY: test
test: setup ## all tests, on real PostgreSQL, SQLite and Valkey; ARGS go to pytest
	@$(PY) -m pytest -n 2 --dist loadgroup $(ARGS)

.PHONY: lock
lock: $(PY) ## resolve the dependencies anew into uv.lock, newest allowed
	@$(PY) -m uv lock --upgrade --python $(PY)

.PHONY: clean
clean: ## remove what these targets made, the data of `make run` too
	rm -rf .venv .venv-proto .dev dist .*_cache .hypothesis

# The environment. A stamp says that it is as uv.lock wants it; its place is remembered, because a copied or
# moved checkout carries an environment that still points at the old one.
$(VENV)/.synced: pyproject.toml uv.lock $(PY)
	@echo "setting up $(VENV)"
	@$(PY) -m uv sync --quiet --locked --all-extras --python $(PY)
	@touch $@

$(PY):
	@python=; for candidate in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
		if $$candidate -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			python=$$candidate; break; fi; done; \
	[ -n "$$python" ] || { echo "no Python 3.11 or newer with the venv module found; name one: make PYTHON=..." >&2; exit 1; }; \
	"$$python" -m venv --clear $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
