#!/usr/bin/env bash
# data.sh [--out DIR] [--sample] - find English-French sentence pairs and print the path of the file.
#
# It uses the first of: DIR/fra.txt from an earlier call; fra-eng.zip, fra.txt or eng-fra.txt in the folder LSTMQ_DATA;
# a download (the PyTorch tutorial's archive, then manythings.org); pairs generated from a small grammar, which the next
# call tries to replace. DIR is .data in the checkout. DIR/EDITION describes the file. --sample: the generated pairs.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

out=$root/.data
sample=
while [ $# -gt 0 ]; do
    case "$1" in
    --out) [ $# -ge 2 ] || die "--out needs a folder"; out=$2 && shift ;;
    --sample) sample=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done

reference_edition=2546838ae46e0eac4c02ab7032ea0a02a006074a5340077a36a9444f41e02888
browser="Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

mkdir -p "$out" 2>/dev/null || die "cannot make the folder $out"
out=$(cd "$out" && pwd)
temporary=$(mktemp -d "$out/.partial.XXXXXX") || die "cannot write in $out"
trap 'rm -rf "$temporary"' EXIT
trap 'exit 130' INT TERM

# Unpack one member of an archive into a file. Fails, with a line that says why, if the archive is truncated or damaged.
unpack() {
    local archive=$1 member=$2 target=$3
    if have unzip; then
        unzip -p "$archive" "$member" >"$target" 2>/dev/null
    elif have python3; then
        (cd "$temporary" && python3 -m zipfile -e "$archive" unpacked) 2>/dev/null &&
            mv "$temporary/unpacked/$member" "$target"
    elif have busybox; then
        busybox unzip -p "$archive" "$member" >"$target" 2>/dev/null
    else
        say "cannot open $archive: unzip, python3 and busybox are all missing; scripts/dependencies.sh installs unzip"
        return 1
    fi && [ -s "$target" ] && return 0
    rm -f "$target"
    say "$archive is truncated, damaged or no archive with $member in it"
    return 1
}

# Whether a file looks like sentence pairs: its first line has a TAB.
is_pairs() {
    [ -s "$1" ] && head -n 1 "$1" | grep -q "$(printf '\t')" && return 0
    say "$1 holds no pairs: a line must be SOURCE TAB TARGET"
    return 1
}

licence() {
    say "The pairs come from the Tatoeba project through www.manythings.org/anki."
    say "Their licence is CC BY 2.0 (France):"
    say "https://creativecommons.org/licenses/by/2.0/fr/. Attribution: www.manythings.org/anki and tatoeba.org."
}

from_folder() {
    local folder=$1 name
    [ -d "$folder" ] || {
        say "LSTMQ_DATA=$folder is not a folder; looking elsewhere"
        return 1
    }
    folder=$(cd "$folder" && pwd)
    if [ -f "$folder/fra-eng.zip" ]; then
        unpack "$folder/fra-eng.zip" fra.txt "$temporary/fra.txt" && is_pairs "$temporary/fra.txt" && licence &&
            return 0
    fi
    for name in fra.txt eng-fra.txt; do
        [ -f "$folder/$name" ] && is_pairs "$folder/$name" && cp "$folder/$name" "$temporary/fra.txt" && return 0
    done
    say "LSTMQ_DATA=$folder has no usable fra-eng.zip, fra.txt or eng-fra.txt; looking elsewhere"
    return 1
}

# download URL MEMBER: into the temporary folder, so that no later call finds a partial file.
download() {
    say "Downloading $1"
    curl -fsSL -A "$browser" --connect-timeout 10 --speed-time 20 --speed-limit 2000 --max-time 600 \
        -o "$temporary/archive.zip" "$1" 2>"$temporary/curl.log" || {
        say "  $(tail -n 1 "$temporary/curl.log")"
        return 1
    }
    unpack "$temporary/archive.zip" "$2" "$temporary/fra.txt" && is_pairs "$temporary/fra.txt" && licence
}

from_network() {
    have curl || {
        say "curl is missing, so nothing can be downloaded; scripts/dependencies.sh installs it"
        return 1
    }
    download https://download.pytorch.org/tutorial/data.zip data/eng-fra.txt ||
        download https://www.manythings.org/anki/fra-eng.zip fra.txt
}

generate() {
    "$root/scripts/sample_pairs.sh" >"$temporary/fra.txt" || die "the sample could not be written to $temporary"
}

# A description of the pairs, by their checksum.
edition_of() {
    local sum lines sample
    sum=$(sha256sum <"$1" | cut -d ' ' -f 1)
    sample=$("$root/scripts/sample_pairs.sh" | sha256sum | cut -d ' ' -f 1)
    lines=$(wc -l <"$1" | tr -d ' ')
    case "$sum" in
    "$reference_edition") echo "the 2017 edition, $lines pairs, the one the reference curve was made with" ;;
    "$sample") echo "a generated sample, $lines pairs of a small grammar" ;;
    *) echo "another edition than the reference curve's, $lines pairs, sha256 $sum" ;;
    esac
}

finish() {
    local edition
    edition=$(edition_of "$out/fra.txt")
    { printf '%s\n' "$edition" >"$temporary/EDITION" && mv -f "$temporary/EDITION" "$out/EDITION"; } ||
        die "cannot write $out/EDITION"
    case "$edition" in
    "a generated sample"*)
        say "********************************************************************************"
        say "*  NOT REAL DATA: $edition."
        say "*  A model trained on it knows a few hundred words and no real French."
        say "*  For the real pairs: connect to the network and run scripts/data.sh again, or"
        say "*  put fra-eng.zip (www.manythings.org/anki) in a folder and name it in LSTMQ_DATA."
        say "********************************************************************************"
        ;;
    *) say "Sentence pairs: $edition" ;;
    esac
    printf '%s\n' "$out/fra.txt"
}

if [ -z "$sample" ] && [ -s "$out/fra.txt" ] && is_pairs "$out/fra.txt"; then
    case "$(edition_of "$out/fra.txt")" in
    "a generated sample"*) ;;
    *) finish && exit 0 ;;
    esac
fi
if [ -n "$sample" ]; then
    generate
elif [ -n "${LSTMQ_DATA:-}" ] && from_folder "$LSTMQ_DATA"; then
    :
elif ! from_network; then
    generate
fi
mv -f "$temporary/fra.txt" "$out/fra.txt" || die "cannot write $out/fra.txt"
finish
