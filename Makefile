# make pareto   set up, and run the sweep of config.yaml up to results/pareto.md
# make test     set up, and run lint and all tests
# make test-avx2  set up, and run the tests of integer kernels as a processor with AVX2 and no VNNI does, in QEMU
# make dag      set up, and draw the rule graph to results/rulegraph.{mmd,svg}
# make lock     after an edit of envs/requirements.in: pin everything anew

PYTHON ?= python3
CORES ?= 4
BIN := .venv/bin
READY := .venv/ready
# What QEMU does not emulate of a Haswell is left out, for it would warn of each in every thread.
AVX2_CPU := Haswell-noTSX,-pcid,-x2apic,-tsc-deadline,-invpcid

.PHONY: pareto test test-avx2 lint dag lock

pareto: $(READY)
	$(BIN)/snakemake --cores $(CORES) results/pareto.md --workflow-profile workflow/profiles/default --quiet rules host
	@echo "results/pareto.md, results/report.html: $$(sed -n 3p results/pareto.md | tr -d '*`')"

test: $(READY) lint
	$(BIN)/python -m pytest

test-avx2: $(READY)
	@command -v qemu-x86_64 > /dev/null || { echo "make test-avx2 needs qemu-x86_64: install qemu-user"; exit 1; }
	qemu-x86_64 -cpu $(AVX2_CPU) $(BIN)/python -m pytest -m integer_kernels $$(grep -l mark.integer_kernels tests/test_*.py)

lint: $(READY)
	$(BIN)/ruff check scripts tests
	$(BIN)/snakemake --lint

dag: $(READY)
	$(BIN)/snakemake --rulegraph mermaid-js results/pareto.md > results/rulegraph.mmd
	@echo "results/rulegraph.mmd: paste it into a Markdown file as a mermaid block"
	@if command -v dot > /dev/null; then $(BIN)/snakemake --rulegraph dot results/pareto.md | dot -Tsvg > results/rulegraph.svg \
		&& echo "results/rulegraph.svg"; fi

$(READY): envs/requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement envs/requirements.txt
	touch $@

lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet uv
	.venv-lock/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--no-header --no-annotate --output-file envs/requirements.txt envs/requirements.in
	rm -r .venv-lock
