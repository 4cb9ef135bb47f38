# For a machine with Python, pip and make: `make install`, `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

# what make test leaves out, for minutes more: all kills of training, the whole fuzzing
SLOW := -m "not slow"
# four checks side by side: each prints what it found at its end, the suite as it goes
TOGETHER := --no-print-directory --jobs 4 $(if $(filter output-sync,$(.FEATURES)),--output-sync)

.PHONY: install demo test test-slow check lint types suite fid docs clean

install: .venv/installed

demo: .venv/installed
	rm -rf runs/demo
	$(BIN)/entropic-ae train eae digits --out runs/demo
	$(BIN)/entropic-ae evaluate runs/demo
	$(BIN)/entropic-ae report runs/demo
	@echo "Open runs/demo/report.html in a browser: new images, decoded from N(0, I), and all that was measured."

test: .venv/installed-dev
	@$(MAKE) $(TOGETHER) suite fid lint types

test-slow: .venv/installed-dev
	@$(MAKE) $(TOGETHER) suite fid lint types SLOW=

check: lint types

lint: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/installed-dev
	$(BIN)/mypy

# with a plus sign, by which make lets its output through at once
suite: .venv/installed-dev
	+$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(SLOW)

fid: .venv/installed-dev
	PYTHONPATH=.venv/fid $(BIN)/python -m pytest tests/fid

# the site, into site/
docs: .venv/installed-dev
	$(BIN)/python -m mkdocs build --strict
	@echo "Open site/index.html; the search works where the folder is served, as by python3 -m http.server -d site."

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --editable '.[dev]'
# apart from the rest: a torchvision of another torch build would break torchmetrics when it is imported
	$(PIP) --no-deps --upgrade --target .venv/fid torch-fidelity torchvision
	touch $@

clean:
	rm -rf .venv runs/demo site
