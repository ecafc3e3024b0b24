# Everything starts here. On a machine with a Rust toolchain, Python 3.11 or later and make, each target does its
# own set-up: a virtual environment in .venv, the locked Python packages, a release build of the Rust core.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
CUDA_VENV ?= .venv-cuda
BIN := $(VENV)/bin
ARGS ?=
RUST_SOURCES := Cargo.toml $(wildcard Cargo.lock) pyproject.toml \
	$(shell find rust -name '*.rs' -o -name '*.ptx' -o -name 'Cargo.toml' | sort)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help train test test-rust test-python test-slow test-extras lint format bench bench-peers docs wheel wheel-check ptx ptx-check ptx-report ci clean FORCE

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
	@echo
	@echo "PYTHON=$(PYTHON)  VENV=$(VENV)  ARGS=... (passed on to train, test, test-slow, test-extras)"

# -- set-up: two stamps, so that a second call is quick ---------------------------------------------------------

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no Python found; install Python 3.11 or later, or say make PYTHON=..."; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"$(PYTHON) is Python {v[0]}.{v[1]}; evprop needs 3.11 or later: make PYTHON=/path/to/python3.11")'
	"$(PYTHON)" -m venv "$(VENV)"

$(VENV)/.packages: requirements-dev.lock | $(BIN)/python
	"$(BIN)/python" -m pip install --quiet --requirement requirements-dev.lock
	@touch "$@"

# the compiled module lies in the source tree: rebuild if it has gone missing, whatever the stamp says
$(VENV)/.built: $(VENV)/.packages $(RUST_SOURCES) $(if $(wildcard python/evprop/_core.abi3.so),,FORCE)
	@command -v cargo >/dev/null || { echo "no Rust toolchain: cargo is not on the PATH (https://rustup.rs installs one)"; exit 1; }
	env -u CONDA_PREFIX VIRTUAL_ENV="$(abspath $(VENV))" "$(BIN)/maturin" develop --release --locked --quiet
	@touch "$@"

FORCE:

# -- use --------------------------------------------------------------------------------------------------------

train: $(VENV)/.built ## train Yin-Yang with delays; prints accuracy and time, leaves a run folder under runs/
	"$(BIN)/evprop" train yin-yang $(ARGS)

test: test-rust test-python ## all tests but the slow ones

test-rust:
	cargo test --locked --quiet --package evprop

test-python: $(VENV)/.built
	"$(BIN)/python" -m pytest $(ARGS)

test-slow: $(VENV)/.built ## the tests that take minutes
	"$(BIN)/python" -m pytest -m slow $(ARGS)

test-extras: ## the tests that need PyTorch and the like, in .venv-extras (some GB of packages)
	"$(MAKE)" VENV=.venv-extras .venv-extras/.built
	.venv-extras/bin/python -m pip install --quiet --constraint requirements-dev.lock --requirement requirements-extras.txt
	.venv-extras/bin/python -m pytest $(if $(ARGS),$(ARGS),tests/test_interop_*.py tests/test_stand_ins.py tests/test_distributed*.py tests/test_devices.py tests/test_sweep.py tests/test_tensorboard.py tests/test_api_pages.py tests/test_docs_snippets.py)

lint: $(VENV)/.built ## rustfmt, clippy, ruff, mypy, and cargo-deny where it is installed
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --quiet -- --deny warnings
	cargo check --locked --package evprop --no-default-features --quiet
	"$(BIN)/ruff" check
	"$(BIN)/mypy"
	@if ! command -v cargo-deny >/dev/null; then \
		echo "cargo-deny is not installed: licences and advisories not checked (cargo install cargo-deny --locked)"; \
	else cargo deny check bans licenses sources && \
		if cargo deny fetch db >/dev/null 2>&1; then cargo deny check advisories; \
		else echo "the advisory database cannot be reached from here: advisories not checked"; fi; fi

format: $(VENV)/.packages ## rustfmt, and ruff's automatic fixes
	cargo fmt --all
	"$(BIN)/ruff" check --fix

bench: $(VENV)/.built ## criterion for the kernels, whole training steps, memory of a training step
	cargo bench --locked --package evprop
	"$(BIN)/python" benches/report.py
	"$(BIN)/python" benches/memory.py

.venv-peers/.packages: benches/requirements-peers.txt
	"$(PYTHON)" -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --requirement benches/requirements-peers.txt
	@touch "$@"

bench-peers: $(VENV)/.built .venv-peers/.packages ## whole training steps beside the peers from PyPI (some GB of packages)
	"$(BIN)/python" benches/report.py --peers .venv-peers/bin/python

docs: $(VENV)/.built ## the site in docs/_build, Rust API pages in target/doc, and a run of every snippet in README and docs
	"$(BIN)/python" -m pip install --quiet --requirement requirements-docs.txt
	"$(BIN)/python" -m sphinx --quiet --fail-on-warning --keep-going -b html docs docs/_build
	RUSTDOCFLAGS="--deny warnings --allow rustdoc::private-intra-doc-links" cargo doc --locked --no-deps --document-private-items --package evprop
	"$(BIN)/python" -m pytest tests/test_docs_snippets.py

wheel: $(VENV)/.packages ## one abi3 wheel for Python 3.11 and later, in dist/
	"$(BIN)/maturin" build --release --locked --out dist

wheel-check: wheel ## install the wheel alone in an empty virtual environment without Rust, count what it brings, try it
	"$(BIN)/python" tools/wheel_check.py $$(ls -t dist/*.whl | head -n 1)

$(CUDA_VENV)/.packages: requirements-cuda.txt
	"$(PYTHON)" -m venv "$(CUDA_VENV)"
	"$(CUDA_VENV)/bin/python" -m pip install --quiet --requirement requirements-cuda.txt
	@touch "$@"

ptx: $(CUDA_VENV)/.packages ## compile the CUDA kernels with NVRTC (no GPU and no toolkit needed)
	"$(CUDA_VENV)/bin/python" tools/make_ptx.py

ptx-check: $(CUDA_VENV)/.packages ## fail if the committed PTX is not what the kernels give
	"$(CUDA_VENV)/bin/python" tools/make_ptx.py --check

ptx-report: $(CUDA_VENV)/.packages ## registers, spills and shared memory of each kernel
	"$(CUDA_VENV)/bin/python" tools/make_ptx.py --report

ci: test lint ptx-check ## what CI runs

clean: ## remove what the targets above made (runs/ stays)
	cargo clean
	rm -rf "$(VENV)" .venv-cuda .venv-peers .venv-extras docs/_build dist python/evprop/_core*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
