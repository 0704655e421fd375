# `make` runs the workflow and writes its report; `make help` lists the rest.
# Options and targets of Snakemake go into ARGS:  make ARGS="--configfile my.yaml"
# Another Python than `python3`, on a clean start: make PYTHON=python3.13
# Kept to what POSIX make offers, so that the make of macOS and of the BSDs will do.
.POSIX:
.PHONY: all setup run report figures test lint format benchmark lock clean help

PYTHON = python3
bin = .venv/bin
ready = .venv/.ready
unfinished = .venv/.unfinished
snakefiles = Snakefile workflow/rules

all: report ## Run the workflow, then write its report (the default)

setup: $(ready) ## Make the environment only; then `. .venv/bin/activate` and `snakemake` work

run: $(ready) ## Run the workflow
	$(bin)/snakemake $(ARGS)

# The report is written anew when it is missing, was asked for with other options, or is older than a
# result, the configuration (a --configfile in ARGS too) or a caption. Its stamp is removed first and
# written last, so that half a report is never taken for a whole one.
report: run ## Bring results/report.html and results/report.zip up to date
	@set -e; \
	given=; for word in $(ARGS); do \
		case "$$word" in -n | --dry-run | --dryrun) exit 0 ;; esac; \
		[ ! -f "$$word" ] || given="$$given $$word"; \
	done; \
	if [ -f results/report.html ] && [ -f results/report.zip ] && [ -f results/.report ] \
		&& [ "$$(cat results/.report)" = "$${ARGS-}" ] \
		&& [ -z "$$(find results config.yaml Snakefile workflow/report $$given -type f \
			! -name 'report.*' -newer results/.report | head -n 1)" ]; then exit 0; fi; \
	rm -f results/.report; \
	for kind in html zip; do \
		echo "Writing results/report.$$kind"; \
		$(bin)/snakemake --report results/report.$$kind $(ARGS) > .snakemake/report.log 2>&1 \
			|| { cat .snakemake/report.log >&2; exit 1; }; \
	done; \
	printf "%s\n" "$${ARGS-}" > results/.report

# Every rule of figures.smk and tables.smk is forced; nothing before them is, so no model is refitted.
figures: $(ready) ## Draw all figures and write all tables again, from the results at hand
	$(bin)/snakemake figures tables --forcerun $$(sed -n 's/^rule \([a-z0-9_]*\):.*/\1/p' \
		workflow/rules/figures.smk workflow/rules/tables.smk) $(ARGS)

test: $(ready) ## Run all tests (ARGS="-k splits" for some)
	OMP_NUM_THREADS=1 $(bin)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(ready) ## Check style and formatting of Python and Snakemake files
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/snakefmt --check $(snakefiles)
	$(bin)/snakemake --lint

format: $(ready) ## Format Python and Snakemake files
	$(bin)/ruff check --select I --fix
	$(bin)/ruff format
	$(bin)/snakefmt $(snakefiles)

benchmark: $(ready) ## Measure against other libraries, side by side
	@set -e; for file in benchmarks/*.py; do echo "$$file"; $(bin)/python "$$file" $(ARGS); done

lock: $(ready) ## Bring requirements.lock in step with pyproject.toml (ARGS=--upgrade for new versions)
	UV_CUSTOM_COMPILE_COMMAND='make lock' $(bin)/uv pip compile --quiet --universal \
		--python-version 3.11 --generate-hashes --extra dev pyproject.toml -o requirements.lock $(ARGS)

clean: ## Delete the environment, all results and all caches (asks first; CONFIRM=yes does not)
	@if [ '$(CONFIRM)' != yes ]; then \
		printf 'Delete .venv, .snakemake, everything in results/ and the caches? [y/N] '; \
		read -r answer || echo; \
		case "$$answer" in y | Y | yes) ;; *) echo 'Nothing was deleted.'; exit 0 ;; esac; \
	fi; \
	rm -rf .venv .snakemake .pytest_cache .ruff_cache; \
	find results -mindepth 1 ! -name .gitkeep -delete; \
	find . -name __pycache__ -prune -exec rm -rf {} +

help: ## List these commands
	@sed -n 's/^\([a-z][a-z]*\):.*## \(.*\)/make \1|\2/p' Makefile \
		| awk -F'|' '{ printf "  %-16s%s\n", $$1, $$2 }'

# The environment, from requirements.lock. The system's Python fetches uv, checked against its hash in
# the lock, and uv does the rest: it needs seconds where pip needs minutes, and it removes what the
# lock no longer names. Byte-code is compiled here, not by the first jobs at the same time.
# `.unfinished` becomes the stamp when all is done: an environment that still bears it was interrupted
# and is made from scratch; one that bears neither is somebody's own and is left alone.
$(ready): requirements.lock pyproject.toml
	@command -v '$(PYTHON)' > /dev/null || { echo >&2 \
		'make: $(PYTHON) was not found: install Python 3.11 to 3.13, or name one: make PYTHON=...'; \
		exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo >&2 \
		"make: Python 3.11, 3.12 or 3.13 is needed, but this is $$('$(PYTHON)' --version 2>&1):" \
		'name another: make PYTHON=python3.13'; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2> /dev/null || { echo >&2 \
		'make: $(PYTHON) lacks the modules venv and ensurepip: on Debian, apt install python3-venv'; \
		exit 1; }
	@[ ! -e .venv ] || [ -f $@ ] || [ -f $(unfinished) ] || { echo >&2 \
		'make: .venv is not of this Makefile: move it away (or touch $@ to have it kept and updated)'; \
		exit 1; }
	@set -e; if [ -f $@ ]; then mv $@ $(unfinished); else \
		echo 'Setting up .venv from requirements.lock (once)'; \
		mkdir -p .venv; touch $(unfinished); rm -rf .venv/*; '$(PYTHON)' -m venv .venv; \
	fi; touch $(unfinished)
	@awk '/^uv==/ { found = 1 } found && /^ *#/ { exit } found' requirements.lock > .venv/uv.txt
	@$(bin)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	@$(bin)/uv pip sync --quiet --python $(bin)/python --require-hashes --compile-bytecode \
		requirements.lock
	@$(bin)/uv pip install --quiet --python $(bin)/python --no-deps -e .
	@mv $(unfinished) $@
