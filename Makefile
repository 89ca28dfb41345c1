# make search: install and run the main study.   make test: install and check everything.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# a worker that dies ends the run
PYTEST := $(RUN) -m pytest --quiet --numprocesses auto --dist loadgroup --no-loadscope-reorder --max-worker-restart 0

# every process that a test starts would compile all modules anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install search test clean

install: $(VENV)/.installed

# pip installs from outside into an environment without one: python3-venv, often missing, is not needed;
# an environment of another Python version is made anew
$(VENV)/.installed: pyproject.toml $(VENV)/.python-$(shell $(PYTHON) -c 'import platform; print(platform.python_version())')
	$(PYTHON) -m pip --python $(RUN) install --quiet --editable '.[studies,test]'
	touch $@

$(VENV)/.python-%:
	rm -rf $(VENV)
	$(PYTHON) -m venv --without-pip $(VENV)
	touch $@

search: install
	$(RUN) -m experiments shape_search

# the workers keep all cores busy: threads of the linear algebra would wait for each other
test: export OPENBLAS_NUM_THREADS := 1
test: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports
	$(PYTEST) -m 'not bits'
	$(PYTEST) -m bits $(shell grep -rl --include='*.py' mark.bits tests)

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
