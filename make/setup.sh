#!/bin/sh
# make setup: bring .venv to what requirements-dev.txt says. Usage: setup.sh [PYTHON]
set -eu
cd "$(dirname -- "$0")/.."
python=${1:-python3}

fail() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "$python: command not found" "install Python 3.11 or later, or name one: make setup PYTHON3=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old for the build side" "name a Python 3.11 or later: make setup PYTHON3=/path/to/python3"

wanted=$({ "$python" -c 'import sys; print(sys.version, sys.base_prefix)' && cat requirements-dev.txt; } | sha256sum)
[ ! -x .venv/bin/python ] || [ "$(cat .venv/requirements.sha256 2>/dev/null)" != "$wanted" ] || exit 0

# Making it anew would clear what others work with.
[ ! -L .venv ] || fail ".venv is a link to $(readlink .venv), which is not what requirements-dev.txt says" \
    "bring that one up to date where it belongs, or remove the link and run: make setup"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python has no venv module" "install it (Debian, Ubuntu: apt-get install python3-venv), or name another: make setup PYTHON3=…"
echo "setup: installing requirements-dev.txt into .venv (some minutes the first time)" >&2
rm -f .venv/requirements.sha256
"$python" -m venv --clear .venv

# Plain torch is a CUDA build of several gigabytes. pip's own configuration may know the CPU build; if not, uv knows where it is.
pip() { .venv/bin/python -m pip --quiet --quiet --disable-pip-version-check "$@"; }
if pip install --dry-run --no-deps "$(grep '^torch==' requirements-dev.txt)"; then
    pip install --requirement requirements-dev.txt
else
    echo "setup: pip's configured sources have no CPU build of torch; uv fetches it" >&2
    pip install "$(grep '^uv==' requirements-dev.txt)"
    .venv/bin/python -m uv pip install --quiet --python .venv/bin/python --torch-backend cpu --requirements requirements-dev.txt ||
        fail "torch's CPU build cannot be had" "set PIP_FIND_LINKS to a folder that holds its wheel, then run: make setup"
fi
.venv/bin/python -c 'import torch, transformers' # what the other targets rely on
echo "$wanted" >.venv/requirements.sha256
