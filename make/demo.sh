#!/bin/sh
# make demo: bundle, verify, install without root below ./.demo, start, ask. Writes ./.demo, ./.demo-build and caches only.
set -eu
cd "$(dirname -- "$0")/.."
build=$PWD/.demo-build prefix=$PWD/.demo
python=$PWD/.venv/bin/python ferry=$prefix/bin/ferry

field() { "$python" -c 'import json, sys; print(json.loads(sys.stdin.read() or "{}").get(sys.argv[1], ""))' "$1"; }
step() { printf '\n== %s\n' "$1" >&2; }

build_bundle() {
    digest=$(sh make/tree_digest.sh)
    [ "$(cat "$build/built" 2>/dev/null)" != "$digest" ] || return 0
    rm -rf "$build/out" "$build/built"
    sh make/signing_key.sh "$build/signing_key"
    "$python" -m bundle build --profile demo --out "$build/out" --sign-key "$build/signing_key"
    echo "$digest" >"$build/built"
}

# A demo of another bundle makes way, accounts and all: upgrading is not what the demo shows.
remove_other_demo() {
    if [ -e "$prefix" ] && cmp -s "$build/built" "$build/installed"; then return; fi
    [ ! -x "$ferry" ] || "$ferry" stop >/dev/null || true
    rm -rf "$prefix" "$build/installed"
}

free_port() {
    "$python" - <<'END'
import errno, socket
for port in range(8080, 65536):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            print(port)
            break
END
}

# The password is shown once: the demo keeps it, so that a second run can show it again.
install_bundle() {
    set -- --user-mode --prefix "$prefix" --listen "127.0.0.1:$(free_port)" --python "$python" --yes --json
    if ! (umask 077 && sh "$build/out/install.sh" "$bundle" --allowed-signers "$build/out/allowed_signers" "$@" >"$build/login"); then
        printf 'error: %s\nhint: %s\n' "$(field error <"$build/login")" "$(field hint <"$build/login")" >&2
        exit 1
    fi
    cp "$build/built" "$build/installed"
}

start_again() {
    [ "$("$ferry" status --json | field state)" != running ] || return 0
    sed -i "s/^listen = .*/listen = \"127.0.0.1:$(free_port)\"/" "$prefix/etc/ferry.toml"
    "$ferry" start >/dev/null
}

step "building the demo bundle in .demo-build"
mkdir -p "$build"
build_bundle
set -- "$build"/out/ferry-demo-*.tar
bundle=$1
step "verifying it"
"$python" -m bundle verify "$bundle" --allowed-signers "$build/out/allowed_signers"
step "installing it below .demo"
remove_other_demo
if [ -e "$build/installed" ]; then start_again; else install_bundle; fi
step "What is the capital of France?"
"$ferry" selftest --prompt "What is the capital of France?"
cat <<END

Ferry is running at $("$ferry" status --json | field url)
user:     $(field user <"$build/login")
password: $(field password <"$build/login")   (for the first login; then you choose your own)
stop it:  make demo-stop
END
