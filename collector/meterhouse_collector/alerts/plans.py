"""What is promised, as plain points: the next increments of power, and the runway. Pure."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Final

from meterhouse_collector.alerts.known import LiveKnown
from meterhouse_collector.kpi.headroom import PathLimit
from meterhouse_collector.kpi.runway import Increment, PlannedLimit, runway
from meterhouse_collector.rows import NOBODY, Point
from meterhouse_collector.site.coming import due_with_needs
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.power import CoolingUnit, GridConnection, PowerNode

_Limiting = GridConnection | PowerNode | CoolingUnit
_DAY: Final = timedelta(days=1)
INCREMENT: Final = "increment"
RUNWAY: Final = "runway"


def plan_points(known: LiveKnown, peaks: Mapping[str, float]) -> list[Point]:
    """Return what is still to come of each grid connection, and when planned load fits no more.

    ``peaks`` is the most watts that each limit carried, as far as anybody knows.
    """
    at, model = int(known.at_seconds), known.model
    today = model.day(known.at_seconds)
    return [*_increments(model, today, at), *_runway(known, peaks, today, at)]


def _increments(model: SiteModel, today: date, at: int) -> Iterator[Point]:
    for connection in model.grid_connection:
        for step in connection.increment:
            if step.delivered is not None:
                continue
            tags = (
                ("connection", connection.name),
                ("increment", step.name),
                ("site", model.name),
            )
            fields: dict[str, float | int | str | bool] = {
                "added_watts": float(step.watts),
                "due_in_days": float((step.due - today).days),
            }
            yield Point("event", INCREMENT, tags, fields, at)


def _runway(known: LiveKnown, peaks: Mapping[str, float], today: date, at: int) -> Iterator[Point]:
    """Hold planned load against the limits whose load is known now."""
    loads = [each for each in known.limits if each.load_watts is not None]
    if not loads:
        return
    limits = [
        PlannedLimit(each.name, begins, limit_watts, peak, each.marginal_ratio)
        for each in loads
        for peak in (max(each.load_watts or 0.0, peaks.get(each.name, 0.0)),)
        for begins, limit_watts in _dated(known.model, each, today)
    ]
    found = runway(today_on=today, increments=_devices(known.model, today), limits=limits)
    fields: dict[str, float | int | str | bool] = {
        "month": found.month or NOBODY,
        "binding": found.binding or NOBODY,
        "next_month": found.next_month or NOBODY,
        "next_binding": found.next_binding or NOBODY,
        "reason": found.reason or "",
    }
    if found.short_watts is not None:
        fields["short_watts"] = found.short_watts
    yield Point("event", RUNWAY, (("site", known.model.name),), fields, at)


def _dated(model: SiteModel, limit: PathLimit, today: date) -> Iterator[tuple[date, float]]:
    """Yield a limit as it is now, and as it will be: by its next entries, and by what they add.

    What was promised for a day that is over, and is not there, nobody can count on.
    """
    yield today, limit.limit_watts
    tables: tuple[_Limiting, ...] = (*model.grid_connection, *model.power, *model.cooling)
    entries = sorted(
        (entry for entry in tables if entry.name == limit.name),
        key=lambda entry: entry.valid_from or date.min,
    )
    ends = [*(entry.valid_from or date.min for entry in entries[1:]), date.max]
    for entry, end in zip(entries, ends, strict=False):
        begins, watts = entry.valid_from or date.min, _limit_watts(entry)
        if begins > today:
            yield begins, watts
        if isinstance(entry, GridConnection):
            until = min(end, entry.valid_to or date.max)
            for step in sorted(entry.increment, key=lambda step: step.due):
                if step.delivered is None and max(begins, today + _DAY) <= step.due < until:
                    watts += step.watts * (1 - entry.margin_ratio)
                    yield step.due, watts


def _limit_watts(entry: _Limiting) -> float:
    if isinstance(entry, GridConnection):
        return entry.limit_watts * (1 - entry.margin_ratio)
    return entry.watts_at_n if isinstance(entry, PowerNode) else entry.heat_watts_at_n


def _devices(model: SiteModel, today: date) -> list[Increment]:
    """Return devices that are promised, with a peak of their own or that of their hardware."""
    peaks = {each.accelerator_model: each.peak_watts for each in model.hardware}
    found = []
    for coming in model.pipeline:
        peak = coming.peak_watts or peaks.get(coming.accelerator_model or "")
        due = due_with_needs(model, coming)
        awaited = coming.kind == "devices" and coming.stage_on(today) != "in_production"
        if awaited and coming.promised and due is not None and peak is not None:
            found.append(Increment(max(today, due.day), coming.quantity, peak))
    return found
