#!/bin/sh
# Installs nvitop-exporter into an environment of its own in the cache; only `make bench` uses it.
set -eu
. "$(dirname "$0")/lib.sh"

name=nvitop-exporter
[ ! -x "$cache/nvitop/bin/$name" ] || exit 0
mkdir -p "$bin" "$cache/log"
exec 9>"$cache/$name.lock"
flock 9
[ ! -x "$cache/nvitop/bin/$name" ] || exit 0
log=$cache/log/nvitop.log
say "installing $name; log: $log"
rm -rf "$cache/nvitop"
{
    "${PYTHON:-python3}" -m venv "$cache/nvitop" &&
        "$cache/nvitop/bin/python" -m pip install --disable-pip-version-check \
            nvitop-exporter==1.7.2 nvitop==1.7.2 nvidia-ml-py==13.615.71 \
            prometheus_client==0.26.0 psutil==7.2.2
} >"$log" 2>&1 || die "installing $name failed: see $log"
ln -sf "$cache/nvitop/bin/$name" "$bin/$name"
