#!/bin/sh
# Ferry: prove the head of a bundle with this server's own tools, then hand over to the install.pyz that it carries.
# Nothing of the bundle runs, and nothing is written outside a private temporary folder, before the signature holds.
set -eu
umask 077
export LC_ALL=C

usage() {
    cat <<'END'
Usage: install.sh [BUNDLE] [OPTION]...

Verify a Ferry bundle and install it. BUNDLE is the only bundle beside this script unless it is named.

  --prefix DIR            where to install (/opt/ferry; with --user-mode ~/ferry)
  --python PATH           the interpreter to use (the carried one, else the server's Python of the bundle's version)
  --user-mode             without root and systemd; everything stays below the prefix
  --listen ADDR:PORT      where the web interface listens (0.0.0.0:8080; with --user-mode 127.0.0.1:8080)
  --allowed-signers FILE  whose signatures count at the first install; afterwards the server's own list decides
  --insecure-unsigned     take a bundle that nobody signed
  --accept-license        accept the model's licence where it restricts the use
  --yes                   ask nothing (does not confirm a key)
  --dry-run               verify, print the plan and change nothing
  --json                  report as JSON on standard output
  -h, --help              show this

Example: sh install.sh ferry-demo-1.0.0-x86_64.tar --allowed-signers /root/allowed_signers
END
}

# fail STATUS MESSAGE HINT
fail() {
    if [ -n "$json" ]; then
        printf '{"error": "%s", "hint": "%s", "exit_code": %s}\n' "$(quoted "$2")" "$(quoted "$3")" "$1"
    else
        printf 'error: %s\nhint: %s\n' "$2" "$3" >&2
    fi
    exit "$1"
}

# JSON is UTF-8: what is none is left out, where there is iconv.
quoted() { printf '%s' "$1" | { iconv -c -f UTF-8 -t UTF-8 2>/dev/null || cat; } | tr '\001-\037\177' ' ' | sed 's/\\/\\\\/g; s/"/\\"/g'; }
refuse() { fail 3 "$1" "${2:-copy the bundle again from where it was made}"; }
no_copy() { fail 1 "$bundle cannot be read, or $work cannot be written" "free some space, or set TMPDIR to a folder with some"; }
absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$PWD" "${1#./}" ;; esac; }

find_bundle() {
    folder=$(dirname -- "$0")
    set -- "$folder"/ferry-*.tar
    [ -e "$1" ] || fail 2 "no bundle beside $0" "name it: sh install.sh ferry-….tar"
    [ $# -eq 1 ] || fail 2 "$# bundles beside $0" "name the one to install: sh install.sh $1"
    bundle=$(absolute "$1")
}

# header FROM COUNT: bytes of the member's header as text, counted from 1
header() { tail -c "+$1" "$work/header" | head -c "$2" | tr -d '\000'; }

# announce: read the header at block $at and set $path (below the top folder) and $size
announce() {
    dd if="$bundle" bs=512 skip="$at" count=1 of="$work/header" 2>/dev/null || no_copy
    [ "$(wc -c <"$work/header")" -eq 512 ] || refuse "$bundle: is empty or cut short"
    [ "$(header 258 8)" = ustar00 ] || refuse "$bundle: not a Ferry bundle" "check that the right file was given"
    above=$(header 346 155)
    name=${above:+$above/}$(header 1 100)
    case $name in *[!A-Za-z0-9._+/-]* | /* | -* | .* | *..*) refuse "$bundle: a member with a name that no bundle has" ;; esac
    [ "$(header 149 8)" = "$(printf '%06o ' "$(checksum)")" ] || refuse "$name: its tar header is damaged"
    [ "$(header 157 1)" = 0 ] || refuse "$name: not a plain file" "this is no bundle of Ferry's"
    [ -z "$(header 158 100)" ] || refuse "$name: a tar header that Ferry does not write"
    octal=$(header 125 12)
    case $octal in *[!0-7]* | '') refuse "$name: its size is no number" ;; esac
    size=$((0$octal))
    path=${name#*/}
    top=${top:-${name%%/*}}
    [ "$name" = "$top/$path" ] || refuse "$name: outside the bundle's top folder" "this is no bundle of Ferry's"
}

# checksum: the sum of the header's bytes, its own field counted as blanks (POSIX, ustar)
checksum() {
    sum=256
    { head -c 148 "$work/header" && tail -c +157 "$work/header"; } | od -An -v -tu1 | tr -s ' ' '\n' | {
        while read -r byte; do sum=$((sum + ${byte:-0})); done
        printf '%s' "$sum"
    }
}

# take LIMIT: copy the announced member into the temporary folder and announce nothing yet
take() {
    [ "$size" -le "$1" ] || refuse "$path: $size bytes are too many for it" "check that the right file was given"
    dd if="$bundle" bs=512 skip=$((at + 1)) count=$(((size + 511) / 512)) 2>/dev/null | head -c "$size" 2>/dev/null >"$work/$path" || no_copy
    [ "$(wc -c <"$work/$path")" -eq "$size" ] || refuse "$path: the bundle is cut short in it"
    at=$((at + 1 + (size + 511) / 512))
}

# Whoever may write to the prefix decides whom it trusts and what is run from it: that is nobody but us.
check_owner() {
    # shellcheck disable=SC2012  # mode and owner stand before the name; find is no part of the smallest systems
    ls -dn -- "$prefix/." | {
        read -r mode _ owner _
        case $mode in ????????w*) exit 1 ;; esac
        [ "$owner" = "$(id -u)" ]
    } || fail 4 "$prefix: belongs to somebody else, or everybody may write to it" "choose another --prefix, or mend it"
}

expect() { [ "$path" = "$1" ] || refuse "$path: occurs twice or out of order (expected $1)"; }

read_head() {
    at=0 top='' signatures='' number=1
    announce
    expect SHA256SUMS
    take 4194304
    announce
    while [ "$path" = "SHA256SUMS${signatures:+.$number}.sig" ] && [ "$number" -le 16 ]; do
        take 16384
        signatures="$signatures $path" number=$((number + 1))
        announce
    done
    expect manifest.json
    take 16777216
    announce
    expect install.pyz
    take 67108864
}

# ssh-keygen forgives white space and reads nothing behind the first block; a bundle's signature has one form only.
check_form() {
    {
        echo '-----BEGIN SSH SIGNATURE-----'
        sed '1d;$d' "$work/$1" | base64 -d 2>/dev/null | base64 -w 70
        echo '-----END SSH SIGNATURE-----'
    } | cmp -s - "$work/$1" || refuse "$1: not an SSH signature in canonical form"
}

# check_signature FILE LIST
check_signature() {
    ssh-keygen -Y check-novalidate -n ferry-bundle -s "$work/$1" <"$work/SHA256SUMS" >/dev/null 2>&1 ||
        refuse "$1: does not match SHA256SUMS: one of them was changed, or it was signed for something else"
    ssh-keygen -Y verify -f "$2" -I ferry -n ferry-bundle -s "$work/$1" <"$work/SHA256SUMS" >/dev/null 2>&1 ||
        refuse "$1: signed by a key that $2 does not allow" \
            "get the signer's allowed_signers another way than with the bundle, and check it"
}

number_at() {
    # shellcheck disable=SC2046  # four words are wanted: the bytes of one big-endian number
    set -- $(tail -c "+$1" "$work/blob" | head -c 4 | od -An -v -tu1)
    printf '%s' $((${1:-0} * 16777216 + ${2:-0} * 65536 + ${3:-0} * 256 + ${4:-0}))
}

# allow_signer FILE: allow the key inside a signature from now on (format: OpenSSH, PROTOCOL.sshsig)
allow_signer() {
    sed '1d;$d' "$work/$1" | base64 -d >"$work/blob"
    kind=$(tail -c +19 "$work/blob" | head -c "$(number_at 15)" | tr -d '\000')
    case $kind in *[!a-z0-9@.-]* | '') refuse "$1: holds no public key" ;; esac
    {
        printf 'ferry namespaces="ferry-bundle" %s ' "$kind"
        tail -c +15 "$work/blob" | head -c "$(number_at 11)" | base64 -w 0
        echo
    } >>"$work/allowed_signers"
}

# The first install without a list: the operator compares the fingerprint with one that came another way.
confirm_key() {
    how="get allowed_signers from the signer another way than with the bundle, then add: --allowed-signers FILE"
    [ -t 0 ] || fail 3 "this server trusts no key yet" "$how"
    for file in $signatures; do allow_signer "$file"; done
    for file in $signatures; do check_signature "$file" "$work/allowed_signers"; done
    {
        echo "This server trusts no key yet. The bundle is signed by:"
        cut -d ' ' -f 3- "$work/allowed_signers" | ssh-keygen -l -f -
        echo "Compare the fingerprint with one that came another way than with the bundle."
        printf 'Trust it from now on? Type yes: '
    } >&2
    read -r answer || answer=
    [ "$answer" = yes ] || fail 3 "the key was not confirmed" "$how"
}

# Set $list to whoever decides: the server's own list, else the operator's, else the key that is confirmed now.
check_signatures() {
    own=/etc/ferry/allowed_signers
    [ -z "$user_mode" ] || own=$prefix/etc/allowed_signers
    if [ -f "$own" ]; then
        [ -z "$list" ] || echo "note: this server's own $own decides, not --allowed-signers" >&2
        list=$own
    fi
    if [ -z "$signatures" ]; then
        [ -n "$unsigned" ] || refuse "the bundle is not signed" "get a signed one, or say --insecure-unsigned if you must"
        echo "warning: nobody signed this bundle; it is installed because of --insecure-unsigned" >&2
        return
    fi
    for file in $signatures; do check_form "$file"; done
    if [ -z "$list" ]; then
        confirm_key
        list=$work/allowed_signers
    fi
    for file in $signatures; do check_signature "$file" "$list"; done
}

# check_digest FILE: its line of the signed list must be there once and name what was read
check_digest() {
    listed=$(sed -n "s/^\([0-9a-f]\{64\}\)  ${1%.*}[.]${1##*.}\$/\1/p" "$work/SHA256SUMS")
    found=$(sha256sum <"$work/$1")
    [ "${found%% *}" = "$listed" ] || refuse "$1: sha256 differs from the signed list"
}

version_of() { "$1" -I -B -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# unpack_python DIGEST NAME: unpack the carried interpreter, proved by the signed list, with this server's own tar
unpack_python() {
    for tool in chmod gzip mkdir tar uname; do
        command -v "$tool" >/dev/null || fail 4 "$tool: command not found" "install it: the Python that the bundle carries needs it"
    done
    platform=$(sed -n 's/^  "platform": "\([a-z0-9_]*\)",\{0,1\}$/\1/p' "$work/manifest.json")
    [ "$(uname -m)" = "$platform" ] || fail 4 "the bundle is for $platform, this server is $(uname -m)" "get a bundle built for it"
    { printf '#!/bin/sh\n' >"$work/probe" && chmod 700 "$work/probe"; } || no_copy
    "$work/probe" 2>/dev/null ||
        fail 4 "programs cannot be run in ${TMPDIR:-/tmp} (mounted noexec?)" "set TMPDIR to a folder elsewhere: TMPDIR=/var/tmp sh $0 …"
    mkdir -p "$work/payload/python"
    announce
    expect "payload/python/$2"
    take 268435456
    found=$(sha256sum <"$work/$path")
    [ "${found%% *}" = "$1" ] || refuse "$path: sha256 differs from the signed list"
    gzip -dc "$work/$path" | tar -xof - -C "$work" 2>/dev/null ||
        fail 1 "$2 cannot be unpacked in $work" "free some space, or set TMPDIR to a folder with some"
    rm -f -- "$work/$path"
    interpreter=$work/python/bin/python$wanted
    found=$(version_of "$interpreter" 2>&1 | tail -n 1 | sed "s|$work/python/||g")
    [ "$found" = "$wanted" ] || fail 4 "the carried Python does not run here (it needs a glibc as new as its builder's): $found" \
        "get a bundle built for an older system, or name this server's own Python: --python PATH"
}

find_python() {
    wanted=$(sed -n 's/^  "python": "\(3\.[0-9]\{1,\}\)",\{0,1\}$/\1/p' "$work/manifest.json")
    if [ -z "$wanted" ]; then
        format=$(tr -d ' \n' <"$work/manifest.json" | sed -n 's/^.*"format":\([0-9]\{1,9\}\)[,}].*$/\1/p')
        [ "${format:-1}" -le 1 ] || fail 4 "manifest.json: format $format is newer than this installer knows" \
            "install with the install.sh that came with the bundle"
        refuse "manifest.json: names no version of Python" "this is no bundle of Ferry's"
    fi
    carried=$(sed -n 's|^\([0-9a-f]\{64\}\)  payload/python/\([^/]*\)$|\1 \2|p' "$work/SHA256SUMS")
    if [ -n "$carried" ] && [ -z "$python" ]; then
        unpack_python "${carried%% *}" "${carried#* }"
        return
    fi
    # The last one is what an earlier bundle brought: a delta counts on it.
    if [ -n "$python" ]; then set -- "$python"; else set -- "python$wanted" python3 "$prefix/current/venv/bin/python"; fi
    for candidate in "$@"; do
        interpreter=$(command -v -- "$candidate") || continue
        [ "$(version_of "$interpreter" 2>/dev/null)" != "$wanted" ] || return 0
    done
    fail 4 "no Python $wanted here${python:+: $python is $(version_of "$python" 2>/dev/null || echo none)}" \
        "${carried:+leave --python out: the bundle carries one; or }install Python $wanted, or name one: --python PATH"
}

json='' bundle='' prefix='' python='' user_mode='' listen='' list='' unsigned='' license='' yes='' dry_run=''
for word in "$@"; do [ "$word" != --json ] || json=yes; done
while [ $# -gt 0 ]; do
    case $1 in
    --?*=*)
        word=$1
        shift
        set -- "${word%%=*}" "${word#*=}" "$@"
        continue
        ;;
    --prefix | --python | --listen | --allowed-signers)
        [ $# -gt 1 ] || fail 2 "$1 needs a value" "see: sh install.sh --help"
        case $1 in
        --prefix)
            [ -n "$2" ] || fail 2 "--prefix needs a folder" "see: sh install.sh --help"
            prefix=$(absolute "$2")
            ;;
        --python) case $2 in */*) python=$(absolute "$2") ;; *) python=$2 ;; esac ;;
        --listen) listen=$2 ;;
        --allowed-signers) list=$(absolute "$2") ;;
        esac
        shift
        ;;
    --user-mode) user_mode=yes ;;
    --insecure-unsigned) unsigned=yes ;;
    --accept-license) license=yes ;;
    --yes) yes=yes ;;
    --dry-run) dry_run=yes ;;
    --json) ;;
    -h | --help) usage && exit 0 ;;
    --)
        [ $# -le 2 ] && [ -z "$bundle" ] || fail 2 "one bundle at a time" "see: sh install.sh --help"
        [ $# -lt 2 ] || { bundle=$(absolute "$2") && shift; }
        ;;
    -*) fail 2 "$1: no such option" "see: sh install.sh --help" ;;
    *)
        [ -z "$bundle" ] || fail 2 "one bundle at a time: $1" "see: sh install.sh --help"
        bundle=$(absolute "$1")
        ;;
    esac
    shift
done

for tool in base64 cmp cut dd dirname head id ls mktemp od sed sha256sum ssh-keygen tail tr wc; do
    command -v "$tool" >/dev/null || fail 4 "$tool: command not found" "install it (ssh-keygen is in openssh-client), then try again"
done
[ -n "$bundle" ] || find_bundle
[ -e "$bundle" ] || fail 2 "$bundle: no such file" "give the path of a ferry-….tar"
[ -f "$bundle" ] && [ -r "$bundle" ] || fail 2 "$bundle: not a file that can be read" "give the path of a ferry-….tar"
[ -z "$list" ] || [ -f "$list" ] || fail 2 "$list: no such file" "give the signer's list: --allowed-signers FILE"
[ -n "$prefix" ] || if [ -n "$user_mode" ]; then prefix=$HOME/ferry; else prefix=/opt/ferry; fi

[ ! -d "$prefix" ] || check_owner

work=''
trap '[ -z "$work" ] || rm -rf -- "$work"' EXIT
trap 'exit 130' HUP INT TERM
work=$(mktemp -d "$(absolute "${TMPDIR:-/tmp}")/ferry-XXXXXXXX" 2>/dev/null) ||
    fail 1 "no temporary folder can be made in ${TMPDIR:-/tmp}" "set TMPDIR to one with space"

read_head
check_signatures
check_digest manifest.json
check_digest install.pyz
find_python

set -- "$interpreter" -I -B "$work/install.pyz" --prefix "$prefix" install "$bundle"
[ -z "$user_mode" ] || set -- "$@" --user-mode
[ -z "$python" ] || set -- "$@" --host-python
[ -z "$listen" ] || set -- "$@" --listen "$listen"
[ -z "$list" ] || set -- "$@" --allowed-signers "$list"
[ -z "$unsigned" ] || set -- "$@" --insecure-unsigned
[ -z "$license" ] || set -- "$@" --accept-license
[ -z "$yes" ] || set -- "$@" --yes
[ -z "$dry_run" ] || set -- "$@" --dry-run
[ -z "$json" ] || set -- "$@" --json

# In the background, so that a signal is handed on at once; with the terminal, so that it can ask.
exec 3<&0
"$@" <&3 3<&- &
child=$!
trap 'kill -TERM "$child" 2>/dev/null || :' HUP INT TERM
while :; do
    status=0
    wait "$child" || status=$?
    kill -0 "$child" 2>/dev/null || break
done
[ "$status" -le 128 ] || status=130
exit "$status"
