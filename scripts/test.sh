#!/usr/bin/env bash
# test.sh [--quick] [--all] [CTEST ARGUMENTS] - install what testing needs, check the sources, build, and run the
# tests. test.sh --fuzz [NAME...] - only the fuzz targets, or those named (worker is tests/fuzz/fuzz_worker.c).
#
# Stages: scripts/lint.sh; all tests on the release build; the C tests again under AddressSanitizer and
# UndefinedBehaviorSanitizer; one training step under valgrind. --quick stops after the second. --all adds the tests
# labelled full, which take minutes each (whole training curves; hundreds of faults in a cluster; ten minutes each of a
# busy machine and of feeding). It also adds a build and the C tests in a fresh Debian 13 (needs root and debootstrap),
# two million inputs for each fuzz target (a quarter of an hour for the two that speak with peers, minutes for the
# others), and an arm64 syntax check (needs its cross compiler). CTEST ARGUMENTS choose tests: -R NAME, -R worker.train,
# -L cluster. Skipped tests are listed at the end, with the reason.
#
# LSTMQ_DATA and LSTMQ_REFERENCE are the folders of the real pairs and of the reference curves. The defaults are
# ../shared/data and ../shared/reference; tests that need a missing folder are skipped.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root" || exit 1

quick='' all='' fuzz=''
while [ $# -gt 0 ]; do
    case "$1" in
    --quick) quick=yes ;;
    --all) all=yes ;;
    --fuzz) fuzz=yes ;;
    -h | --help) usage && exit 0 ;;
    *) break ;;
    esac
    shift
done

failed=() skipped=()
summary=$(mktemp) || die "no temporary file can be made in ${TMPDIR:-/tmp}"
trap 'rm -f "$summary"' EXIT
trap 'exit 130' INT TERM

skip() {
    say "SKIPPED: $*"
    skipped+=("$*")
}

# Set the variable to the first folder that exists, unless it is set; as an absolute path, because tests run elsewhere.
locate() {
    local name=$1 folder
    shift
    for folder in "${!name:-}" "$@"; do
        if [ -n "$folder" ] && [ -d "$folder" ]; then
            printf -v "$name" '%s' "$(cd "$folder" && pwd)"
            export "${name?}"
            return
        fi
    done
    unset "$name"
}

# Run the tests of a build folder, one more at a time than there are cores, because some mostly wait. Failed and skipped
# tests go into the lists.
run_ctest() {
    local preset=$1 name log=build/$1/Testing/Temporary/LastTest.log
    shift
    ctest --test-dir "build/$preset" --output-on-failure --parallel $(($(nproc) + 1)) "$@" 2>&1 | tee "$summary"
    local status=${PIPESTATUS[0]}
    [ "$status" -eq 0 ] || failed+=("$preset: $(grep -c '(Failed)\|(Timeout)\|(SEGFAULT)\|(Not Run)\|Exception' \
        "$summary") tests, named above")
    while read -r name; do
        skipped+=("$preset: $name")
    done < <(sed -n 's/.*Test *#[0-9]*: \([^ ]*\) .*\*\*\*Skipped.*/\1/p' "$summary"
             [ ! -f "$log" ] || sed -n "s/^\[  SKIPPED \] \([a-z0-9_]*\)\$/\1/p; s/^skipped: //p
                                        s/^\([a-z0-9_]*\) (.*) \.\.\. skipped '\(.*\)'\$/\1: \2/p" "$log" | sort -u)
}

# One epoch of one step on a few pairs. Valgrind has no AVX-512, so the kernels must use AVX2.
run_valgrind() {
    local folder status
    have valgrind || { skip "valgrind is not installed" && return; }
    folder=$(mktemp -d) || return
    head -n 40 tests/parity/tiny.tsv >"$folder/pairs.tsv"
    ONEDNN_MAX_CPU_ISA=AVX2 DNNL_MAX_CPU_ISA=AVX2 valgrind --quiet --error-exitcode=99 --leak-check=full \
        --show-leak-kinds=definite --errors-for-leak-kinds=definite \
        build/release/lstmq train --data.pairs "$folder/pairs.tsv" --run.dir "$folder/run" --train.epochs 1 \
        --train.batch 64 --model.embed 8 --model.hidden 16 --train.threads 1 --run.progress none >"$folder/log" 2>&1
    status=$?
    if [ $status -ne 0 ]; then
        tail -n 60 "$folder/log" >&2
        failed+=("valgrind: one training step, exit status $status")
    else
        say "one training step: no error, no leak"
    fi
    rm -rf "$folder"
}

# Build and run the C tests in a separate Debian 13, kept in build/debian13 for the next time.
run_debian13() {
    local system=$root/build/debian13
    [ "$(id -u)" -eq 0 ] || { skip "Debian 13: debootstrap needs root" && return; }
    have debootstrap || { skip "Debian 13: debootstrap is not installed" && return; }
    if [ ! -e "$system/complete" ]; then
        rm -rf "$system"
        mkdir -p "$root/build"
        debootstrap --variant=minbase trixie "$system" >"$root/build/debian13.log" 2>&1 || {
            tail -n 5 "$root/build/debian13.log" >&2
            skip "Debian 13: debootstrap could not make it; its output is in build/debian13.log"
            return
        }
        touch "$system/complete"
    fi
    cp /etc/resolv.conf /etc/hosts "$system/etc/" 2>/dev/null
    mkdir -p "$system/lstmq"
    # The build folder stays, so that the next time is quick; deleted sources must be removed.
    find "$system/lstmq" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
    git ls-files -z | tar --null --ignore-failed-read -T - -cf - | tar -xf - -C "$system/lstmq"
    # Mount /proc and /dev in a mount namespace that ends with the command, if that is permitted.
    local enter=(chroot "$system")
    if unshare --mount true 2>/dev/null; then
        # shellcheck disable=SC2016
        enter=(unshare --mount sh -c 'mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; exec chroot "$0" "$@"'
            "$system")
    fi
    # shellcheck disable=SC2016
    "${enter[@]}" /bin/bash -c 'cd /lstmq && scripts/dependencies.sh build &&
        { dpkg-query -W libcmocka-dev >/dev/null 2>&1 ||
          DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends libcmocka-dev >/dev/null; } &&
        . scripts/lib.sh && build release &&
        ctest --test-dir build/release -L "^c$" --output-on-failure --parallel "$(nproc)"' ||
        failed+=("Debian 13: the lines above say why")
}

# Run one fuzz target with FUZZ_INPUTS inputs, divided among one process for each core. It starts from tests/fuzz/corpus
# and from the inputs found earlier, kept in build/fuzz/corpus. Inputs that break the target are left in build/fuzz. It
# fails if an input breaks the target, or if FUZZ_SECONDS end before FUZZ_INPUTS are done.
: "${FUZZ_INPUTS:=2000000}" "${FUZZ_SECONDS:=3600}"
run_fuzzer() {
    local name=$1 target=build/fuzz/tests/fuzz/fuzz_$1 kept=build/fuzz/corpus/$1
    local processes i pids=() done=0 broken='' begun=$SECONDS
    local options=(-max_total_time=$FUZZ_SECONDS -timeout=10 -rss_limit_mb=1024 -print_final_stats=1
                   -artifact_prefix="build/fuzz/$1-")
    [ -x "$target" ] || { failed+=("fuzz: there is no $target") && return; }
    # Short scripts of messages, all equally useful.
    case $name in coordinator | worker) options+=(-max_len=256 -entropic=0) ;; esac
    processes=$(nproc)
    mkdir -p "$kept"
    for ((i = 1; i <= processes; i++)); do
        "$target" -runs=$(((FUZZ_INPUTS + processes - 1) / processes)) "${options[@]}" \
            "$kept" "tests/fuzz/corpus/$name" >"$target.$i.log" 2>&1 &
        pids+=($!)
    done
    trap 'kill "${pids[@]}" 2>/dev/null; exit 130' INT TERM
    for ((i = 1; i <= processes; i++)); do
        wait "${pids[i - 1]}" || {
            broken=yes
            tail -n 40 "$target.$i.log" >&2
            failed+=("fuzz: $name, all of its output is in $target.$i.log")
        }
        done=$((done + $(sed -n 's/^stat::number_of_executed_units: *//p' "$target.$i.log" | tail -n 1 | grep . ||
            echo 0)))
    done
    trap 'exit 130' INT TERM
    say "fuzz_$name: $done inputs in $((SECONDS - begun)) s"
    [ -n "$broken" ] || [ "$done" -ge "$FUZZ_INPUTS" ] || failed+=("fuzz: $name, only $done of $FUZZ_INPUTS inputs")
}

# The targets named, or all.
run_fuzzers() {
    local source name
    if ! have clang; then
        [ -z "$fuzz" ] || die "the fuzz targets need clang, which is not installed"
        skip "fuzz targets: clang is not installed"
        return
    fi
    build fuzz
    [ $# -gt 0 ] || for source in tests/fuzz/fuzz_*.c; do
        name=${source##*/fuzz_}
        set -- "$@" "${name%.c}"
    done
    for name in "$@"; do
        run_fuzzer "$name"
    done
}

# The sources must also pass a compiler for arm64. It needs no arm64 libraries, because it checks only syntax and types.
run_arm64() {
    local compiler=aarch64-linux-gnu-gcc source bad=0
    have $compiler || { skip "arm64: $compiler is not installed (gcc-aarch64-linux-gnu)" && return; }
    while read -r source; do
        $compiler -std=c11 -D_GNU_SOURCE -fsyntax-only -I. -Ibuild/release/generated -idirafter /usr/include \
            -idirafter /usr/include/x86_64-linux-gnu -DREPORT_TEMPLATE_PATH='""' -DREPORT_CHART_JS_PATH='""' \
            "$source" || bad=$((bad + 1))
    done < <(git ls-files 'proto/*.c' 'kernels/*.c' 'worker/*.c' 'coordinator/*.c' main.c)
    [ $bad -eq 0 ] && say "every source passes" || failed+=("arm64: $bad sources")
}

# Print what was skipped and what failed, and exit.
finish() {
    printf '\n'
    [ ${#skipped[@]} -eq 0 ] || printf 'Skipped: %s\n' "${skipped[@]}"
    [ ${#failed[@]} -eq 0 ] || printf 'FAILED: %s\n' "${failed[@]}"
    [ ${#failed[@]} -eq 0 ] || exit 1
    printf 'All tests passed in %d min %02d s.\n' $((SECONDS / 60)) $((SECONDS % 60))
    exit 0
}

scripts/dependencies.sh test || exit
if [ -n "$fuzz" ]; then
    stage "Fuzz targets"
    run_fuzzers "$@"
    finish
fi
locate LSTMQ_DATA ../shared/data
locate LSTMQ_REFERENCE ../shared/reference
[ -n "${LSTMQ_DATA:-}" ] || skipped+=("what needs the real pairs (LSTMQ_DATA names no folder)")
[ -n "${LSTMQ_REFERENCE:-}" ] || skipped+=("what needs the reference curves (LSTMQ_REFERENCE names no folder)")

stage "Lint"
scripts/lint.sh || failed+=("lint: the lines above name file, line and rule")
have clang-format-14 || skipped+=("formatting (clang-format-14 is not installed)")

stage "Building: release"
build release
stage "All tests"
if [ -n "$all" ]; then
    run_ctest release --no-tests=error "$@"
else
    run_ctest release --no-tests=error -LE '^full$' "$@"
    skipped+=("tests that take minutes each: training curves, faults, a busy machine, feeding (scripts/test.sh --all)")
fi
if [ -z "$quick" ]; then
    stage "Building: with sanitizers"
    build asan -- -DLSTMQ_WERROR=ON
    stage "C tests under AddressSanitizer and UndefinedBehaviorSanitizer"
    UBSAN_OPTIONS=print_stacktrace=1 run_ctest asan -L '^c$' "$@"
    stage "Valgrind"
    run_valgrind
fi
if [ -n "$all" ]; then
    stage "Debian 13"
    run_debian13
    stage "Fuzz targets"
    run_fuzzers
    stage "arm64"
    run_arm64
fi

finish
