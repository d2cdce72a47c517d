#!/bin/sh
# Installs what the tests need from Debian, unless it is there.
set -eu
. "$(dirname "$0")/lib.sh"

lacking=
have mosquitto || lacking="$lacking mosquitto"
have gcc || lacking="$lacking gcc"
# gcc alone compiles nothing that includes a system header.
[ -e /usr/include/stdio.h ] || lacking="$lacking libc6-dev"
# Units are verified by systemd's own tool, certificates of tests made by openssl.
have systemd-analyze || lacking="$lacking systemd"
have openssl || lacking="$lacking openssl"
# One process under test gets a clock that can be stepped.
ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || lacking="$lacking libfaketime"
have chromium || lacking="$lacking chromium"
have nats-server || lacking="$lacking nats-server"
# promtool, which tests alert rules, comes with the server.
have promtool || lacking="$lacking prometheus"
have prometheus-alertmanager || lacking="$lacking prometheus-alertmanager"
[ -n "$lacking" ] || exit 0
# shellcheck disable=SC2086  # it is a list of words
debian $lacking
# Debian starts these as services; the tests start their own.
for server in mosquitto nats-server prometheus prometheus-alertmanager; do
    case " $lacking " in
    *" $server "*)
        service "$server" stop >/dev/null 2>&1 || true
        if have systemctl; then systemctl disable "$server" >/dev/null 2>&1 || true; fi
        ;;
    esac
done
