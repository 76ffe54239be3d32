#!/bin/sh
# make soak: the long runs. Each prints what it found and ends this script when it found a fault.
set -eu
cd "$(dirname -- "$0")/.."
# The tests' own modules import what they test.
export PYTHONPATH="$PWD"
command -v faketime >/dev/null || { echo "error: faketime: command not found; install it (Debian, Ubuntu: apt-get install faketime)" >&2 && exit 1; }
echo "== 20 builds of the demo, unsigned and signed, under different circumstances: one digest each"
.venv/bin/python tests/variations.py 20
echo "== every step of install, upgrade, rollback, repair and uninstall, interrupted once by each kind of fault"
.venv/bin/python tests/fault_campaign.py
echo "== a thousand sequences of commands against a model of the server"
.venv/bin/python tests/installer_machine.py 1000
echo "== every operation of the API, many thousand requests that are right or wrong, on both kinds of database"
FERRY_EXAMPLES=300 .venv/bin/python -m pytest -q tests/integration/test_web_schema.py
echo "== an hour of conversations with secrets, evictions, clients that leave and restarts"
.venv/bin/python tests/privacy_soak.py 60
