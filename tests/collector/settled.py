"""A small site with a bill, and its quarters as the steward leaves them in a store."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from meterhouse_agent import wire
from meterhouse_collector.money.billing_month import BillingMonth, billing_month
from meterhouse_collector.rollup.points import kept_points
from meterhouse_collector.rollup.roll_up import roll_up
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import MeterRow, NodeRow, PackedRow, Row, Share, pack
from meterhouse_collector.settlement.rates import RateBook
from meterhouse_collector.settlement.records import record_of, record_point
from meterhouse_collector.settlement.revision import model_revision
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import parse_site
from meterhouse_collector.store import Store
from tests.collector.bills import BERLIN

QUARTER = 900
WHOLE = QUARTER * 1000
SITE = """
name = "site"
currency = "EUR"
time_zone = "Europe/Berlin"
[[tenant]]
name = "acme"
[[pool]]
name = "chat"
cluster = "c1"
tenant = "acme"
[[pool]]
name = "spare"
cluster = "c1"
kind = "spare"
[[hardware]]
accelerator_model = "H100"
vendor = "nvidia"
price_per_device = 350000
life = "18250d"
[[asset]]
node = "n1"
pool = "chat"
accelerator_model = "H100"
devices = ["d0", "d1"]
in_service = 2025-01-01
[[asset]]
node = "n2"
pool = "spare"
accelerator_model = "H100"
devices = ["d0"]
in_service = 2025-01-01
[[engine]]
name = "e1"
served_model = "llama"
devices = ["n1/d0"]
[[meter]]
name = "utility"
role = "boundary"
[[operations]]
name = "operators"
kind = "staff"
amount = 1000
valid_from = 2025-01-01
[[tariff]]
name = "grid"
valid_from = 2025-01-01
[[tariff.component]]
kind = "energy"
name = "usage"
per_kwh = 0.21
[[tariff.component]]
kind = "demand"
name = "peak"
per_kw = 9.5
[[tariff.component]]
kind = "fixed"
name = "metering"
per_month = 45
"""
JOULES = 5_000_000.0


def site(text: str = SITE) -> SiteIndex:
    return SiteIndex(parse_site(text, "site.toml"))


def months_ago(count: int) -> BillingMonth:
    """Return a month that is over, as CLI tests need it: commands go by the machine's clock."""
    month = billing_month(int(time.time()), BERLIN)
    for _ in range(count):
        month = billing_month(month.begins - QUARTER, BERLIN)
    return month


def name_of(month: BillingMonth) -> str:
    return f"{month.year}-{month.month:02}"


def quarters(month: BillingMonth) -> range:
    return range(month.begins, month.ends, QUARTER)


def node(holder: str = "engine:e1", *, part: int = 3) -> NodeRow:
    """Return a node with one device that is active for so many quarters of the time."""
    busy = WHOLE * part // 4
    share = Share(
        "H100",
        holder,
        (busy, WHOLE - busy, 0, 0, 0),
        (600_000.0 * part / 4, 90_000.0, None, None, None),
        "counter",
        "ok",
    )
    return NodeRow(WHOLE, (share,), WHOLE, 1_000_000.0)


def free() -> NodeRow:
    share = Share(
        "H100", "none", (0, 0, WHOLE, 0, 0), (None, None, 70_000.0, None, None), "counter", "ok"
    )
    return NodeRow(WHOLE, (share,), WHOLE, 150_000.0)


def interval(start: int, joules: float | None = JOULES) -> IntervalRows:
    """Return a quarter: node n1 tells of one device, n2 of its own."""
    meters = {} if joules is None else {"utility": MeterRow(WHOLE, WHOLE, joules)}
    return IntervalRows(start, QUARTER, {"n1": node(), "n2": free()}, meters, {})


def kept(
    index: SiteIndex, starts: Iterable[int], joules: Mapping[int, float] | None = None
) -> list[Row]:
    """Return the rows of quarters: of meters, rollups and records, and the registers between."""
    book = RateBook(index)
    revision = model_revision(index.model)
    rows: list[Row] = []
    register = 0.0
    for start in starts:
        drawn = (joules or {}).get(start, JOULES)
        made = interval(start, drawn)
        sums = roll_up(made, index, rates=book.at(start))
        rows += kept_points(start, sums)
        rows.append(record_point(index.site, record_of(start, sums[index.site_group], 0, revision)))
        for name, row in made.meters.items():
            rows.append(_packed(index.site, "meter", name, start, pack(row)))
            rows.append(_register(index.site, name, start, register))
            register += drawn
            rows.append(_register(index.site, name, start + QUARTER, register))
        rows += [
            _packed(index.site, "node", name, start, pack(row)) for name, row in made.nodes.items()
        ]
    return rows


def _packed(where: str, measurement: str, thing: str, start: int, row: str) -> PackedRow:
    return PackedRow("quarter", measurement, where, thing, "steward", start, row)


def _register(where: str, meter: str, at: int, joules: float) -> PackedRow:
    reading = wire.Register(at_milliseconds=at * 1000, register_joules=joules, epoch=0)
    return _packed(where, "register", meter, at, pack(reading))


async def fill(
    store: Store,
    index: SiteIndex,
    starts: Iterable[int],
    joules: Mapping[int, float] | None = None,
) -> None:
    rows = kept(index, starts, joules)
    for first in range(0, len(rows), 5000):
        assert await store.write(rows[first : first + 5000]) == []


def config(folder: Path, text: str = SITE) -> Path:
    """Write the config of a collector with a SQLite store, and return where it stands."""
    (folder / "site.toml").write_text(text, encoding="utf-8")
    path = folder / "collector.toml"
    path.write_text(
        f'site = "{folder}/site.toml"\n[socket]\npath = "{folder}/collector.sock"\n'
        f'[sqlite]\npath = "{folder}/rows.sqlite"\n',
        encoding="utf-8",
    )
    return path
