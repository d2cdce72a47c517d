#!/bin/sh
# Asks whether a locked package has a known vulnerability. Where the answer cannot be had it says
# "not run" and why, and fails nothing; it never says that all is well without having asked.
set -eu
cd "$(dirname "$0")/../.."
. tests/tools/lib.sh

not_run() {
    say "audit: not run: $*"
    exit 0
}

folder=build/audit
[ -x $folder/bin/pip-audit ] || {
    "${PYTHON:-python3}" -m venv $folder 2>/dev/null || not_run "no virtual environment can be made"
    $folder/bin/python -m pip install --quiet --disable-pip-version-check pip-audit \
        >$folder/install.log 2>&1 || not_run "pip-audit cannot be installed: see $folder/install.log"
}
# As they are pinned, on every platform: nothing is resolved or installed for the question.
status=0
$folder/bin/pip-audit --strict --require-hashes --disable-pip --progress-spinner off \
    --timeout 30 -r requirements.lock >$folder/report.txt 2>$folder/audit.log || status=$?
if [ "$status" = 0 ] && grep -q '^No known vulnerabilities found' $folder/audit.log; then
    say "audit: no known vulnerabilities in requirements.lock"
elif grep -q '^Found [0-9]* known vulnerabilit' $folder/audit.log; then
    cat $folder/report.txt
    die "audit: $(grep -m1 '^Found' $folder/audit.log)"
else
    not_run "$(grep -v '^ *$' $folder/audit.log | tail -n 1 | sed "s,^ERROR:[a-z_.]*:,," | cut -c 1-200)"
fi
