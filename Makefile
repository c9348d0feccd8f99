# make demo: set up the codec alone, encode and decode a photo.   make test: set up everything, run the tests.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint docs site site-docs site-how site-web wheel clean distclean

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check install
REGRAIN := $(PY) -m regrain
RECENT := import sys; sys.exit(sys.version_info < (3, 11))

# Threads that spin while they wait stall each other on a busy machine.
OMP_WAIT_POLICY ?= PASSIVE
export OMP_WAIT_POLICY

# Processes at once, of tests and measurements.
JOBS ?= 1

help:
	@echo "make demo   encode and decode a bundled photo                      (sets the codec up first, no torch)"
	@echo "make test   run the tests                                          (sets everything up first)"
	@echo "make test-many   the tests of buckets, clusters and loaders        (installs Ray, moto and others first)"
	@echo "make lint   ruff and mypy;  make clean | distclean"
	@echo "make docs   share/: the man page and the completions of shells, from the parser of the flags"
	@echo "make site   site/: the codec as a page, documentation, interactive pages;  regrain serve site   shows them"
	@echo "make wheel   the source distribution and the wheel, into dist/"
	@echo "make bench   time and memory (some twenty minutes);  experiments/NAME/run.sh   each measurement of its own"
	@echo "make results   results/0.1/RESULTS.md: every codec that is installed, by every metric (hours; resumable)"

# PYTHON chooses the interpreter; without it, the first of python3, python3.14 ... python3.11 that is recent enough.
$(BIN)/pip:
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	  if $$python -c '$(RECENT)' 2>/dev/null; then echo "$$python -m venv $(VENV)"; exec $$python -m venv $(VENV); fi; \
	done; echo "make: needs Python 3.11 or later; name one with: make PYTHON=/path/to/python3" >&2; exit 1

# One pip command each, so that one resolution chooses torch. The dev environment serves the demo too.
$(VENV)/.dev-stamp: pyproject.toml | $(BIN)/pip
	$(PIP) -e '.[dev]'
	@touch $(VENV)/.demo-stamp $@

$(VENV)/.demo-stamp: pyproject.toml | $(BIN)/pip
	@test $(VENV)/.dev-stamp -nt pyproject.toml || { echo "$(PIP) -e ."; $(PIP) -e .; }
	@touch $@

demo: $(VENV)/.demo-stamp
	@mkdir -p demo-out
	$(REGRAIN) encode demo/photo.png demo-out/photo.rgn --overwrite --target-bpp 0.2
	$(REGRAIN) decode demo-out/photo.rgn demo-out/photo.png --overwrite
	$(REGRAIN) inspect demo-out/photo.rgn

# JOBS=2 runs them in two processes: under five minutes on two cores.
test: $(VENV)/.dev-stamp
	$(PY) -m pytest $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist loadfile)

# The tests of buckets, clusters and loaders, which `make test` skips: an environment of their own, some 500 MB more.
.PHONY: test-many
test-many: | $(BIN)/pip
	$(PIP) -e '.[many]'
	$(PY) -m pytest tests/batch tests/cli tests/test_places.py tests/test_workers.py tests/test_batch_page.py

.PHONY: bench results
# SHARED has data/kodak and data/weights.
SHARED ?= ../shared
# MS-Hyper takes part where recipes/ms-hyper.toml was trained. The last run adds the ways to decode one file, by realism
# and by steps, as experiments/perception_distortion does finely; HEVC needs ffmpeg on the PATH.
# JOBS=2 takes half as long; the times that are reported are taken afterwards, with nothing else running.
EVALUATE = $(PY) -m regrain evaluate $(SHARED)/data/kodak results/0.1 --jobs $(JOBS) \
  --reference $(SHARED)/data/reference_rd \
  --weights $(SHARED)/data/weights/lpips_alex_v0.1.safetensors $(SHARED)/data/weights/lpips_squeeze_v0.1.safetensors
MS_HYPER = runs/ms-hyper/weights.safetensors
results: $(VENV)/.dev-stamp
	test ! -e $(MS_HYPER) || \
	  $(EVALUATE) --codecs regrain --model $(MS_HYPER) --realism 0 --qualities 5 20 35 50 65 80 95
	$(EVALUATE) --codecs regrain --model src/regrain/weights/progressive-76dd7c26.safetensors \
	  --realism 0 --qualities 30 50 70 90
	$(EVALUATE) --codecs regrain --model src/regrain/weights/palette-904e8a6e.safetensors \
	  --qualities 0 20 40 60 70 85 100
	$(EVALUATE)
	$(EVALUATE) --codecs regrain --qualities 28 --realism 0 0.5 1 --steps 1 4 16
	$(PY) scripts/figures.py

# The latents before the first release, from the tree of the commit that made them.
FIRST = runs/conditional-b52d4b2a.safetensors
$(FIRST):
	mkdir -p runs
	git show e3a7a14:src/regrain/weights/conditional.safetensors > $@.part
	mv $@.part $@

# Damaged and forged files by number, FILES of them, JOBS at once, resumable; and 50 fresh processes of 8 threads.
FILES ?= 10000
.PHONY: fuzz first-use
fuzz: $(VENV)/.dev-stamp
	$(PY) scripts/fuzz.py $(FILES) --jobs $(JOBS)

first-use: $(VENV)/.dev-stamp
	$(PY) scripts/first_use.py --jobs $(JOBS)
	$(PY) scripts/first_use.py --jobs $(JOBS) --device cpu

bench: $(VENV)/.dev-stamp
	$(PY) benchmarks/install.py
	$(PY) benchmarks/speed.py
	$(PY) benchmarks/speed.py --threads 1
	$(PY) benchmarks/speed.py --size 1920x1080 --runs 3
	$(PY) benchmarks/speed.py --size 1920x1080 --runs 3 --threads 1
	$(PY) benchmarks/beside.py
	$(PY) benchmarks/symbols.py $(OTHER:%=--other %)
	$(PY) benchmarks/seams.py
	$(PY) benchmarks/memory.py
	$(PY) benchmarks/regions.py
	$(PY) benchmarks/throughput.py $(SHARED)/data/kodak
	$(PY) benchmarks/throughput.py $(SHARED)/data/kodak --many --count 24
	$(PY) benchmarks/progressive.py
	$(PY) benchmarks/cdc_size.py

lint: $(VENV)/.dev-stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.demo-stamp
	$(PY) scripts/manual.py

# The site, of parts that need nothing of each other: the documentation, how it works as an interactive page, and the
# page that encodes and decodes.
site: site-docs site-how site-web
	$(PY) scripts/links.py site

$(VENV)/.docs-stamp: pyproject.toml | $(BIN)/pip
	$(PIP) -e '.[docs,serve,torch]'
	@touch $@

site-docs: $(VENV)/.docs-stamp
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet --strict
	$(PY) scripts/links.py
	$(PY) scripts/links.py site/docs

site-how: $(VENV)/.docs-stamp
	$(PY) scripts/how_it_works.py

# The codec in the browser. It needs Node 20 or later and npm, which fetches what web/package-lock.json names.
site-web: $(VENV)/.demo-stamp web/node_modules/.package-lock.json
	$(PY) scripts/web.py
	cd web && node build.mjs --site ../site

web/node_modules/.package-lock.json: web/package-lock.json
	@command -v npm >/dev/null || { echo "make site-web: needs Node 20 or later, and npm" >&2; exit 1; }
	cd web && npm ci

wheel: $(VENV)/.dev-stamp
	$(PY) -m build
	$(PY) -m twine check --strict dist/*

clean:
	rm -rf build dist site web/dist web/dist-test web/model demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
