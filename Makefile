# make demo: set up, encode and decode a photo, draw the comparison.   make test: set up, run the tests.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint wheel clean distclean

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check install
REGRAIN := $(PY) -m regrain
RECENT := import sys; sys.exit(sys.version_info < (3, 11))

# Threads that spin while they wait stall each other on a busy machine.
OMP_WAIT_POLICY ?= PASSIVE
export OMP_WAIT_POLICY

help:
	@echo "make demo   encode and decode a bundled photo, draw the comparison (sets everything up first)"
	@echo "make test   run the tests                                          (sets everything up first)"
	@echo "make lint   ruff and mypy;  make wheel   build into dist/;  make clean | distclean"
	@echo "make rates   range, monotony and honesty of the rates;  make bench   time and memory"
	@echo "make first-use   50 fresh processes with 8 threads each (a quarter of an hour)"
	@echo "make progressive   docs/PROGRESSIVE.md: streams prefix by prefix, the bound in bits (an hour)"
	@echo "make palette   docs/PALETTE.md: colours, dithering, coding and repair (half an hour)"
	@echo "make few-steps   docs/FEW_STEPS.md: quality against steps, before and after distillation (an hour)"
	@echo "make second-set   docs/SECOND_SET.md: the same on other photos and on screen captures (half an hour)"
	@echo "make fuzz   FILES=10000 damaged and forged files, JOBS=1 at once, resumable: each a picture or one line of error"
	@echo "make results   docs/RESULTS.md: every codec that is installed, by every metric (an hour or two; resumable)"

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
	$(REGRAIN) compare demo/photo.png demo-out/compare.png --overwrite --target-bpp 0.2

test: $(VENV)/.dev-stamp
	$(PY) -m pytest

# Hostile files, their checksums right: FILES in all, JOBS at once; goes on where it ended. REGRAIN_FUZZ=3000 make test tries
# more of what the tests try.
FILES ?= 10000
fuzz: $(VENV)/.dev-stamp
	$(PY) tools/fuzz.py $(FILES) --jobs $(JOBS)

.PHONY: fuzz bench rates results second-set progressive palette few-steps
# SHARED has data/kodak and data/weights.
SHARED ?= ../shared
rates: $(VENV)/.dev-stamp
	$(PY) tools/rates.py $(SHARED)/data/kodak

.PHONY: first-use
first-use: $(VENV)/.dev-stamp
	$(PY) tools/first_use.py --jobs $(JOBS)
	$(PY) tools/first_use.py --jobs $(JOBS) --device onnx

# MS-Hyper takes part where recipes/ms-hyper.toml was trained. The last run adds the ways to decode one file, by realism
# and by steps, as the tool before it does finely; HEVC needs ffmpeg on the PATH.
# JOBS=2 takes half as long; the times that are reported are taken afterwards, with nothing else running.
JOBS ?= 1
EVALUATE = $(PY) -m regrain evaluate $(SHARED)/data/kodak docs --jobs $(JOBS) --reference $(SHARED)/data/reference_rd \
  --weights $(SHARED)/data/weights/lpips_alex_v0.1.safetensors $(SHARED)/data/weights/lpips_squeeze_v0.1.safetensors
MS_HYPER = runs/ms-hyper/weights.safetensors
results: $(VENV)/.dev-stamp
	test ! -e $(MS_HYPER) || \
	  $(EVALUATE) --codecs regrain --model $(MS_HYPER) --realism 0 --qualities 5 20 35 50 65 80 95
	$(EVALUATE) --codecs regrain --model src/regrain/weights/progressive-76dd7c26.safetensors --realism 0 --qualities 30 50 70 90
	$(EVALUATE) --codecs regrain --model src/regrain/weights/palette-904e8a6e.safetensors --qualities 0 20 40 60 70 85 100
	$(EVALUATE)
	$(PY) tools/perception_distortion.py $(SHARED)/data/kodak $(SHARED)/data/weights/lpips_alex_v0.1.safetensors \
	  --jobs $(JOBS)
	$(EVALUATE) --codecs regrain --qualities 28 --realism 0 0.5 1 --steps 1 4 16
	$(PY) tools/figures.py

# Photos and screen captures apart: two folders of links to the pictures of data/test.
SCREENS = graph gui terminal windows95 4cd6910a0b7b39365fda5df87618d091
KINDS = photos screens
SECOND = $(PY) -m regrain evaluate runs/second/$(KIND) runs/second/$(KIND).results --jobs $(JOBS) --codecs regrain WebP AVIF \
  --qualities 0 15 30 45 60 80 --weights $(SHARED)/data/weights/lpips_alex_v0.1.safetensors
PALETTE = $(PY) -m regrain evaluate runs/second/$(KIND) runs/second/$(KIND).results --jobs $(JOBS) --codecs regrain JPEG \
  --qualities 0 20 40 60 80 --weights $(SHARED)/data/weights/lpips_alex_v0.1.safetensors \
  --model src/regrain/weights/palette-904e8a6e.safetensors
second-set: $(VENV)/.dev-stamp
	rm -rf runs/second/photos runs/second/screens; mkdir -p runs/second/photos runs/second/screens docs/second-set
	ln -s $(abspath $(SHARED))/data/test/*.png runs/second/photos
	for name in $(SCREENS); do mv runs/second/photos/$$name.png runs/second/screens; done
	$(foreach KIND,$(KINDS),$(SECOND) && $(PALETTE) && cp runs/second/$(KIND).results/results.csv docs/second-set/$(KIND).csv &&) true
	$(PY) tools/second_set.py

# The teacher is what recipes/gpu.toml leaves (a GPU makes it: tools/graphed.py); the four students, of the latents before,
# are those of `regrain distill recipes/distill-NAME.toml`, and guidance is that of distill-guided.toml.
# The latents before are not shipped: their weights come from the tree of the commit that made them.
FIRST = runs/conditional-b52d4b2a.safetensors
$(FIRST):
	mkdir -p runs
	git show e3a7a14:src/regrain/weights/conditional.safetensors > $@.part
	mv $@.part $@
STUDENTS = $(foreach NAME,none progressive consistency direct,$(NAME)=runs/distill-$(NAME)/weights.safetensors)
LPIPS_ALEX = $(SHARED)/data/weights/lpips_alex_v0.1.safetensors
few-steps: $(VENV)/.dev-stamp $(FIRST)
	mkdir -p docs/few-steps
	$(PY) tools/distilled.py $(SHARED)/data/kodak $(LPIPS_ALEX) docs/few-steps/steps teacher=runs/gpu/weights.safetensors shipped --jobs $(JOBS)
	$(PY) tools/distilled.py $(SHARED)/data/kodak $(LPIPS_ALEX) docs/few-steps/methods teacher=$(FIRST) $(STUDENTS) --steps 1 2 4 8 --jobs $(JOBS)
	$(PY) tools/guidance.py $(LPIPS_ALEX) docs/few-steps/guidance.csv
	$(PY) tools/predictions.py $(LPIPS_ALEX) docs/few-steps/predictions.csv
	$(PY) tools/few_steps_page.py

palette: $(VENV)/.dev-stamp
	$(PY) tools/palette.py $(SHARED)/data/kodak $(SHARED)/data/test $(SHARED)/data/weights/lpips_alex_v0.1.safetensors
	$(PY) tools/palette_page.py

progressive: $(VENV)/.dev-stamp
	$(PY) tools/progressive.py $(SHARED)/data/kodak --jobs $(JOBS)
	$(PY) tools/finishes.py $(SHARED)/data/kodak $(SHARED)/data/weights/lpips_alex_v0.1.safetensors
	$(PY) tools/prior_pictures.py
	$(PY) tools/parametrisations.py > docs/progressive/parametrisations.md
	$(PY) tools/channel.py > docs/progressive/channel.md
	$(PY) benchmarks/progressive.py > docs/progressive/time.md
	$(PY) tools/progressive_page.py

bench: $(VENV)/.demo-stamp
	$(PY) benchmarks/speed.py
	$(PY) benchmarks/seams.py
	$(PY) benchmarks/memory.py
	$(PY) benchmarks/progressive.py
	$(PY) benchmarks/cdc_size.py

lint: $(VENV)/.dev-stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: $(VENV)/.dev-stamp
	$(PY) -m build --wheel

clean:
	rm -rf build dist demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
