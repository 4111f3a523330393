# Every target installs what it needs, once, into .venv. `make bench` is the main job.
PYTHON ?= python3
BIN := .venv/bin
# Made after the installation, so that a broken one is tried again; older than pyproject.toml means install again.
INSTALLED := .venv/.installed

.PHONY: bench test test-long test-large fuzz lint fix types mutate check-reports

# Two cells at a time: one training leaves most of a second core idle.
bench: $(INSTALLED)
	$(BIN)/python -m benchmark run --strategies all --datasets all --scale tiny --output reports/local --jobs 2

# A process a core, each on one thread: the tests are many short steps, in which a second thread mostly waits.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# Whole runs side by side, killed and gone on with: CI does them too.
test-long: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long -n auto

# Models of the paper's own size, which a test otherwise only counts: minutes, and up to 20 GiB.
test-large: $(INSTALLED)
	$(BIN)/python -m pytest -m large

# Anything in the place of ground truths, answers, records, folders, images, plugins and options: more than 10,000 cases,
# new ones every time, of which `test` has a few.
fuzz: $(INSTALLED)
	FUZZ=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/fuzz

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

fix: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(INSTALLED)
	$(BIN)/mypy

# How much the tests notice: not part of `test`, half an hour. ONLY=benchmark/metrics/cka.py: one file or folder.
mutate: .venv/.mutmut
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutate.py $(ONLY)

.venv/.mutmut: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[mutate]'
	touch $@

# The published tables are what their records give. Figures are left out: their bytes change with matplotlib.
check-reports: $(INSTALLED)
	test -d reports/tiny/results || { echo "no published reports"; exit 0; } && \
	copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && \
	cp -r reports/tiny/results reports/tiny/rates.json "$$copy" && \
	$(BIN)/python -m benchmark report "$$copy" && \
	diff -r --exclude=results --exclude=figures reports/tiny "$$copy" && \
	cp README.md "$$copy/README.md" && \
	$(BIN)/python -m benchmark report reports/tiny --readme "$$copy/README.md" && \
	diff README.md "$$copy/README.md" && \
	cp reports/paper-costs/costs.json "$$copy" && rm -r "$$copy/results" && \
	$(BIN)/python -m benchmark report "$$copy" && \
	diff reports/paper-costs/costs.md "$$copy/costs.md" && \
	$(BIN)/python -m benchmark report reports/paper-costs --readme "$$copy/README.md" && \
	diff README.md "$$copy/README.md"

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
