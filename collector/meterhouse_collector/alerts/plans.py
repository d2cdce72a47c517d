"""What is promised, as plain points: the next increments of power, and the runway. Pure."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Final

from meterhouse_collector.alerts.known import LiveKnown
from meterhouse_collector.kpi.runway import Increment, PlannedLimit, runway
from meterhouse_collector.rows import NOBODY, Point
from meterhouse_collector.site.coming import due_with_needs
from meterhouse_collector.site.model import SiteModel

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
    """Hold planned load against the limits whose load is known now.

    A limit of a grid connection grows by its increments on the days that were promised last.
    """
    loads = [each for each in known.limits if each.load_watts is not None]
    if not loads:
        return
    limits = []
    steps = {c.name: c.increment for c in known.model.grid_connection}
    for each in loads:
        limit, peak = each.limit_watts, max(each.load_watts or 0.0, peaks.get(each.name, 0.0))
        limits.append(PlannedLimit(each.name, today, limit, peak, each.marginal_ratio))
        for step in sorted(steps.get(each.name, ()), key=lambda step: step.due):
            if step.delivered is None:
                limit += step.watts
                due = max(today, step.due)
                limits.append(PlannedLimit(each.name, due, limit, peak, each.marginal_ratio))
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
