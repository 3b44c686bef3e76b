# Two commands on a fresh machine: `make demo` and `make test`. Each does all its own set-up.
SHELL := bash
PY := .venv/bin/python
export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo demo-drift campaign-drift demo-detection demo-segmentation demo-readers reader-simulations planning-simulations bias-simulations slice-simulations test lint types layers demo-train demo-train-clean samples accessibility bench coverage-study tamper tamper-signed interrupted race brain outlines ray-campaign fuzz hostile bundle bundle-check formats kserve object-store clean

help:
	@echo "make demo        phantoms, locked test set, frozen protocol, verdict and PDF (about two minutes after set-up)"
	@echo "make demo-readers  ten simulated readers with and without a device, to verdict and PDF (half a minute)"
	@echo "make demo-drift    twelve months of a deployment on phantoms, audited one by one (some minutes)"
	@echo "make demo-detection     the same for marks of a nodule detector on CT series of two scanners (some minutes)"
	@echo "make demo-segmentation  the same for organs outlined by a 3-D segmenter (some minutes)"
	@echo "make test        style, types, layers and all tests"
	@echo "make bench       speed and memory, beside peers (benchmarks/results/)"
	@echo "make tamper      change a finished run in a hundred thousand ways; every one must be noticed (about ten minutes)"
	@echo "make tamper-signed  2,000 random bits of a signed report flipped, and every cut at a signature (some minutes)"
	@echo "make interrupted kill lock, freeze and run at 200 moments; resuming must give the same evidence (about 15 minutes)"
	@echo "make race        two operators start on the last use of a set at once; exactly one must win (about three minutes)"
	@echo "make bundle      wheels and a script that install it in a closed network (TORCH_INDEX=… for a CUDA build)"
	@echo "make bundle-check  install that bundle with the network cut off, and run a study there"
	@echo "make brain       segment a real brain stored every way round: the documented counts, or a refusal; then scored (some minutes)"
	@echo "make outlines    real outlines of three centres: Dice of each as counted apart, other grids named (a minute)"
	@echo "make fuzz        ten thousand damaged images and models: each read, or refused with a reason (about ten minutes)"
	@echo "make hostile     twenty hostile model packages against the command line: all stopped, nothing reached (some minutes)"
	@echo "make ray-campaign kill workers, a node and the driver of a Ray cluster; the evidence must be the same (needs Ray)"
	@echo "make formats     one real classifier in every package format: same scores, same verdict (needs ../shared/real)"
	@echo "make kserve      install Triton and MLServer into .kserve-env and test served models against them (600 MB)"
	@echo "make object-store  a study whose images lie behind an S3 interface: same bytes, a changed object is named (two minutes)"
	@echo "make reader-simulations  error and power of reader-study methods in 10,000 simulated studies each (ten minutes)"
	@echo "make planning-simulations  power that plans promise beside simulated studies of the size they ask for (a minute)"
	@echo "make slice-simulations  false discoveries and power of the search for slices in 2,000 sets per design (minutes)"
	@echo "make bias-simulations  gaps between groups in 10,000 simulated studies per design: coverage, outcomes (a minute)"
	@echo "make coverage-study  simulated coverage of every interval (hours; goes on where it stopped; JOBS=4)"
	@echo "make validation  write the requirement-to-test matrix again (docs/validation/matrix.md)"
	@echo "make samples     pictures of the demo's report for the README"
	@echo "make accessibility  the HTML report in headless Chromium with axe-core (installs both: 300 MB)"
	@echo "make demo-train-clean  train a classifier that no marker sways, without markers (a quarter of an hour)"
	@echo "make demo-train  train the demonstration model again and package it (examples/chest_phantom)"

setup:
	@bash .ci/setup

demo: setup
	@env -u OMP_NUM_THREADS $(PY) examples/chest_phantom/demo.py --out demo

demo-drift: setup
	@$(PY) examples/drift_audit/demo.py --out demo-drift

campaign-drift: setup
	$(PY) -m benchmarks.drift_campaign --out benchmarks/results/drift_campaign.md

demo-readers: setup
	@$(PY) examples/reader_study/demo.py --out demo-readers

reader-simulations: setup
	$(PY) -m benchmarks.reader_simulations --jobs $(JOBS) --out benchmarks/results/reader_simulations.md
	$(PY) -m benchmarks.reader_designs --jobs $(JOBS) --out benchmarks/results/reader_designs.md

planning-simulations: setup
	$(PY) -m benchmarks.planning_power --out benchmarks/results/planning_power.md

slice-simulations: setup
	$(PY) -m benchmarks.slice_simulations --out benchmarks/results/slices.md

bias-simulations: setup
	$(PY) -m benchmarks.bias_simulations --out benchmarks/results/bias_simulations.md

demo-detection: setup
	@$(PY) examples/nodule_ct/demo.py --out demo-detection

demo-segmentation: setup
	@env -u OMP_NUM_THREADS $(PY) examples/abdomen_ct/demo.py --out demo-segmentation

test: setup lint types layers
	$(PY) -m pytest -q -n auto --dist worksteal

lint:
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types:
	$(PY) -m mypy

layers:
	.venv/bin/lint-imports

demo-train: setup
	$(PY) examples/chest_phantom/train.py
	$(PY) examples/chest_phantom/package.py

demo-train-clean: setup
	$(PY) examples/chest_phantom/train.py --profile train-clean --out examples/chest_phantom/training/no_markers
	$(PY) examples/chest_phantom/train.py --profile train-clean --erase --patients 800 --tuning-patients 200 --epochs 4 \
	  --start examples/chest_phantom/training/no_markers/weights.npz --out examples/chest_phantom/training/clean
	$(PY) examples/chest_phantom/package.py

samples: setup
	$(PY) reports/samples/make.py $(shell ls -d demo/run-* 2>/dev/null | tail -1)/report.pdf

accessibility: setup
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }
	@test -f .axe/node_modules/axe-core/axe.min.js || npm install --silent --no-save --ignore-scripts --prefix .axe axe-core@4
	$(PY) -m pytest -q -n 0 tests/browser

bench: setup
	$(PY) -P benchmarks/lock.py | tee benchmarks/results/lock.md
	$(PY) -P benchmarks/ledger.py | tee benchmarks/results/ledger.md
	$(PY) -W ignore -m benchmarks.engine --out benchmarks/results/engine.md
	$(PY) -W ignore -m benchmarks.engine_memory --out benchmarks/results/engine_memory.md
	$(PY) -P benchmarks/statistics.py --out benchmarks/results/statistics.md
	$(PY) -P benchmarks/report.py | tee benchmarks/results/report.md
	$(PY) -P benchmarks/segmentation.py --out benchmarks/results/segmentation.md
	$(PY) -P benchmarks/detection.py --out benchmarks/results/detection.md
	$(PY) -P benchmarks/bias.py --out benchmarks/results/bias.md
	$(PY) -P benchmarks/attribution.py --out benchmarks/results/attribution.md

tamper: setup
	$(PY) -m tests.campaigns.tamper --jobs 2

tamper-signed: setup
	$(PY) -m tests.campaigns.tamper --jobs 2 --signed 2000

brain: setup
	$(PY) -m tests.campaigns.brain

outlines: setup
	$(PY) -m tests.campaigns.outlines

interrupted: setup
	$(PY) -m tests.campaigns.interrupted --jobs 2

race: setup
	$(PY) -m tests.campaigns.race

BUNDLE ?= dist/bundle
TORCH_INDEX ?=
EXTRAS ?= onnx,volumes
bundle: setup
	$(PY) offline/bundle.py --out $(BUNDLE) --extras "$(EXTRAS)" $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX))

bundle-check: setup
	@test -f $(BUNDLE)/SHA256SUMS || $(MAKE) bundle
	@scratch=$$(mktemp -d) && $(PY) offline/bundle.py check $(BUNDLE) $$scratch/env; code=$$?; rm -rf $$scratch; exit $$code

fuzz: setup
	$(PY) -m tests.campaigns.fuzz --out benchmarks/results/fuzz.md

hostile: setup
	$(PY) -m tests.campaigns.hostile --out benchmarks/results/hostile.md

RAY_PY ?= $(PY)
ray-campaign: setup
	$(RAY_PY) -m tests.campaigns.cluster

formats: setup
	$(PY) -m tests.campaigns.formats --out benchmarks/results/formats.md

kserve: setup
	bash tests/servers/setup
	$(PY) -m pytest -q tests/servers

object-store: setup
	@test -x .s3-env/bin/moto_server || ($(PY) -m venv --clear .s3-env && \
	  $(abspath $(PY)) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$(echo .s3-env/lib/python3*/site-packages)/suite.pth" && \
	  .s3-env/bin/pip install --quiet --disable-pip-version-check s3fs && \
	  .s3-env/bin/pip install --quiet --disable-pip-version-check 'moto[server]')
	.s3-env/bin/python -m tests.campaigns.object_store

JOBS ?= $(shell nproc)
coverage-study: setup
	$(PY) -m benchmarks.coverage run --jobs $(JOBS)
	$(PY) -m benchmarks.coverage table

.PHONY: validation
validation: setup
	$(PY) docs/validation/matrix.py --write

clean:
	rm -rf .venv demo dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
