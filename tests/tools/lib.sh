# What the scripts beside this file share; they read it with `.`.

cache=${METERHOUSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/meterhouse}
bin=$cache/bin
# Debian keeps the broker in /usr/sbin, which a user's PATH often leaves out.
PATH=$PATH:/usr/sbin

say() {
    echo "tools: $*"
}

die() {
    say "$*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# debian NAME...: installs those Debian packages, or says that they are missing.
debian() {
    { have apt-get && [ "$(id -u)" = 0 ]; } ||
        die "missing: $* (Debian's names); install them, or run this as root on Debian"
    mkdir -p "$cache/log"
    log=$cache/log/debian.log
    say "installing from Debian: $*; a minute or two; log: $log"
    {
        apt-get update &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
    } </dev/null >"$log" 2>&1 || die "apt-get failed: see $log"
}

# go_at_least MINOR: whether there is a Go 1.MINOR or newer.
go_at_least() {
    have go || return 1
    minor=$(go env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge "$1" ]
}

# once NAME: ends the script if NAME is on PATH or in the cache.
# A second run at the same time waits here, and then finds it built.
once() {
    { have "$1" || [ -x "$bin/$1" ]; } && exit 0
    mkdir -p "$bin" "$cache/log"
    exec 9>"$cache/$1.lock"
    flock 9
    [ ! -x "$bin/$1" ] || exit 0
}

# build_logged NAME TEXT: runs the script's `build` in a fresh folder, $work, where it leaves NAME.
build_logged() {
    log=$cache/log/$1.log
    say "building $2, once; log: $log"
    # What a killed build left; nobody else builds it now.
    rm -rf "$cache/$1".??????
    work=$(mktemp -d "$cache/$1.XXXXXX")
    trap 'status=$?; rm -rf "$work"; [ $status = 0 ] || say "building failed: see $log" >&2' EXIT
    trap 'exit 1' HUP INT TERM
    # A subshell of its own, not part of a condition: there `set -e` would not count.
    (cd "$work" && build) </dev/null >"$log" 2>&1
    mv "$work/$1" "$bin/$1"
}
