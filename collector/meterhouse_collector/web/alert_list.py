"""The open alerts as the page shows them: what fires first, then what is pending."""

from collections.abc import Mapping
from typing import Final

from meterhouse_collector.alerts.book import Book, Open
from meterhouse_collector.alerts.catalogue import CATALOGUE
from meterhouse_collector.alerts.words import summary
from meterhouse_collector.web.document import Alerts, AlertView

LIST_MAX: Final = 100
_SEVERITIES: Final = ("page", "ticket")


def alerts_of(book: Book | None) -> Alerts:
    """Return the open alerts of a book; none where nothing is watched."""
    found = [] if book is None else list(book.open.items())
    views = [
        AlertView(
            name=key.name,
            kind=entry.rule.kind,
            severity=entry.rule.severity,
            phase=entry.state.phase,
            since_seconds=entry.state.since_seconds,
            value=entry.state.value,
            limit=entry.state.limit,
            unit=entry.unit,
            labels=dict(key.labels),
            summary=_summary(entry, dict(key.labels)),
        )
        for key, entry in found
    ]
    views.sort(key=lambda view: (view.phase != "firing", _rank(view.severity), view.name))
    firing = sum(view.phase == "firing" for view in views)
    return Alerts(
        firing=firing,
        pending=len(views) - firing,
        list=views[:LIST_MAX],
        left_out=max(0, len(views) - LIST_MAX),
    )


def _summary(entry: Open, labels: Mapping[str, str]) -> str:
    """Return the sentence of the catalogue; none for a kind that it lacks."""
    row = CATALOGUE.get(entry.rule.kind)
    if row is None:
        return ""
    state = entry.state
    return summary(row, labels, value=state.value, limit=state.limit, unit=entry.unit)


def _rank(severity: str) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)
