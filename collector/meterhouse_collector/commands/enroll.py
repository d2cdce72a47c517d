"""The command ``enroll``: keys and certificates from a local authority, and their end."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography import x509

from meterhouse_collector.commands.books import UsageError
from meterhouse_collector.enroll.authority import (
    AUTHORITY_DAYS,
    CERTIFICATE_DAYS,
    COLLECTOR,
    Role,
    name_fault,
)
from meterhouse_collector.enroll.folder import Folder


class _Places(NamedTuple):
    """Where the files of a role belong on its machine."""

    key: str
    certificate: str
    authority: str
    revocations: str | None = None


_DAYS_MAX: Final = 36_500
_PLACES: Final[dict[Role, _Places]] = {
    "node": _Places(
        "/etc/meterhouse/node.key", "/etc/meterhouse/node.pem", "/etc/meterhouse/ca.pem"
    ),
    "collector": _Places(
        "/etc/meterhouse/collector.key", "/etc/meterhouse/collector.pem", "/etc/meterhouse/ca.pem"
    ),
    "broker": _Places(
        "/etc/mosquitto/certs/broker.key",
        "/etc/mosquitto/certs/broker.pem",
        "/etc/mosquitto/certs/nodes-ca.pem",
        "/etc/mosquitto/certs/nodes-crl.pem",
    ),
}


def add_parser(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command ``enroll`` to the program."""
    parser = commands.add_parser(
        "enroll",
        parents=parents,
        help="make a node's key and certificate from a local authority, renew or revoke them",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("node", nargs="?", metavar="NODE", help="the node to make them for")
    what.add_argument("--collector", action="store_true", help="make the collector's")
    what.add_argument("--broker", metavar="HOST", help="make those of the broker, by its address")
    what.add_argument("--new-ca", action="store_true", help="make the authority itself, once")
    what.add_argument(
        "--revoke", metavar="NODE", help="put all certificates of a node on the list (CRL)"
    )
    parser.add_argument(
        "--ca-folder", type=Path, required=True, metavar="DIR", help="the authority's own folder"
    )
    parser.add_argument(
        "--days",
        type=_days,
        metavar="N",
        help=f"how long it is valid: by default {CERTIFICATE_DAYS}, an authority {AUTHORITY_DAYS}",
    )
    parser.add_argument(
        "--renew", action="store_true", help="replace the key and certificate that are there"
    )
    parser.set_defaults(do=_enroll)


def _days(text: str) -> int:
    days = int(text)
    if not 1 <= days <= _DAYS_MAX:
        raise ValueError
    return days


def _enroll(options: argparse.Namespace) -> int:
    folder, now = Folder(options.ca_folder), datetime.now(UTC)
    if options.renew and (options.new_ca or options.revoke is not None):
        raise UsageError(["--renew goes with NODE, --collector or --broker"])
    try:
        if options.new_ca:
            lines = _new_authority(folder, now, options.days or AUTHORITY_DAYS)
        elif options.revoke is not None:
            lines = _revoke(folder, now, options.revoke)
        else:
            lines = _identity(folder, now, options)
    except ValueError as error:
        raise UsageError([str(error)]) from None
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _new_authority(folder: Folder, now: datetime, days: int) -> list[str]:
    made = folder.make(now=now, days=days)
    return [
        f"authority made in {folder.path}, valid until {_date(made.certificate)}",
        f"keep {folder.path}/ca.key here: who has it can be any node, and the collector",
    ]


def _revoke(folder: Folder, now: datetime, name: str) -> list[str]:
    fault = name_fault(_client(name), name)
    if fault is not None:
        raise ValueError(fault)
    count = folder.revoke(name, now=now)
    to = _PLACES["broker"].revocations
    then = "and restart it: a reload would refuse only new connections"
    return [
        f"{name}: {count} certificates revoked",
        f"copy {folder.revocations} to the broker, {to}, {then}",
    ]


def _identity(folder: Folder, now: datetime, options: argparse.Namespace) -> list[str]:
    role, name = _who(options)
    days = options.days or CERTIFICATE_DAYS
    made = folder.enroll(role, name, renew=options.renew, now=now, days=days)
    paths, places = folder.paths(role, name), _PLACES[role]
    lines = [f"{name}: key and certificate made, valid until {_date(made.certificate)}"]
    for source, place, note in (
        (paths.key, places.key, ", readable by its user alone; then take it away here"),
        (paths.certificate, places.certificate, ""),
        (folder.certificate, places.authority, ""),
        (folder.revocations, places.revocations, ""),
    ):
        if place is not None:
            lines.append(f"copy {source} to the {role}, {place}{note}")
    return lines


def _who(options: argparse.Namespace) -> tuple[Role, str]:
    if options.collector:
        return "collector", COLLECTOR
    if options.broker is not None:
        return "broker", options.broker
    return "node", options.node


def _client(name: str) -> Role:
    return "collector" if name == COLLECTOR else "node"


def _date(certificate: x509.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%Y-%m-%d}"
