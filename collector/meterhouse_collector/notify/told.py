"""What was told, as points of the ``event`` bucket, and back. Pure.

A point is written when a receiver took a message, and for what fires by its word again in every
quarter, so that it is found near the end of a run.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from meterhouse_collector.alerts.back import MEASUREMENT
from meterhouse_collector.alerts.state import Key
from meterhouse_collector.notify.due import Told
from meterhouse_collector.notify.message import Message
from meterhouse_collector.rows import NOBODY, Point

KIND: Final = "told"
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Message)


def told_point(site: str, receiver: str, message: Message, at_seconds: float) -> Point:
    """Return the point that says what a receiver was told last of an alert."""
    tags = {
        "site": site,
        "node": NOBODY,
        "device": NOBODY,
        "kind": KIND,
        "alert": message.key.fingerprint,
        "receiver": receiver,
    }
    fields: dict[str, float | int | str | bool] = {
        "state": "firing" if message.ends_seconds is None else "ok",
        "since_seconds": float(message.starts_seconds),
        "message": _ENCODER.encode(message).decode(),
    }
    return Point("event", MEASUREMENT, tuple(sorted(tags.items())), fields, int(at_seconds))


def is_told(point: Point, site: str) -> bool:
    """Tell whether a point of ``event`` says what somebody was told of this site's alerts."""
    return {("site", site), ("kind", KIND)} <= set(point.tags)


def last_told(points: Iterable[Point], receiver: str) -> tuple[dict[Key, Told], int]:
    """Return what fires by a receiver's last word, and how many words cannot be read."""
    mine = [p for p in points if ("receiver", receiver) in p.tags]
    last = {dict(p.tags)["alert"]: p for p in sorted(mine, key=lambda p: p.start_seconds)}
    found: dict[Key, Told] = {}
    bad = 0
    for point in last.values():
        try:
            message = _DECODER.decode(str(point.fields["message"]))
        except (KeyError, msgspec.MsgspecError):
            bad += 1
            continue
        if message.ends_seconds is None:
            found[message.key] = Told(message, float(point.start_seconds))
    return found, bad
