"""A statement: an account seen by pool, tenant or model, with what each figure rests on."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Literal, NamedTuple, get_args

from msgspec import Struct

from meterhouse_agent import wire
from meterhouse_collector.kpi.compute import Window
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.money.decimals import add
from meterhouse_collector.money.kinds import KINDS
from meterhouse_collector.money.matrix import UNATTRIBUTED
from meterhouse_collector.rollup.pricing import zero_sums
from meterhouse_collector.rollup.roll_up import add_sums
from meterhouse_collector.settlement.account import Account, GroupSums, Line
from meterhouse_collector.settlement.figures import TOTAL, figures_of, said_to_be_declared
from meterhouse_collector.settlement.idleness import LoadedPool, loaded_pools
from meterhouse_collector.settlement.peaks import PeakShares, peak_shares
from meterhouse_collector.settlement.sales import by_tenant, margins
from meterhouse_collector.settlement.traded import NOBODY
from meterhouse_collector.site.index import GroupKey

By = Literal["site", "cluster", "pool", "tenant", "accelerator-model", "served-model"]
BYS: Final[tuple[By, ...]] = get_args(By)
PART: Final[dict[By, Callable[[GroupKey], str]]] = {
    "site": lambda group: group.site,
    "cluster": lambda group: group.cluster,
    "pool": lambda group: group.pool,
    "tenant": lambda group: group.tenant,
    "accelerator-model": lambda group: group.accelerator_model,
    "served-model": lambda group: (
        UNATTRIBUTED if group.served_model == NOBODY else group.served_model
    ),
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
    """The money of one kind and state of one group; ``adjusts`` names a closed period."""

    group: str
    kind: str
    state: str
    money: Decimal
    adjusts: str | None = None


class Statement(Struct, frozen=True, kw_only=True):
    """A view of an account by one part of its groups; ``total`` is None where a price is not known.

    ``total`` has the adjustments in it, ``known`` is the window's own money as far as it is known.
    """

    by: By
    account: Account
    cells: tuple[Cell, ...]
    adjustments: tuple[Cell, ...]
    known: Decimal
    adjusted: Decimal
    total: Decimal | None
    quantities: Mapping[str, Mapping[str, float]]
    figures: Mapping[str, tuple[KpiValue, ...]]
    loaded: tuple[LoadedPool, ...] = ()
    peaks: tuple[PeakShares, ...] = ()


def statement(of: Account, by: By) -> Statement:
    """Return an account seen by one part of its groups."""
    known, adjusted = of.known, of.adjusted
    sums = _grouped(of.sums, by)
    cells = _cells(((line, None) for line in of.lines), by)
    return Statement(
        by=by,
        account=of,
        cells=cells,
        adjustments=_cells(((a.line, a.period) for a in of.adjustments), by),
        known=known,
        adjusted=adjusted,
        total=None if of.reasons else add((known, adjusted)),
        quantities={g: {name: s[name] for name in QUANTITIES} for g, s in sums.items()},
        figures=_figures(of, by, sums),
        loaded=_loaded(of, cells, sums) if by == "pool" else (),
        peaks=tuple(peak_shares(peak, PART[by]) for peak in of.peaks),
    )


def _loaded(
    of: Account, cells: Sequence[Cell], sums: Mapping[str, Mapping[str, float]]
) -> tuple[LoadedPool, ...]:
    pools = dict.fromkeys(cell.group for cell in cells)
    return loaded_pools(
        {pool: add(cell.money for cell in cells if cell.group == pool) for pool in pools},
        {pool: found["installed_seconds"] for pool, found in sums.items()},
        frozenset(of.spread_pools),
        of.currency,
    )


def _figures(
    of: Account, by: By, sums: Mapping[str, Mapping[str, float]]
) -> dict[str, tuple[KpiValue, ...]]:
    """Return the KPIs of each group, and the margins of tenants and of the whole."""
    length = float(of.ends_seconds - of.begins_seconds)
    figures = figures_of(
        {} if by == "site" else sums,
        add_sums(sums.values()) if sums else None,
        Window(seconds=length, basis=of.basis, currency=of.currency),
    )
    if by == "served-model":
        for name in figures.keys() & set(of.declared_models):
            figures[name] = said_to_be_declared(figures[name])
    sold = {TOTAL: of.sales, **(by_tenant(of.sales) if by == "tenant" else {})}
    no_total = next(iter(of.reasons), None)
    for name, mine in sold.items():
        lines = (line for line in of.lines if name in (TOTAL, line.group.tenant))
        found = margins(mine, add(line.money for line in lines), no_total)
        if found:
            figures[name] = (*figures.get(name, ()), *found)
    return figures


def _cells(lines: Iterable[tuple[Line, str | None]], by: By) -> tuple[Cell, ...]:
    part = PART[by]
    amounts: dict[tuple[str, str, str, str | None], list[Decimal]] = defaultdict(list)
    for line, adjusts in lines:
        amounts[part(line.group), line.kind, line.state, adjusts].append(line.money)
    keys = sorted(
        amounts, key=lambda k: (k[3] or "", k[0], KINDS.index(k[1]), wire.STATES.index(k[2]))
    )
    return tuple(Cell(k[0], k[1], k[2], add(amounts[k]), k[3]) for k in keys)


def _grouped(groups: Iterable[GroupSums], by: By) -> dict[str, dict[str, float]]:
    parts: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for group, sums in groups:
        parts[PART[by](group)].append({**zero_sums(), **sums})
    return {name: add_sums(parts[name]) for name in sorted(parts)}
