#!/bin/sh
# Builds influxd into the cache, unless it is there or on PATH.
set -eu
. "$(dirname "$0")/lib.sh"

version=v2.7.12
influxdb=github.com/influxdata/influxdb/v2
nats=github.com/nats-io/nats-streaming-server
nats_fork=github.com/influxdata/nats-streaming-server
pkg_config=github.com/influxdata/pkg-config

build() {
    # Its Rust part turns warnings into errors, and newer compilers warn of more.
    printf '%s\n' '#!/bin/sh' 'case " $* " in' \
        '*" --cap-lints"*) exec "$@" ;;' \
        '*) exec "$@" --cap-lints warn ;;' 'esac' >rustc-wrapper
    chmod +x rustc-wrapper
    GOBIN=$work go install "$pkg_config@v0.2.14"
    mkdir module
    cd module
    go mod init meterhouse.invalid/influxd
    go mod edit -require "$influxdb@$version" \
        -replace "$nats@v0.11.2=$nats_fork@v0.11.3-0.20201112040610-c277f7560803"
    # Its Rust part names a toolchain of its own, which rustup would have to fetch.
    PKG_CONFIG=$work/pkg-config RUSTC_WRAPPER=$work/rustc-wrapper \
        RUSTUP_TOOLCHAIN=${RUSTUP_TOOLCHAIN:-stable} \
        go build -mod=mod -trimpath -ldflags "-s -w -X main.version=$version" \
        -o "$work/influxd" "$influxdb/cmd/influxd"
}

once influxd
go_at_least 23 || die "missing: Go 1.23 or newer, to build influxd $version; install Go, or put an influxd 2.7 on PATH"
{ have cargo && have rustc; } || die "missing: stable Rust (cargo, rustc), to build influxd $version; install Rust, or put an influxd 2.7 on PATH"
lacking=
have clang || lacking="$lacking clang"
have gcc || lacking="$lacking gcc libc6-dev"
have pkg-config || lacking="$lacking pkg-config"
# shellcheck disable=SC2086  # it is a list of words
[ -z "$lacking" ] || debian $lacking
build_logged influxd "influxd $version: about 5 minutes on two cores"
