#!/bin/sh
# Makes .venv afresh with what requirements.lock pins, and no more.
set -eu
cd "$(dirname "$0")/../.."
. tests/tools/lib.sh

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    die "missing: Python 3.11 or newer as $python; name another with make PYTHON=..."
# Debian's python3 comes with the venv module, but not with the pip that goes into one.
"$python" -c 'import ensurepip, venv' 2>/dev/null || debian python3-venv
say "making .venv from requirements.lock: a minute or two"
# A run that was cut short leaves a folder that looks whole.
rm -rf .venv
"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --require-hashes -r requirements.lock
