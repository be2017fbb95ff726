# make pareto     set up, and run the sweep of config.yaml up to results/pareto.md
# make test       set up, and run lint and all tests
# make test-fast  set up, and run the tests of single modules
# make test-avx2  set up, and run the tests of integer kernels on AVX2 without VNNI, in QEMU
# make test-slurm set up, and run the tiny sweep through a Slurm of its own on this machine
# make lint       set up, and check style, spelling, types and the workflow
# make slurm      set up, and put Snakemake's plugin for Slurm into .slurm (docs/cluster.md)
# make dag        set up, and draw the rule graph to results/rulegraph.{mmd,svg}
# make arm        set up, and put an emulator of other processors into .emulator, for `devices`
# make lock       after an edit of envs/requirements.in: pin all packages again

PYTHON ?= python3
# All processors that this process may use, by its affinity and a container's quota.
CORES ?= $(shell PYTHONPATH=scripts $(PYTHON) -c \
	"from beansweep.common import pinning; print(pinning.cpus())" || echo 1)
# PyTorch's builds: cpu has no CUDA. Its hashes come from make lock TORCH=cpu.
TORCH ?=
REQUIREMENTS := envs/requirements$(if $(TORCH),-$(TORCH)).txt
BACKEND := $(if $(TORCH),--torch-backend $(TORCH))
BIN := .venv/bin
READY := .venv/ready
SWEEP := $(BIN)/snakemake --quiet rules host --cores $(CORES) \
	--workflow-profile workflow/profiles/default
# One process a core, each with one thread.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(CORES) --dist loadgroup
# Features of a Haswell that QEMU does not emulate are off: it would warn of each in every thread.
AVX2_CPU := Haswell-noTSX,-pcid,-x2apic,-tsc-deadline,-invpcid

# Snakemake keeps files in the user's home, and a container's user may have none.
ifeq ($(shell test -w "$$HOME" || echo none),none)
export HOME := $(CURDIR)/.snakemake/home
endif

# Many containers set this. Then every process would compile PyTorch and the rest again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: pareto test test-fast test-avx2 test-slurm slurm arm lint dag lock

pareto: $(READY)
	@$(SWEEP) --keep-going results/pareto.md || { \
		$(SWEEP) results/partial/pareto.md > /dev/null 2>&1 \
		&& echo "The sweep failed: results/partial/pareto.md has the backbones that finished." >&2; \
		exit 1; }
	@echo "results/pareto.md, results/report.html: $$(sed -n 3p results/pareto.md | tr -d '*`')"

test: lint
	$(TEST)

test-fast: $(READY)
	$(TEST) -m "not slow"

test-avx2: $(READY)
	@command -v qemu-x86_64 > /dev/null \
		|| { echo "make test-avx2 needs qemu-x86_64: install qemu-user"; exit 1; }
	qemu-x86_64 -cpu $(AVX2_CPU) $(BIN)/python -m pytest -m integer_kernels \
		$$(grep -rl --include='*.py' mark.integer_kernels tests/quantization)

# Not in .venv: where Slurm is installed and not running, the plugin delays every command by seconds.
slurm: $(READY)
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --upgrade --target .slurm \
		--requirement envs/requirements-slurm.txt

test-slurm: slurm
	PYTHONPATH=$(CURDIR)/.slurm OMP_NUM_THREADS=1 $(BIN)/python -m pytest \
		tests/workflow/test_slurm.py

arm: .emulator/ready

.emulator/ready: envs/requirements.txt scripts/tools/emulator_setup.py | $(READY)
	$(BIN)/python scripts/tools/emulator_setup.py .emulator

lint: $(READY)
	$(BIN)/ruff check scripts tests
	$(BIN)/ruff format --check scripts tests
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/codespell *.md config.yaml $(wildcard docs) scripts tests workflow
	$(BIN)/mypy
	$(BIN)/snakemake --lint

dag: $(READY)
	$(BIN)/snakemake --rulegraph mermaid-js results/pareto.md > results/rulegraph.mmd
	@echo "results/rulegraph.mmd: paste it into a Markdown file as a mermaid block"
	@if command -v dot > /dev/null; then \
		$(BIN)/snakemake --rulegraph dot results/pareto.md | dot -Tsvg > results/rulegraph.svg \
		&& echo "results/rulegraph.svg"; fi

# uv installs faster than pip, and pip works where only pip knows the way to an index.
$(READY): $(REQUIREMENTS)
	$(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' $< > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes --requirement .venv/uv.txt
	$(BIN)/uv pip install --python $(BIN)/python --quiet --require-hashes $(BACKEND) \
		--requirement $< \
		|| $(BIN)/python -m pip install --quiet --require-hashes --requirement $<
	touch $@

envs/requirements-%.txt:
	@echo "$@ is missing: make lock TORCH=$* writes it, where PyTorch's own index can be reached" >&2
	@exit 1

lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet uv
	.venv-lock/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--no-header --no-annotate $(BACKEND) --output-file $(REQUIREMENTS) envs/requirements.in
	.venv-lock/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--no-header --no-annotate --no-deps \
		--output-file envs/requirements-slurm.txt envs/requirements-slurm.in
	$(if $(TORCH),,.venv-lock/bin/python scripts/tools/conda_environment.py)
	rm -r .venv-lock
