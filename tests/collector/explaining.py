"""A site with all that makes a figure hard to follow, and rows of it to explain."""

from collections.abc import Mapping
from dataclasses import replace

from meterhouse_agent import wire
from meterhouse_collector.explain.evidence import Evidence
from meterhouse_collector.explain.money import accrued
from meterhouse_collector.explain.read import price_of
from meterhouse_collector.explain.request import period
from meterhouse_collector.rollup.flow_branches import Thing
from meterhouse_collector.rollup.roll_up import roll_up
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows
from meterhouse_collector.rows import (
    EngineRow,
    MeterRow,
    NodeRow,
    Served,
    Share,
    StateJoules,
    StateMilliseconds,
)
from meterhouse_collector.settlement.rates import RateBook
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import parse_site

START, LENGTH = 1_780_000_200, 900
WHOLE = LENGTH * 1000
# Two meters of the boundary, one of them shared with others; export; IT meters with a cooling
# unit on them; engines over nodes and models; a pool that is reserve.
SITE = """
name = "site"
currency = "EUR"
time_zone = "Europe/Berlin"
[[pool]]
name = "chat"
cluster = "c1"
tenant = "acme"
[[pool]]
name = "spare"
cluster = "c1"
[[hardware]]
accelerator_model = "M"
vendor = "nvidia"
price_per_device = 18250
life = "1825d"
[[hardware]]
accelerator_model = "L"
vendor = "amd"
price_per_device = 3650
salvage_per_device = 1825
life = "1825d"
[[asset]]
nodes = ["n1", "n2", "n3"]
pool = "chat"
accelerator_model = "M"
devices = 4
in_service = 2026-01-01
[[asset]]
nodes = ["n4"]
pool = "spare"
accelerator_model = "L"
devices = 2
in_service = 2026-01-01
[[engine]]
name = "e1"
served_model = "llama"
devices = ["n1/0", "n1/1", "n2/0"]
[[engine]]
name = "e2"
devices = ["n2/1"]
[engine.served_models]
llama = 0.25
qwen = 0.75
[[operations]]
kind = "staff"
name = "shift"
per = "month"
amount = 7200
valid_from = 2026-01-01
[[tariff]]
per_kwh = 0.36
valid_from = 2026-01-01
[[meter]]
name = "utility"
role = "boundary"
[[meter]]
name = "campus"
role = "boundary"
share = 0.25
peak_watts = 80000
[[meter]]
name = "export"
role = "boundary"
sign = -1
"""
IT = """
[[meter]]
name = "pdu-a"
role = "it"
category = 2
parent = "utility"
[[meter]]
name = "crac"
role = "cooling"
parent = "pdu-a"
[[meter]]
name = "pdu-b"
role = "it"
category = 2
parent = "utility"
"""
IT_JOULES = {"pdu-a": 2.1e6, "crac": -2e5, "pdu-b": 1.3e6}
FLOWS = """
[[meter]]
name = "city"
role = "water"
[[meter]]
name = "well"
role = "water"
[[meter]]
name = "heat"
role = "heat_reuse"
[[meter]]
name = "ups-in"
role = "ups_in"
[[meter]]
name = "ups-out"
role = "ups_out"
"""


def share(
    holder: str, milliseconds: StateMilliseconds, joules: StateJoules, model: str = "M"
) -> Share:
    return Share(model, holder, milliseconds, joules, "counter", "ok")


def nodes() -> Mapping[str, NodeRow]:
    """Return rows of two nodes of four: one shows a device that nobody registered."""
    half = WHOLE // 2
    return {
        "n1": NodeRow(
            WHOLE,
            (
                share("engine:e1", (WHOLE, half, half, 0, 0), (7e5, 5e4, 4e4, None, None)),
                share("tenant:acme", (0, 0, WHOLE, half, half), (None, None, 9e4, 1e4, None)),
            ),
            WHOLE,
            1.1e6,
        ),
        "n2": NodeRow(
            WHOLE,
            (
                share("engine:e1", (WHOLE, 0, 0, 0, 0), (3.3e5, None, None, None, None)),
                share("engine:e2", (half, half, 0, 0, 0), (1.7e5, 3e4, None, None, None)),
                share("tenant:acme", (0, WHOLE, WHOLE, 0, 0), (None, 6e4, 5e4, None, None)),
                share("none", (0, 0, WHOLE, 0, 0), (None, None, 7e4, None, None), "X"),
            ),
        ),
    }


def meters(gap: int = 0) -> Mapping[str, MeterRow]:
    """Return rows of the meters; ``gap`` is how many milliseconds pdu-a did not answer."""
    part = 1 - gap / WHOLE
    return {
        "utility": MeterRow(WHOLE, WHOLE, 4.4e6),
        "campus": MeterRow(WHOLE, WHOLE, 1.2e6, energy_method="interpolated"),
        "export": MeterRow(WHOLE, WHOLE, 1e5),
        "pdu-a": MeterRow(WHOLE, WHOLE - gap, 2.1e6 * part, quality="estimated"),
        "crac": MeterRow(WHOLE, WHOLE, 2e5),
        "pdu-b": MeterRow(WHOLE, WHOLE, 1.3e6),
    }


def engines() -> Mapping[str, EngineRow]:
    told = {"stop": 30, "length": 3, "abort": 2}
    return {
        "e1": EngineRow(WHOLE, (Served("llama", WHOLE - 60_000, 90_000, 30_000, 40_000, told),)),
        "e2": EngineRow(
            WHOLE,
            (
                Served("llama", WHOLE, 5_000, 1_000, 7_000, told),
                Served("qwen", WHOLE, 6_000, 0, 9_000, told),
            ),
        ),
    }


def rows(gap: int = 0) -> IntervalRows:
    return IntervalRows(START, LENGTH, nodes(), meters(gap), engines())


def with_flows(interval: IntervalRows) -> IntervalRows:
    """Return the same with meters of water, heat and a UPS."""
    more = {
        "city": MeterRow(WHOLE, WHOLE, volume_litres=30.0),
        "well": MeterRow(WHOLE, WHOLE - 5_000, volume_litres=17.9),
        "heat": MeterRow(WHOLE, WHOLE, 4e5),
        "ups-in": MeterRow(WHOLE, WHOLE, 3.5e6),
        "ups-out": MeterRow(WHOLE, WHOLE, 3.3e6),
    }
    return interval._replace(meters={**interval.meters, **more})


EXPECTED = Expected({"pdu-a": 2400.0}, {"n3": 900.0})
assert wire.STATES == ("active", "held_idle", "free", "unhealthy", "unknown")


def index(*more: str) -> SiteIndex:
    return SiteIndex(parse_site(SITE + "".join(more), "site.toml"))


def evidence(known: SiteIndex, interval: IntervalRows, **changed: object) -> Evidence:
    """Return what would be read of a quarter that is settled, with whatever replaced."""
    rates = RateBook(known).at(START)
    found = Evidence(
        period=period("quarter", START, LENGTH, known.model.time_zone),
        rows=interval,
        rows_from="quarter rows",
        readers={Thing("meter", "utility"): ("facility-1",)},
        expected=EXPECTED,
        rates=rates,
        dues=None,
        dues_from=price_of(known, START, rates),
        stored=roll_up(interval, known, EXPECTED, rates),
        stored_at="kept.rollup, revision 0",
        accruals=accrued(known, period("quarter", START, LENGTH, known.model.time_zone)),
    )
    return replace(found, **changed)  # type: ignore[arg-type] # fields by name
