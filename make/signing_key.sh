#!/bin/sh
# Make an Ed25519 signing key where there is none yet. Usage: signing_key.sh FILE
set -eu
[ ! -f "$1" ] || exit 0
umask 077
mkdir -p "$(dirname -- "$1")"
ssh-keygen -q -t ed25519 -N '' -C ferry -f "$1"
echo "made a signing key: $1 (keep it; servers will trust its public half)" >&2
