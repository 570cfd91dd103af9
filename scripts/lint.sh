#!/usr/bin/env bash
# lint.sh [FOLDER] - check how the tree is written: words, lines, formatting, names, includes. A few seconds.
#
# FOLDER is a git checkout, by default this one. Each finding is a line "FILE:LINE: RULE: WHAT", and any finding makes
# the exit status 1. The rules stand in scripts/lint.py, the words to avoid in scripts/lint_words.txt. Formatting is
# checked by clang-format 14, which scripts/dependencies.sh test installs; another version formats some lines in another
# way.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
-h | --help) usage && exit 0 ;;
esac
scripts=$root/scripts
cd "${1:-$root}" || exit 1

status=0
python3 "$scripts/lint.py" || status=1
if have clang-format-14; then
    git ls-files -z --cached --others --exclude-standard '*.c' '*.h' |
        xargs -0 -r -n 32 -P "$(nproc)" clang-format-14 --style="file:$root/.clang-format" --dry-run --Werror 2>&1 |
        sed -n 's/^\([^ ]*:[0-9]*\):[0-9]*: .*/\1: format: run clang-format-14 -i on this file/p' |
        sort -u -t: -k1,1 | grep . && status=1
else
    say "clang-format-14 is not installed: formatting is not checked (scripts/dependencies.sh test installs it)"
fi
exit $status
