# Two commands a newcomer needs: `make setup`, then `make report`. `make` alone lists them all.

PYTHON ?= python3
SCALE  ?= smoke
WORKERS ?= 2
PY     := .venv/bin/python
PIP    := $(PY) -m pip --disable-pip-version-check --quiet
export TOKENIZERS_PARALLELISM := false
# Keep large tensors' memory instead of asking the system for it again: a tenth of the LM's time on a CPU.
export MALLOC_MMAP_THRESHOLD_ := 4000000000
export MALLOC_TRIM_THRESHOLD_ := 8000000000

.PHONY: help setup report test lab docs readme gallery bench saes clean

help:   ## list these commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## */\1\t/' | expand -t 10

setup: .venv/.lm   ## make .venv with the pinned versions and fetch the default language model; instant the second time

report: setup   ## run every study at SCALE (default smoke) and write its tables and figures to report/
	$(PY) -m saerob report --scale $(SCALE) --out report

test: setup   ## check notebooks, package, style, site and README; run every notebook, WORKERS (default 2) at a time
	@$(PY) .ci/test.py --workers $(WORKERS)

lab: setup   ## open the notebooks in JupyterLab
	cd nbs && ../$(PY) -m jupyter lab

docs: setup   ## build the site into _docs/: by Quarto where it is installed, else by smalldocs
	@$(PY) .ci/site.py docs

readme: setup   ## make README.md from nbs/index.ipynb
	@$(PY) .ci/site.py readme

gallery: setup   ## renew the pictures of nbs/gallery.ipynb from the pages on which they stand
	@$(PY) .ci/gallery.py

bench: setup   ## time saerob's fast paths against their baselines
	$(PY) -m saerob bench

saes: setup   ## train the five shipped SAEs again, from their text on (an hour or two on two cores; resumes)
	$(PY) -m saerob saes

clean:   ## delete what the commands above made, .venv apart
	rm -rf _proc _docs report nbs/nbdev.yml

# torch comes first and by its exact version: left to the others' requirements, pip would choose another build.
# Its 27,000 files are compiled by all cores afterwards: pip would use one. Some are templates, and do not compile.
.venv/.installed: constraints.txt settings.ini setup.py
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PIP) install --no-compile setuptools wheel "$$(grep '^torch==' constraints.txt)"
	$(PIP) install --no-compile -c constraints.txt --no-build-isolation --use-pep517 -e '.[dev,ray,slurm]'
	@$(PY) -m compileall -qq -j 0 .venv/lib || true
	@touch $@

.venv/.lm: .venv/.installed
	$(PY) -c "from saerob.core.assets import smollm2; print(smollm2())"
	@touch $@
