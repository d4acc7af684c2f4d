# make demo   separate a short clip (or SONG=<path or URL>) into OUT and stop
# make test   every test and every check
# make chaos  hurt everything for two minutes (SEED=…: as it was before)
# make bench-separation   measure separation beside demucs and audio-separator
# make bench  measure the control plane (BENCH=submit,growth: only these, and nothing is written)
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
OUT ?= stems
SONG ?= docs/clip.mp3
BIN := $(VENV)/bin
READY := $(VENV)/.installed
TOOLS := $(VENV)/.tools
RIVALS := $(VENV)/.rivals
SEPARATORS := .rivals-separation/.installed
BENCH ?=
SEED ?=

.PHONY: demo up test check unit acceptance chaos bench bench-separation format clean

demo: $(READY)
	$(BIN)/stembus separate "$(SONG)" --out "$(OUT)" --data "$(CURDIR)/data"

up: $(READY)
	$(BIN)/stembus up --data "$(CURDIR)/data"

test: check unit acceptance

# The same rules for everyone: lint, format, types, arrows.
check: $(TOOLS)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two at a time, file by file: they share nothing.
unit: $(TOOLS)
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/model tests/contract

# Each has all four services to itself, and waits more than it computes: three at a time, file by
# file; those that hold us to a time, one by one.
acceptance: $(TOOLS)
	$(BIN)/python -m pytest -n 3 --dist loadfile -m "not promise" tests/acceptance tests/chaos
	$(BIN)/python -m pytest -m promise tests/acceptance tests/chaos

# Two minutes of faults in everything; the seed is printed, and `acceptance` has a short version.
chaos: $(TOOLS)
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED))

# Some ten minutes, on a machine that has nothing else to do.
bench: $(TOOLS) $(RIVALS)
	$(BIN)/python -m tests.benchmarks $(or $(BENCH),--out docs/benchmarks)

# Some twenty minutes, likewise: separation beside demucs and audio-separator.
bench-separation: $(TOOLS) $(SEPARATORS)
	$(BIN)/python -m tests.benchmarks.separation --rivals .rivals-separation --out docs/benchmarks

format: $(TOOLS)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# One environment, at exactly the versions of constraints.txt: the product, then the tools.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Stembus needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(TOOLS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# What the benchmarks compare with; no test needs it.
$(RIVALS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	touch $@

# audio-separator wants other versions than we do: it gets an environment of its own.
$(SEPARATORS): tests/benchmarks/separation/rivals.txt
	test -x .rivals-separation/bin/python || $(PYTHON) -m venv .rivals-separation
	.rivals-separation/bin/python -m pip install --quiet --disable-pip-version-check -r tests/benchmarks/separation/rivals.txt
	ln -sf "$$(.rivals-separation/bin/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')" .rivals-separation/bin/ffmpeg
	touch $@

clean:
	rm -rf $(VENV) .rivals-separation data stems
