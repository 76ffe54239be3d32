#!/bin/sh
# Install the Debian or Ubuntu packages that some tests need (containers, a browser, a database server, another clock): only what is missing, only as root.
# Elsewhere those tests are skipped and say why. No service is started by it, nor at the next boot.
set -eu

missing=
for package in chromium debootstrap faketime fonts-dejavu-core ldap-utils nginx-light openssh-client openssl postgresql slapd strace systemd-container util-linux; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
command -v npm >/dev/null || missing="$missing nodejs npm"
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "note: no apt-get here: tests in containers and in a browser run only where debootstrap, systemd-nspawn and chromium are" >&2
elif [ "$(id -u)" -ne 0 ]; then
    echo "note: not root: tests in containers and in a browser are skipped; to enable them: sudo apt-get install$missing" >&2
else
    echo "installing$missing" >&2
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    fi
    # shellcheck disable=SC2086  # the names are words
    if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        exit 1
    fi
    rm -f "$log"
    for unit in nginx postgresql slapd; do
        case $missing in *"$unit"*) systemctl disable --quiet "$unit" 2>/dev/null || : ;; esac
    done
fi
