# The course. Each target provides what it needs; the README says what each is for.
VENV ?= .venv
PYTHON ?= python3
RUN = $(VENV)/bin/python -m
READY = $(VENV)/.ready

.PHONY: setup book test lab weave execute exercises handout grade clean

setup: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11, 5) else \
	"$(PYTHON) is Python %s.%s.%s, and the course needs 3.11.5 or newer: \
	make setup PYTHON=python3.11, say" % sys.version_info[:3])'
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --requirement requirements.txt
	$(RUN) pip install --no-deps --no-build-isolation --editable .
	@touch $@

book: setup
	$(RUN) tools.build_book

test: setup
	$(RUN) tools.run_tests $(STEPS)

lab: setup
	$(RUN) tools.lab

weave: setup
	$(RUN) tools.weave

execute: setup
	$(RUN) tools.execute $(NOTEBOOKS)

exercises: setup
	$(RUN) tools.make_exercises

handout: setup
	@$(RUN) tfcourse.grading.handout --chapter "$(CHAPTER)" $(OPTIONS)

grade: setup
	@$(RUN) tfcourse.grading "$(SUBMISSIONS)" --chapter "$(CHAPTER)" $(OPTIONS)

clean:
	rm -rf _build
