# Every target starts from a fresh checkout. What takes more than one command is a script in make/.

.PHONY: help setup demo demo-stop test bundle check e2e bench fuzz matrix soak
PYTHON3 ?= python3
# Three files of tests at a time, in the order that tests/conftest.py gives them: on two cores, one more than there are
# keeps both at work while a test waits for a container, an engine or a page.
BESIDE = -n 3 --dist loadfile --no-loadscope-reorder

help:
	@sed -n 's/^# make /make /p' Makefile

# make setup      the development environment in .venv/ (Python 3.11 or later: PYTHON3=python3.12)
setup:
	@sh make/setup.sh "$(PYTHON3)"

# make demo       build the demo bundle, install it below ./.demo, ask it one question (make demo-stop ends it)
demo: setup
	@sh make/demo.sh

demo-stop:
	@if [ -x .demo/bin/ferry ]; then .demo/bin/ferry stop; fi

# make bundle     PROFILE=qwen1.5-0.5b-chat VERSION= SIGN_KEY= PYTHON= OUT=dist
bundle: setup
	@sh make/bundle.sh

# make test       all tests; as root on Debian or Ubuntu with the packages that containers and browsers need
test: setup
	@sh tests/system_packages.sh
	@.venv/bin/python -m pytest $(BESIDE)

# make e2e        the tests in containers alone
e2e: setup
	@sh tests/system_packages.sh
	@.venv/bin/python -m pytest $(BESIDE) tests/e2e

# make check      lint, types, import arrows, shell lint, and what browsers of 2020 can run
check: setup
	@.venv/bin/python -m pytest -q tests/unit/test_repository.py tests/unit/test_browser_floor.py

# make bench      the benchmark table, recorded below benchmarks/results (BENCH_TURNS=5; PEERS=1 adds other engines)
bench: setup
	@.venv/bin/python -m benchmarks

# make fuzz       every parser of what comes from elsewhere under a coverage-guided fuzzer (FUZZ_RUNS=100000 each)
fuzz: setup
	@.venv/bin/python tests/fuzz/fuzzer.py

# make matrix     the web's tests and those in a browser on SQLite and PostgreSQL, directly and behind nginx: four runs
matrix: setup
	@sh tests/system_packages.sh
	@sh make/matrix.sh

# make soak       the long runs, hours: 20 builds of the same bytes, a fault at every step, a thousand sequences of commands
soak: setup
	@sh make/soak.sh
