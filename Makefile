# make demo, make test: each makes .venv and installs everything it needs.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test test-more test-slow check lint docs site bench fuzz fuzz-onnx fuzz-nightly exporters aarch64 test-torch test-browser gpu-prepare gpu-check clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e ".[dev]"
	touch $(STAMP)

# bytecode of what was installed, but for its own tests: pip would do it on one core, and have all else wait. What does not compile pip is silent of, too
COMPILED := .venv/.compiled
$(COMPILED): $(STAMP)
	$(BIN)/python -m compileall -qq -j 0 -x '/tests/' .venv/lib || true
	touch $(COMPILED)

# pyright takes one core: the other makes bytecode meanwhile, of the tests too, which each worker would compile for itself
test: $(STAMP)
	@($(MAKE) --no-print-directory $(COMPILED) && $(COLLECT)) > /dev/null 2>&1 & $(MAKE) --no-print-directory lint && wait
	@$(MAKE) --no-print-directory check

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# the tests start convc hundreds of times: its bytecode is kept, also where the environment says otherwise; of three workers one mostly waits
COLLECT := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --collect-only -q -p no:cacheprovider tests --ignore=tests/backends/onnx/test_conformance.py
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal

check: $(STAMP)
	$(PYTEST)

# siblings of tests that are in `test`: the table is tests/support/middle_tier.py
test-more: $(STAMP)
	$(PYTEST) -m "more and not slow"

# that for which something alike stands otherwise: siblings of networks, bodies of ONNX functions; a whole network takes the emulator minutes
test-slow: $(STAMP) test-torch test-browser
	$(PYTEST) -m "slow or more" --timeout 1800

# the pages of ops and passes, from their tables; a test fails where they are not current
docs: $(STAMP)
	$(BIN)/python docs/generate.py

# docs/ as a site in build/site, which opens from a disk and fetches nothing; a link or anchor that leads nowhere ends it
SITE_STAMP := .venv/.site
$(SITE_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]"
	touch $(SITE_STAMP)

site: $(SITE_STAMP)
	$(BIN)/python docs/site/build.py

bench: $(STAMP)
	$(BIN)/python tests/bench/bars.py
	$(BIN)/python tests/bench/scale.py
	$(BIN)/python tests/bench/memory.py
	$(BIN)/python tests/bench/plans.py --small
	$(BIN)/python tests/bench/compiling.py

# random networks through every pass and engine: make fuzz SECONDS=600 SEED=7
SECONDS ?= 60
SEED ?= 0
fuzz: $(STAMP)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz.py --seconds $(SECONDS) --seed $(SEED)

# mutated ONNX files into the importer: make fuzz-onnx SECONDS=600 SEED=7
fuzz-onnx: $(STAMP)
	$(BIN)/python tests/fuzz/fuzz_onnx.py --seconds $(SECONDS) --seed $(SEED)

# both by the date, so that each night sees what no night saw: make fuzz-nightly SECONDS=3600; `SEED=20260131` is that night again
fuzz-nightly: SEED := $(if $(filter 0,$(SEED)),$(shell date +%Y%m%d),$(SEED))
fuzz-nightly: fuzz fuzz-onnx

# what a GPU has to show: all is built here, and checked where one is, which needs no network (docs/cuda_kernels.md): build/gpu goes along, wheels too
GPU ?= build/gpu
gpu-prepare: $(STAMP)
	$(BIN)/python -m convc.tests.gpu.prepare $(GPU) $(NETWORKS) $(if $(ARCH),--target cuda:$(ARCH))
	$(BIN)/python -m pip download --quiet --dest $(GPU)/wheels ".[cuda]" pip "setuptools>=77"
	$(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])' > $(GPU)/wheels/python

# on the machine with a GPU, into .venv: from the wheels, where they are, which are for one release of Python
GPU_STAMP := .venv/.gpu-installed
FROM_WHEELS = $(if $(wildcard $(GPU)/wheels),--no-index --find-links $(GPU)/wheels)
OTHER_PYTHON = the wheels in $(GPU) are for Python {0}, and $(PYTHON) is {1}; make gpu-check PYTHON=python{0}
$(GPU_STAMP): pyproject.toml
	@! test -e $(GPU)/wheels/python || $(PYTHON) -c 'import sys; of = open("$(GPU)/wheels/python").read().strip(), "%d.%d" % sys.version_info[:2]; \
	sys.exit(of[0] != of[1] and "$(OTHER_PYTHON)".format(*of))'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(FROM_WHEELS) "setuptools>=77" -e ".[cuda]"
	touch $(GPU_STAMP)

gpu-check: $(GPU_STAMP)
	$(BIN)/python -m convc.tests.gpu.check $(GPU)

# an environment that has torch too, which the usual one is spared
TORCH_STAMP := .venv-torch/.installed
$(TORCH_STAMP): pyproject.toml
	$(PYTHON) -m venv .venv-torch
	.venv-torch/bin/python -m pip install --quiet --disable-pip-version-check -e ".[dev,torch]" torchvision
	touch $(TORCH_STAMP)

# networks of PyTorch through both its exporters: make exporters NETWORKS="yolo crnn"
exporters: $(TORCH_STAMP)
	OMP_NUM_THREADS=1 .venv-torch/bin/python -m convc.tests.exporters.pytorch $(NETWORKS)

# cc.from_torch and torch.compile(backend="convc")
test-torch: $(TORCH_STAMP)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 .venv-torch/bin/python -m pytest tests/torch

# TVM's libraries for AArch64, by which artifacts for it run under qemu: tests/backends/tvm/library/test_under_qemu.py says what else it takes
AARCH64 := build/aarch64
aarch64: $(STAMP)
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --platform manylinux_2_28_aarch64 \
	  --platform manylinux_2_17_aarch64 --dest $(AARCH64) $$($(BIN)/python -m pip list --format=freeze | grep "^apache-tvm")
	for wheel in $(AARCH64)/*.whl; do $(BIN)/python -m zipfile -e $$wheel $(AARCH64); done

# HTML reports and the site in the system's Chromium; pictures of them are left in build/report
BROWSER_STAMP := .venv/.browser
$(BROWSER_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[browser,docs,notebook]"
	touch $(BROWSER_STAMP)

test-browser: $(BROWSER_STAMP)
	$(BIN)/python -m convc.tests.support.browser
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser tests/browser
	$(BIN)/python -m convc.tests.bench.reports

demo: $(COMPILED)
	PATH="$(CURDIR)/$(BIN):$$PATH" sh tests/demo.sh build/demo

clean:
	rm -rf .venv .venv-torch build *.egg-info
