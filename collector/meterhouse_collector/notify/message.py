"""An alert as Alertmanager and a webhook are told of it. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from meterhouse_collector.alerts.book import Open
from meterhouse_collector.alerts.state import Key
from meterhouse_collector.alerts.words import Links, board_link, row_of, runbook_link, summary

VERSION: Final = 1
# What is not repeated for so many times is over, and never sooner than Alertmanager would say.
REPEATS: Final = 4
ENDS_AFTER_SECONDS: Final = 300.0
_ENCODER: Final = msgspec.json.Encoder()

Json = dict[str, object]


class Message(NamedTuple):
    """All that is told of one alert; without ``ends_seconds`` it fires."""

    key: Key
    kind: str
    severity: str
    starts_seconds: float
    value: float
    limit: float
    unit: str
    ends_seconds: float | None = None


def message_of(key: Key, entry: Open) -> Message:
    """Return what is to be told of an alert that fires."""
    rule, state, unit = entry
    return Message(
        key, rule.kind, rule.severity, state.since_seconds, state.value, state.limit, unit
    )


def alertmanager_body(messages: Sequence[Message], ends_seconds: float, links: Links) -> bytes:
    """Return the body of ``POST /api/v2/alerts``; what fires ends then unless it is repeated."""
    return _ENCODER.encode(
        [
            {
                "labels": _labels(message),
                "annotations": {
                    "summary": _summary(message),
                    "dashboard_url": _board(message, links),
                    "runbook_url": runbook_link(row_of(message.kind), links),
                    "value": f"{message.value:g}",
                    "limit": f"{message.limit:g}",
                },
                "startsAt": _rfc3339(message.starts_seconds),
                "endsAt": _rfc3339(
                    ends_seconds if message.ends_seconds is None else message.ends_seconds
                ),
                **_generator(message, links),
            }
            for message in messages
        ]
    )


def webhook_body(messages: Sequence[Message], links: Links) -> bytes:
    """Return what a webhook is told: ``fingerprint`` and ``starts_at`` together name an alert."""
    return _ENCODER.encode(
        {"version": VERSION, "alerts": [_webhook_alert(message, links) for message in messages]}
    )


def _webhook_alert(message: Message, links: Links) -> Json:
    return {
        "status": "firing" if message.ends_seconds is None else "resolved",
        "fingerprint": message.key.fingerprint,
        "labels": _labels(message),
        "summary": _summary(message),
        "value": message.value,
        "limit": message.limit,
        "unit": message.unit,
        "starts_at": _rfc3339(message.starts_seconds),
        "ends_at": None if message.ends_seconds is None else _rfc3339(message.ends_seconds),
        "dashboard_url": _board(message, links),
        "runbook_url": runbook_link(row_of(message.kind), links),
    }


def _board(message: Message, links: Links) -> str:
    return board_link(row_of(message.kind), links, dict(message.key.labels).get("site", ""))


def _labels(message: Message) -> dict[str, str]:
    return {
        **dict(message.key.labels),
        "alertname": message.kind,
        "severity": message.severity,
        "rule": message.key.name,
    }


def _summary(message: Message) -> str:
    return summary(
        row_of(message.kind),
        dict(message.key.labels),
        value=message.value,
        limit=message.limit,
        unit=message.unit,
    )


def _generator(message: Message, links: Links) -> Json:
    # Alertmanager refuses what is no address.
    if not links.boards:
        return {}
    return {"generatorURL": _board(message, links)}


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def repeated_until(now_seconds: float, repeat_seconds: float) -> float:
    """Return when an alert is over that is told of now and never again."""
    return now_seconds + max(ENDS_AFTER_SECONDS, REPEATS * repeat_seconds)
