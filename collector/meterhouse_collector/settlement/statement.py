"""A statement: what a window of quarter hours cost, to the cent, with what each figure rests on."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import fsum
from typing import Final, Literal, NamedTuple, get_args

from meterhouse_agent import wire
from meterhouse_collector.kpi.compute import Window, kpis
from meterhouse_collector.kpi.pue import energy_basis
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.money.billing_month import QUARTER_SECONDS
from meterhouse_collector.money.decimals import add
from meterhouse_collector.money.kinds import KINDS
from meterhouse_collector.money.rounding import largest_remainder
from meterhouse_collector.rollup.roll_up import add_sums
from meterhouse_collector.settlement.allocation import Rows, Settled
from meterhouse_collector.settlement.dues import Bill
from meterhouse_collector.site.index import GroupKey, SiteIndex

By = Literal["site", "cluster", "pool", "tenant", "accelerator-model", "served-model"]
BYS: Final[tuple[By, ...]] = get_args(By)
_PART: Final[dict[By, Callable[[GroupKey], str]]] = {
    "site": lambda group: group.site,
    "cluster": lambda group: group.cluster,
    "pool": lambda group: group.pool,
    "tenant": lambda group: group.tenant,
    "accelerator-model": lambda group: group.accelerator_model,
    "served-model": lambda group: group.served_model,
}
QUANTITIES: Final = (
    *(f"{state}_seconds" for state in wire.STATES),
    "installed_seconds",
    *(f"{state}_drawn_joules" for state in wire.STATES),
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "requests_succeeded",
)


class Cell(NamedTuple):
    """The money of one kind and state of one group, rounded such that all cells sum."""

    group: str
    kind: str
    state: str
    money: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterRegister:
    """The absolute readings of a meter around a window, and what was summed between them.

    ``counted`` is closing less opening, None where the register began anew or was not read.
    """

    meter: str
    unit: Literal["joules", "litres"]
    opening: float | None
    opening_at_seconds: int | None
    closing: float | None
    closing_at_seconds: int | None
    counted: float | None
    summed: float | None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BillTotal:
    """One line of the energy bill over the window; without an amount there is a reason."""

    name: str
    component: str
    money: Decimal | None
    provisional: bool
    reason: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a window cost, by group, kind and state, with quantities, KPIs and registers.

    ``total`` is None where something has no price; ``known`` is the rest, rounded. ``revision`` is
    the highest of the rollups, ``model_revision`` the fingerprint of the site model.
    """

    site: str
    begins_seconds: int
    ends_seconds: int
    time_zone: str
    currency: str
    by: By
    cells: tuple[Cell, ...]
    total: Decimal | None
    known: Decimal
    bill: tuple[BillTotal, ...]
    quantities: Mapping[str, Mapping[str, float]]
    figures: Mapping[str, tuple[KpiValue, ...]]
    registers: tuple[MeterRegister, ...]
    revision: int
    model_revision: str
    provisional: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...]


class Sources(NamedTuple):
    """What a statement is made of: rollups, money, the bill, and the registers of meters."""

    rows: Rows
    money: Settled
    bill: Bill
    registers: Sequence[MeterRegister]
    revision: int
    model_revision: str


def statement(index: SiteIndex, window: tuple[int, int], by: By, sources: Sources) -> Statement:
    """Return the statement of a window of whole quarter hours."""
    cells = _cells(sources.money, by, index.model.currency)
    known = add(cell.money for cell in cells)
    sums = _grouped(sources.rows, by)
    return Statement(
        site=index.site,
        begins_seconds=window[0],
        ends_seconds=window[1],
        time_zone=index.model.time_zone,
        currency=index.model.currency,
        by=by,
        cells=cells,
        total=None if sources.money.reasons else known,
        known=known,
        bill=tuple(_bill(sources.bill)),
        quantities={g: {name: s[name] for name in QUANTITIES} for g, s in sums.items()},
        figures=_figures(index, window, by, sources.rows, sums),
        registers=tuple(sources.registers),
        revision=sources.revision,
        model_revision=sources.model_revision,
        provisional=any(line.provisional for line in sources.bill.lines),
        reasons=sources.money.reasons,
        notes=sources.money.notes,
    )


def _cells(money: Settled, by: By, currency: str) -> tuple[Cell, ...]:
    part = _PART[by]
    amounts: dict[tuple[str, str, str], list[Decimal]] = defaultdict(list)
    for (group, kind, state), amount in money.money.items():
        amounts[part(group), kind, state].append(amount)
    keys = sorted(amounts, key=lambda k: (k[0], KINDS.index(k[1]), wire.STATES.index(k[2])))
    rounded = largest_remainder([add(amounts[key]) for key in keys], currency)
    return tuple(Cell(*key, money) for key, money in zip(keys, rounded, strict=True))


def _bill(bill: Bill) -> Iterable[BillTotal]:
    for line in bill.lines:
        reason = next(iter(line.reasons.values()), None)
        known = add(amount for amount in line.amounts if amount is not None)
        yield BillTotal(
            name=line.name,
            component=line.component,
            money=known if reason is None else None,
            provisional=line.provisional,
            reason=reason,
            notes=line.notes,
        )


def _grouped(rows: Rows, by: By) -> dict[str, dict[str, float]]:
    parts: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for groups in rows.values():
        for group, sums in groups.items():
            parts[_PART[by](group)].append(sums)
    return {name: add_sums(parts[name]) for name in sorted(parts)}


def _figures(
    index: SiteIndex,
    window: tuple[int, int],
    by: By,
    rows: Rows,
    sums: Mapping[str, Mapping[str, float]],
) -> dict[str, tuple[KpiValue, ...]]:
    """Return the KPIs of each group; PUE is of the whole site alone."""
    seconds = float(window[1] - window[0])
    basis = energy_basis(index, window)
    known = Window(seconds=seconds, basis=basis, currency=index.model.currency)
    figures = {
        name: tuple(value for kpi, value in kpis(parts, window=known).items() if kpi != "pue")
        for name, parts in sums.items()
    }
    whole = sums[index.site] if by == "site" else add_sums(sums.values())
    if rows:
        figures["total"] = tuple(kpis(whole, window=known).values())
    return figures


def meter_register(
    meter: str,
    readings: Sequence[wire.Register],
    window: tuple[int, int],
    summed: float | None,
) -> MeterRegister:
    """Return the last readings at or before both ends of a window, and whether they agree.

    ``readings`` are in order of time. Between two registers of one epoch closing less opening is
    what was counted; where the register began anew between them it is not known.
    """
    before = [r for r in readings if r.at_milliseconds <= window[0] * 1000]
    until = [r for r in readings if r.at_milliseconds <= window[1] * 1000]
    first = before[-1] if before else (until[0] if until else None)
    last = until[-1] if until else None
    litres = last is not None and last.register_litres is not None
    counted, note = None, None
    if first is None or last is None:
        note = "no register was read"
    elif first.epoch != last.epoch:
        note = "the register began anew within the window: see its readings"
    else:
        counted = _amount(last) - _amount(first)
        if not before:
            note = "the first reading is after the window's beginning"
    return MeterRegister(
        meter=meter,
        unit="litres" if litres else "joules",
        opening=None if first is None else _amount(first),
        opening_at_seconds=None if first is None else first.at_milliseconds // 1000,
        closing=None if last is None else _amount(last),
        closing_at_seconds=None if last is None else last.at_milliseconds // 1000,
        counted=counted,
        summed=summed,
        note=note,
    )


def _amount(register: wire.Register) -> float:
    known = (register.register_joules, register.register_litres)
    return fsum(value for value in known if value is not None)


def whole_quarters(begins: float, ends: float) -> tuple[int, int]:
    """Return a window of whole quarter hours; raise ``ValueError`` where it is none."""
    if begins % QUARTER_SECONDS or ends % QUARTER_SECONDS or begins >= ends:
        raise ValueError("a window is needed that begins and ends at full quarter hours")
    return int(begins), int(ends)
