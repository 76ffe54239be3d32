#!/bin/sh
# make bundle: PROFILE, VERSION, SIGN_KEY, PYTHON and OUT come by the environment, as make hands them on.
set -eu
cd "$(dirname -- "$0")/.."
key=${SIGN_KEY:-}
if [ -z "$key" ]; then
    key=$HOME/.config/ferry/signing_key
    sh make/signing_key.sh "$key"
fi
set -- build --profile "${PROFILE:-qwen1.5-0.5b-chat}" --out "${OUT:-dist}" --sign-key "$key"
[ -z "${VERSION:-}" ] || set -- "$@" --version "$VERSION"
[ -z "${PYTHON:-}" ] || set -- "$@" --python "$PYTHON"
exec .venv/bin/python -m bundle "$@"
