#!/bin/sh
# Print one digest over everything of this checkout that goes into a demo bundle: while it stays, a bundle made earlier will do.
set -eu
cd "$(dirname -- "$0")/.."
find LICENSE requirements.in bundle checksums installer service systemd -type f ! -name '*.pyc' -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum | cat - .venv/requirements.sha256 | sha256sum | cut -c 1-16
