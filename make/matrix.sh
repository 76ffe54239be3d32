#!/bin/sh
# make matrix: the web's tests and those in a browser, on SQLite and PostgreSQL, directly and behind docs/nginx/ferry.conf.
# Usage: matrix.sh [PYTEST ARGUMENT]...
set -eu
cd "$(dirname -- "$0")/.."
for on in "sqlite directly" "postgresql directly" "sqlite nginx" "postgresql nginx"; do
    echo "== FERRY_TEST_ON=\"$on\""
    FERRY_TEST_ON="$on" .venv/bin/python -m pytest -q -n 2 --dist loadfile tests/browser tests/integration/test_web_*.py "$@"
done
