#!/bin/sh
# make soak: the long runs. Each prints what it found and ends this script when it found a fault.
set -eu
cd "$(dirname -- "$0")/.."
command -v faketime >/dev/null || { echo "error: faketime: command not found; install it (Debian, Ubuntu: apt-get install faketime)" >&2 && exit 1; }
echo "== 20 builds of the demo, unsigned and signed, under different circumstances: one digest each"
.venv/bin/python tests/variations.py 20
