#!/bin/sh
# Ferry: prove the head of a bundle with this server's own tools, then hand over to the install.pyz that it carries.
# Nothing of the bundle runs, and nothing is written outside a private temporary folder, before the signature holds.
set -eu
umask 077
export LC_ALL=C

usage() {
    cat <<'END'
Usage: install.sh [BUNDLE | PART...] [OPTION]...

Verify a Ferry bundle and install it. BUNDLE is the only one beside this script, whole or in parts, unless it is named.
Parts (….tar.001, ….tar.002, …) may be named in any order; those beside a named one are found.

  --prefix DIR            where to install (/opt/ferry; with --user-mode ~/ferry)
  --python PATH           the interpreter to use (the carried one, else the server's Python of the bundle's version)
  --user-mode             without root and systemd; everything stays below the prefix
  --listen ADDR:PORT      where the web interface listens (0.0.0.0:8080; with --user-mode 127.0.0.1:8080)
  --allowed-signers FILE  whose signatures count at the first install; afterwards the server's own list decides
  --threshold N           how many of these keys must sign, at the first install (1); afterwards ferry.toml decides
  --accept-signers DIGEST take the list of keys that the bundle brings, if it is the one with this sha256:DIGEST
  --insecure-unsigned     take a bundle that nobody signed
  --deadline SECONDS      how long the release may take until it has answered (as long as its weights need)
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
absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$PWD" "${1#./}" ;; esac; }
need() {
    for tool in "$@"; do
        command -v "$tool" >/dev/null || fail 4 "$tool: command not found" "install it (ssh-keygen is in openssh-client), then try again"
    done
}

# refuse MESSAGE [HINT]: without a hint, and while the head is read, it may be damage: then the damaged parts are looked for
refuse() {
    damaged=''
    if [ -n "$parts_list" ] && { [ $# -eq 1 ] || [ -n "$reading" ]; }; then find_damage; fi
    [ -z "$damaged" ] || fail 3 "damaged:$damaged; $1" "copy what is named here again; the other parts are whole"
    fail 3 "$1" "${2:-copy the bundle again from where it was made}"
}
no_copy() { fail 1 "$bundle cannot be read, or $work cannot be written" "free some space, or set TMPDIR to a folder with some"; }

# find_bundle: set $bundle to the only one beside this script, or to its first part
find_bundle() {
    folder=$(dirname -- "$0") count=0 last=''
    for file in "$folder"/ferry-*.tar "$folder"/ferry-*.tar.[0-9][0-9][0-9]; do
        whole=${file%.[0-9][0-9][0-9]}
        # The parts of one bundle follow each other; beside the whole of it they are left alone.
        if [ ! -e "$file" ] || [ "$whole" = "$last" ]; then continue; fi
        if [ "$whole" != "$file" ] && [ -e "$whole" ]; then continue; fi
        last=$whole bundle=$file count=$((count + 1))
    done
    [ "$count" -gt 0 ] || fail 2 "no bundle beside $0" "name it: sh install.sh ferry-….tar"
    [ "$count" -eq 1 ] || fail 2 "$count bundles beside $0" "name the one to install: sh install.sh $bundle"
    bundle=$(absolute "$bundle")
}

is_part() { case $1 in *.tar.000) return 1 ;; *.tar.[0-9][0-9][0-9] | *.tar.parts.json) ;; *) return 1 ;; esac; }

# order_parts PART...: link all parts as $work/parts/NNN; one that is named goes before one that lies beside a named one
order_parts() {
    need cat ln mkdir
    mkdir "$work/parts"
    for part in "$@"; do
        name=${part##*/}
        case $name in *.parts.json) name=${name%.parts.json} parts_list=$part ;; *) name=${name%.*} ;; esac
        bundle=${bundle:-$name}
        [ "$name" = "$bundle" ] || refuse "$part: is no part of $bundle" "name the parts of one bundle"
        link=$work/parts/${part##*.}
        if [ "$part" = "$parts_list" ]; then continue; fi
        if [ ! -e "$link" ]; then
            ln -s -- "$part" "$link"
        else
            cmp -s -- "$part" "$link" || refuse "$part: is there twice and differs" "name the one to use"
        fi
    done
    for part in "$@"; do
        for beside in "${part%/*}/$bundle".[0-9][0-9][0-9]; do
            [ -e "$work/parts/${beside##*.}" ] || [ ! -f "$beside" ] || ln -s -- "$beside" "$work/parts/${beside##*.}"
        done
        beside=${part%/*}/$bundle.parts.json
        [ -n "$parts_list" ] || [ ! -f "$beside" ] || parts_list=$beside
    done
    number=0
    for link in "$work"/parts/*; do
        number=$((number + 1))
        name=$(printf '%03d' "$number")
        [ "${link##*/}" = "$name" ] || refuse "$bundle.$name: missing" "copy it beside the others, or name its path too"
        [ -s "$link" ] || refuse "$bundle.$name: is empty" "copy that part again"
    done
}

# find_damage: set $damaged to the parts that are not what the list of parts says
find_damage() {
    echo "note: looking for the damaged parts; this takes as long as reading them all" >&2
    for link in "$work"/parts/*; do
        listed=$(sed -n "s/^.*[.]${link##*/}\", \"sha256\": \"\([0-9a-f]\{64\}\)\".*\$/\1/p" "$parts_list")
        found=$(sha256sum <"$link")
        [ "${found%% *}" = "$listed" ] || damaged="$damaged $bundle.${link##*/}"
    done
}

# blocks FROM COUNT: so many blocks of 512 bytes of the bundle; the head stands in front, so little is read twice
blocks() {
    if [ -z "$parts" ]; then
        dd if="$bundle" bs=512 skip="$1" count="$2" 2>/dev/null
    else
        cat "$work"/parts/* 2>/dev/null | tail -c "+$(($1 * 512 + 1))" 2>/dev/null | head -c "$(($2 * 512))" 2>/dev/null
    fi
}

# header FROM COUNT: bytes of the member's header as text, counted from 1
header() { tail -c "+$1" "$work/header" | head -c "$2" | tr -d '\000'; }

# announce: read the header at block $at and set $path (below the top folder) and $size
announce() {
    blocks "$at" 1 >"$work/header" || no_copy
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
    blocks $((at + 1)) $(((size + 511) / 512)) | head -c "$size" 2>/dev/null >"$work/$path" || no_copy
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
    reading=yes at=0 top='' signatures='' number=1
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
    behind=$at
    reading=''
}

# check_form FILE: an SSHSIG for bundles, in canonical form (OpenSSH, PROTOCOL.sshsig), over SHA256SUMS, whoever made it.
# ssh-keygen forgives white space, another version or reserved bytes, and what stands behind the first block.
check_form() {
    {
        echo '-----BEGIN SSH SIGNATURE-----'
        sed '1d;$d' "$work/$1" | base64 -d 2>/dev/null | tee "$work/blob" | base64 -w 70
        echo '-----END SSH SIGNATURE-----'
    } | cmp -s - "$work/$1" || refuse "$1: not an SSH signature in canonical form"
    name_at=$((15 + $(number_at 11)))
    name=$(tail -c "+$((name_at + 4))" "$work/blob" | head -c 12 | tr -d '\000')
    [ "$(number_at 7).$(number_at "$name_at")" = 1.12 ] && [ "$name" = ferry-bundle ] && [ "$(number_at $((name_at + 16)))" = 0 ] ||
        refuse "$1: not an SSH signature in canonical form, or signed for something else than a bundle"
    made=$(ssh-keygen -Y check-novalidate -n ferry-bundle -s "$work/$1" <"$work/SHA256SUMS" 2>/dev/null) ||
        refuse "$1: does not match SHA256SUMS: one of them was changed, or it was signed for something else"
    printf '%s\n' "${made##* }" >"$work/$1.key"
}

number_at() {
    # shellcheck disable=SC2046  # four words are wanted: the bytes of one big-endian number
    set -- $(tail -c "+$1" "$work/blob" | head -c 4 | od -An -v -tu1)
    printf '%s' $((${1:-0} * 16777216 + ${2:-0} * 65536 + ${3:-0} * 256 + ${4:-0}))
}

# key_of FILE: set $kind and $key, as lists write them, from a signature
key_of() {
    sed '1d;$d' "$work/$1" | base64 -d >"$work/blob"
    kind=$(tail -c +19 "$work/blob" | head -c "$(number_at 15)" | tr -d '\000')
    key=$(tail -c +15 "$work/blob" | head -c "$(number_at 11)" | base64 -w 0)
}

# The first install without a list: the operator compares the fingerprints with what came another way.
confirm_key() {
    how="get allowed_signers from the signer another way than with the bundle, then add: --allowed-signers FILE"
    [ -t 0 ] || fail 3 "this server trusts no key yet" "$how"
    for file in $signatures; do
        key_of "$file"
        case $kind in *[!a-z0-9@.-]* | '' | *-cert-*) refuse "$file: holds no public key that can count" "$how" ;; esac
        printf 'ferry namespaces="ferry-bundle" %s %s\n' "$kind" "$key" >>"$work/allowed_signers"
    done
    {
        echo "This server trusts no key yet. The bundle is signed by:"
        cut -d ' ' -f 3- "$work/allowed_signers" | ssh-keygen -l -f -
        echo "Compare the fingerprint with one that came another way than with the bundle."
        printf 'Trust it from now on? Type yes: '
    } >&2
    read -r answer || answer=
    [ "$answer" = yes ] || fail 3 "the key was not confirmed" "$how"
}

# Set $threshold to what ferry.toml says below [trust], as installer/settings.py does; what cannot be read is not guessed.
read_threshold() {
    threshold=${threshold:-1} config=${own%/*}/ferry.toml
    [ -f "$config" ] || return 0
    [ "$threshold" = 1 ] || echo "note: this server's own $config decides, not --threshold" >&2
    threshold=$(sed -nE '/^[[:blank:]]*\[trust\][[:space:]]*(#.*)?$/,/^[[:blank:]]*\[/s/^[[:blank:]]*threshold[[:blank:]]*=[[:blank:]]*([0-9]{1,2})[[:space:]]*(#.*)?$/\1/p' "$config")
    mentions=$(sed -nE '/^[^#]*threshold/{/^[[:blank:]]*system_prompt[[:blank:]]*=/!p;}' "$config" | wc -l)
    if [ "$mentions" -eq 0 ]; then threshold=1; fi
    is_count "$threshold" && [ "$mentions" -le 1 ] || fail 4 "$config: cannot tell the threshold of [trust]" \
        "write it once, on a line of its own below [trust], from 1 to 16: threshold = 2"
}
is_count() { case $1 in [1-9] | 0[1-9] | 1[0-6]) ;; *) return 1 ;; esac; }

# Copy the list to where ssh-keygen reads it, and refuse lines that it would skip. checksums/signers.py refuses the same.
check_list() {
    [ "$(wc -c <"$list")" -le 1048576 ] || fail 2 "$list: too large for a list of keys" "check that the right file was given"
    tr -d '\000\r' <"$list" >"$work/list"
    option='(namespaces="[^"]*"|valid-(after|before)="[0-9]{8}([0-9]{4}([0-9]{2})?)?Z?")'
    kind='(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)'
    line="(\"[^\"]*\"|[!\$-~][!#-~]*)[[:blank:]]+($option(,$option)*[[:blank:]]+)?${kind}[[:blank:]]+[A-Za-z0-9+/]{40,}={0,2}([[:blank:]].*)?"
    wrong=$(sed -nE "/^[[:blank:]]*(#|\$)/d; /^[[:blank:]]*$line\$/!{=;q;}" "$work/list")
    [ -z "$wrong" ] || fail 2 "$list:$wrong: not a key that can count" "$form"
}

# Set $at where the bundle was made later than this server's clock says: keys are judged by that time.
read_clock() {
    at=$(sed -nE 's/^ "created": "([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])Z",$/\1\2\3\4\5\6/p' "$work/manifest.json" | head -n 1)
    if [ "${at:-0}" -le "$(date -u +%Y%m%d%H%M%S)" ]; then at='' && return; fi
    echo "warning: this clock is behind: the bundle was made at $at UTC; keys are judged by that time" >&2
}

# count_key FILE: count the key of a signature, once, where the list allows it; else note why not
count_key() {
    if made=$(cd "$work" && TZ=UTC0 ssh-keygen -Y verify -f list -I ferry -n ferry-bundle -s "$1" ${at:+-O "verify-time=$at"} <SHA256SUMS 2>said); then
        case $counted in *" ${made##* } "*) ;; *) counted="$counted${made##* } " count=$((count + 1)) ;; esac
        return
    fi
    tr -d '\r' <"$work/said" | sed -n 's/^list:\([0-9]*: \)/\1/p' >"$work/why"
    reasons="$reasons
$1: signed by a key that $list does not allow$(sed -n 's/^\([0-9]*\): key /: line \1: key /p' "$work/why" | tr -d '\n') ($(cat "$work/$1.key"))"
    [ -n "$fault" ] || find_fault "$1"
}

# find_fault FILE: set $fault to an exit status, and $blame, where this server or the list is at fault and not the bundle
find_fault() {
    newer='bad options: (unknown key option|invalid "valid-)'
    key_of "$1"
    # shellcheck disable=SC2013  # each line is one number
    for number in $(sed -nE "s/^([0-9]+): $newer.*/\1/p" "$work/why"); do
        case $(sed -n "${number}p" "$work/list") in *"$key"*) ;; *) continue ;; esac
        fault=4 form="valid-after and valid-before need OpenSSH 8.7, with a Z 9.1: take them out of the line, or upgrade"
        blame="$list:$number: this server's OpenSSH cannot read the dates of this key ($(sed -n "s/^$number: //p" "$work/why"))"
        return
    done
    said=$(sed -nE "/^[0-9]+: $newer/d; /^[0-9]+: (invalid|missing|bad )/{p;q;}" "$work/why")
    [ -z "$said" ] || fault=2 blame="$list:$said"
}

# Set $list to whoever decides: the server's own list, else the operator's, else the keys that are confirmed now.
check_signatures() {
    own=/etc/ferry/allowed_signers
    [ -z "$user_mode" ] || own=$prefix/etc/allowed_signers
    if [ -f "$own" ]; then
        [ -z "$list" ] || echo "note: this server's own $own decides, not --allowed-signers" >&2
        list=$own
    fi
    read_threshold
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
    form='write each as: ferry namespaces="ferry-bundle" TYPE KEY COMMENT (valid-after and valid-before may stand too)'
    count=0 counted=' ' reasons='' fault=''
    check_list
    read_clock
    for file in $signatures; do count_key "$file"; done
    reasons=${reasons#?}
    if [ "$count" -ge "$threshold" ]; then
        [ -z "$reasons" ] || printf '%s\n' "$reasons" | sed 's/^/note: /; s/$/; it does not count/' >&2
        return
    fi
    [ -z "$fault" ] || fail "$fault" "$blame" "$form"
    [ "$threshold" -ne 1 ] || refuse "$reasons" "get the signer's allowed_signers another way than with the bundle, and check it"
    refuse "signed by $count of the $threshold trusted keys that are asked for
$reasons" "get a bundle that more of the trusted keys signed"
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
    need chmod gzip mkdir tar uname
    platform=$(sed -n 's/^  "platform": "\([a-z0-9_]*\)",\{0,1\}$/\1/p' "$work/manifest.json")
    [ "$(uname -m)" = "$platform" ] || fail 4 "the bundle is for $platform, this server is $(uname -m)" "get a bundle built for it"
    { printf '#!/bin/sh\n' >"$work/probe" && chmod 700 "$work/probe"; } || no_copy
    "$work/probe" 2>/dev/null ||
        fail 4 "programs cannot be run in ${TMPDIR:-/tmp} (mounted noexec?)" "set TMPDIR to a folder elsewhere: TMPDIR=/var/tmp sh $0 …"
    mkdir -p "$work/payload/python"
    at=$behind
    announce
    expect "payload/python/$2"
    take 268435456
    found=$(sha256sum <"$work/$path")
    [ "${found%% *}" = "$1" ] || refuse "$path: sha256 differs from the signed list"
    gzip -dc "$work/$path" | tar -xof - -C "$work" 2>/dev/null ||
        fail 1 "$2 cannot be unpacked in $work" "free some space, or set TMPDIR to a folder with some"
    rm -f -- "$work/$path"
    interpreter=$work/python/bin/python$wanted
    found=$(version_of "$interpreter" 2>&1 | tail -n 1)
    [ "$found" = "$wanted" ] || fail 4 "the carried Python does not run here (is the C library too old for it?): ${found#*"$work/"}" \
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
    left_out=$(sed -n 's|^   "\(payload/python/[^"]*\)",\{0,1\}$|\1|p' "$work/manifest.json")
    [ -z "$left_out" ] || fail 4 "a delta that leaves out $left_out, which this server lacks" "install the full bundle"
    fail 4 "no Python $wanted here${python:+: $python is $(version_of "$python" 2>/dev/null || echo none)}" \
        "${carried:+leave --python out: the bundle carries one; or }install Python $wanted, or name one: --python PATH"
}

json='' bundle='' parts='' parts_list='' reading='' prefix='' python='' user_mode='' listen='' list='' threshold='' accept_signers='' deadline='' unsigned='' license='' yes='' dry_run=''
for word in "$@"; do [ "$word" != --json ] || json=yes; done
left=$#
while [ "$left" -gt 0 ]; do
    left=$((left - 1))
    case $1 in
    --?*=*)
        word=$1
        shift
        set -- "${word%%=*}" "${word#*=}" "$@"
        left=$((left + 2))
        continue
        ;;
    --prefix | --python | --listen | --allowed-signers | --threshold | --accept-signers | --deadline)
        [ "$left" -gt 0 ] || fail 2 "$1 needs a value" "see: sh install.sh --help"
        case $1 in
        --prefix)
            [ -n "$2" ] || fail 2 "--prefix needs a folder" "see: sh install.sh --help"
            prefix=$(absolute "$2")
            ;;
        --python) case $2 in */*) python=$(absolute "$2") ;; *) python=$2 ;; esac ;;
        --listen) listen=$2 ;;
        --allowed-signers) list=$(absolute "$2") ;;
        --threshold)
            is_count "$2" || fail 2 "--threshold $2: not a number from 1 to 16" "for example: --threshold 2"
            threshold=$2
            ;;
        --accept-signers) accept_signers=$2 ;;
        --deadline)
            case $2 in [1-9] | [1-9][0-9] | [1-9][0-9][0-9] | [1-9][0-9][0-9][0-9]) ;; *) fail 2 "--deadline $2: not a number of seconds, 1 to 9999" "for example: --deadline 120" ;; esac
            deadline=$2
            ;;
        esac
        shift
        left=$((left - 1))
        ;;
    --user-mode) user_mode=yes ;;
    --insecure-unsigned) unsigned=yes ;;
    --accept-license) license=yes ;;
    --yes) yes=yes ;;
    --dry-run) dry_run=yes ;;
    --json) ;;
    -h | --help) usage && exit 0 ;;
    --)
        while [ "$left" -gt 0 ]; do
            shift
            set -- "$@" "$(absolute "$1")"
            left=$((left - 1))
        done
        ;;
    -*) fail 2 "$1: no such option" "see: sh install.sh --help" ;;
    # What is no option goes behind all that is left; in the end nothing else is there.
    *) set -- "$@" "$(absolute "$1")" ;;
    esac
    shift
done

need base64 cat cmp cut date dd dirname head id ls mktemp od sed sha256sum ssh-keygen tail tee tr wc
if [ $# -eq 0 ]; then
    find_bundle
    set -- "$bundle"
fi
for word in "$@"; do
    [ -e "$word" ] || fail 2 "$word: no such file" "give the path of a ferry-….tar"
    [ -f "$word" ] && [ -r "$word" ] || fail 2 "$word: not a file that can be read" "give the path of a ferry-….tar"
    if is_part "$word"; then parts=yes bundle=''; else bundle=$1; fi
    [ -z "$bundle" ] || [ $# -eq 1 ] || fail 2 "one bundle at a time: $word is no part" "name one bundle, or the parts of one"
done
[ -z "$list" ] || [ -f "$list" ] || fail 2 "$list: no such file" "give the signer's list: --allowed-signers FILE"
[ -n "$prefix" ] || if [ -n "$user_mode" ]; then prefix=$HOME/ferry; else prefix=/opt/ferry; fi

[ ! -d "$prefix" ] || check_owner

work=''
trap '[ -z "$work" ] || rm -rf -- "$work"' EXIT
trap 'exit 130' HUP INT TERM
work=$(mktemp -d "$(absolute "${TMPDIR:-/tmp}")/ferry-XXXXXXXX" 2>/dev/null) ||
    fail 1 "no temporary folder can be made in ${TMPDIR:-/tmp}" "set TMPDIR to one with space"

[ -z "$parts" ] || order_parts "$@"
read_head
check_signatures
check_digest manifest.json
check_digest install.pyz
find_python

set -- "$interpreter" -I -B "$work/install.pyz" --prefix "$prefix" install "$@"
[ -z "$user_mode" ] || set -- "$@" --user-mode
[ -z "$python" ] || set -- "$@" --host-python
[ -z "$listen" ] || set -- "$@" --listen "$listen"
[ -z "$list" ] || set -- "$@" --allowed-signers "$list"
[ -z "$threshold" ] || set -- "$@" --threshold "$threshold"
[ -z "$accept_signers" ] || set -- "$@" --accept-signers "$accept_signers"
[ -z "$deadline" ] || set -- "$@" --deadline "$deadline"
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
