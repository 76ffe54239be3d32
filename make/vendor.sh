#!/bin/sh
# sh make/vendor.sh: take every file that service/web/static/vendor/README.md lists out of its npm package, and write the
# file's digest into the list. A licence text is written where none lies there yet; look at it: it may need those of others.
set -eu
cd "$(dirname -- "$0")/../service/web/static/vendor"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

awk -F ' *[|] *' 'NF == 7 && $3 ~ / [0-9]/ { sub(" ", "\t", $3); print $2 "\t" $3 "\t" $4 }' README.md >"$work/rows"
while IFS="$(printf '\t')" read -r file name version path; do
    package=$work/$(printf '%s-%s' "$name" "$version" | tr / _)
    if [ ! -d "$package" ]; then
        mkdir "$package"
        archive=$(cd "$work" && npm pack --silent "$name@$version")
        tar -xzf "$work/$archive" -C "$package" --strip-components 1
        text=${file%%.*}.LICENSE.txt
        [ -e "$text" ] || cat "$package"/[Ll][Ii][Cc][Ee][Nn][SsCc][Ee]* >"$text"
    fi
    mkdir -p "$(dirname -- "$file")"
    cp "$package/$path" "$file"
    chmod 644 "$file"
    digest=$(sha256sum <"$file")
    awk -F ' *[|] *' -v OFS=' | ' -v file="$file" -v digest="${digest%% *}" \
        '$2 == file { print "| " $2, $3, $4, $5, digest " |"; next } { print }' README.md >"$work/README.md"
    cat "$work/README.md" >README.md
done <"$work/rows"
