#!/bin/sh
# Builds Telegraf into the cache, unless it is there or on PATH; only `make bench` uses it.
set -eu
. "$(dirname "$0")/lib.sh"

version=v1.37.2
telegraf=github.com/influxdata/telegraf
# Only what the benchmark needs: the whole has hundreds of plugins.
tags=custom,inputs.mqtt_consumer,outputs.influxdb_v2,parsers.influx

build() {
    mkdir module
    cd module
    go mod init meterhouse.invalid/telegraf
    go mod edit -require "$telegraf@$version"
    CGO_ENABLED=0 go build -mod=mod -trimpath -tags "$tags" \
        -ldflags "-s -w -X $telegraf/internal.Version=${version#v}" \
        -o "$work/telegraf" "$telegraf/cmd/telegraf"
}

once telegraf
go_at_least 25 || die "missing: Go 1.25 or newer, to build telegraf $version"
build_logged telegraf "telegraf $version: about a minute on two cores"
