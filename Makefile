# Each target does all of its own set-up: a fresh clone on a fresh machine needs Python 3.10 or newer and this file.
#
#   make demo    see it work: a simulated belt, a broker, a receiver; counts and verdicts in the end
#   make test    everything that is checked before a change goes in: ruff, mypy, the tests
#   make check   ruff and mypy alone
#   make gpu     what needs an NVIDIA driver: parity, latency, the cascade; figures go to .cache/gpu.json
#   make clean   remove what the others made, the virtual environment too

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.PHONY: help demo test check gpu clean broker

BIN := .venv/bin
VENV :=
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Install Debian packages where that needs no password; a comma-free list in $(1), why they are wanted in $(2).
define apt_install
	as_root=""; [ "$$(id -u)" = 0 ] || as_root="sudo -n"
	if command -v apt-get >/dev/null && $$as_root true 2>/dev/null; then
		echo "installing $(1)"
		$$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >/dev/null || true
		$$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $(1) >/dev/null
	else
		echo "$(1) is missing: $(2)" >&2
	fi
endef

help:
	@grep '^#   make' Makefile | cut -c5-

demo: .venv/demo.stamp
	@$(BIN)/python -m foveate demo $(ARGS)

test: check broker
	@$(BIN)/python -m pytest -q $(ARGS)

# On a Jetson TensorRT is the system's: make gpu VENV=--system-site-packages, in a checkout without .venv.
gpu: .venv/dev.stamp
	@mkdir -p .cache
	FOVEATE_GPU_JSON=.cache/gpu.json $(BIN)/python -m pytest -q -s -p no:randomly tests/gpu $(ARGS)

check: .venv/dev.stamp
	@$(BIN)/ruff check --quiet
	$(BIN)/mypy --no-error-summary

# The tests run Debian's mosquitto. Its package starts a service, which the tests do not need: it is switched off again.
broker:
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin"
	if ! command -v mosquitto >/dev/null; then
		$(call apt_install,mosquitto,the tests that need a broker will fail; install it)
		if command -v mosquitto >/dev/null && [ -d /run/systemd/system ]; then
			$$as_root systemctl disable --quiet --now mosquitto || true
		fi
	fi

.venv/demo.stamp: pyproject.toml | .venv/bin/python
	@echo "installing foveate[demo] into .venv"
	$(PIP) install --editable '.[demo]'
	touch $@

.venv/dev.stamp: pyproject.toml | .venv/bin/python
	@echo "installing foveate[dev] into .venv"
	$(PIP) install --editable '.[dev]'
	touch $@ .venv/demo.stamp

.venv/bin/python:
	@python=""
	for name in python3 python3.13 python3.12 python3.11 python3.10; do
		if command -v $$name >/dev/null && $$name -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
			python=$$name; break
		fi
	done
	[ -n "$$python" ] || { echo "no Python 3.10 or newer on the PATH; install one" >&2; exit 1; }
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then
		version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
		$(call apt_install,python3-venv python$$version-venv,install it and run make again)
	fi
	rm -rf .venv
	$$python -m venv $(VENV) .venv || { rm -rf .venv; echo "$$python cannot make a virtual environment: install python3-venv" >&2; exit 1; }

clean:
	@rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
