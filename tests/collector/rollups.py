"""Small sites and intervals of rows for the tests of rollups, and strategies that draw them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from math import fsum
from typing import Final, TypeVar

import msgspec
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.roll_up import add_sums
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows
from meterhouse_collector.rows import (
    EngineRow,
    MeterRow,
    NodeRow,
    ReasonMilliseconds,
    Served,
    Share,
    StateJoules,
    StateMilliseconds,
)
from meterhouse_collector.shares import node_row
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.site.load import parse_site

START, LENGTH = 1_780_000_000, 5
MILLISECONDS = LENGTH * 1000
KWH = 3.6e6
HEAD = """
name = "site"
currency = "EUR"
time_zone = "UTC"
[[pool]]
name = "chat"
cluster = "c1"
tenant = "acme"
[[pool]]
name = "spare"
cluster = "c1"
"""
HARDWARE = """
[[hardware]]
accelerator_model = "M"
vendor = "nvidia"
price_per_device = 1825
life = "1825d"
peak_watts = 1000.0
[[hardware]]
accelerator_model = "L"
vendor = "amd"
price_per_device = 3650
salvage_per_device = 1825
life = "1825d"
peak_watts = 500.0
"""
TARIFF = "[[tariff]]\nper_kwh = 0.36\nvalid_from = 2026-01-01\n"
UTILITY = '[[meter]]\nname = "utility"\nrole = "boundary"\n'
EXPORT = '[[meter]]\nname = "export"\nrole = "boundary"\nsign = -1\n'
PDU = '[[meter]]\nname = "pdu"\nrole = "it"\ncategory = 2\n'
DAY_RATE = 1.0  # of a device of model M, by price and life

Value = TypeVar("Value")


def asset(node: str, devices: int, pool: str = "chat", model: str = "M") -> str:
    return (
        f'[[asset]]\nnode = "{node}"\npool = "{pool}"\naccelerator_model = "{model}"\n'
        f"devices = {devices}\nin_service = 2026-01-01\n"
    )


def engine(name: str, served: str, *devices: str) -> str:
    listed = ", ".join(f'"{device}"' for device in devices)
    return f'[[engine]]\nname = "{name}"\n{served}\ndevices = [{listed}]\n'


def index(*parts: str) -> SiteIndex:
    return SiteIndex(parse_site(HEAD + "\n".join(parts), "site.toml"))


def share(
    holder: str,
    milliseconds: StateMilliseconds,
    joules: StateJoules = (None, None, None, None, None),
    model: str = "M",
    reasons: ReasonMilliseconds | None = None,
) -> Share:
    return Share(model, holder, milliseconds, joules, "counter", "ok", reasons)


def node(*shares: Share, energy: float | None = None) -> NodeRow:
    return NodeRow(
        MILLISECONDS, shares, 0 if energy is None else MILLISECONDS, energy_joules=energy
    )


def meter(energy: float | None, covered: int = MILLISECONDS) -> MeterRow:
    return MeterRow(MILLISECONDS, covered, energy)


def water(litres: float | None, covered: int = MILLISECONDS) -> MeterRow:
    return MeterRow(MILLISECONDS, covered, volume_litres=litres)


HISTOGRAM: Final = wire.Histogram(edges_seconds=[0.5, 1.0], counts=[2, 1, 1], sum_seconds=3.0)
ALL_LATENCIES: Final = {"ttft": HISTOGRAM, "tpot": HISTOGRAM, "e2e": HISTOGRAM}


def telling(row: EngineRow, latency: Mapping[str, wire.Histogram]) -> EngineRow:
    """Return the row with latencies that were observed."""
    told = (msgspec.structs.replace(each, latency=dict(latency)) for each in row.served)
    return EngineRow(row.length_milliseconds, tuple(told))


def served(
    model: str, output: int | None, read: int | None = 0, cached: int | None = 0, **fields: int
) -> EngineRow:
    covered = fields.get("covered", MILLISECONDS)
    one = Served(model, covered, read, cached, output, {"stop": 2, "length": 1, "abort": 7})
    return EngineRow(MILLISECONDS, (one,))


def interval(
    nodes: Mapping[str, NodeRow] | None = None,
    meters: Mapping[str, MeterRow] | None = None,
    engines: Mapping[str, EngineRow] | None = None,
) -> IntervalRows:
    return IntervalRows(START, LENGTH, nodes or {}, meters or {}, engines or {})


def total(groups: Mapping[GroupKey, Sums]) -> Sums:
    return add_sums(groups.values())


def matrix(sums: Sums, kind: str) -> float:
    return fsum(sums[f"{state}_{kind}_money"] for state in wire.STATES)


# All that a site may have beside the meters of PUE.
FLOWS: Final = """
[[meter]]
name = "water"
role = "water"
[[meter]]
name = "heat"
role = "heat_reuse"
[[meter]]
name = "solar"
role = "generator"
[[meter]]
name = "gas"
role = "generator"
[[meter]]
name = "battery"
role = "storage"
[[meter]]
name = "chilled"
role = "purchased_cooling"
factor = 0.25
[[meter]]
name = "feed"
role = "boundary"
[[meter]]
name = "ups-in"
role = "ups_in"
[[meter]]
name = "ups-out"
role = "ups_out"
[[energy_source]]
name = "grid"
kind = "grid"
renewable_ratio = 0.5
[[energy_source]]
name = "wind"
kind = "ppa"
meters = ["feed"]
renewable_ratio = 1.0
[[energy_source]]
name = "roof"
kind = "on_site"
meters = ["solar"]
renewable_ratio = 1.0
[[energy_source]]
name = "district"
kind = "purchased_cooling"
meters = ["chilled"]
"""
FACTORS: Final = "".join(
    f"""
[[emission_factor]]
energy_source = "{source}"
method = "{method}"
kg_per_kwh = {kg}
litres_per_kwh = 2.0
source = "ours"
valid_from = 2026-01-01
"""
    for source, kg in (("grid", 0.4), ("wind", 0.1), ("district", 0.2))
    for method in ("location", "market")
)
BY_HAND: Final = """
[[generator]]
name = "genset"
rated_watts = 1e6
[[fuel_use]]
generator = "genset"
begins = 2026-05-01
ends = 2026-06-30
litres = 6000.0
kg_per_litre = 2.5
source = "tank"
[[cooling]]
name = "chillers"
kind = "chiller"
unit_heat_watts = 1e6
[[refrigerant_loss]]
cooling_unit = "chillers"
noticed_on = 2026-05-28
refrigerant = "R-134a"
kg = 8.64
gwp = 1000.0
source = "service"
"""
CONTRACTS: Final = """
[[pool]]
name = "standby"
cluster = "c1"
reserve_devices = 2
[[tenant]]
name = "acme"
[[contract]]
name = "sale"
side = "sold"
counterparty = "Acme"
tenant = "acme"
pools = ["chat"]
units = 3
rate = 2
valid_from = 2026-01-01
[[contract]]
name = "lease"
side = "bought"
counterparty = "Lessor"
pools = ["spare"]
unit = "node"
units = 4
rate = 1
valid_from = 2026-01-01
"""

ENERGY_METERS: Final = (
    *("utility", "export", "pdu", "heat", "solar", "gas", "battery", "chilled", "feed"),
    *("ups-in", "ups-out"),
)
# One of two devices for half of the interval.
DOWN = (
    '[[downtime]]\nnodes = ["n2"]\ndevices = 1\nreason = "quarantined"\nsaid_by = "operations"\n'
    f"begins = {datetime.fromtimestamp(START + LENGTH / 2, UTC).isoformat()}\n"
)
# What the site group lacks alone, the pools have; one cluster's power is limited.
FLEET = (
    HARDWARE,
    FLOWS,
    FACTORS,
    BY_HAND,
    CONTRACTS,
    '[[cluster]]\nname = "c1"\npowerable_watts = 4000.0\n',
    UTILITY,
    EXPORT,
    PDU,
    TARIFF,
    asset("n1", 2),
    asset("n1", 1, "spare"),
    asset("n2", 2, "spare", "L"),
    asset("n3", 1, "spare"),
    DOWN,
    engine("e1", 'served_model = "llama"', "n1/d0", "n3/*"),
    engine("e2", 'served_models = { "a" = 0.25, "b" = 0.75 }', "n2/d1"),
)
REGISTERED = 6
WHOLE = index(*FLEET)
LATER = index(
    HARDWARE,
    UTILITY,
    EXPORT,
    PDU,
    TARIFF,
    asset("n1", 2),
    asset("n2", 3, "chat", "L"),
    asset("n4", 1),
    engine("e1", 'served_model = "llama"', "n2/*"),
)
ENERGY = st.none() | st.floats(0, 1e7)
REASONS = st.dictionaries(
    st.integers(0, 4), st.sampled_from([*wire.UNHEALTHY_REASONS, "lost: off the bus", "odd"])
)


@st.composite
def node_rows(draw: st.DrawFn, name: str) -> NodeRow:
    model = "L" if name == "n2" else "M"
    names = [f"d{number}" for number in range(draw(st.integers(0, 4)))]
    inventory = wire.Inventory(
        devices=[wire.Device(device=d, vendor="v", accelerator_model=model) for d in names]
    )
    times: dict[wire.State, list[int]] = {state: [] for state in wire.STATES}
    for _ in names:
        left = MILLISECONDS
        for state in wire.STATES:
            times[state].append(draw(st.integers(0, left)))
            left -= times[state][-1]
    joules: dict[wire.State, list[float | None]] = {
        state: [draw(ENERGY) for _ in names] for state in wire.STATES
    }
    energy = draw(ENERGY)
    report = wire.Report(
        schema=1,
        site="site",
        node=name,
        start_seconds=START,
        length_seconds=LENGTH,
        inventory_hash="h",
        accelerators=wire.Accelerators(
            state_milliseconds=times,
            state_joules=joules,
            unhealthy_reasons=draw(REASONS) if names else {},
        ),
        host=wire.Host(covered_milliseconds=MILLISECONDS, energy_joules=energy),
    )
    return node_row(report, inventory, WHOLE)


def some(values: Mapping[str, st.SearchStrategy[Value]]) -> st.SearchStrategy[dict[str, Value]]:
    return st.fixed_dictionaries({}, optional=dict(values))


WATERS = st.builds(water, st.none() | st.floats(0, 1e4), st.integers(0, MILLISECONDS))
METERS = st.builds(meter, ENERGY, st.integers(0, MILLISECONDS))
TOKENS = st.none() | st.integers(0, 10**6)
ENGINES = st.builds(served, st.sampled_from(["llama", "a", "b", "x"]), TOKENS, TOKENS)
INTERVALS = st.builds(
    interval,
    some({name: node_rows(name) for name in ("n1", "n2", "n3", "n9")}),
    some({**dict.fromkeys(ENERGY_METERS, METERS), "water": WATERS}),
    some(dict.fromkeys(("e1", "e2", "e9"), ENGINES)),
)
EXPECTED = st.builds(
    Expected,
    some(dict.fromkeys(ENERGY_METERS, st.floats(0, 1e6))),
    some(dict.fromkeys(("n1", "n2"), st.floats(0, 1e4))),
)


def reverse(values: Mapping[str, Value]) -> dict[str, Value]:
    return dict(reversed(list(values.items())))
