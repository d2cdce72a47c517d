"""Alerts as points of the ``event`` bucket, and back. Pure.

Every point has all fields, each of one type. The tag ``alert`` is the fingerprint: two alerts of
one second would else be one point. A point is written at each transition, and for what is open
again in every quarter, so that the last state of all is found near the end of a run.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from meterhouse_collector.alerts.book import Open
from meterhouse_collector.alerts.state import Key, Phase, Rule, State, Transition
from meterhouse_collector.alerts.words import subject_of
from meterhouse_collector.rows import NOBODY, Point

KIND: Final = "alert"
MEASUREMENT: Final = "event"
_SUBJECT_MAX: Final = 200

_ENCODER: Final = msgspec.json.Encoder()
_LABELS: Final = msgspec.json.Decoder(dict[str, str])
_PHASES: Final[dict[str, Phase]] = {"ok": "ok", "pending": "pending", "firing": "firing"}


def transition_point(site: str, transition: Transition) -> Point:
    """Return the point of a transition."""
    return _point(
        site,
        transition.key,
        Open(transition.rule, transition.state, transition.unit),
        transition.at_seconds,
        before=transition.before,
        reason=transition.reason,
        evidence=transition.evidence,
    )


def state_point(site: str, key: Key, entry: Open, at_seconds: float) -> Point:
    """Return the point that says where an open alert stands now."""
    phase = entry.state.phase
    return _point(site, key, entry, at_seconds, before=phase, reason=None, evidence={})


def _point(
    site: str,
    key: Key,
    entry: Open,
    at_seconds: float,
    *,
    before: Phase,
    reason: str | None,
    evidence: Mapping[str, float],
) -> Point:
    rule, state, unit = entry
    subject = dict(key.labels)
    tags = {
        "site": site,
        "node": subject.get("node", NOBODY),
        "device": subject.get("device", NOBODY),
        "kind": KIND,
        "alert": key.fingerprint,
        "alertname": rule.kind,
        # Not "severity": a tag and a field of one name hide each other.
        "urgency": rule.severity,
        "subject": subject_of(subject)[:_SUBJECT_MAX],
    }
    fields: dict[str, float | int | str | bool] = {
        "name": key.name,
        "rule_kind": rule.kind,
        "severity": rule.severity,
        "state": state.phase,
        "before": before,
        "since_seconds": float(state.since_seconds),
        "for_seconds": float(rule.for_seconds),
        # As a number too, for boards and rules: 1 while it fires.
        "firing": float(state.phase == "firing"),
        "value": float(state.value),
        "limit": float(state.limit),
        "unit": unit,
        "reason": reason or "",
        "labels": _ENCODER.encode(subject).decode(),
        "evidence": _ENCODER.encode(dict(evidence)).decode(),
        "fingerprint": key.fingerprint,
    }
    return Point("event", MEASUREMENT, tuple(sorted(tags.items())), fields, int(at_seconds))


def is_alert(point: Point, site: str) -> bool:
    """Tell whether a point of ``event`` is of an alert of this site."""
    return {("site", site), ("kind", KIND)} <= set(point.tags)


def last_states(points: Iterable[Point]) -> tuple[dict[Key, Open], int]:
    """Return what is open by the last point of each alert, and how many cannot be read."""
    last = {dict(p.tags)["alert"]: p for p in sorted(points, key=lambda p: p.start_seconds)}
    found: dict[Key, Open] = {}
    bad = 0
    for point in last.values():
        try:
            key, entry = _read(point.fields)
        except (KeyError, TypeError, ValueError, msgspec.MsgspecError):
            bad += 1
            continue
        if entry.state.phase != "ok":
            found[key] = entry
    return found, bad


def _read(fields: Mapping[str, float | int | str | bool]) -> tuple[Key, Open]:
    subject = _LABELS.decode(str(fields["labels"]))
    name, kind, severity, unit = (str(fields[n]) for n in ("name", "rule_kind", "severity", "unit"))
    since, for_, value, limit = (
        float(fields[n]) for n in ("since_seconds", "for_seconds", "value", "limit")
    )
    state = State(_PHASES[str(fields["state"])], since, value, limit)
    key = Key(name, tuple(sorted(subject.items())))
    return key, Open(Rule(name, kind, severity, for_), state, unit)
