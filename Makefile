# The one runner that a bare machine has. `make demo` and `make test` set up all they need in .venv.
PYTHON ?= python3
BIN := .venv/bin
NODE := $(shell command -v npm 2>/dev/null)
SERVERS := $(if $(NODE),tests/interop/node_modules/.made)
DEBIAN := buildah chromium mmdebstrap podman postgresql prometheus runc strace
LINTERS := $(if $(shell command -v podman 2>/dev/null),.venv/.deployment)
BROWSER := $(if $(shell command -v chromium || command -v chromium-browser || command -v google-chrome),.venv/.page)
SOURCES := daemon handlers tests bench docs

.PHONY: demo test check format lint types layers tests coverage whole proof page docs dictionary bench bench-peers lock clean debian-packages

demo: .venv/.made ## the daemon beside a simulated GWS, for half a minute
	@$(BIN)/python docs/demo/run.py

test: .venv/.made $(LINTERS) $(BROWSER) $(SERVERS) ## all tests
	$(BIN)/python -m pytest

check: .venv/.made $(LINTERS) $(BROWSER) $(SERVERS) format lint types layers tests ## what must hold before a commit

format: .venv/.made
	$(BIN)/ruff format --check $(SOURCES)

lint: .venv/.made
	$(BIN)/ruff check $(SOURCES)

types: .venv/.made
	$(BIN)/mypy
	$(BIN)/pyright

layers: .venv/.made
	$(BIN)/lint-imports

tests: .venv/.made $(LINTERS) $(BROWSER) $(SERVERS) ## all tests, in two halves side by side
	$(MAKE) --jobs 2 --output-sync=target coverage whole

coverage: .venv/.made $(SERVERS) ## the modules' tests: every module is covered by its own test file
	$(BIN)/python -m pytest --cov --cov-context=test --cov-report= tests/daemon tests/handlers
	$(BIN)/python tests/own_coverage.py

whole: .venv/.made $(LINTERS) $(BROWSER) $(SERVERS) ## the tests of the whole: the daemon, its service, its container, its page
	$(BIN)/python -m pytest --ignore tests/daemon --ignore tests/handlers tests

proof: .venv/.made .venv/.proof $(SERVERS) ## the long runs, with a report in docs/proof.md; PARTS="kills …" runs some
	$(BIN)/python -m tests.proof $(PARTS)

page: .venv/.page $(SERVERS) ## the operator page in a browser: needs Chromium
	$(BIN)/python -m pytest tests/whole/test_page.py

docs: .venv/.made ## the pages that are made from the code
	$(BIN)/python docs/tables.py

dictionary: .venv/.made ## what a new journal packs by, made from the sample notifications
	$(BIN)/python tests/make_dictionary.py

bench: .venv/.made $(SERVERS) ## how fast it is, beside its limits; CASES="path …" measures some
	$(BIN)/python bench/run.py $(CASES)

bench-peers: .venv/.peers bench/node_modules/.made ## other projects, for the benchmark to compare with

LOCKING := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" -q

lock: ## all locks from pyproject.toml (needs uv): to work on it, to run it, to deploy it, to prove it, to see it in a browser, to compare it
	$(LOCKING) --all-extras --group dev -o requirements.lock
	$(LOCKING) --all-extras -c requirements.lock -o requirements-run.lock
	$(LOCKING) --all-extras --group deployment -c requirements.lock -o requirements-deployment.lock
	$(LOCKING) --all-extras --group proof -c requirements.lock -o requirements-proof.lock
	$(LOCKING) --all-extras --group page -c requirements.lock -o requirements-page.lock
	$(LOCKING) --all-extras --group peers -c requirements.lock -o requirements-peers.lock

debian-packages: ## what the tests with containers, metrics, disk errors and a browser need beside Python (Debian 12, as root)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(DEBIAN) > /dev/null

clean:
	rm -rf .venv .demo tests/interop/node_modules bench/node_modules dist

.venv/.made: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fbsessiond needs Python 3.11 or later; name it: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.deployment: requirements-deployment.lock .venv/.made
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-deployment.lock
	@touch $@

.venv/.proof: requirements-proof.lock .venv/.made
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-proof.lock
	@touch $@

.venv/.page: requirements-page.lock .venv/.made
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-page.lock
	@touch $@

.venv/.peers: requirements-peers.lock .venv/.made
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-peers.lock
	@touch $@

bench/node_modules/.made: bench/package-lock.json
	npm ci --prefix bench --no-audit --no-fund --loglevel=error
	@touch $@

tests/interop/node_modules/.made: tests/interop/package-lock.json
	npm ci --prefix tests/interop --no-audit --no-fund --loglevel=error
	@touch $@
