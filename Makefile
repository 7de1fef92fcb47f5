# make book | test | lint | bench | serve | wheel | clean — each makes the environment first if need be.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := book
.NOTPARALLEL:
.PHONY: book test lint bench serve wheel clean browser

PYTHON ?= python3
PORT ?= 8000
JOBS ?= 2
BIN := .venv/bin
STAMP := .venv/.stamp
PAGES := _build/html
BROWSERS := chromium chromium-browser google-chrome

# pip and npm ask for what is to be installed, and nothing else: no news of themselves, no audit.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export npm_config_audit := false
export npm_config_fund := false
export npm_config_update_notifier := false
# JupyterLab would ask for news and for newer releases of itself and of its extensions.
LAB := {"LabApp": {"news_url": null, "extension_manager": "readonly", \
  "check_for_updates_class": "jupyterlab.handlers.announcements.NeverCheckForUpdate"}}

# What the execution cache cannot see: the library, the data, the versions and the preset.
KEY = (echo "$${VEC2SLUG_PRESET:-book}"; \
  git ls-files -z --cached --others --exclude-standard vec2slug_lib notebooks/chapters data requirements.txt \
  | xargs -0 sha256sum || true) 2> /dev/null | sha256sum

$(STAMP): requirements.txt pyproject.toml
	@echo "== Environment: installing into .venv (about 4 minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed, this is " + sys.version)'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --no-input -r requirements.txt -e .
# Kernels listen on this machine only; their warning about plain TCP would be in every build.
	@mkdir -p .venv/etc/ipython .venv/etc/jupyter
	@echo 'c.IPKernelApp.log_level = "ERROR"' > .venv/etc/ipython/ipython_kernel_config.py
	@echo '$(LAB)' > .venv/etc/jupyter/jupyter_lab_config.json
# An option of jsonschema that nothing here uses: it compiles a grammar, and so costs each program
# that reads a notebook, each test worker and each process of Ray two seconds of its start.
	@$(BIN)/python -m pip uninstall --quiet --yes rfc3987-syntax
	@touch $@

MODEL := data/models/vec2slug-minilm-small

# The script beside the graphs holds the source of these two rooms.
GRAPHS := vec2slug_lib/release/step_graph.py vec2slug_lib/release/standalone.py \
  $(wildcard vec2slug_lib/common/*.py vec2slug_lib/inference/*.py)
$(MODEL)/manifest.onnx.json: $(MODEL)/model.safetensors $(GRAPHS) | $(STAMP)
	@echo "== Model: exporting the ONNX graphs of $(MODEL)"
	@$(BIN)/vec2slug export $(MODEL)

# One graph of the embedder for the command line, the playground and the wheel.
READER := data/models/all-MiniLM-L6-v2/manifest.onnx.json
$(READER): vec2slug_lib/embedding/minilm_export.py vec2slug_lib/embedding/minilm.py | $(STAMP)
	@echo "== Embedder: exporting the ONNX graph of MiniLM"
	@$(BIN)/python -m vec2slug_lib.embedding.minilm_export

# Without npm the book builds all the same, and its playground says what is missing.
NPM := _build/npm/node_modules/.package-lock.json
$(NPM): book/playground/package.json book/playground/package-lock.json
	@mkdir -p _build/npm && cp $^ _build/npm/
	@echo "== Playground: installing onnxruntime-web from npm"
	@npm ci --prefix _build/npm --ignore-scripts --silent \
	  || echo "== Playground: npm did not install it; the page will say so"

book: $(STAMP) $(MODEL)/manifest.onnx.json $(READER) $(NPM)
	@mkdir -p _build
	@key=$$($(KEY)); if [ "$$key" != "$$(cat _build/key 2>/dev/null)" ]; then \
	  echo "== Cache: library, data or versions have changed, every notebook runs again"; \
	  rm -rf _build/.jupyter_cache; echo "$$key" > _build/key; \
	fi
	@echo "== Book: running the notebooks, $(JOBS) at a time"
	@$(BIN)/python book/_ext/execute.py _build/.jupyter_cache $(JOBS) notebooks/*.ipynb
	@echo "== Book: writing the pages"
	@rm -rf $(PAGES)
	@$(BIN)/jupyter-book build . --all -W -n --keep-going --quiet
	@$(BIN)/python book/_ext/pages.py _toc.yml $(PAGES)
	@echo "== Done: open $(CURDIR)/$(PAGES)/index.html in a browser, or run 'make serve'"

# The sdist holds what the wheel is built of, so that neither asks for torch.
wheel: $(STAMP) $(MODEL)/manifest.onnx.json $(READER)
	@echo "== Wheel: building into dist/"
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist > /dev/null
	@ls -l dist

serve:
	@test -f $(PAGES)/index.html || $(MAKE) book
	@echo "== Serving the book at http://127.0.0.1:$(PORT)/ (Ctrl-C stops it)"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory $(PAGES) $(PORT)

lint: $(STAMP) $(NPM)
	@echo "== Lint: ruff, mypy, the rooms' contracts, and TypeScript over the playground's scripts"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@node _build/npm/node_modules/typescript/bin/tsc -p book/playground/jsconfig.json

browser:
	@lacks=; command -v $(BROWSERS) > /dev/null || lacks="chromium fonts-dejavu-core"; \
	command -v npm > /dev/null || lacks="$$lacks nodejs npm"; \
	[ -z "$$lacks" ] || { \
	  echo "== Browser: installing $$lacks from the distribution"; \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo="sudo -n"; \
	  { $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq \
	    --no-install-recommends $$lacks < /dev/null > /dev/null; } || \
	  { echo "Could not install $$lacks: do so by hand, then run 'make test' again"; exit 1; }; \
	}

test: $(STAMP) browser lint book
	@echo "== Tests: library, notebooks from nothing in preset smoke, pages in Chromium"
# Tests that wait for a kill or a queue leave their core to one worker more.
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $$(($(JOBS) + 1)) --dist loadscope --no-loadscope-reorder

bench: $(STAMP)
	@for script in benchmarks/*.py; do echo "== Benchmark: $$script"; $(BIN)/python "$$script"; done

clean:
	rm -rf _build dist .venv *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
