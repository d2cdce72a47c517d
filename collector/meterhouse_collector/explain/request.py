"""What is asked for: a KPI by its name, an instant, and a group. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Final, Literal
from zoneinfo import ZoneInfo

from meterhouse_collector.explain.model import Period
from meterhouse_collector.explain.sides import fields_in
from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES, Kpi
from meterhouse_collector.kpi.compute import FUNCTIONS
from meterhouse_collector.kpi.live_kpis import LIVE_KPIS
from meterhouse_collector.site.index import GroupKey

WindowKind = Literal["quarter", "interval"]


def _is_of_sums(row: Kpi) -> bool:
    names = (*fields_in(row.numerator), *fields_in(row.denominator))
    return row.name in FUNCTIONS and set(ROLLUP_FIELD_NAMES).issuperset(names)


# Quantiles of latency are of buckets, which no sums of rollups hold.
ROWS: Final = {row.name: row for row in LIVE_KPIS if _is_of_sums(row)}


class ExplainError(ValueError):
    """What cannot be asked for, in one line; the exit code is that of wrong arguments."""


class NoRowsError(Exception):
    """Nothing is known of what was asked for; the text says which rows were looked for."""


def check_name(name: str) -> None:
    """Raise ``ExplainError`` with the closest names where no KPI has this one."""
    if name in ROWS:
        return
    close = get_close_matches(name, ROWS, n=3, cutoff=0.4)
    meant = f"did you mean {' or '.join(close)}?" if close else "--list shows them"
    raise ExplainError(f"no KPI that can be explained has the name {name}: {meant}")


def instant(text: str, time_zone: str, now_seconds: float) -> float:
    """Return the Unix time of ``now``, of a local time of the site, or of one with an offset.

    Raises ``ExplainError`` for what is no time, or is twice or never on its day.
    """
    if text == "now":
        return now_seconds
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ExplainError(
            f"{text!r} is no time: give 2026-05-17T03:05, 2026-05-17T01:05Z, or now"
        ) from None
    if found.tzinfo is not None:
        return found.timestamp()
    zone = ZoneInfo(time_zone)
    both = [found.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
    if both[0].utcoffset() != both[1].utcoffset():
        was = both[0].astimezone(UTC).astimezone(zone).replace(tzinfo=None) == found
        told = " or ".join(each.isoformat() for each in both)
        what = f"is there twice: give {told}" if was else "is skipped there"
        raise ExplainError(f"{text} in {time_zone} {what}")
    return both[0].timestamp()


def period(kind: WindowKind, at_seconds: float, length_seconds: int, time_zone: str) -> Period:
    """Return the window of the grid that contains an instant."""
    start = int(at_seconds // length_seconds) * length_seconds
    zone = ZoneInfo(time_zone)
    begins = datetime.fromtimestamp(start, zone)
    ends = (begins.astimezone(UTC) + timedelta(seconds=length_seconds)).astimezone(zone)
    changed = "" if begins.tzname() == ends.tzname() else f" {begins:%Z}"
    return Period(
        kind=kind,
        start_seconds=start,
        end_seconds=start + length_seconds,
        start_utc=utc(start),
        local=f"{begins:%Y-%m-%d %H:%M:%S}{changed} to {ends:%H:%M:%S %Z}",
        time_zone=time_zone,
    )


def utc(at_seconds: float) -> str:
    """Return an instant for people and programs alike."""
    return datetime.fromtimestamp(at_seconds, UTC).isoformat().replace("+00:00", "Z")


def groups(texts: Sequence[str]) -> dict[str, str]:
    """Return the tags of ``--group``; raise ``ExplainError`` for what a group does not have."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value or name not in GroupKey._fields:
            allowed = ", ".join(GroupKey._fields)
            raise ExplainError(f"--group {text}: give TAG=VALUE with a tag of {allowed}")
        if found.setdefault(name, value) != value:
            raise ExplainError(f"--group {name} is given twice")
    return found


def matches(group: GroupKey, wanted: Mapping[str, str]) -> bool:
    """Tell whether a group has all tags that are asked for."""
    return all(getattr(group, name) == value for name, value in wanted.items())
