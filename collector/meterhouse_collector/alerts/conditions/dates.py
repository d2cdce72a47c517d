"""What ends and what comes late: by the dates of the site model alone."""

from collections.abc import Hashable, Iterable, Iterator
from datetime import date
from typing import Final, NamedTuple

from meterhouse_collector.alerts.known import QuarterKnown, observed, scope_labels
from meterhouse_collector.alerts.state import Observation
from meterhouse_collector.site.base import Promise
from meterhouse_collector.site.coming import due_with_needs
from meterhouse_collector.site.contracts import Coming
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.targets import Threshold
from meterhouse_collector.site.timeline import Entry

# What has been over for so long without a successor is not missed.
_PAST_DAYS: Final = 30


class _Span(NamedTuple):
    begins: date | None
    ends: date | None


def ending(threshold: Threshold, known: QuarterKnown) -> list[Observation]:
    """Hold the days until a price, contract or certificate ends against a threshold.

    Only the last entry of each name counts, for what another follows does not end. What is over is
    told for a month more.
    """
    today = known.model.day(known.at_seconds)
    found = []
    for table, entry, ends in _ends(known.model):
        days = (ends - today).days
        if days >= -_PAST_DAYS:
            about = scope_labels(known.model.name, threshold.scope, table=table, entry=entry)
            reason = f"{table} {entry} ends on {ends}, and nothing follows"
            found.append(observed(threshold, about, float(days), "days", reason=reason))
    return found


def _ends(model: SiteModel) -> Iterator[tuple[str, str, date]]:
    tables: dict[str, list[tuple[Hashable, Entry | _Span]]] = {
        "tariff": [(e.name, e) for e in model.tariff],
        "supply": [(e.source, e) for e in model.supply],
        "colocation": [(e.name, e) for e in model.colocation],
        "contract": [(e.name, e) for e in model.contract],
        "commitment": [(e.name, e) for e in model.commitment],
        "hardware": [(e.accelerator_model, e) for e in model.hardware],
        "token_price": [
            (e.served_model if e.tenant is None else f"{e.served_model}, {e.tenant}", e)
            for e in model.token_price
        ],
        "certificate": [(e.energy_source, _Span(e.begins, e.ends)) for e in model.certificate],
    }
    for table, entries in tables.items():
        for name, ends in _last_ends(entries):
            yield table, str(name), ends


def _last_ends(
    entries: Iterable[tuple[Hashable, Entry | _Span]],
) -> Iterator[tuple[Hashable, date]]:
    last: dict[Hashable, tuple[date, date | None]] = {}
    for name, entry in entries:
        if isinstance(entry, _Span):
            begins, ends = entry
        else:
            begins, ends = entry.valid_from, entry.valid_to
        since = begins or date.min
        if name not in last or last[name][0] < since:
            last[name] = (since, ends)
    for name, (_, until) in last.items():
        if until is not None:
            yield name, until


def delivery(threshold: Threshold, known: QuarterKnown) -> list[Observation]:
    """Hold days of slippage, and days overdue, of what is still to come against a threshold.

    Slippage is from the delivery first promised to the one promised last, or to today once that has
    passed. What is overdue, or not in production when it is due, fires from the first day on. What
    waits for something that is promised for later cannot come before that.
    """
    today = known.model.day(known.at_seconds)
    model = known.model
    found: list[Observation] = []
    for coming in model.pipeline:
        if "delivered" not in coming.stages or coming.stages["delivered"] > today:
            found += _promised(threshold, known, ("pipeline", coming.name), coming.promised, today)
            found += _waits(threshold, known, coming, today)
        due = coming.in_production_due
        if due is not None and coming.stage_on(today) != "in_production":
            found.append(_overdue(threshold, known, ("in_production", coming.name), due, today))
    for contract in model.contract:
        if contract.promised and contract.valid_from > today:
            subject = ("contract", contract.name)
            found += _promised(threshold, known, subject, contract.promised, today)
    for connection in model.grid_connection:
        for step in connection.increment:
            if step.delivered is None:
                subject = ("grid_connection", f"{connection.name}, {step.name}")
                found += _promised(threshold, known, subject, step.promised, today)
    return found


def _waits(
    threshold: Threshold, known: QuarterKnown, coming: Coming, today: date
) -> list[Observation]:
    """Hold the days by which what an entry needs comes after its own promise against one."""
    due = due_with_needs(known.model, coming)
    if due is None or not coming.needs or not coming.promised:
        return []
    days = float((due.day - max(today, coming.promised[-1].due)).days)
    about = scope_labels(
        known.model.name, threshold.scope, table="pipeline", entry=coming.name, check="needs"
    )
    what = "nothing later" if due.need is None else f"{due.need}, due on {due.day}"
    reason = f"pipeline {coming.name}: promised for {coming.promised[-1].due}, waits for {what}"
    return [observed(threshold, about, max(0.0, days), "days", reason=reason)]


def _promised(
    threshold: Threshold,
    known: QuarterKnown,
    subject: tuple[str, str],
    promised: tuple[Promise, ...],
    today: date,
) -> list[Observation]:
    if not promised:
        return []
    table, entry = subject
    first, last = promised[0].due, promised[-1].due
    days = float((max(last, today) - first).days)
    about = scope_labels(
        known.model.name, threshold.scope, table=table, entry=entry, check="slippage"
    )
    reason = f"{table} {entry}: first promised for {first}, now for {last}"
    slipped = observed(threshold, about, days, "days", reason=reason)
    return [slipped, _overdue(threshold, known, subject, last, today)]


def _overdue(
    threshold: Threshold,
    known: QuarterKnown,
    subject: tuple[str, str],
    due: date,
    today: date,
) -> Observation:
    table, entry = subject
    return Observation(
        labels=scope_labels(
            known.model.name, threshold.scope, table=table, entry=entry, check="overdue"
        ),
        value=float((today - due).days),
        limit=0.0,
        unit="days",
        reason=f"{table} {entry}: was due on {due}",
    )
