#!/usr/bin/env bash
# dependencies.sh [build|test] - install what the build needs (build, the default), and what the tests need too (test).
#
# For Debian 12, Debian 13 and Ubuntu 24.04, with apt, without recommended packages; enables no service. If nothing is
# missing it returns at once, without output. LSTMQ_APT_WAIT: seconds to wait for another apt (default 120).
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A word is a package, or several names of one package, separated by |: the first that this system has is used.
build_packages="gcc libc6-dev cmake ninja-build pkg-config git curl ca-certificates unzip libzmq3-dev
    libmsgpack-c-dev|libmsgpack-dev libdnnl-dev libutf8proc-dev libyaml-dev libjansson-dev libxxhash-dev zlib1g-dev
    libmicrohttpd-dev libjs-chart.js libexttextcat-dev libexttextcat-data"
test_packages="libcmocka-dev python3 iproute2 python3-zmq python3-msgpack python3-yaml valgrind fonts-dejavu-core"
# Where one of these is missing, the tests that need it are skipped, and the summary says so. Ubuntu has Chromium only
# as a snap, Debian 13 has no clang-format-14.
optional_packages="chromium clang-format-14 zsh fish shellcheck python3-prometheus-client python3-html5lib python3-pip
    python3-setuptools python3-venv g++"
# These bring a service. They are installed only where no systemd runs, as in a container, so that none starts.
service_packages="prometheus systemd"

# Print the arguments of which no name is installed.
missing() {
    local word
    for word in "$@"; do
        # shellcheck disable=SC2086
        dpkg-query -W -f '${db:Status-Status}\n' ${word//|/ } 2>/dev/null | grep -qx installed || printf '%s\n' "$word"
    done
}

# Print for each word the first of its names that apt knows.
names_of() {
    local word name
    for word in "$@"; do
        for name in ${word//|/ }; do
            if apt-cache policy "$name" 2>/dev/null | grep -q 'Candidate: [^(]'; then
                break
            fi
        done
        printf '%s\n' "$name"
    done
}

# Whether apt would install a real package, not a launcher of a snap.
is_installable() {
    apt-cache policy "$1" 2>/dev/null | grep 'Candidate: [^(]' | grep -qv snap
}

# Run apt-get as root; its output goes to $log. While another process holds apt's lock, wait and name the process.
apt_get() {
    local deadline=$((SECONDS + ${LSTMQ_APT_WAIT:-120})) told='' holder
    while ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Acquire::Retries=2 \
        -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 -o DPkg::Lock::Timeout=0 "$@" >"$log" 2>&1; do
        grep -q 'Could not get lock\|Unable to lock\|Unable to acquire the dpkg' "$log" || return 1
        holder=$(grep -o 'held by process [0-9]*\( ([^)]*)\)\?' "$log" | head -n 1)
        if [ $SECONDS -ge $deadline ]; then
            die "apt's lock is still ${holder:-held by another process}; let it finish, then run this again"
        fi
        [ -n "$told" ] || say "apt's lock is ${holder:-held by another process}: waiting up to ${LSTMQ_APT_WAIT:-120} s"
        told=yes
        sleep 2
    done
}

# Explain why apt failed, in one line if the reason is a common one.
explain() {
    if grep -q -e 'Could not resolve' -e 'Temporary failure' -e 'Failed to fetch' -e 'Unable to fetch' \
        -e 'Could not connect' -e 'Unable to locate' -e 'has no installation candidate' "$log"; then
        die "apt could not get these packages: $*. Is there a network? Connect and run this again"
    fi
    tail -n 20 "$log" >&2
    die "apt-get install failed; its last lines are above"
}

case "${1:-build}" in
build) wanted=$build_packages optional= ;;
test)
    wanted="$build_packages $test_packages" optional=$optional_packages
    [ -d /run/systemd/system ] || optional="$optional $service_packages"
    ;;
-h | --help) usage && exit 0 ;;
*) usage >&2 && exit 2 ;;
esac

if ! have dpkg-query || ! have apt-get; then
    # shellcheck disable=SC2086
    die "this is neither Debian nor Ubuntu; install the counterparts of:" $wanted
fi
# shellcheck disable=SC2086
needed=$(missing $wanted) optional=$(missing $optional)
[ -n "$needed" ] || [ -n "$optional" ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if have sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        as_root=(sudo)
    elif [ -n "$needed" ]; then
        # shellcheck disable=SC2046,SC2086
        die "packages are missing and there is no root or sudo to install them; as root, run:" \
            "apt-get install --no-install-recommends" $(names_of $needed)
    else
        exit 0
    fi
fi

log=$(mktemp) || die "no temporary file can be made in ${TMPDIR:-/tmp}"
trap 'rm -f "$log"' EXIT
if [ -n "$needed" ]; then
    # shellcheck disable=SC2086
    stage "Installing" ${needed//|/ or }
    apt_get update || say "apt-get update failed; continuing with the present package lists"
    # shellcheck disable=SC2046,SC2086
    apt_get install --no-install-recommends $(names_of $needed) || explain $needed
fi
for package in $optional; do
    if is_installable "$package"; then
        stage "Installing $package"
        apt_get install --no-install-recommends "$package" ||
            say "$package could not be installed: the tests that need it will be skipped"
    fi
done
exit 0
