# shellcheck shell=bash
# lib.sh - shared functions; sourced, never run. Progress and messages go to stderr, results to stdout.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

# A heading between the stages of a script; bold on a terminal.
stage() {
    if [ -t 2 ]; then printf '\033[1m==> %s\033[0m\n' "$*" >&2; else printf '==> %s\n' "$*" >&2; fi
}

# Print one line, what went wrong and what to do, then exit 1.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# The opening comment of the calling script is its help.
usage() {
    sed -n '2,/^[^#]/{/^#/!q;s/^# \{0,1\}//;p}' "$0"
}

have() { command -v "$1" >/dev/null 2>&1; }

# Configure and build a preset: build PRESET TARGET... [-- CMAKE OPTIONS]. Compiler output is shown when it fails.
build() {
    local preset=$1 targets=() log
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        targets+=("$1")
        shift
    done
    [ $# -eq 0 ] || shift
    log=$root/build/$preset.log
    mkdir -p "$root/build" || die "cannot make $root/build"
    (cd "$root" && cmake --preset "$preset" "$@") >"$log" 2>&1 || {
        cat "$log" >&2
        die "configuring the $preset build failed; the lines above say why"
    }
    (cd "$root" && cmake --build --preset "$preset" ${targets[0]:+--target "${targets[@]}"}) >>"$log" 2>&1 || {
        grep -v '^\[[0-9]*/[0-9]*\] \(Building\|Linking\)' "$log" | tail -n 60 >&2
        die "the $preset build failed; all of its output is in $log"
    }
}
