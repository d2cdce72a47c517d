"""A statement as people read it: everything adds up in sight. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from math import fsum
from typing import Final
from zoneinfo import ZoneInfo

from meterhouse_agent import wire
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.money.decimals import ZERO, add
from meterhouse_collector.money.kinds import KINDS
from meterhouse_collector.settlement.account import Account
from meterhouse_collector.settlement.columns import NO_VALUE, columns, figure_text
from meterhouse_collector.settlement.periods import local_text, utc_text
from meterhouse_collector.settlement.registers import MeterRegister
from meterhouse_collector.settlement.statement import Cell, Statement
from meterhouse_collector.settlement.traded_table import (
    contracts_table,
    deliveries_table,
    sales_table,
)

_SECONDS_PER_HOUR: Final = 3600.0
_TOKENS: Final = ("input tokens", "output tokens")
_PER_UNIT: Final = {"joules": ("kWh", 3.6e6), "litres": ("m3", 1000.0)}


def as_table(of: Statement) -> str:
    """Return the whole statement as text, its parts apart by an empty line."""
    parts = (
        _head(of),
        _matrix(of),
        _loaded(of),
        _by_kind(of),
        _adjustments(of),
        _bill(of.account),
        _peaks(of),
        contracts_table(of.account),
        deliveries_table(of.account),
        sales_table(of.account),
        _rates(of.account),
        _originals(of.account),
        _quantities(of),
        _figures(of),
        _registers(of.account),
        _texts("No total", of.account.reasons),
        _texts("Notes", of.account.notes),
    )
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part))) + "\n"


def _head(of: Statement) -> Iterator[str]:
    account, closing = of.account, of.account.closing
    zone = ZoneInfo(account.time_zone)
    begins, ends = (local_text(at, zone) for at in account.window)
    named = "" if closing is None else f" {closing.number}, {closing.period}"
    yield f"Statement{named} of {account.site}"
    yield f"window    {begins} to {ends}, {account.time_zone}"
    yield f"in UTC    {utc_text(account.begins_seconds)} to {utc_text(account.ends_seconds)}"
    yield f"currency  {account.currency}"
    if closing is None:
        yield f"status    open{', provisional' if account.provisional else ''}"
    else:
        yield f"status    closed on {local_text(closing.closed_at_seconds, zone)}"
        yield f"ledger    {closing.ledger_hash}"
    yield f"revision  {account.revision}, site model {account.model_revision}"
    if of.adjustments:
        yield f"window    {of.known:,}"
        yield f"adjusted  {of.adjusted:,}"
    total = NO_VALUE if of.total is None else f"{of.total:,}"
    yield f"total     {total} {account.currency}"


def _matrix(of: Statement) -> Iterator[str]:
    kinds = [k for k in KINDS if any(c.kind == k and c.state == "active" for c in of.cells)]
    names = sorted({*of.quantities, *(cell.group for cell in of.cells)})
    states = wire.STATES[1:]
    head = [of.by, *(f"active {kind}" for kind in kinds), *states, "total"]
    rows = [[name, *_matrix_row([c for c in of.cells if c.group == name], kinds)] for name in names]
    rows.append(["total", *_matrix_row(of.cells, kinds)])
    yield f"Cost by {of.by}, {of.account.currency}"
    yield from columns([head, *rows])


def _matrix_row(cells: Sequence[Cell], kinds: Sequence[str]) -> list[str]:
    active = [_sum(c for c in cells if c.state == "active" and c.kind == kind) for kind in kinds]
    states = [_sum(c for c in cells if c.state == state) for state in wire.STATES[1:]]
    return [*active, *states, _sum(cells)]


def _by_kind(of: Statement) -> Iterator[str]:
    kinds = [kind for kind in KINDS if any(cell.kind == kind for cell in of.cells)]
    rows = [[kind, *_by_state([cell for cell in of.cells if cell.kind == kind])] for kind in kinds]
    yield f"Cost by kind, {of.account.currency}"
    yield from columns([["kind", *wire.STATES, "total"], *rows, ["total", *_by_state(of.cells)]])
    if (idle := of.account.idle) is not None:
        yield (
            f"  idle capacity {idle.whole_money:,}: avoidable {idle.avoidable_money:,}"
            f" (energy, rent with a notice), sunk {idle.sunk_money:,}"
        )


def _loaded(of: Statement) -> Iterator[str]:
    if not of.loaded:
        return
    rows = [[each.pool, f"{each.own_money:,}", f"{each.loaded_money:,}"] for each in of.loaded]
    yield f"Pools with their part of {', '.join(of.account.spread_pools)}, {of.account.currency}"
    yield from columns([["pool", "own", "loaded"], *rows])


def _by_state(cells: Sequence[Cell]) -> list[str]:
    return [*(_sum(c for c in cells if c.state == state) for state in wire.STATES), _sum(cells)]


def _sum(cells: Iterable[Cell]) -> str:
    found = add(cell.money for cell in cells)
    return f"{found:,}" if found != ZERO else "0"


def _adjustments(of: Statement) -> Iterator[str]:
    if not of.adjustments:
        return
    rows = [[c.adjusts or "", c.group, c.kind, c.state, f"{c.money:,}"] for c in of.adjustments]
    yield f"Adjustments of closed periods, {of.account.currency}"
    yield from columns(
        [
            ["period", of.by, "kind", "state", "money"],
            *rows,
            ["total", "", "", "", f"{of.adjusted:,}"],
        ],
        texts=4,
    )


def _bill(account: Account) -> Iterator[str]:
    if not account.bill:
        return
    rows = []
    notes: list[str] = []
    for line in account.bill:
        money = NO_VALUE if line.money is None else f"{line.money:,}"
        remark = line.reason or ("provisional" if line.provisional else "")
        rows.append([line.name, line.kind, line.component, money, remark])
        notes += line.notes
    yield f"Bill of energy and water, {account.currency}"
    yield from columns(
        [["line", "kind", "component", "money", "remark"], *rows], texts=3, remark=True
    )
    yield from (f"  {note}" for note in dict.fromkeys(notes))


def _peaks(of: Statement) -> Iterator[str]:
    """Yield who drew the peaks that demand is charged by; the charge is spread evenly."""
    if not of.peaks:
        return
    zone = ZoneInfo(of.account.time_zone)
    names = sorted({name for peak in of.peaks for name in peak.ratios})
    rows = [
        [
            peak.charge,
            local_text(peak.begins_seconds, zone),
            f"{peak.kw:,.3f}",
            *(f"{peak.ratios[n]:.2%}" if n in peak.ratios else NO_VALUE for n in names),
        ]
        for peak in of.peaks
    ]
    yield f"Drawn in the peak of demand, by {of.by}"
    yield from columns([["charge", "from", "kW", *names], *rows], texts=2)


def _rates(account: Account) -> Iterator[str]:
    if not account.rates:
        return
    rows = [
        [r.currency, str(r.valid_from), f"{r.rate.normalize():f}", r.source] for r in account.rates
    ]
    yield f"Exchange rates, {account.currency}; equipment has that of the day it was bought"
    yield from columns([["of", "from", "rate", "source"], *rows], texts=2, remark=True)


def _originals(account: Account) -> Iterator[str]:
    if not account.originals:
        return
    rows = [[o.kind, o.name, f"{o.money:,}", o.currency] for o in account.originals]
    yield "Priced in other currencies"
    yield from columns([["kind", "name", "money", "currency"], *rows], texts=2)


def _quantities(of: Statement) -> Iterator[str]:
    if not of.quantities:
        return
    head = [of.by, *(f"{s} h" for s in wire.STATES), "installed h", "drawn kWh", *_TOKENS]
    rows = []
    for group, sums in of.quantities.items():
        hours = [sums[f"{s}_seconds"] / _SECONDS_PER_HOUR for s in (*wire.STATES, "installed")]
        drawn = fsum(sums[f"{s}_drawn_joules"] for s in wire.STATES) / _PER_UNIT["joules"][1]
        tokens = (sums["input_tokens"], sums["output_tokens"])
        rows.append(
            [group, *(f"{h:,.2f}" for h in hours), f"{drawn:,.3f}", *(f"{t:,.0f}" for t in tokens)]
        )
    yield "Device-hours by state, energy and tokens"
    yield from columns([head, *rows])


def _figures(of: Statement) -> Iterator[str]:
    """Yield a row for each figure with something known of it, then why the others have no value."""
    if not of.figures:
        return
    head = ["group", "figure", "value", "numerator", "denominator", "coverage", "low", "high"]
    revision = str(of.account.revision)
    rows = []
    lacking: dict[str, dict[str, list[str]]] = {}
    for group, values in of.figures.items():
        for value in values:
            reason = value.reason or value.label
            if value.value is None and value.numerator == value.denominator == 0:
                lacking.setdefault(reason, {}).setdefault(value.name, []).append(group)
            else:
                rows.append([group, value.name, *_figure(value), revision, reason])
    yield "Figures"
    yield from columns([[*head, "revision", "reason or label"], *rows], texts=2, remark=True)
    for reason, names in lacking.items():
        groups = dict.fromkeys(group for found in names.values() for group in found)
        yield f"  {NO_VALUE}  {', '.join(names)} of {', '.join(groups)}: {reason}"


def _figure(value: KpiValue) -> list[str]:
    plain = (value.value, value.numerator, value.denominator)
    bounds = (value.low, value.high)
    return [
        *map(figure_text, plain),
        f"{value.coverage:.1%}",
        *map(figure_text, bounds),
    ]


def _registers(account: Account) -> Iterator[str]:
    if not account.registers:
        return
    zone = ZoneInfo(account.time_zone)
    head = ["meter", "unit", "opening", "closing", "counted", "summed", "difference"]
    rows = [_register(register, zone) for register in account.registers]
    yield "Registers"
    yield from columns([[*head, "read at"], *rows], texts=2, remark=True)


def _register(register: MeterRegister, zone: ZoneInfo) -> list[str]:
    unit, size = _PER_UNIT[register.unit]
    amounts = (
        register.opening,
        register.closing,
        register.counted,
        register.summed,
        register.difference,
    )
    times = (register.opening_at_milliseconds, register.closing_at_milliseconds)
    read = [NO_VALUE if at is None else local_text(at / 1000, zone) for at in times]
    return [
        register.meter,
        unit,
        *(NO_VALUE if amount is None else f"{amount / size:,.3f}" for amount in amounts),
        register.note or " and ".join(read),
    ]


def _texts(title: str, texts: Sequence[str]) -> Iterator[str]:
    if texts:
        yield title
        yield from (f"  {text}" for text in texts)
